//! Open files.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{VfsError, VfsPath};

/// Most descriptors an agent may hold open.
pub const MAX_OPEN: usize = 1024;

const INDEX_BITS: u32 = 10;
const MAX_GENERATION: u32 = u32::MAX >> INDEX_BITS;
const _: () = assert!(MAX_OPEN == 1 << INDEX_BITS, "every index must fit its bits");

/// The number of an open file, in the table of the agent that opened it and in no other.
///
/// A number is never given out twice by one table, so one that was closed leads nowhere for ever. It grants nothing by
/// itself: the table decides what it leads to, and an agent reaches no table but its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Descriptor(u32);

impl Descriptor {
    /// The descriptor with the number `raw`, whether it is open or not.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub const fn as_raw(self) -> u32 {
        self.0
    }

    const fn new(index: usize, generation: u32) -> Self {
        Self(generation << INDEX_BITS | index as u32)
    }

    const fn index(self) -> usize {
        self.0 as usize & (MAX_OPEN - 1)
    }

    const fn generation(self) -> u32 {
        self.0 >> INDEX_BITS
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenFlags {
    /// Reading.
    pub read: bool,
    /// Writing at a position.
    pub write: bool,
    /// Writing at the end, always; implies writing.
    pub append: bool,
    /// Create the file when it is missing. Needs `write` or `append`.
    pub create: bool,
    /// Refuse when the file exists. Needs `create`.
    pub exclusive: bool,
}

impl OpenFlags {
    /// Whether a descriptor with these flags may write.
    #[must_use]
    pub const fn writes(self) -> bool {
        self.write || self.append
    }

    pub(super) const fn check(self) -> Result<(), VfsError> {
        let aimless = !self.read && !self.writes();
        if aimless || (self.create && !self.writes()) || (self.exclusive && !self.create) {
            return Err(VfsError::InvalidPath);
        }
        Ok(())
    }
}

/// What a descriptor leads to: a path and not a piece of storage, so a file removed meanwhile is gone for it, and a mount
/// taken away is too.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) path: VfsPath,
    pub(super) flags: OpenFlags,
    /// Held across an operation at the position, so that two at once follow each other.
    pub(super) position: tokio::sync::Mutex<u64>,
    _room: OwnedSemaphorePermit,
}

/// The open files of one agent.
#[derive(Debug)]
pub(super) struct DescriptorTable {
    room: Arc<Semaphore>,
    slots: Mutex<Slots>,
}

/// INVARIANT: `free` names the slots without a file whose generations are not used up.
#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    file: Option<Arc<OpenFile>>,
}

/// Room for one more open file, given back when dropped.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl Default for DescriptorTable {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_OPEN)), slots: Mutex::default() }
    }
}

impl DescriptorTable {
    /// Taken before anything is created, so that a full table leaves nothing behind.
    pub(super) fn reserve(&self) -> Result<Room, VfsError> {
        Arc::clone(&self.room).try_acquire_owned().map(Room).map_err(|_| VfsError::TooManyOpen)
    }

    pub(super) fn insert(&self, room: Room, path: VfsPath, flags: OpenFlags) -> Result<Descriptor, VfsError> {
        let file = OpenFile { path, flags, position: tokio::sync::Mutex::new(0), _room: room.0 };
        self.with(|slots| slots.insert(Arc::new(file)))
    }

    pub(super) fn get(&self, descriptor: Descriptor) -> Result<Arc<OpenFile>, VfsError> {
        self.with(|slots| {
            let slot = slots.slots.get(descriptor.index()).ok_or(VfsError::BadDescriptor)?;
            let current = slot.generation == descriptor.generation();
            slot.file.as_ref().filter(|_| current).map(Arc::clone).ok_or(VfsError::BadDescriptor)
        })
    }

    pub(super) fn close(&self, descriptor: Descriptor) -> Result<(), VfsError> {
        self.with(|slots| slots.close(descriptor))
    }

    /// Every open file, by descriptor.
    pub(super) fn all_open(&self) -> Vec<(Descriptor, Arc<OpenFile>)> {
        self.with(|slots| {
            let open = slots.slots.iter().enumerate();
            open.filter_map(|(index, slot)| {
                Some((Descriptor::new(index, slot.generation), Arc::clone(slot.file.as_ref()?)))
            })
            .collect()
        })
    }

    /// Closes every descriptor and answers how many were open.
    pub(super) fn close_all(&self) -> usize {
        self.with(|slots| {
            let open: Vec<Descriptor> = slots.open().collect();
            open.into_iter().filter(|descriptor| slots.close(*descriptor).is_ok()).count()
        })
    }

    /// The lock is never held across code that can fail, so a poisoned table is as sound as any.
    fn with<T>(&self, work: impl FnOnce(&mut Slots) -> T) -> T {
        work(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slots {
    fn insert(&mut self, file: Arc<OpenFile>) -> Result<Descriptor, VfsError> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < MAX_OPEN => {
                self.slots.push(Slot { generation: 1, file: None });
                self.slots.len() - 1
            }
            // Every slot is in use or has given out its last number.
            None => return Err(VfsError::TooManyOpen),
        };
        let slot = self.slots.get_mut(index).ok_or(VfsError::TooManyOpen)?;
        slot.file = Some(file);
        Ok(Descriptor::new(index, slot.generation))
    }

    fn close(&mut self, descriptor: Descriptor) -> Result<(), VfsError> {
        let slot = self.slots.get_mut(descriptor.index()).ok_or(VfsError::BadDescriptor)?;
        if slot.generation != descriptor.generation() || slot.file.take().is_none() {
            return Err(VfsError::BadDescriptor);
        }
        if slot.generation < MAX_GENERATION {
            slot.generation += 1;
            self.free.push(descriptor.index());
        }
        Ok(())
    }

    fn open(&self) -> impl Iterator<Item = Descriptor> {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.file.is_some());
        slots.map(|(index, slot)| Descriptor::new(index, slot.generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(table: &DescriptorTable) -> Result<Descriptor, VfsError> {
        let flags = OpenFlags { read: true, ..OpenFlags::default() };
        table.insert(table.reserve()?, VfsPath::root(), flags)
    }

    #[test]
    fn a_slot_retires_before_its_numbers_repeat() {
        let table = DescriptorTable::default();
        let first = open(&table).unwrap();
        table.close(first).unwrap();
        table.with(|slots| slots.slots[0].generation = MAX_GENERATION);
        let last = open(&table).unwrap();
        assert_eq!(last.index(), 0);
        table.close(last).unwrap();
        let next = open(&table).unwrap();
        assert_eq!(next.index(), 1);
        assert_eq!(table.get(first).unwrap_err(), VfsError::BadDescriptor);
        assert_eq!(table.get(last).unwrap_err(), VfsError::BadDescriptor);
    }

    #[test]
    fn reserved_room_counts_as_open_and_comes_back_when_dropped() {
        let table = DescriptorTable::default();
        let rooms: Vec<Room> = (0..MAX_OPEN).map(|_| table.reserve().unwrap()).collect();
        assert_eq!(open(&table).unwrap_err(), VfsError::TooManyOpen);
        drop(rooms);
        open(&table).unwrap();
    }
}
