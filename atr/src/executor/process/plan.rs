//! Everything a sandbox needs, made ready by the host so that the sandbox itself only has to ask the kernel for it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::Command;
use super::child::USER;
use super::handover::{self, Writer};
use super::sys::{self, Inode};
use super::{Host, environment, landlock};
use crate::error::ToolError;
use crate::isolation::{Access, Level, Limits, Permissions, check_folder, is_system};

/// The only folder that every program can write to.
const SCRATCH: &str = "/scratch";
/// Most signals that wait and timers that are set, of all processes of a program together.
const SIGNALS: u64 = 256;
/// The devices that every program has.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];

/// What a sandbox is made by, as it is handed over to it: see [`Handed`](super::handover::Handed).
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) bytes: Vec<u8>,
    /// What the bytes name by its place.
    pub(super) files: Vec<OwnedFd>,
}

/// A file or folder of the host at a place in the new root.
#[derive(Debug)]
struct Bind {
    source: Source,
    /// Relative to the new root.
    target: CString,
    attributes: u64,
}

#[derive(Debug)]
enum Source {
    /// A copy of its mount, which a host with the right to mount makes beforehand; by its place.
    Tree(usize),
    /// Its canonical path, and what has to be found there.
    Path { path: CString, inode: Inode },
}

impl Bind {
    fn write(&self, to: &mut Writer, first: usize) {
        to.text(&self.target);
        to.number(self.attributes);
        match &self.source {
            Source::Tree(place) => {
                to.number(0);
                to.number((first + place) as u64);
            }
            Source::Path { path, inode } => {
                to.number(1);
                to.text(path);
                to.inode(*inode);
            }
        }
    }
}

/// The sandbox's ends of the pipes, and its ways into its control groups.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) streams: [OwnedFd; 3],
    pub(super) status: OwnedFd,
    pub(super) orders: OwnedFd,
    pub(super) groups: Vec<OwnedFd>,
}

impl Plan {
    pub(super) fn new(
        command: &Command,
        permissions: &Permissions,
        limits: &Limits,
        host: &Host,
        ends: Ends,
    ) -> Result<Self, ToolError> {
        let environment = environment::of(command).map_err(unavailable)?;
        let grants = grants(command, permissions)?;
        let mut binds = Binds::new(host.users.as_ref())?;
        for grant in &grants {
            binds.grant(grant)?;
        }
        let rules = binds.rules()?;
        let arguments = [command.program.as_os_str().as_bytes()].into_iter();
        let arguments = arguments.chain(command.args.iter().map(String::as_bytes)).map(text);
        let arguments: Vec<_> = arguments.collect::<Result<_, _>>()?;
        let environment: Vec<_> = environment.into_iter().map(text).collect::<Result<_, _>>()?;
        let mut own_rules = vec![(text(SCRATCH)?, landlock::folder_rights(Access::Write))];
        if permissions.proc {
            own_rules.push((text("/proc")?, landlock::folder_rights(Access::Read)));
        }
        let paths = |paths: &BTreeSet<PathBuf>| -> Result<Vec<CString>, ToolError> {
            paths.iter().map(|path| relative(path)).collect()
        };
        let first = handover::OTHERS + ends.groups.len();
        let mut to = Writer::default();
        to.number(ends.groups.len() as u64);
        to.number(rustix::process::geteuid().is_root().into());
        to.number(permissions.proc.into());
        to.text(&text(format!("size=1m,nr_inodes=8k,mode=755,uid={USER},gid={USER}"))?);
        to.text(&text(format!(
            "size={},nr_inodes=16k,mode=700,uid={USER},gid={USER}",
            limits.scratch_bytes
        ))?);
        to.list(paths(&binds.folders)?.iter(), |to, path| to.text(path));
        to.list(paths(&binds.files)?.iter(), |to, path| to.text(path));
        to.list(binds.devices.iter(), |to, bind| bind.write(to, first));
        to.list(binds.bound.iter(), |to, bind| bind.write(to, first));
        to.list(resources(limits, host.caps_memory()).into_iter(), |to, (resource, soft, hard)| {
            [resource.into(), soft, hard].into_iter().for_each(|number| to.number(number));
        });
        to.list(own_rules.iter(), |to, (path, rights)| {
            to.text(path);
            to.number(*rights);
        });
        to.list(host.filters().iter(), |to, filter| to.filter(filter));
        to.text(&text(command.current_dir.as_os_str().as_bytes())?);
        to.text(&text(command.program.as_os_str().as_bytes())?);
        to.list(arguments.iter(), |to, text| to.text(text));
        to.list(environment.iter(), |to, text| to.text(text));
        let mut files: Vec<OwnedFd> = ends.streams.into_iter().collect();
        files.extend([ends.status, ends.orders, rules]);
        files.extend(ends.groups);
        files.extend(binds.shown);
        Ok(Self { bytes: to.into_bytes(), files })
    }
}

/// One thing that is granted: where, and what is there.
#[derive(Debug)]
struct Grant {
    target: PathBuf,
    source: PathBuf,
    access: Access,
}

impl Grant {
    /// Whether one of two holds the other, and not only at the place where that is granted and hides it.
    fn is_also_in(&self, other: &Self) -> bool {
        let hidden = |inner: &Self, outer: &Self| match inner.source.strip_prefix(&outer.source) {
            Ok(rest) => inner.target != outer.target.join(rest),
            Err(_) => false,
        };
        hidden(self, other) || hidden(other, self)
    }
}

/// The folders that are granted, each after those that hold it, and the program itself.
fn grants(command: &Command, permissions: &Permissions) -> Result<Vec<Grant>, ToolError> {
    permissions.check().map_err(unavailable)?;
    let mut grants = Vec::with_capacity(permissions.folders.len() + 1);
    for folder in &permissions.folders {
        let source = canonical(&folder.path).map_err(|error| cannot_grant(&folder.path, error))?;
        // Whoever could put a link there would choose what is granted. Those of the system are the system's own.
        if source != folder.path && !is_system(&folder.path) {
            let links = io::Error::new(io::ErrorKind::PermissionDenied, "it leads through a symbolic link");
            return Err(cannot_grant(&folder.path, links));
        }
        grants.push(Grant { target: folder.path.clone(), source, access: folder.access });
    }
    let program = &command.program;
    let around = permissions.folders.iter().filter(|folder| program.starts_with(&folder.path));
    let nearest = around.max_by_key(|folder| folder.path.components().count());
    match nearest.map(|folder| folder.access) {
        Some(Access::Execute) => {}
        Some(Access::Write) => return Err(unavailable("the program lies in a folder that it may write to")),
        Some(Access::Read) | None => {
            let source = canonical(program).map_err(|source| ToolError::Spawn { source })?;
            if !source.is_file() {
                let source = io::Error::new(io::ErrorKind::PermissionDenied, "the program is not a file");
                return Err(ToolError::Spawn { source });
            }
            grants.push(Grant { target: program.clone(), source, access: Access::Execute });
        }
    }
    grants.sort_by(|a, b| a.target.cmp(&b.target));
    grants.dedup_by(|a, b| a.target == b.target && a.access == b.access);
    let twice = grants.iter().zip(grants.iter().skip(1)).find(|(a, b)| a.target == b.target);
    if let Some((twice, _)) = twice {
        return Err(unavailable(format!("`{}` is granted in two ways", twice.target.display())));
    }
    let written = grants.iter().filter(|grant| grant.access == Access::Write);
    for written in written {
        let executed = grants.iter().filter(|grant| grant.access == Access::Execute);
        if let Some(executed) = executed.into_iter().find(|executed| written.is_also_in(executed)) {
            let (written, executed) = (written.target.display(), executed.target.display());
            return Err(unavailable(format!(
                "what is written to `{written}` could be executed as `{executed}`"
            )));
        }
    }
    if let Some(grant) = grants.iter().find(|grant| grant.target.starts_with(SCRATCH)) {
        return Err(unavailable(format!("`{}` would hide the scratch folder", grant.target.display())));
    }
    Ok(grants)
}

/// What a path leads to, which must be something that can be granted.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let source = path.canonicalize()?;
    check_folder(&source).map_err(|rule| io::Error::new(io::ErrorKind::PermissionDenied, rule))?;
    Ok(source)
}

/// The new root under construction.
struct Binds<'a> {
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    devices: Vec<Bind>,
    bound: Vec<Bind>,
    granted: Vec<(OwnedFd, Access)>,
    /// What the sandbox binds: trees of mounts, or files that it binds by path.
    ///
    /// INVARIANT: the latter are open until it has bound them, so that no other file can be taken for one of them.
    shown: Vec<OwnedFd>,
    /// By whom what belongs to the host is shown as belonging to the program.
    users: Option<&'a OwnedFd>,
}

impl<'a> Binds<'a> {
    /// With the devices.
    fn new(users: Option<&'a OwnedFd>) -> Result<Self, ToolError> {
        let mut binds = Self {
            folders: ["/dev", "/proc", SCRATCH].map(PathBuf::from).into(),
            files: DEVICES.map(PathBuf::from).into(),
            devices: Vec::new(),
            bound: Vec::new(),
            granted: Vec::new(),
            shown: Vec::new(),
            users,
        };
        for device in DEVICES {
            let path = Path::new(device);
            let file = open(path).map_err(|error| cannot_grant(path, error))?;
            let attributes = sys::READ_ONLY | sys::NO_SUID | sys::NO_EXECUTE;
            let bind = binds.bind(file.as_fd(), path, path, attributes, false)?;
            binds.devices.push(bind);
            binds.granted.push((file, Access::Write));
        }
        Ok(binds)
    }

    fn grant(&mut self, grant: &Grant) -> Result<(), ToolError> {
        let Grant { target, source, access } = grant;
        let file = open(source).map_err(|error| cannot_grant(target, error))?;
        let inode = sys::inode(file.as_raw_fd()).map_err(|errno| cannot_grant(target, system(errno)))?;
        if !inode.is_file && !inode.is_folder {
            return Err(unavailable(format!("`{}` is neither a file nor a folder", target.display())));
        }
        // What lies in a granted folder is there already, and must not be made through links of that folder.
        let around = |bind: &Bind| Path::new("/").join(std::ffi::OsStr::from_bytes(bind.target.as_bytes()));
        if !self.bound.iter().any(|bind| target.starts_with(around(bind))) {
            let above = target.ancestors().skip(1).filter(|path| path.parent().is_some());
            self.folders.extend(above.map(Path::to_owned));
            let place = if inode.is_folder { &mut self.folders } else { &mut self.files };
            place.insert(target.clone());
        }
        let common = sys::NO_SUID | sys::NO_DEVICES;
        let attributes = common
            | match access {
                Access::Execute => sys::READ_ONLY,
                Access::Read => sys::READ_ONLY | sys::NO_EXECUTE,
                Access::Write => sys::NO_EXECUTE,
            };
        let bind = self.bind(file.as_fd(), source, target, attributes, true)?;
        self.bound.push(bind);
        self.granted.push((file, *access));
        Ok(())
    }

    /// Landlock rules for what is bound.
    fn rules(&self) -> Result<OwnedFd, ToolError> {
        let mut granted = self.granted.iter();
        let rules = landlock::Rules::new();
        let rules =
            rules.and_then(|new| granted.try_fold(new, |rules, (file, access)| rules.allow(file, *access)));
        rules.and_then(landlock::Rules::into_fd).map_err(unavailable)
    }

    fn bind(
        &mut self,
        file: BorrowedFd<'_>,
        source: &Path,
        target: &Path,
        attributes: u64,
        mapped: bool,
    ) -> Result<Bind, ToolError> {
        let failed = |errno| cannot_grant(target, system(errno));
        let found = match sys::copy_host_tree(file) {
            Ok(tree) => {
                sys::restrict_tree(tree.as_raw_fd(), attributes).map_err(failed)?;
                if let Some(users) = self.users.filter(|_| mapped) {
                    // Where the file system has no such mapping, the program is a stranger there: it may less.
                    let _ = sys::map_tree(tree.as_fd(), users.as_fd());
                }
                self.shown.push(tree);
                Source::Tree(self.shown.len() - 1)
            }
            // An ordinary user mounts nothing here; the sandbox can.
            Err(libc::EPERM) => {
                let inode = sys::inode(file.as_raw_fd()).map_err(failed)?;
                self.shown.push(file.try_clone_to_owned().map_err(|error| cannot_grant(target, error))?);
                Source::Path { path: text(source.as_os_str().as_bytes())?, inode }
            }
            Err(errno) => return Err(failed(errno)),
        };
        Ok(Bind { source: found, target: relative(target)?, attributes })
    }
}

/// What a program may use, as far as the kernel counts it by process.
fn resources(limits: &Limits, caps_memory: bool) -> Vec<(u32, u64, u64)> {
    let cpu = limits.cpu.as_secs() + u64::from(limits.cpu.subsec_nanos() != 0);
    let same = |resource, limit| (resource, limit, limit);
    let mut resources = vec![
        (libc::RLIMIT_CPU, cpu, cpu + 1),
        same(libc::RLIMIT_FSIZE, limits.scratch_bytes),
        same(libc::RLIMIT_NOFILE, u64::from(limits.open_files)),
        // The init of the sandbox counts too.
        same(libc::RLIMIT_NPROC, u64::from(limits.processes) + 1),
        // Where cores are piped to a program of the host, as on many, zero is no limit; one byte is none at all.
        same(libc::RLIMIT_CORE, 1),
        same(libc::RLIMIT_MEMLOCK, 0),
        same(libc::RLIMIT_MSGQUEUE, 0),
        // Signals that wait and timers: the kernel also counts them against the host's user, who needs some itself.
        same(libc::RLIMIT_SIGPENDING, SIGNALS),
        same(libc::RLIMIT_RTPRIO, 0),
        same(libc::RLIMIT_NICE, 0),
        same(libc::RLIMIT_STACK, 8 << 20),
    ];
    if !caps_memory {
        resources.push(same(libc::RLIMIT_AS, limits.memory_bytes));
    }
    resources
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    sys::open_host_path(&CString::new(path.as_os_str().as_bytes())?)
}

fn relative(path: &Path) -> Result<CString, ToolError> {
    let path = path.strip_prefix("/").map_err(|_| unavailable("a path is not absolute"))?;
    text(path.as_os_str().as_bytes())
}

fn text(bytes: impl Into<Vec<u8>>) -> Result<CString, ToolError> {
    CString::new(bytes).map_err(|_| unavailable("a text holds a NUL"))
}

fn system(errno: sys::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

pub(super) fn unavailable(reason: impl std::fmt::Display) -> ToolError {
    ToolError::unavailable(Level::Process, reason)
}

fn cannot_grant(path: &Path, error: io::Error) -> ToolError {
    unavailable(format!("`{}` cannot be granted: {error}", path.display()))
}
