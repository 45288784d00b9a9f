//! A disk in memory that fails when it is told to, and knows what a loss of power would leave of it.

use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Clone, Debug, Default)]
struct Platter {
    /// What is safe.
    synced: Vec<u8>,
    /// What a program reads.
    seen: Vec<u8>,
    /// What is between the two.
    pending: Vec<Change>,
    /// Changes and syncs until it fails.
    left: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Bytes(offset, new) => {
                let end = offset + new.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(new);
            }
        }
    }
}

impl Disk {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let platter = Platter { synced: bytes.clone(), seen: bytes, ..Platter::default() };
        Self(Arc::new(Mutex::new(platter)))
    }

    pub(super) fn fail_after(&self, steps: usize) {
        self.platter().left = Some(steps);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.platter().seen.clone()
    }

    /// What is there after the power was lost, where of the changes that were not synced those are there that `keeps` says.
    pub(super) fn after_loss(&self, keeps: impl Fn(usize) -> bool) -> Self {
        let platter = self.platter();
        let mut bytes = platter.synced.clone();
        for (_, change) in platter.pending.iter().enumerate().filter(|(at, _)| keeps(*at)) {
            change.apply(&mut bytes);
        }
        Self::of(bytes)
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    fn step(&self) -> Result<MutexGuard<'_, Platter>> {
        let mut platter = self.platter();
        match &mut platter.left {
            Some(0) => Err(Error::from(ErrorKind::StorageFull)),
            Some(left) => {
                *left -= 1;
                Ok(platter)
            }
            None => Ok(platter),
        }
    }

    fn change(&self, change: Change) -> Result<()> {
        let mut platter = self.step()?;
        change.apply(&mut platter.seen);
        platter.pending.push(change);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        Ok(self.platter().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let (platter, offset) = (self.platter(), offset as usize);
        let bytes = platter.seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> Result<()> {
        let mut platter = self.step()?;
        platter.pending.clear();
        platter.synced = platter.seen.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.change(Change::Bytes(offset as usize, data.to_vec()))
    }
}
