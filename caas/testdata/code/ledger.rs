// Copyright the authors.

//! A ledger of payments.
//! It only grows.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

/// Most payments.
pub const LIMIT: usize = 1000;

/// Payments, in order.
#[derive(Debug)]
pub struct Ledger {
    entries: Vec<u64>,
}

struct Unit(u32);

impl Ledger {
    /// Puts a payment to the others.
    #[must_use]
    pub fn append(
        &mut self,
        amount: u64,
    ) -> usize {
        self.entries.push(amount);
        self.entries.len()
    }

    const fn size(&self) -> usize {
        self.entries.len()
    }
}

pub trait Store {
    fn put(&self, amount: u64);
    // Nothing is behind this.
}

mod inner {
    impl super::Store for u8 {
        fn put(&self, _: u64) {}
    }
}

macro_rules! twice {
    ($one:expr) => {
        $one + $one
    };
}
