//! A small process that splits off sandboxes for the host.
//!
//! To split off a process, the kernel copies the page tables of the one that asks: a host of gigabytes would wait for
//! that at every start, and each sandbox would hold the copy. So the host is copied once, into a process that gives up
//! all of that memory and keeps the program's code; every sandbox is a copy of that one. The ways without it are worse:
//! a sandbox that shares the host's memory until it ends is none, and one that executes another program needs a file
//! that an embedder does not have, since the host's own would run the host's `main`.
//!
//! What must hold:
//! - A sandbox is the host's child ([`sys::BESIDE`]), with the host's rights: the host maps its users, holds it, reaps
//!   it. A zygote is used only by the process that made it and as long as that is still who it was ([`likeness`]); else
//!   there is a new one.
//! - The zygote has of the host's descriptors one end of a socket, and the host itself, to end when that ends. What it is
//!   handed for a sandbox it closes as soon as there is one.
//! - It has one thread, allocates nothing, blocks all signals, and says nothing but whom it has split off.
//! - Without a zygote nothing starts. One that has died or does not answer is an error of the start that meets it, and
//!   never asked again. A sandbox that nobody was told of ends by itself, because the host drops its pipe of orders.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::process;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::child::{self, Given};
use super::plan::Plan;
use super::sys::{self, Errno, MAX_FILES};

/// How long a zygote may take to answer. One that takes longer was stopped.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it may take to come up: it lets go of all memory of a host, of about a terabyte in this time.
const BIRTH: Duration = Duration::from_secs(60);
/// Bytes of a request and of an answer.
const REQUEST: usize = 24;
const ANSWER: usize = 16;

/// What a new process is for.
#[derive(Clone, Copy, Debug)]
enum Code {
    /// The init of a sandbox.
    Init = 1,
    /// It ends at once.
    Leave = 2,
    /// It waits to be killed.
    Wait = 3,
}

/// The zygote of a host, which is made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Zygote(Mutex<Option<Alive>>);

impl Zygote {
    /// Splits off a sandbox in new namespaces: its number, and what it is held by. `group` is the folder of a control
    /// group of the unified hierarchy in which it is made.
    pub(super) fn sandbox(&self, plan: &Plan, group: Option<&OwnedFd>) -> io::Result<(i32, OwnedFd)> {
        let bytes = in_memory(&plan.bytes)?;
        let files = group.into_iter().chain([&bytes]).chain(&plan.files);
        let files: Vec<RawFd> = files.map(AsRawFd::as_raw_fd).collect();
        let group = u64::from(group.is_some());
        self.ask(Code::Init, sys::FIRST_NAMESPACES, [plan.bytes.len() as u64, group], &files)
    }

    /// Whether processes can be split off in these namespaces.
    pub(super) fn probe(&self, namespaces: u64) -> io::Result<()> {
        let (_, process) = self.ask(Code::Leave, namespaces, [0, 0], &[])?;
        sys::reap(process.as_fd())
    }

    /// Splits off a process that does nothing but be in these namespaces.
    pub(super) fn idle(&self, namespaces: u64) -> io::Result<(i32, OwnedFd)> {
        self.ask(Code::Wait, namespaces, [0, 0], &[])
    }

    fn ask(
        &self,
        code: Code,
        namespaces: u64,
        [length, group]: [u64; 2],
        files: &[RawFd],
    ) -> io::Result<(i32, OwnedFd)> {
        let likeness = likeness()?;
        let mut request = [0; REQUEST];
        let words = [code as u64 | group << 8, namespaces, length];
        request.as_chunks_mut::<8>().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_ne_bytes());
        // INVARIANT: requests are made under this lock, so that the next answer is that to the last request.
        let mut alive = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut like = alive.take().filter(|alive| alive.likeness == likeness);
        let sent = like.as_ref().is_some_and(|alive| alive.send(&request, files).is_ok());
        if !sent {
            // The old one has died, which no request has met yet, or is not like the host any more.
            drop(like.take());
            let new = Alive::new(likeness)?;
            new.send(&request, files)?;
            like = Some(new);
        }
        let Some(asked) = like else { return Err(gone()) };
        // If there is no answer to be had, the zygote is dropped: nobody would know what its next answer is to.
        let answer = asked.answer(PATIENCE)?;
        *alive = Some(asked);
        let (pid, process) = answer.map_err(io::Error::from_raw_os_error)?;
        Ok((pid, process.ok_or_else(gone)?))
    }
}

fn gone() -> io::Error {
    io::Error::other("the process that splits off sandboxes has ended")
}

/// Bytes as a file that nobody can change any more.
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create("atr-plan", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file.into())
}

/// What of this thread and process a new process of theirs has as well, and may change: rights, namespaces, root, control
/// groups and limits.
fn likeness() -> io::Result<String> {
    const SAME: [&str; 12] = [
        "Umask:",
        "Uid:",
        "Gid:",
        "Groups:",
        "CapInh:",
        "CapPrm:",
        "CapEff:",
        "CapBnd:",
        "CapAmb:",
        "NoNewPrivs:",
        "Seccomp:",
        "Seccomp_filters:",
    ];
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let same = status.lines().filter(|line| SAME.iter().any(|name| line.starts_with(name)));
    let mut likeness: String = same.flat_map(|line| [line, "\n"]).collect();
    for file in ["cgroup", "limits"] {
        likeness += &fs::read_to_string(format!("/proc/thread-self/{file}"))?;
    }
    for namespace in ["user", "mnt", "pid_for_children", "cgroup", "time_for_children"] {
        let link = fs::read_link(format!("/proc/thread-self/ns/{namespace}"))?;
        likeness += &format!("{}\n", link.display());
    }
    let root = fs::metadata("/")?;
    likeness += &format!("{} {} {}", process::id(), root.dev(), root.ino());
    Ok(likeness)
}

/// A zygote that answers.
#[derive(Debug)]
struct Alive {
    owner: u32,
    likeness: String,
    socket: OwnedFd,
    process: OwnedFd,
}

impl Alive {
    fn new(likeness: String) -> io::Result<Self> {
        let (socket, theirs) = sys::pair()?;
        let host = pidfd_open(getpid(), PidfdFlags::empty())?;
        let (_, process) = sys::split_small(serve, [theirs.as_raw_fd(), host.as_raw_fd()])?;
        drop((theirs, host));
        let alive = Self { owner: process::id(), likeness, socket, process };
        match alive.answer(BIRTH)? {
            Ok(_) => Ok(alive),
            Err(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn send(&self, request: &[u8], files: &[RawFd]) -> io::Result<()> {
        sys::send(self.socket.as_raw_fd(), request, files).map_err(io::Error::from_raw_os_error)
    }

    /// Waits for an answer. `Err` is that there is none.
    fn answer(&self, patience: Duration) -> io::Result<Result<(i32, Option<OwnedFd>), Errno>> {
        let socket = self.socket.as_raw_fd();
        let answered = loop {
            match sys::wait_at_most(Some(patience), socket, self.process.as_raw_fd()) {
                Err(libc::EINTR) => {}
                waited => break waited.map_err(io::Error::from_raw_os_error)?,
            }
        };
        if answered == (false, false) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the process that splits off sandboxes is silent",
            ));
        }
        let (mut bytes, mut files) = ([0; ANSWER], [-1; MAX_FILES]);
        let (length, count) =
            sys::receive(socket, &mut bytes, &mut files).map_err(io::Error::from_raw_os_error)?;
        let process = sys::own(files.first().copied().filter(|_| count == 1));
        let words = bytes.as_chunks::<8>().0;
        match words {
            [errno, pid] if length == ANSWER => Ok(match Errno::try_from(u64::from_ne_bytes(*errno)) {
                Ok(0) => Ok((i32::try_from(u64::from_ne_bytes(*pid)).unwrap_or(0), process)),
                Ok(errno) => Err(errno),
                Err(_) => Err(libc::EBADMSG),
            }),
            _ => Err(gone()),
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // A copy of the host has a copy of this, and no zygote.
        if self.owner == process::id() {
            // It fails only if it is dead, and who cannot be reaped has been.
            let _ = pidfd_send_signal(&self.process, Signal::KILL);
            let _ = sys::reap(self.process.as_fd());
        }
    }
}

// --- the zygote itself -----------------------------------------------------------------------------------------------
//
// Everything here runs without an allocator; see `sys`.

/// Serves the host until that ends.
fn serve([socket, host]: &[RawFd; 2]) -> ! {
    match settle(*socket, *host) {
        // The first answer says that there is a zygote.
        Ok((socket, host)) if answer(socket, Ok(0), &[]).is_ok() => while serve_once(socket, host).is_ok() {},
        Ok(_) => {}
        Err(errno) => {
            let _ = answer(*socket, Err(errno), &[]);
        }
    }
    sys::exit(0)
}

/// Lets go of everything of the host's but its rights.
fn settle(socket: RawFd, host: RawFd) -> Result<(RawFd, RawFd), Errno> {
    let (socket, host) = (sys::duplicate_above(socket)?, sys::duplicate_above(host)?);
    let mut keep = [socket, host];
    keep.sort_unstable();
    sys::close_all_but(0, &keep)?;
    // No descriptor for a sandbox may have the number of a standard stream, which it makes its own.
    for standard in 0..3 {
        sys::duplicate(socket, standard)?;
    }
    // Not the terminal's, and not in the way of a file system that is to be unmounted.
    sys::start_session()?;
    sys::enter(c"/")?;
    Ok((socket, host))
}

fn serve_once(socket: RawFd, host: RawFd) -> Result<(), Errno> {
    let asked = match sys::wait_for(socket, host) {
        // It was stopped, and goes on.
        Err(libc::EINTR) => return Ok(()),
        waited => waited?,
    };
    if asked != (true, false) {
        return Err(libc::ESRCH);
    }
    let (mut request, mut files) = ([0; REQUEST], [-1; MAX_FILES]);
    let (length, count) = sys::receive(socket, &mut request, &mut files)?;
    if length != REQUEST {
        return Err(libc::EBADMSG);
    }
    let files = files.get(..count).unwrap_or_default();
    let split = split(&request, files);
    files.iter().for_each(|file| sys::close(*file));
    match split {
        Ok((pid, process)) => {
            let answered = answer(socket, Ok(pid), &[process]);
            sys::close(process);
            answered
        }
        Err(errno) => answer(socket, Err(errno), &[]),
    }
}

fn split(request: &[u8; REQUEST], files: &[RawFd]) -> Result<(i32, RawFd), Errno> {
    let mut words = request.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
    let mut word = || words.next().ok_or(libc::EBADMSG);
    let (what, namespaces, length) = (word()?, word()?, word()?);
    let flags = sys::BESIDE | namespaces;
    if what & 0xff == Code::Leave as u64 {
        return sys::split_raw(flags, None, leave, &());
    }
    if what & 0xff == Code::Wait as u64 {
        return sys::split_raw(flags, None, wait, &());
    }
    let (group, files) = if what >> 8 == 0 {
        (None, files)
    } else {
        let (group, files) = files.split_first().ok_or(libc::EBADMSG)?;
        (Some(*group), files)
    };
    let (plan, files) = files.split_first().ok_or(libc::EBADMSG)?;
    let length = usize::try_from(length).map_err(|_| libc::E2BIG)?;
    sys::split_raw(flags, group, child::init, &Given { plan: *plan, length, files })
}

fn answer(socket: RawFd, split: Result<i32, Errno>, files: &[RawFd]) -> Result<(), Errno> {
    let (pid, errno) = split.map_or_else(|errno| (0, errno), |pid| (pid, 0));
    let mut bytes = [0; ANSWER];
    let words = [errno, pid].map(|number| u64::from(number.unsigned_abs()).to_ne_bytes());
    bytes.as_chunks_mut::<8>().0.iter_mut().zip(words).for_each(|(to, word)| *to = word);
    sys::send(socket, &bytes, files)
}

fn leave((): &()) -> ! {
    sys::exit(0)
}

fn wait((): &()) -> ! {
    let _ = sys::close_all_but(0, &[]);
    loop {
        // Neither is a descriptor, so it waits until it is killed.
        let _ = sys::wait_for(-1, -1);
    }
}
