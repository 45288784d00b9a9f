//! The system calls of the sandbox, and nothing else that is unsafe.
//!
//! A new process is split off a host with many threads, so it may do nothing that could wait for one of them: no
//! allocation, no lock, no libc but its bare `syscall`. Everything here that takes no ownership keeps to that. Neither
//! may it touch what the host has on its heap: in a zygote that is not there any more.
//!
//! Failures are the kernel's numbers.
#![expect(
    unsafe_code,
    reason = "the kernel is asked for what no safe interface offers between clone and execve"
)]

mod memory;
mod message;

use std::ffi::{CStr, c_int, c_long};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) use memory::{Vector, map, split_small};
pub(super) use message::{MAX_FILES, pair, receive, send};

/// A number of the kernel's for what went wrong.
pub(super) type Errno = i32;

/// The same call on every architecture, and not in every libc.
const MOUNT_SETATTR: c_long = 442;
const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const INTO_GROUP: u64 = 0x2_0000_0000;
/// Bytes of a set of signals, as the kernel has it.
const SIGSET: usize = 8;

pub(super) const READ_ONLY: u64 = 0x1;
pub(super) const NO_SUID: u64 = 0x2;
pub(super) const NO_DEVICES: u64 = 0x4;
pub(super) const NO_EXECUTE: u64 = 0x8;
const ID_MAPPED: u64 = 0x10_0000;

/// # Safety
/// The arguments fit the call, and what they point to lives until it returns.
unsafe fn call<const N: usize>(number: c_long, arguments: [usize; N]) -> Result<usize, Errno> {
    let mut all = [0usize; 6];
    for (to, from) in all.iter_mut().zip(arguments) {
        *to = from;
    }
    let [a, b, c, d, e, f] = all;
    // SAFETY: the caller's.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer == -1 {
        // SAFETY: it is this thread's own.
        return Err(unsafe { *libc::__errno_location() });
    }
    Ok(answer as usize)
}

fn at(text: &CStr) -> usize {
    text.as_ptr() as usize
}

// --- splitting off -------------------------------------------------------------------------------------------------

/// Namespaces of its own for everything.
pub(super) const ALL_NAMESPACES: u64 = FIRST_NAMESPACES | OTHER_NAMESPACES;
/// Those that only a new process can be given.
pub(super) const FIRST_NAMESPACES: u64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWPID) as u64;
/// Those that a process can give itself.
pub(super) const OTHER_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;
pub(super) const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;
pub(super) const NEW_NETWORK: u64 = libc::CLONE_NEWNET as u64;
/// Beside the process that splits it off, as a child of that one's parent.
pub(super) const BESIDE: u64 = libc::CLONE_PARENT as u64;

/// Ends the process if what runs in it should ever unwind into the host's frames.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        exit(125);
    }
}

/// Splits off a process that runs `code`, for the host. See [`split_raw`].
pub(super) fn split<T>(flags: u64, code: fn(&T) -> !, with: &T) -> io::Result<(i32, OwnedFd)> {
    let (pid, process) = split_raw(flags, None, code, with).map_err(io::Error::from_raw_os_error)?;
    // SAFETY: the kernel has just made it, for this process alone.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(process) }))
}

/// Splits off a process that runs `code` and sends no signal to its parent when it ends, in the new namespaces that
/// `flags` name. All its signals are blocked, and no handler of this process is left.
///
/// `group` is the folder of a control group of the unified hierarchy in which it is made.
pub(super) fn split_raw<T>(
    flags: u64,
    group: Option<RawFd>,
    code: fn(&T) -> !,
    with: &T,
) -> Result<(i32, RawFd), Errno> {
    let mut pidfd: c_int = -1;
    let (all, mut before) = (u64::MAX, 0u64);
    // SAFETY: both sets are as large as said. A handler of the host's must not run in the new process before it is gone.
    unsafe {
        let how = [libc::SIG_SETMASK as usize, &raw const all as usize, &raw mut before as usize, SIGSET];
        call(libc::SYS_rt_sigprocmask, how)
    }?;
    let arguments = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | CLEAR_SIGHAND | group.map_or(0, |_| INTO_GROUP),
        cgroup: group.map_or(0, |group| group as u64),
        pidfd: &raw mut pidfd as u64,
        ..clone_nothing()
    };
    // SAFETY: memory is not shared, so the new process goes on with a stack of its own; `pidfd` outlives the call.
    let split = unsafe { clone(&arguments, code, with) };
    // SAFETY: as above.
    let _ = unsafe {
        let how = [libc::SIG_SETMASK as usize, &raw const before as usize, 0, SIGSET];
        call(libc::SYS_rt_sigprocmask, how)
    };
    split.map(|pid| (pid, pidfd))
}

/// Moves this process into new namespaces.
pub(super) fn enter_new(namespaces: u64) -> Result<(), Errno> {
    // SAFETY: no pointers. No namespace of this process is one that something here relies on.
    unsafe { call(libc::SYS_unshare, [namespaces as usize]) }.map(drop)
}

/// Splits off a process that runs `code`, and comes back when that has called `execve` or ended.
pub(super) fn split_until_exec<T>(code: fn(&T) -> !, with: &T) -> Result<i32, Errno> {
    let arguments = libc::clone_args {
        flags: libc::CLONE_VFORK as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..clone_nothing()
    };
    // SAFETY: `CLONE_VM` is not set, so memory is not shared.
    unsafe { clone(&arguments, code, with) }
}

fn clone_nothing() -> libc::clone_args {
    // SAFETY: numbers only; zero is none of each.
    unsafe { zeroed() }
}

/// # Safety
/// The arguments ask for no shared memory, and what they point to lives until this returns.
unsafe fn clone<T>(arguments: &libc::clone_args, code: fn(&T) -> !, with: &T) -> Result<i32, Errno> {
    let size = size_of::<libc::clone_args>();
    // SAFETY: the caller's.
    let pid = unsafe { call(libc::SYS_clone3, [&raw const *arguments as usize, size]) }?;
    if pid == 0 {
        let _last = Last;
        code(with)
    }
    Ok(pid as i32)
}

/// Ends the process at once.
pub(super) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: it takes no pointer, and does not return.
        let _ = unsafe { call(libc::SYS_exit_group, [code as usize]) };
    }
}

/// Becomes another program; comes back only with what went wrong.
pub(super) fn execute(program: &CStr, arguments: &Vector<'_>, environment: &Vector<'_>) -> Errno {
    // SAFETY: both vectors end with null and outlive the call.
    unsafe { call(libc::SYS_execve, [at(program), arguments.address(), environment.address()]) }
        .err()
        .unwrap_or(0)
}

// --- descriptors ---------------------------------------------------------------------------------------------------

/// Reads once; 0 at the end.
pub(super) fn read(fd: RawFd, into: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes into the slice, no further.
    unsafe { call(libc::SYS_read, [fd as usize, into.as_mut_ptr() as usize, into.len()]) }
}

/// Writes once.
pub(super) fn write(fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads from the slice, no further.
    unsafe { call(libc::SYS_write, [fd as usize, bytes.as_ptr() as usize, bytes.len()]) }
}

/// Takes a descriptor that has just been received.
pub(super) fn own(received: Option<RawFd>) -> Option<OwnedFd> {
    // SAFETY: who receives one is the only one to have it.
    received.map(|file| unsafe { OwnedFd::from_raw_fd(file) })
}

/// Closes a descriptor of a process that owns nothing by its descriptors.
pub(super) fn close(fd: RawFd) {
    // SAFETY: no pointers. It is gone in any case.
    let _ = unsafe { call(libc::SYS_close, [fd as usize]) };
}

/// Another descriptor of the same, none of the standard three, which `execve` closes.
pub(super) fn duplicate_above(fd: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: no pointers.
    unsafe { call(libc::SYS_fcntl, [fd as usize, libc::F_DUPFD_CLOEXEC as usize, 3]) }.map(|fd| fd as RawFd)
}

/// Makes `to` the same as `from`, and left open by `execve`.
pub(super) fn duplicate(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: no pointers.
    unsafe { call(libc::SYS_dup3, [from as usize, to as usize, 0]) }.map(drop)
}

/// Closes every descriptor from `from` on but those in `keep`, which is in ascending order.
pub(super) fn close_all_but(from: RawFd, keep: &[RawFd]) -> Result<(), Errno> {
    let mut next = from as u32;
    for kept in keep.iter().map(|kept| *kept as u32).filter(|kept| from as u32 <= *kept) {
        if next < kept {
            // SAFETY: no pointers; in a process that owns nothing by its descriptors.
            unsafe { call(libc::SYS_close_range, [next as usize, (kept - 1) as usize, 0]) }?;
        }
        next = kept.saturating_add(1);
    }
    // SAFETY: as above.
    unsafe { call(libc::SYS_close_range, [next as usize, u32::MAX as usize, 0]) }.map(drop)
}

/// Lets `execve` close every descriptor from `from` on.
pub(super) fn close_on_exec(from: RawFd) -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC as usize;
    // SAFETY: no pointers.
    unsafe { call(libc::SYS_close_range, [from as usize, u32::MAX as usize, flags]) }.map(drop)
}

/// Opens a path that holds no symbolic link, without any access to what is there.
pub(super) fn open_path(folder: RawFd, path: &CStr, resolve: u64) -> Result<RawFd, Errno> {
    // SAFETY: numbers only; zero is none of each.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS | resolve;
    let arguments = [folder as usize, at(path), &raw const how as usize, size_of::<libc::open_how>()];
    // SAFETY: the path ends with NUL, and `how` is as large as said.
    unsafe { call(libc::SYS_openat2, arguments) }.map(|fd| fd as RawFd)
}

/// As [`open_path`], from the root, for the host.
pub(super) fn open_host_path(path: &CStr) -> io::Result<OwnedFd> {
    let fd = open_path(libc::AT_FDCWD, path, 0).map_err(io::Error::from_raw_os_error)?;
    // SAFETY: it has just been opened, for this alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What kind of file a descriptor is of, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    device: (u32, u32),
    number: u64,
    pub(super) is_folder: bool,
    pub(super) is_file: bool,
}

impl Inode {
    pub(super) fn to_words(self) -> [u64; 3] {
        let (major, minor) = self.device;
        let kind = u64::from(self.is_folder) | u64::from(self.is_file) << 1;
        [u64::from(major) << 32 | u64::from(minor), self.number, kind]
    }

    pub(super) fn from_words([device, number, kind]: [u64; 3]) -> Self {
        let device = ((device >> 32) as u32, device as u32);
        Self { device, number, is_folder: kind & 1 != 0, is_file: kind & 2 != 0 }
    }
}

/// Which file it is.
pub(super) fn inode(fd: RawFd) -> Result<Inode, Errno> {
    // SAFETY: numbers only.
    let mut found: libc::statx = unsafe { zeroed() };
    let mask = (libc::STATX_TYPE | libc::STATX_INO) as usize;
    let arguments = [fd as usize, at(c""), libc::AT_EMPTY_PATH as usize, mask, &raw mut found as usize];
    // SAFETY: the kernel writes one `statx`.
    unsafe { call(libc::SYS_statx, arguments) }?;
    let kind = u32::from(found.stx_mode) & libc::S_IFMT;
    Ok(Inode {
        device: (found.stx_dev_major, found.stx_dev_minor),
        number: found.stx_ino,
        is_folder: kind == libc::S_IFDIR,
        is_file: kind == libc::S_IFREG,
    })
}

// --- mounts --------------------------------------------------------------------------------------------------------

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    users: u64,
}

const TREE: usize = libc::AT_EMPTY_PATH as usize;
const RECURSIVE: usize = 0x8000;

/// A copy of the mounts at and beneath a descriptor, attached nowhere.
pub(super) fn copy_tree(fd: RawFd) -> Result<RawFd, Errno> {
    const CLONE: usize = 1;
    let flags = CLONE | libc::O_CLOEXEC as usize | TREE | RECURSIVE;
    // SAFETY: the path is empty and ends with NUL.
    unsafe { call(libc::SYS_open_tree, [fd as usize, at(c""), flags]) }.map(|fd| fd as RawFd)
}

/// As [`copy_tree`], for the host.
pub(super) fn copy_host_tree(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: it has just been made, for this alone.
    copy_tree(fd.as_raw_fd()).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Restricts a tree of mounts, and lets no later mount of the host reach it; nothing is ever allowed by this.
pub(super) fn restrict_tree(fd: RawFd, attributes: u64) -> Result<(), Errno> {
    let propagation = libc::MS_PRIVATE;
    set_attributes(fd, MountAttributes { set: attributes, clear: 0, propagation, users: 0 })
}

/// Shows the files of a tree of mounts as owned by whom the user namespace maps their owners to.
pub(super) fn map_tree(fd: BorrowedFd<'_>, users: BorrowedFd<'_>) -> Result<(), Errno> {
    let users = users.as_raw_fd() as u64;
    set_attributes(fd.as_raw_fd(), MountAttributes { set: ID_MAPPED, clear: 0, propagation: 0, users })
}

fn set_attributes(fd: RawFd, attributes: MountAttributes) -> Result<(), Errno> {
    let (attributes, size) = (&raw const attributes as usize, size_of::<MountAttributes>());
    // SAFETY: the attributes are as large as said.
    unsafe { call(MOUNT_SETATTR, [fd as usize, at(c""), TREE | RECURSIVE, attributes, size]) }.map(drop)
}

/// Attaches a tree of mounts.
pub(super) fn attach(tree: RawFd, target: RawFd) -> Result<(), Errno> {
    const EMPTY_PATHS: usize = 0x4 | 0x40;
    // SAFETY: both paths are empty and end with NUL.
    unsafe { call(libc::SYS_move_mount, [tree as usize, at(c""), target as usize, at(c""), EMPTY_PATHS]) }
        .map(drop)
}

/// Lets no mount of this namespace reach the one it was copied from.
pub(super) fn make_mounts_private() -> Result<(), Errno> {
    let flags = (libc::MS_REC | libc::MS_PRIVATE) as usize;
    // SAFETY: the path ends with NUL; the others may be null.
    unsafe { call(libc::SYS_mount, [0, at(c"/"), 0, flags, 0]) }.map(drop)
}

/// Mounts a new file system: no device, no set-user-id, nothing to execute.
pub(super) fn mount(kind: &CStr, target: &CStr, options: &CStr) -> Result<(), Errno> {
    let flags = (libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC) as usize;
    // SAFETY: every text ends with NUL.
    unsafe { call(libc::SYS_mount, [at(kind), at(target), at(kind), flags, at(options)]) }.map(drop)
}

/// Makes the working directory the root, and lets the old root go.
pub(super) fn pivot() -> Result<(), Errno> {
    // SAFETY: the paths end with NUL.
    unsafe {
        call(libc::SYS_pivot_root, [at(c"."), at(c".")])?;
        call(libc::SYS_umount2, [at(c"."), libc::MNT_DETACH as usize])?;
    }
    enter(c"/")
}

/// Makes the root itself read-only, and no mount on it.
pub(super) fn close_root() -> Result<(), Errno> {
    let flags = (libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY)
        | libc::MS_NOSUID
        | libc::MS_NODEV
        | libc::MS_NOEXEC;
    // SAFETY: the path ends with NUL; the others may be null.
    unsafe { call(libc::SYS_mount, [0, at(c"/"), 0, flags as usize, 0]) }.map(drop)
}

/// Makes a folder.
pub(super) fn make_folder(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path ends with NUL.
    unsafe { call(libc::SYS_mkdirat, [libc::AT_FDCWD as usize, at(path), 0o755]) }.map(drop)
}

/// Makes an empty file.
pub(super) fn make_file(path: &CStr) -> Result<(), Errno> {
    let mode = (libc::S_IFREG | 0o444) as usize;
    // SAFETY: the path ends with NUL.
    unsafe { call(libc::SYS_mknodat, [libc::AT_FDCWD as usize, at(path), mode, 0]) }.map(drop)
}

/// Makes a folder the working directory.
pub(super) fn enter(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path ends with NUL.
    unsafe { call(libc::SYS_chdir, [at(path)]) }.map(drop)
}

// --- rights --------------------------------------------------------------------------------------------------------

/// Gives up all groups.
pub(super) fn drop_groups() -> Result<(), Errno> {
    // SAFETY: no group is read.
    unsafe { call(libc::SYS_setgroups, [0, 0]) }.map(drop)
}

/// Becomes a user and a group for good.
pub(super) fn become_user(id: u32) -> Result<(), Errno> {
    let id = id as usize;
    // SAFETY: no pointers; the process has one thread.
    unsafe {
        call(libc::SYS_setresgid, [id, id, id])?;
        call(libc::SYS_setresuid, [id, id, id]).map(drop)
    }
}

/// Names the machine.
pub(super) fn name_host(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads the slice, no further.
    unsafe { call(libc::SYS_sethostname, [name.as_ptr() as usize, name.len()]) }.map(drop)
}

fn control(option: c_int, a: usize, b: usize) -> Result<(), Errno> {
    // SAFETY: none of the options used here takes a pointer.
    unsafe { call(libc::SYS_prctl, [option as usize, a, b, 0, 0]) }.map(drop)
}

/// Gives up every capability, and every way to have one again.
pub(super) fn drop_capabilities() -> Result<(), Errno> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let locked = libc::SECBIT_NOROOT
        | libc::SECBIT_NOROOT_LOCKED
        | libc::SECBIT_NO_SETUID_FIXUP
        | libc::SECBIT_NO_SETUID_FIXUP_LOCKED
        | libc::SECBIT_KEEP_CAPS_LOCKED
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE
        | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    control(libc::PR_SET_SECUREBITS, locked as usize, 0)?;
    control(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0)?;
    for capability in 0..64 {
        match control(libc::PR_CAPBSET_DROP, capability, 0) {
            // There are no more.
            Err(libc::EINVAL) => break,
            dropped => dropped?,
        }
    }
    let (header, none) = (Header { version: VERSION_3, pid: 0 }, [0u32; 6]);
    // SAFETY: version 3 has two sets of three words.
    unsafe { call(libc::SYS_capset, [&raw const header as usize, none.as_ptr() as usize]) }.map(drop)
}

/// Nothing that is executed from here on has more rights than this process, and nobody looks into it.
pub(super) fn forgo_rights() -> Result<(), Errno> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    control(libc::PR_SET_DUMPABLE, 0, 0)
}

/// Sets both limits of a resource.
pub(super) fn limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one limit and writes none.
    unsafe { call(libc::SYS_prlimit64, [0, resource as usize, &raw const limit as usize, 0]) }.map(drop)
}

/// Allows `rights` at and beneath a path in a set of Landlock rules.
pub(super) fn landlock_allow(rules: RawFd, path: &CStr, rights: u64) -> Result<(), Errno> {
    #[repr(C, packed)]
    struct Beneath {
        rights: u64,
        folder: i32,
    }
    const BENEATH: usize = 1;
    let folder = open_path(libc::AT_FDCWD, path, 0)?;
    let rule = Beneath { rights, folder };
    // SAFETY: the kernel reads one rule of this kind.
    unsafe { call(libc::SYS_landlock_add_rule, [rules as usize, BENEATH, &raw const rule as usize, 0]) }
        .map(drop)
}

/// Holds this process to a set of Landlock rules.
pub(super) fn landlock_restrict(rules: RawFd) -> Result<(), Errno> {
    // SAFETY: no pointers.
    unsafe { call(libc::SYS_landlock_restrict_self, [rules as usize, 0]) }.map(drop)
}

/// Filters the system calls of this process by a program as the kernel has it, 8 bytes for each instruction.
pub(super) fn filter(program: &[u8]) -> Result<(), Errno> {
    const SET_MODE_FILTER: usize = 1;
    let len = u16::try_from(program.len() / size_of::<libc::sock_filter>()).map_err(|_| libc::E2BIG)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel reads `len` instructions, wherever they begin.
    unsafe { call(libc::SYS_seccomp, [SET_MODE_FILTER, 0, &raw const program as usize]) }.map(drop)
}

// --- processes and signals -----------------------------------------------------------------------------------------

/// Starts a session without a terminal.
pub(super) fn start_session() -> Result<(), Errno> {
    // SAFETY: no pointers.
    unsafe { call(libc::SYS_setsid, []) }.map(drop)
}

/// Lets new files be read by their owner only.
pub(super) fn mask_modes() {
    // SAFETY: no pointers. It cannot fail.
    let _ = unsafe { call(libc::SYS_umask, [0o077]) };
}

/// Every signal as in a process that never heard of signals: none handled, ignored or blocked.
pub(super) fn forget_signals() -> Result<(), Errno> {
    // As large as any architecture's: handler, flags, restorer and mask, all zero.
    let (default, none) = ([0u64; 4], 0u64);
    for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the kernel reads one action and writes none.
        unsafe { call(libc::SYS_rt_sigaction, [signal as usize, default.as_ptr() as usize, 0, SIGSET]) }?;
    }
    // SAFETY: the set is as large as said.
    unsafe {
        let how = [libc::SIG_SETMASK as usize, &raw const none as usize, 0, SIGSET];
        call(libc::SYS_rt_sigprocmask, how)
    }
    .map(drop)
}

/// Readable when a child has ended.
pub(super) fn watch_children() -> Result<RawFd, Errno> {
    let set = 1u64 << (libc::SIGCHLD - 1);
    let arguments = [usize::MAX, &raw const set as usize, SIGSET, libc::SFD_CLOEXEC as usize];
    // SAFETY: the set is as large as said.
    unsafe { call(libc::SYS_signalfd4, arguments) }.map(|fd| fd as RawFd)
}

/// Waits until one of two can be read, or has ended, and says which.
pub(super) fn wait_for(a: RawFd, b: RawFd) -> Result<(bool, bool), Errno> {
    wait_at_most(None, a, b)
}

/// As [`wait_for`], and neither after some time.
pub(super) fn wait_at_most(time: Option<Duration>, a: RawFd, b: RawFd) -> Result<(bool, bool), Errno> {
    let time = time.map(|time| libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos() as c_long,
    });
    let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut both = [poll(a), poll(b)];
    let time = time.as_ref().map_or(0, |time| &raw const *time as usize);
    // SAFETY: two entries, as said; seconds and nanoseconds, or no time; no set of signals.
    unsafe { call(libc::SYS_ppoll, [both.as_mut_ptr() as usize, 2, time, 0, SIGSET]) }?;
    let [a, b] = both;
    Ok((a.revents != 0, b.revents != 0))
}

/// Reaps any child. `None`: all run, and it was not to wait.
pub(super) fn reap_any(wait: bool) -> Result<Option<(i32, i32)>, Errno> {
    let mut status: c_int = 0;
    let options = libc::__WALL | if wait { 0 } else { libc::WNOHANG };
    // SAFETY: the kernel writes one status.
    let pid = unsafe { call(libc::SYS_wait4, [usize::MAX, &raw mut status as usize, options as usize, 0]) }?;
    Ok((pid != 0).then_some((pid as i32, status)))
}

/// Sends a signal; -1 is everybody but init.
pub(super) fn kill(pid: i32, signal: c_int) {
    // SAFETY: no pointers. It fails only if nobody is there.
    let _ = unsafe { call(libc::SYS_kill, [pid as usize, signal as usize]) };
}

/// Processor time of all children that were reaped.
pub(super) fn used_by_children() -> Duration {
    // SAFETY: numbers only.
    let mut used: libc::rusage = unsafe { zeroed() };
    // SAFETY: the kernel writes one `rusage`.
    let _ = unsafe { call(libc::SYS_getrusage, [libc::RUSAGE_CHILDREN as usize, &raw mut used as usize]) };
    let micros = |time: libc::timeval| {
        (time.tv_sec as u64).saturating_mul(1_000_000).saturating_add(time.tv_usec as u64)
    };
    Duration::from_micros(micros(used.ru_utime).saturating_add(micros(used.ru_stime)))
}

/// Readable when a process has ended.
pub(super) fn watch(pidfd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an `Arc` of a descriptor is always the same descriptor, open until the last one is dropped.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Waits for the end of a process and lets go of it.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        // SAFETY: numbers only.
        let mut found: libc::siginfo_t = unsafe { zeroed() };
        let id = pidfd.as_raw_fd() as libc::id_t;
        // SAFETY: the kernel writes one `siginfo_t`.
        let waited = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut found, libc::WEXITED | libc::__WALL) };
        if waited == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
