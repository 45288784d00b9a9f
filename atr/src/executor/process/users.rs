//! Whom the users of a sandbox are outside of it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Signal, getegid, geteuid, pidfd_send_signal};

use super::child::USER;
use super::sys;
use super::zygote::Zygote;

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

/// A user namespace by which mounts show what belongs to the host as belonging to the sandbox's user; `None`: the host
/// is not root.
///
/// A host that is root runs programs as nobody. With this they may do in a granted folder what the host may do with
/// its own files there, which is what an ordinary host's programs may; without it they are strangers.
pub(super) fn of_host(zygote: &Zygote) -> Option<OwnedFd> {
    geteuid().is_root().then(|| namespace(zygote).ok()).flatten()
}

fn namespace(zygote: &Zygote) -> io::Result<OwnedFd> {
    let (pid, process) = zygote.idle(sys::NEW_USER)?;
    let (users, groups) = (geteuid().as_raw(), getegid().as_raw());
    let namespace = write(pid, &format!("{users} {USER} 1"), &format!("{groups} {USER} 1"))
        .and_then(|()| File::open(format!("/proc/{pid}/ns/user")));
    pidfd_send_signal(&process, Signal::KILL)?;
    sys::reap(process.as_fd())?;
    namespace.map(OwnedFd::from)
}
