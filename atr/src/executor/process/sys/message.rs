//! Messages with descriptors between a host and what it has split off.

use std::ffi::c_int;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::{Errno, call};

/// Most descriptors in a message.
pub(in super::super) const MAX_FILES: usize = 128;

const HEADER: usize = size_of::<libc::cmsghdr>();
/// A multiple of its alignment, so descriptors follow it at once.
const _: () = assert!(HEADER.is_multiple_of(align_of::<libc::cmsghdr>()));

/// Room for descriptors beside a message, as the kernel lays it out.
#[repr(C)]
struct Beside {
    header: libc::cmsghdr,
    files: [RawFd; MAX_FILES],
}

impl Beside {
    fn empty() -> Self {
        // SAFETY: numbers only.
        Self { header: unsafe { zeroed() }, files: [-1; MAX_FILES] }
    }
}

/// Two ends by which messages go both ways, whole.
pub(in super::super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends: [c_int; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    let arguments = [libc::AF_UNIX as usize, kind as usize, 0, ends.as_mut_ptr() as usize];
    // SAFETY: the kernel writes two descriptors.
    unsafe { call(libc::SYS_socketpair, arguments) }.map_err(io::Error::from_raw_os_error)?;
    let [a, b] = ends;
    // SAFETY: the kernel has just made them, for this alone.
    Ok(unsafe { (OwnedFd::from_raw_fd(a), OwnedFd::from_raw_fd(b)) })
}

/// Sends a message with copies of descriptors, at once or not at all.
pub(in super::super) fn send(socket: RawFd, bytes: &[u8], files: &[RawFd]) -> Result<(), Errno> {
    let mut beside = Beside::empty();
    if MAX_FILES < files.len() {
        return Err(libc::E2BIG);
    }
    beside.files.iter_mut().zip(files).for_each(|(to, from)| *to = *from);
    let length = HEADER + size_of_val(files);
    beside.header.cmsg_len = length as _;
    beside.header.cmsg_level = libc::SOL_SOCKET;
    beside.header.cmsg_type = libc::SCM_RIGHTS;
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = message(&mut part);
    if !files.is_empty() {
        message.msg_control = (&raw mut beside).cast();
        message.msg_controllen = length as _;
    }
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    // SAFETY: one part as long as the bytes, which the kernel only reads, and as much beside it as was filled in.
    unsafe { call(libc::SYS_sendmsg, [socket as usize, &raw const message as usize, flags]) }.map(drop)
}

/// Waits for a message, and says how long it is and how many descriptors came with it, which `execve` closes. A length of
/// 0 is the end. One that does not fit is an error, and so is one with more descriptors than there is room for.
pub(in super::super) fn receive(
    socket: RawFd,
    bytes: &mut [u8],
    files: &mut [RawFd; MAX_FILES],
) -> Result<(usize, usize), Errno> {
    let mut beside = Beside::empty();
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = message(&mut part);
    message.msg_control = (&raw mut beside).cast();
    message.msg_controllen = size_of::<Beside>() as _;
    let flags = libc::MSG_CMSG_CLOEXEC as usize;
    // SAFETY: one part as long as the bytes, and as much room beside it as is said.
    let length = unsafe { call(libc::SYS_recvmsg, [socket as usize, &raw mut message as usize, flags]) }?;
    // Not of the same type in every libc.
    let (written, long): (usize, usize) = (message.msg_controllen as _, beside.header.cmsg_len as _);
    let there = HEADER <= written
        && (beside.header.cmsg_level, beside.header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    let size = if there { long.saturating_sub(HEADER) } else { 0 };
    let count = (size / size_of::<RawFd>()).min(MAX_FILES);
    files.iter_mut().zip(beside.files).take(count).for_each(|(to, from)| *to = from);
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        files.iter().take(count).for_each(|file| super::close(*file));
        return Err(libc::EMSGSIZE);
    }
    Ok((length, count))
}

fn message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: numbers and null pointers only.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}
