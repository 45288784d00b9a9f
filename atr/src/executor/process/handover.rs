//! How a plan comes from the host to a sandbox, which shares no memory with it: as bytes, and descriptors beside them.
//!
//! Both sides are this very program, so there is nothing to be compatible with. The sandbox reads it where it is mapped,
//! without an allocator.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::RawFd;

use libc::sock_filter;

use super::sys::{Errno, Inode};

/// Places among the descriptors: the program's streams come first, then these, then the control groups' and all others.
pub(super) const STATUS: usize = 3;
pub(super) const ORDERS: usize = 4;
pub(super) const RULES: usize = 5;
pub(super) const OTHERS: usize = 6;

/// Bytes under way, as the host writes them.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.extend(number.to_ne_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    pub(super) fn text(&mut self, text: &CStr) {
        self.bytes(text.to_bytes_with_nul());
    }

    pub(super) fn filter(&mut self, program: &[sock_filter]) {
        let mut bytes = Vec::with_capacity(size_of_val(program));
        for instruction in program {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        self.bytes(&bytes);
    }

    pub(super) fn inode(&mut self, inode: Inode) {
        inode.to_words().into_iter().for_each(|word| self.number(word));
    }

    pub(super) fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        self.number(items.len() as u64);
        let mut list = Self::default();
        items.for_each(|item| write(&mut list, item));
        self.bytes(&list.0);
    }
}

/// What is still to be read. Everything that does not fit is `EBADMSG`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(libc::EBADMSG)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(libc::EBADMSG)?;
        self.0 = rest;
        Ok(u64::from_ne_bytes(*taken))
    }

    fn size(&mut self) -> Result<usize, Errno> {
        usize::try_from(self.number()?).map_err(|_| libc::EBADMSG)
    }

    fn is_so(&mut self) -> Result<bool, Errno> {
        Ok(self.number()? != 0)
    }

    fn list<T: Item<'a>>(&mut self) -> Result<List<'a, T>, Errno> {
        let left = self.size()?;
        Ok(List { left, rest: Self(<&[u8]>::read(self)?), items: PhantomData })
    }
}

/// What a list can be of.
pub(super) trait Item<'a>: Sized {
    fn read(from: &mut Reader<'a>) -> Result<Self, Errno>;
}

impl<'a> Item<'a> for &'a [u8] {
    fn read(from: &mut Reader<'a>) -> Result<Self, Errno> {
        let length = from.size()?;
        from.take(length)
    }
}

impl<'a> Item<'a> for &'a CStr {
    fn read(from: &mut Reader<'a>) -> Result<Self, Errno> {
        CStr::from_bytes_with_nul(<&[u8]>::read(from)?).map_err(|_| libc::EBADMSG)
    }
}

/// A text and a number.
impl<'a> Item<'a> for (&'a CStr, u64) {
    fn read(from: &mut Reader<'a>) -> Result<Self, Errno> {
        Ok((<&CStr>::read(from)?, from.number()?))
    }
}

/// A resource, its soft and its hard limit.
impl<'a> Item<'a> for (u32, u64, u64) {
    fn read(from: &mut Reader<'a>) -> Result<Self, Errno> {
        let resource = u32::try_from(from.number()?).map_err(|_| libc::EBADMSG)?;
        Ok((resource, from.number()?, from.number()?))
    }
}

/// Items, each of which is read when it is come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a, T> {
    left: usize,
    rest: Reader<'a>,
    items: PhantomData<T>,
}

impl<T> List<'_, T> {
    pub(super) fn len(&self) -> usize {
        self.left
    }
}

impl<'a, T: Item<'a>> Iterator for List<'a, T> {
    type Item = Result<T, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(T::read(&mut self.rest))
    }
}

/// A file or folder of the host at a place in the new root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bind<'a> {
    pub(super) source: Source<'a>,
    /// Relative to the new root.
    pub(super) target: &'a CStr,
    /// Attributes of the mount.
    pub(super) attributes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// A copy of its mount, by its place among the descriptors.
    Tree(usize),
    /// Its canonical path, and what has to be found there.
    Path { path: &'a CStr, inode: Inode },
}

impl<'a> Item<'a> for Bind<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Self, Errno> {
        let (target, attributes, is_path) = (<&CStr>::read(from)?, from.number()?, from.is_so()?);
        let source = if is_path {
            let path = <&CStr>::read(from)?;
            Source::Path { path, inode: Inode::from_words([from.number()?, from.number()?, from.number()?]) }
        } else {
            Source::Tree(from.size()?)
        };
        Ok(Self { source, target, attributes })
    }
}

/// A plan as the sandbox reads it. See [`super::plan::Plan`], which writes the same in this order.
#[derive(Debug)]
pub(super) struct Handed<'a> {
    pub(super) files: &'a [RawFd],
    /// How many of the descriptors are files of control groups, to which it writes `0` to join.
    pub(super) groups: usize,
    pub(super) drop_groups: bool,
    pub(super) proc: bool,
    pub(super) root_options: &'a CStr,
    pub(super) scratch_options: &'a CStr,
    pub(super) new_folders: List<'a, &'a CStr>,
    pub(super) new_files: List<'a, &'a CStr>,
    pub(super) devices: List<'a, Bind<'a>>,
    pub(super) grants: List<'a, Bind<'a>>,
    pub(super) limits: List<'a, (u32, u64, u64)>,
    pub(super) own_rules: List<'a, (&'a CStr, u64)>,
    pub(super) filters: List<'a, &'a [u8]>,
    pub(super) current_dir: &'a CStr,
    pub(super) program: &'a CStr,
    pub(super) arguments: List<'a, &'a CStr>,
    pub(super) environment: List<'a, &'a CStr>,
}

impl<'a> Handed<'a> {
    pub(super) fn read(bytes: &'a [u8], files: &'a [RawFd]) -> Result<Self, Errno> {
        let mut from = Reader(bytes);
        let from = &mut from;
        // INVARIANT: fields are evaluated in the order in which they stand here.
        Ok(Self {
            files,
            groups: from.size()?,
            drop_groups: from.is_so()?,
            proc: from.is_so()?,
            root_options: Item::read(from)?,
            scratch_options: Item::read(from)?,
            new_folders: from.list()?,
            new_files: from.list()?,
            devices: from.list()?,
            grants: from.list()?,
            limits: from.list()?,
            own_rules: from.list()?,
            filters: from.list()?,
            current_dir: Item::read(from)?,
            program: Item::read(from)?,
            arguments: from.list()?,
            environment: from.list()?,
        })
    }

    pub(super) fn file(&self, place: usize) -> Result<RawFd, Errno> {
        self.files.get(place).copied().ok_or(libc::EBADMSG)
    }

    /// Where the sandbox joins its control groups.
    pub(super) fn group_files(&self) -> &'a [RawFd] {
        self.files.get(OTHERS..).and_then(|others| others.get(..self.groups)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_an_error() {
        let mut writer = Writer::default();
        writer.list([c"one", c"two"].into_iter(), Writer::text);
        let bytes = writer.into_bytes();
        let read = |bytes: &[u8]| -> Result<Vec<String>, Errno> {
            Reader(bytes).list::<&CStr>()?.map(|text| Ok(text?.to_str().unwrap().to_owned())).collect()
        };
        assert_eq!(read(&bytes).unwrap(), ["one", "two"]);
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), Err(libc::EBADMSG), "{length}");
        }
        let mut without_nul = bytes;
        without_nul.pop();
        without_nul.push(b'x');
        assert_eq!(read(&without_nul), Err(libc::EBADMSG));
    }
}
