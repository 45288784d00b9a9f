//! Whom the users of a sandbox are outside of it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::process::{Signal, getegid, geteuid, pidfd_send_signal};

use super::child::USER;
use super::sys;

/// Says who the only user and group of a sandbox are outside: nobody if the host is root, else the host itself, which
/// has no right to name anybody else.
pub(super) fn map(pid: i32) -> io::Result<()> {
    let (user, group) = if geteuid().is_root() {
        (USER, USER)
    } else {
        // An ordinary user may map its group only once groups cannot be dropped any more.
        fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
        (geteuid().as_raw(), getegid().as_raw())
    };
    write(pid, &format!("{USER} {user} 1"), &format!("{USER} {group} 1"))
}

fn write(pid: i32, users: &str, groups: &str) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/uid_map"), users)?;
    fs::write(format!("/proc/{pid}/gid_map"), groups)
}

/// A user namespace by which mounts show what belongs to the host as belonging to the sandbox's user.
///
/// A host that is root runs programs as nobody. With this they may do in a granted folder what the host may do with
/// its own files there, which is what an ordinary host's programs may; without it they are strangers.
pub(super) fn of_host() -> Option<BorrowedFd<'static>> {
    static USERS: OnceLock<Option<OwnedFd>> = OnceLock::new();
    if !geteuid().is_root() {
        return None;
    }
    USERS.get_or_init(|| namespace().ok()).as_ref().map(AsFd::as_fd)
}

fn namespace() -> io::Result<OwnedFd> {
    let (pid, process) = sys::split(sys::NEW_USER, None, wait, &())?;
    let (users, groups) = (geteuid().as_raw(), getegid().as_raw());
    let namespace = write(pid, &format!("{users} {USER} 1"), &format!("{groups} {USER} 1"))
        .and_then(|()| File::open(format!("/proc/{pid}/ns/user")));
    pidfd_send_signal(&process, Signal::KILL)?;
    sys::reap(process.as_fd())?;
    namespace.map(OwnedFd::from)
}

fn wait((): &()) -> ! {
    let _ = sys::close_all_but(0, &[]);
    loop {
        // Neither is a descriptor, so it waits until it is killed.
        let _ = sys::wait_for(-1, -1);
    }
}
