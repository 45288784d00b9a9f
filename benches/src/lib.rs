//! What the bench suite is made of, apart from the programs it measures.
//!
//! [`workload`] generates rules and requests, [`naive`] says what they mean, [`peers`] asks others, [`statistics`] times and condenses,
//! [`table`] prints, [`machine`] says where. The suite itself is `benches/road`; `README.md` says how to read it.

#![forbid(unsafe_code)]

pub mod machine;
pub mod naive;
pub mod peers;
pub mod statistics;
pub mod table;
pub mod workload;

mod random;
