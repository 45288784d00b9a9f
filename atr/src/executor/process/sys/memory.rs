//! Memory of processes that were split off: mapped without an allocator, and let go of.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::ptr::null;
use std::thread;

use super::super::kept::{self, MAX_KEPT, Range};
use super::{Errno, call, exit, split};

/// The stack of the thread that a small process is split off by, and how much of it that one has.
const STACK: usize = 1 << 20;
const USED: usize = 512 << 10;
/// What lies around what a thread has of its own: no more than this of it is ever touched there.
const AROUND: usize = 256 << 10;

/// A file in memory, for good. It must have been sealed against writing and shrinking.
pub(in super::super) fn map(file: RawFd, length: usize) -> Result<&'static [u8], Errno> {
    let (protection, flags) = (libc::PROT_READ as usize, libc::MAP_PRIVATE as usize);
    // SAFETY: the kernel chooses a place where nothing is.
    let at = unsafe { call(libc::SYS_mmap, [0, length, protection, flags, file as usize, 0]) }?;
    // SAFETY: it has been mapped at that length, is never unmapped, and the seals keep its bytes as they are.
    Ok(unsafe { std::slice::from_raw_parts(at as *const u8, length) })
}

/// Arguments or environment in the form of `execve`.
#[derive(Debug)]
pub(in super::super) struct Vector<'a> {
    /// INVARIANT: ends with null; each other points to a text that lives for `'a`.
    pointers: &'a [*const c_char],
}

impl<'a> Vector<'a> {
    /// Of at most `count` texts, in memory that is never unmapped.
    pub(in super::super) fn new(
        count: usize,
        texts: impl Iterator<Item = Result<&'a CStr, Errno>>,
    ) -> Result<Self, Errno> {
        let slots = count.checked_add(1).ok_or(libc::E2BIG)?;
        let size = slots.checked_mul(size_of::<*const c_char>()).ok_or(libc::E2BIG)?;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses a place where nothing is.
        let at =
            unsafe { call(libc::SYS_mmap, [0, size, protection as usize, flags as usize, usize::MAX, 0]) }?;
        // SAFETY: it has been mapped for as many, for this alone, and is never unmapped; the kernel aligns it to a page
        // and fills it with zeros, each of them a null.
        let pointers = unsafe { std::slice::from_raw_parts_mut(at as *mut *const c_char, slots) };
        // The last one stays null.
        for (slot, text) in pointers.iter_mut().take(count).zip(texts) {
            *slot = text?.as_ptr();
        }
        Ok(Self { pointers: &*pointers })
    }

    pub(super) fn address(&self) -> usize {
        debug_assert_eq!(self.pointers.last(), Some(&null()));
        self.pointers.as_ptr() as usize
    }
}

/// Two descriptors by number, and what a small process does with them.
type Code = fn(&[RawFd; 2]) -> !;

#[derive(Clone, Copy)]
struct Small {
    keep: [Range; MAX_KEPT],
    code: Code,
    with: [RawFd; 2],
}

/// Splits off a process that has nothing of this one's memory but its program, and runs `code`, which therefore may
/// use no allocator, and nothing that was ever allocated.
///
/// This once the kernel copies all page tables of this process; the new one gives them up before it does anything else.
/// It is split off by a thread of its own, so that it goes on with a stack that holds nothing of the host's.
pub(in super::super) fn split_small(code: Code, with: [RawFd; 2]) -> io::Result<(i32, OwnedFd)> {
    let whole = move || {
        let mut small = Small { keep: [Range::default(); MAX_KEPT], code, with };
        // SAFETY: it is this thread's own.
        let errno = unsafe { libc::__errno_location() } as usize;
        let here = &raw const small as usize;
        let own = [
            Range { start: here.saturating_sub(USED), end: here.saturating_add(size_of::<Small>() + AROUND) },
            Range { start: errno.saturating_sub(AROUND), end: errno.saturating_add(AROUND) },
        ];
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        kept::all(&maps, own, &mut small.keep)?;
        split(0, become_small, &small)
    };
    let thread = thread::Builder::new().name("atr-zygote".to_owned()).stack_size(STACK).spawn(whole)?;
    thread.join().map_err(|_| io::Error::other("a thread panicked"))?
}

fn become_small(small: &Small) -> ! {
    if unmap_all_but(&small.keep).is_err() {
        exit(1);
    }
    (small.code)(&small.with)
}

/// Unmaps what lies between ranges, which are in ascending order.
fn unmap_all_but(keep: &[Range]) -> Result<(), Errno> {
    let mut from = 0;
    for range in keep.iter().filter(|range| range.start < range.end) {
        if from < range.start {
            // SAFETY: this process has one thread, whose code, stack and own variables are kept, and never touches
            // anything else again: it is what `split_small` asks of the code that it runs. It owns nothing there that
            // anybody would miss, because memory is not shared.
            unsafe { call(libc::SYS_munmap, [from, range.start - from]) }?;
        }
        from = range.end;
    }
    Ok(())
}
