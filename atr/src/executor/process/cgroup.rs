//! Control groups: what all processes of a program may use together, and the means to stop and end them together.
//!
//! Nothing is mounted: the groups are made beneath the host's own group, in whatever hierarchies the host has. They are
//! named after the host's process, so what a host leaves behind that was killed is found and removed by the next one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::executor::Usage;
use crate::isolation::Limits;

/// What the name of each group starts with.
const PREFIX: &str = "atr-";
/// Most groups that could not be removed yet. Beyond, no further one is made.
const MAX_LEFT: usize = 64;
/// How often what could not be removed is tried again, and the pause after it, which doubles up to the longest: some
/// twenty seconds in all. A group is busy for as long as the kernel takes to put its last member away.
const REMOVE_ROUNDS: u32 = 200;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How often the members of a group are looked for before it is given up to kill them one by one.
const KILL_ROUNDS: usize = 64;
/// How many processes are held at once while they are killed one by one.
const KILL_BATCH: usize = 64;

/// The controllers of the first version that are of use here.
const USED: [&str; 4] = ["memory", "pids", "cpuacct", "freezer"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// A folder beneath which groups can be made.
#[derive(Clone, Debug)]
struct Parent {
    version: Version,
    path: PathBuf,
    /// What can be limited or counted there, of what is used here.
    controllers: Vec<&'static str>,
}

/// The hierarchies that a host can make groups in.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    parents: Vec<Parent>,
    owner: Owner,
    left: Arc<Mutex<Left>>,
}

/// What could not be removed yet.
#[derive(Debug, Default)]
struct Left {
    groups: Vec<Vec<PathBuf>>,
    /// Whether a thread tries again.
    swept: bool,
}

impl Left {
    /// Tries again. Whether anything is left.
    fn remove(&mut self) -> bool {
        self.groups.retain(|folders| remove(folders).is_err());
        !self.groups.is_empty()
    }
}

impl Cgroups {
    /// Finds out by making a group and removing it, and removes what dead hosts have left. `beneath` is a folder of the
    /// unified hierarchy that was delegated to the host; without it, groups are made beneath the host's own.
    ///
    /// `None`: no group can be made anywhere.
    pub(crate) fn find(beneath: Option<&Path>) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut parents = parents(&mounts, &own);
        if let Some(beneath) = beneath {
            parents.retain(|parent| parent.version == Version::V1);
            parents.push(Parent::new(Version::V2, beneath.to_owned()));
        }
        Self::of(parents)
    }

    fn of(parents: Vec<Parent>) -> Option<Self> {
        let mut found = Self { parents, owner: Owner::own()?, left: Arc::default() };
        found.sweep();
        let name = found.owner.next_name();
        found.parents.retain_mut(|parent| parent.probe(&name));
        let useful = found.parents.iter().any(|parent| !parent.controllers.is_empty());
        useful.then_some(found)
    }

    /// Whether processes can be limited in number, or memory in total, or a program frozen or killed as one:
    /// `pids`, `memory`, `freeze`, `kill`; and whether its processor time is counted: `cpu`.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.parents.iter().any(|parent| parent.controllers.contains(&controller))
    }

    /// The version of the hierarchy that limits memory and processes.
    pub(crate) fn version(&self) -> u8 {
        let limits =
            |parent: &&Parent| parent.controllers.iter().any(|name| ["memory", "pids"].contains(name));
        match self.parents.iter().find(limits).map(|parent| parent.version) {
            Some(Version::V1) => 1,
            Some(Version::V2) | None => 2,
        }
    }

    /// Makes a group with these limits, and one process more than they say: the first one of the namespace is ours.
    ///
    /// # Errors
    /// The kernel refuses, or too many groups could not be removed.
    pub(super) fn create(&self, limits: &Limits) -> io::Result<Cgroup> {
        let mut left = lock(&self.left);
        if left.remove() && MAX_LEFT <= left.groups.len() {
            return Err(io::Error::other("too many groups could not be removed"));
        }
        drop(left);
        let name = self.owner.next_name();
        let mut group = Cgroup { groups: self.clone(), folders: Vec::new() };
        for parent in &self.parents {
            let path = parent.path.join(&name);
            fs::create_dir(&path)?;
            group.folders.push(Folder {
                version: parent.version,
                controllers: parent.controllers.clone(),
                path,
            });
        }
        group.limit(limits)?;
        Ok(group)
    }

    /// Removes the groups of hosts that have died, with whatever is still alive in them.
    fn sweep(&self) {
        for parent in &self.parents {
            let Ok(entries) = fs::read_dir(&parent.path) else { continue };
            for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
                if self.owner.is_of_a_dead_one(&name) {
                    let path = parent.path.join(name);
                    // What cannot be killed or removed now is tried again with the next group.
                    let _ = kill(&path, parent.version);
                    if parent.version == Version::V1 && path.join("freezer.state").exists() {
                        // What the host had stopped dies only once it goes on.
                        let _ = fs::write(path.join("freezer.state"), "THAWED");
                    }
                    let folders = vec![path];
                    if remove(&folders).is_err() {
                        self.leave(folders);
                    }
                }
            }
        }
    }

    /// Sees to it that they are removed: soon, by a thread of its own, or else before the next group is made.
    fn leave(&self, folders: Vec<PathBuf>) {
        let mut left = lock(&self.left);
        left.groups.push(folders);
        if !left.swept {
            let shared = Arc::clone(&self.left);
            let thread = std::thread::Builder::new().name("atr-groups".to_owned());
            // Where there is no thread to be had, the next group comes in its place.
            left.swept = thread.spawn(move || remove_left(&shared)).is_ok();
        }
    }
}

fn remove_left(left: &Mutex<Left>) {
    let mut pause = FIRST_PAUSE;
    for _ in 0..REMOVE_ROUNDS {
        std::thread::park_timeout(pause);
        pause = LONGEST_PAUSE.min(pause.saturating_mul(2));
        let mut left = lock(left);
        if !left.remove() {
            left.swept = false;
            return;
        }
    }
    lock(left).swept = false;
}

fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    // INVARIANT: each change adds or removes whole entries.
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parent {
    fn new(version: Version, path: PathBuf) -> Self {
        Self { version, path, controllers: Vec::new() }
    }

    /// Makes a group, looks at what it has, and removes it. Whether there is anything of use.
    fn probe(&mut self, name: &str) -> bool {
        let path = self.path.join(name);
        if fs::create_dir(&path).is_err() {
            return false;
        }
        let files: &[(&str, &str)] = match self.version {
            Version::V1 => &[
                ("memory", "memory.limit_in_bytes"),
                ("pids", "pids.max"),
                ("cpu", "cpuacct.usage"),
                ("freeze", "freezer.state"),
            ],
            Version::V2 => &[
                ("memory", "memory.max"),
                ("pids", "pids.max"),
                ("cpu", "cpu.stat"),
                ("freeze", "cgroup.freeze"),
                ("kill", "cgroup.kill"),
            ],
        };
        let there = files.iter().filter(|(_, file)| path.join(file).exists());
        self.controllers = there.map(|(controller, _)| *controller).collect();
        fs::remove_dir(&path).is_ok() && !self.controllers.is_empty()
    }
}

/// The host's own group in each hierarchy, as far as it can be seen.
fn parents(mounts: &str, own: &str) -> Vec<Parent> {
    mounts.lines().filter_map(|mount| parent(mount, own)).collect()
}

fn parent(mount: &str, own: &str) -> Option<Parent> {
    let (place, kind) = mount.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let version = match kind.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options: Vec<&str> = kind.nth(1)?.split(',').collect();
    let group = own.lines().find_map(|line| {
        let (names, group) = line.split_once(':')?.1.split_once(':')?;
        let mut names = names.split(',');
        let same = match version {
            Version::V1 => {
                names.clone().all(|name| options.contains(&name)) && names.any(|name| USED.contains(&name))
            }
            Version::V2 => names.eq([""]),
        };
        same.then_some(group)
    })?;
    // A group above the mount cannot be reached, and a path with an escape is not one that this crate would find again.
    let beneath = Path::new(group).strip_prefix(root).ok()?;
    let plain = beneath.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (plain && !point.contains('\\')).then(|| Parent::new(version, Path::new(point).join(beneath)))
}

/// The group of one program, in each hierarchy. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Cgroup {
    groups: Cgroups,
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    version: Version,
    controllers: Vec<&'static str>,
    path: PathBuf,
}

impl Cgroup {
    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let processes = u64::from(limits.processes) + 1;
        if let Some(pids) = self.folder("pids") {
            pids.write("pids.max", processes)?;
        }
        let Some(memory) = self.folder("memory") else { return Ok(()) };
        match memory.version {
            Version::V1 => {
                memory.write("memory.limit_in_bytes", limits.memory_bytes)?;
                if !memory.write_if_there("memory.memsw.limit_in_bytes", limits.memory_bytes)? {
                    memory.write("memory.swappiness", 0)?;
                }
            }
            Version::V2 => {
                memory.write("memory.max", limits.memory_bytes)?;
                memory.write_if_there("memory.swap.max", 0)?;
                memory.write_if_there("memory.oom.group", 1)?;
            }
        }
        Ok(())
    }

    /// Opens the ways in: a folder in which a process can be made, and files to which a process writes `0` to join.
    ///
    /// Moving another process makes the kernel wait until no processor is in the midst of a fork, some 10 ms; neither of
    /// these does.
    pub(super) fn entrances(&self) -> io::Result<(Option<OwnedFd>, Vec<OwnedFd>)> {
        let (mut birth, mut join) = (None, Vec::new());
        for folder in &self.folders {
            match folder.version {
                Version::V2 => birth = Some(fs::File::open(&folder.path)?.into()),
                Version::V1 => {
                    let tasks = fs::OpenOptions::new().write(true).open(folder.path.join("tasks"))?;
                    join.push(tasks.into());
                }
            }
        }
        Ok((birth, join))
    }

    /// Moves a process into the group, and with it what it starts from then on.
    #[cfg(test)]
    pub(super) fn add(&self, pid: Pid) -> io::Result<()> {
        let number = pid.as_raw_nonzero().get().unsigned_abs().into();
        self.folders.iter().try_for_each(|folder| folder.write("cgroup.procs", number))
    }

    /// Asks that no member run any further. It has taken hold once [`Cgroup::is_frozen`].
    pub(super) fn freeze(&self) -> io::Result<()> {
        let folder = self.needed("freeze")?;
        match folder.version {
            Version::V1 => fs::write(folder.path.join("freezer.state"), "FROZEN"),
            Version::V2 => folder.write("cgroup.freeze", 1),
        }
    }

    /// Lets the members go on.
    pub(super) fn thaw(&self) -> io::Result<()> {
        let folder = self.needed("freeze")?;
        match folder.version {
            Version::V1 => fs::write(folder.path.join("freezer.state"), "THAWED"),
            Version::V2 => folder.write("cgroup.freeze", 0),
        }
    }

    /// Whether not one member runs.
    pub(super) fn is_frozen(&self) -> io::Result<bool> {
        let folder = self.needed("freeze")?;
        Ok(match folder.version {
            Version::V1 => folder.read("freezer.state")?.trim_end() == "FROZEN",
            Version::V2 => folder.count("cgroup.events", "frozen") == Some(1),
        })
    }

    /// Kills every member, frozen or not.
    pub(super) fn kill(&self) -> io::Result<()> {
        let folder = self.folder("kill").or_else(|| self.folders.first());
        let killed = folder.map_or(Ok(()), |folder| kill(&folder.path, folder.version));
        // In the first version, a frozen process dies when it is thawed.
        if self.folder("freeze").is_some_and(|folder| folder.version == Version::V1) {
            self.thaw()?;
        }
        killed
    }

    /// What the members have used together. Not measured is `None`.
    pub(super) fn usage(&self) -> Usage {
        let cpu = self.folder("cpu").and_then(|folder| match folder.version {
            Version::V1 => folder.number("cpuacct.usage").map(Duration::from_nanos),
            Version::V2 => folder.count("cpu.stat", "usage_usec").map(Duration::from_micros),
        });
        let peak_memory = self.folder("memory").and_then(|folder| match folder.version {
            Version::V1 => folder.number("memory.max_usage_in_bytes"),
            Version::V2 => folder.number("memory.peak"),
        });
        // The first process of the namespace is ours and is not counted.
        let pids = self.folder("pids").and_then(|folder| folder.number("pids.peak"));
        let peak_processes = pids.and_then(|pids| u32::try_from(pids.saturating_sub(1)).ok());
        Usage { cpu, peak_memory, peak_processes, fuel: None }
    }

    /// Whether the kernel has killed a member because there was no memory left for them.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let kills = self.folder("memory").and_then(|folder| match folder.version {
            Version::V1 => folder.count("memory.oom_control", "oom_kill"),
            Version::V2 => folder.count("memory.events", "oom_kill"),
        });
        kills.is_some_and(|kills| 0 < kills)
    }

    /// Whether a member was refused a further process or thread.
    pub(super) fn ran_out_of_processes(&self) -> bool {
        self.folder("pids")
            .and_then(|folder| folder.count("pids.events", "max"))
            .is_some_and(|times| 0 < times)
    }

    /// Removes the group, which must be empty. May be tried again; dropping it tries again as well, and what is still not
    /// gone then is tried again for a while, and before the next group is made.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        self.folders.retain(|folder| remove(std::slice::from_ref(&folder.path)).is_err());
        if self.folders.is_empty() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::ResourceBusy)) }
    }

    fn folder(&self, controller: &str) -> Option<&Folder> {
        let mut having = self.folders.iter().filter(|folder| folder.controllers.contains(&controller));
        let first = having.next()?;
        // The second version of the freezer lets what is frozen be killed.
        Some(having.find(|folder| folder.version == Version::V2).unwrap_or(first))
    }

    fn needed(&self, controller: &str) -> io::Result<&Folder> {
        self.folder(controller).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.remove().is_err() {
            self.groups.leave(self.folders.drain(..).map(|folder| folder.path).collect());
        }
    }
}

impl Folder {
    fn write(&self, file: &str, value: u64) -> io::Result<()> {
        fs::write(self.path.join(file), value.to_string())
    }

    fn write_if_there(&self, file: &str, value: u64) -> io::Result<bool> {
        match self.write(file, value) {
            Ok(()) => Ok(true),
            Err(_) if !self.path.join(file).exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.path.join(file))
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.read(file).ok()?.trim_end().parse().ok()
    }

    /// The number behind `key`, in a file of one key and one number per line.
    fn count(&self, file: &str, key: &str) -> Option<u64> {
        let text = self.read(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
    }
}

fn remove(folders: &[PathBuf]) -> io::Result<()> {
    folders.iter().try_for_each(|folder| match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// Sends every member of the group at `path` the signal that none survives.
fn kill(path: &Path, version: Version) -> io::Result<()> {
    if version == Version::V2 && fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return Ok(());
    }
    let mut doomed = BTreeSet::new();
    for _ in 0..KILL_ROUNDS {
        // INVARIANT: what is doomed starts no further process, so once no member is new, all are doomed.
        let new: Vec<Pid> =
            members(path)?.into_iter().filter(|pid| !doomed.contains(&pid.as_raw_nonzero())).collect();
        if new.is_empty() {
            return Ok(());
        }
        for batch in new.chunks(KILL_BATCH) {
            let held =
                batch.iter().filter_map(|pid| Some((*pid, pidfd_open(*pid, PidfdFlags::empty()).ok()?)));
            let held: Vec<_> = held.collect();
            // INVARIANT: a number that is a member's after its process is held names no process but a member.
            let still = members(path)?;
            for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
                // It fails only for what is dead already.
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
        doomed.extend(new.into_iter().map(Pid::as_raw_nonzero));
    }
    Err(io::Error::from(io::ErrorKind::TimedOut))
}

fn members(path: &Path) -> io::Result<Vec<Pid>> {
    let text = fs::read_to_string(path.join("cgroup.procs"))?;
    // Who is outside of our pid namespace is listed as 0.
    Ok(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
}

/// A process that makes groups: its number, when it started, and where it has that number.
///
/// No group outlives the kernel, so nothing need be said of which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    namespace: u64,
    pid: u32,
    started: u64,
}

impl Owner {
    fn own() -> Option<Self> {
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        let namespace = namespace.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()?;
        let pid = std::process::id();
        Some(Self { namespace, pid, started: started(pid)? })
    }

    fn next_name(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}{}-{}-{}-{next}", self.namespace, self.pid, self.started)
    }

    fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let (namespace, pid, started) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next()?.parse::<u64>().ok()?;
        let owner = Self {
            namespace: namespace.parse().ok()?,
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        };
        parts.next().is_none().then_some(owner)
    }

    /// Whether the group of this name belongs to a process that would be seen from here, and is not.
    fn is_of_a_dead_one(&self, name: &str) -> bool {
        Self::of_name(name).is_some_and(|owner| {
            owner.namespace == self.namespace && started(owner.pid) != Some(owner.started)
        })
    }
}

/// When the process started, in ticks since the machine did; `None` when it is dead.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if ["Z", "X"].contains(&state) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::thread;

    use super::*;

    /// Held by whoever makes groups: each test counts all of the process's, and looking for groups clears up after dead hosts.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every way to make groups that this machine has: all hierarchies together, and the first version alone.
    fn ways() -> Vec<(&'static str, Cgroups)> {
        let (mounts, own) =
            (fs::read_to_string("/proc/self/mountinfo"), fs::read_to_string("/proc/self/cgroup"));
        let all = parents(&mounts.unwrap(), &own.unwrap());
        let first: Vec<Parent> = all.iter().filter(|parent| parent.version == Version::V1).cloned().collect();
        let mut ways = vec![("all", Cgroups::of(all).unwrap())];
        ways.extend(Cgroups::of(first).map(|groups| ("first version", groups)));
        assert!(
            ways.iter().all(|(_, groups)| groups.has("memory") && groups.has("pids") && groups.has("freeze"))
        );
        ways
    }

    /// A process that does not answer to its standard input before it is a member.
    fn member(group: &Cgroup, script: &str) -> Child {
        let script = format!("read go; {script}");
        let mut child = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        group.add(Pid::from_child(&child)).unwrap();
        io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
        child
    }

    fn until(what: &str, done: impl Fn() -> bool) {
        for _ in 0..200_000 {
            if done() {
                return;
            }
            thread::yield_now();
        }
        panic!("it never happened: {what}");
    }

    /// Groups of this process, wherever it can make some.
    fn made(groups: &Cgroups) -> usize {
        let own = groups.owner.next_name();
        let own = own.rsplit_once('-').unwrap().0;
        let entries = groups.parents.iter().flat_map(|parent| fs::read_dir(&parent.path).unwrap());
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(own)).count()
    }

    #[test]
    fn the_group_is_found_by_mount_and_membership() {
        let mounts = "31 25 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n\
            33 31 0:29 /docker/1 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            34 31 0:30 /elsewhere /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
            35 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            36 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            37 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            38 31 0:34 / /sys/fs/with\\040space rw - cgroup2 cgroup2 rw\n";
        let own =
            "9:name=systemd:/x\n8:pids:/docker/1/a\n6:freezer:/\n4:memory:/a:b\n2:cpu,cpuacct:/\n0::/../up\n";
        let found = |own: &str| -> Vec<String> {
            parents(mounts, own).into_iter().map(|parent| parent.path.to_str().unwrap().to_owned()).collect()
        };
        let first = ["/sys/fs/cgroup/memory/a:b", "/sys/fs/cgroup/pids/a", "/sys/fs/cgroup/cpu,cpuacct/"];
        assert_eq!(found(own), first);
        assert_eq!(found("0::/user.slice\n"), ["/sys/fs/cgroup/unified/user.slice"]);
        assert!(found("garbage\n\n::\n").is_empty());
    }

    #[test]
    fn members_are_limited_counted_stopped_and_killed_together() {
        let _alone = alone();
        for (way, groups) in ways() {
            let limits = Limits { processes: 4, memory_bytes: 32 << 20, ..Limits::DEFAULT };
            let mut group = groups.create(&limits).unwrap();
            // Three that compute, one of them in a session of its own, and the shell itself.
            let mut child = member(
                &group,
                "setsid sh -c 'while :; do :; done' & while :; do :; done & trap '' TERM; while :; do :; done",
            );
            let used = || group.usage().cpu.unwrap();
            until("it computes", || Duration::from_millis(30) < used());
            group.freeze().unwrap();
            until("it is frozen", || group.is_frozen().unwrap());
            let stopped = used();
            for _ in 0..2000 {
                thread::yield_now();
            }
            assert_eq!(used(), stopped, "{way}");
            group.thaw().unwrap();
            until("it goes on", || stopped < used());
            assert!(group.remove().is_err(), "{way}: it has members");

            group.freeze().unwrap();
            group.kill().unwrap();
            child.wait().unwrap();
            until("all are dead", || {
                group.folders.iter().all(|folder| members(&folder.path).unwrap().is_empty())
            });
            assert!(!group.ran_out_of_memory() && !group.ran_out_of_processes(), "{way}");
            drop(group);
            assert_eq!(made(&groups), 0, "{way}");
        }
    }

    #[test]
    fn what_goes_beyond_its_limits_is_told() {
        let _alone = alone();
        for (way, groups) in ways() {
            let limits = Limits { processes: 4, memory_bytes: 32 << 20, ..Limits::DEFAULT };
            let group = groups.create(&limits).unwrap();
            let mut child = member(&group, "head -c 256M /dev/zero | tail -c 256M; exit 0");
            child.wait().unwrap();
            assert!(group.ran_out_of_memory(), "{way}");
            assert!(!group.ran_out_of_processes(), "{way}");
            let peak = group.usage().peak_memory.unwrap();
            assert!((16 << 20..=32 << 20).contains(&peak), "{way}: {peak}");

            let group = groups.create(&limits).unwrap();
            let mut child = member(&group, "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; sleep 60");
            until("it is refused", || group.ran_out_of_processes());
            assert!(members(&group.folders[0].path).unwrap().len() <= 5, "{way}");
            assert!(!group.ran_out_of_memory(), "{way}");
            group.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn what_a_dead_host_left_is_removed_with_what_runs_in_it() {
        let _alone = alone();
        for (way, groups) in ways() {
            let group = groups.create(&Limits::DEFAULT).unwrap();
            let mut child = member(&group, "while :; do :; done");
            // The same name, but of a process that started at another time and so is dead.
            let dead = Owner { started: groups.owner.started - 1, ..groups.owner.clone() };
            let stranger = Owner { namespace: 1, ..dead.clone() };
            let (left, foreign) = (dead.next_name(), stranger.next_name());
            let parent =
                &groups.parents.iter().find(|parent| parent.controllers.contains(&"pids")).unwrap().path;
            for name in [&left, &foreign] {
                fs::create_dir(parent.join(name)).unwrap();
            }
            let orphan = Command::new("/bin/sh").args(["-c", "while :; do :; done"]).spawn();
            let mut orphan = orphan.unwrap();
            fs::write(parent.join(&left).join("cgroup.procs"), orphan.id().to_string()).unwrap();
            // A host that is killed may have stopped its program before.
            let mut folders = vec![parent.join(&left)];
            let freezer = groups.parents.iter().find(|parent| parent.controllers.contains(&"freeze"));
            if let Some(freezer) = freezer.filter(|freezer| freezer.version == Version::V1) {
                let path = freezer.path.join(&left);
                fs::create_dir(&path).unwrap();
                fs::write(path.join("cgroup.procs"), orphan.id().to_string()).unwrap();
                fs::write(path.join("freezer.state"), "FROZEN").unwrap();
                let frozen = || fs::read_to_string(path.join("freezer.state")).unwrap();
                until("it is frozen", || frozen().trim_end() == "FROZEN");
                folders.push(path);
            }

            groups.sweep();
            assert!(!orphan.wait().unwrap().success());
            until("it is removed", || {
                lock(&groups.left).remove();
                folders.iter().all(|folder| !folder.exists())
            });
            assert!(parent.join(&foreign).exists(), "{way}: whoever made it cannot be seen from here");
            assert!(child.try_wait().unwrap().is_none(), "{way}: what is ours goes on");
            fs::remove_dir(parent.join(&foreign)).unwrap();
            group.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_name_that_is_not_ours_is_nobodys() {
        let own = Owner::own().unwrap();
        assert_eq!(Owner::of_name(&own.next_name()).as_ref(), Some(&own));
        assert!(!own.is_of_a_dead_one(&own.next_name()));
        for name in ["atr-", "atr-1-2-3", "atr-1-2-3-4-5", "atr-1-2-3-x", "system.slice", "atr-1--3-4"] {
            assert_eq!(Owner::of_name(name), None, "{name}");
        }
    }
}
