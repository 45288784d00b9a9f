//! Everything a sandbox needs, made ready by the host so that the sandbox itself only has to ask the kernel for it.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libc::sock_filter;

use super::super::Command;
use super::child::USER;
use super::sys::{self, Inode, Vector};
use super::{Host, environment, landlock, users};
use crate::error::ToolError;
use crate::isolation::{Access, Level, Limits, Permissions, check_folder, is_system};

/// The only folder that every program can write to.
const SCRATCH: &str = "/scratch";
/// Most signals that wait and timers that are set, of all processes of a program together.
const SIGNALS: u64 = 256;
/// The devices that every program has.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];

/// What a sandbox is made by. It is read by the sandbox, so it is plain data.
#[derive(Debug)]
pub(super) struct Plan {
    /// The program's ends of its standard streams.
    pub(super) streams: [RawFd; 3],
    /// Where the sandbox reports.
    pub(super) status: RawFd,
    /// Where it is given orders.
    pub(super) orders: RawFd,
    /// Files of control groups to which it writes `0` to join.
    pub(super) groups: Vec<RawFd>,
    /// What stays open in it besides the standard streams, in ascending order.
    pub(super) keep: Vec<RawFd>,
    /// Whether the host may drop its groups.
    pub(super) drop_groups: bool,
    pub(super) root_options: CString,
    pub(super) scratch_options: CString,
    /// Folders and files to be made in the new root, as relative paths.
    pub(super) folders: Vec<CString>,
    pub(super) files: Vec<CString>,
    pub(super) devices: Vec<Bind>,
    pub(super) grants: Vec<Bind>,
    pub(super) proc: bool,
    /// Resource, soft and hard limit.
    pub(super) limits: Vec<(u32, u64, u64)>,
    /// Landlock rules, and what only the sandbox can add to them.
    pub(super) rules: RawFd,
    pub(super) own_rules: Vec<(CString, u64)>,
    /// Programs of the system call filter, in the order in which they are loaded.
    pub(super) filters: &'static [Vec<sock_filter>],
    pub(super) current_dir: CString,
    pub(super) program: CString,
    pub(super) arguments: Vector,
    pub(super) environment: Vector,
    /// Keeps open what is named by number above.
    owned: Vec<OwnedFd>,
}

/// A file or folder of the host at a place in the new root.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) source: Source,
    /// Relative to the new root.
    pub(super) target: CString,
    /// Attributes of the mount.
    pub(super) attributes: u64,
}

#[derive(Debug)]
pub(super) enum Source {
    /// A copy of its mount, which a host with the right to mount makes beforehand.
    Tree(RawFd),
    /// Its canonical path, and what has to be found there.
    Path { path: CString, inode: Inode },
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
        let mut binds = Binds::new()?;
        for grant in &grants {
            binds.grant(grant)?;
        }
        let rules = binds.rules()?;
        let Binds { folders, files, devices, bound, granted, trees: mut owned } = binds;
        owned.extend(granted.into_iter().map(|(file, _)| file));
        let streams = ends.streams.each_ref().map(AsRawFd::as_raw_fd);
        let (status, orders, rules_fd) =
            (ends.status.as_raw_fd(), ends.orders.as_raw_fd(), rules.as_raw_fd());
        let groups = ends.groups.iter().map(AsRawFd::as_raw_fd).collect();
        owned.extend(ends.streams);
        owned.extend(ends.groups);
        owned.extend([ends.status, ends.orders, rules]);
        let trees = devices.iter().chain(&bound).filter_map(|bind| match bind.source {
            Source::Tree(tree) => Some(tree),
            Source::Path { .. } => None,
        });
        let mut keep: Vec<RawFd> = trees.chain([status, orders, rules_fd]).collect();
        keep.sort_unstable();
        if keep.iter().chain(&streams).any(|fd| *fd < 3) {
            return Err(unavailable("a standard stream of the host is closed"));
        }
        let mut own_rules = vec![(text(SCRATCH)?, landlock::folder_rights(Access::Write))];
        if permissions.proc {
            own_rules.push((text("/proc")?, landlock::folder_rights(Access::Read)));
        }
        let arguments = [command.program.as_os_str().as_bytes()].into_iter();
        let arguments = arguments.chain(command.args.iter().map(String::as_bytes)).map(text);
        Ok(Self {
            streams,
            status,
            orders,
            groups,
            keep,
            drop_groups: rustix::process::geteuid().is_root(),
            root_options: text(format!("size=1m,nr_inodes=8k,mode=755,uid={USER},gid={USER}"))?,
            scratch_options: text(format!(
                "size={},nr_inodes=16k,mode=700,uid={USER},gid={USER}",
                limits.scratch_bytes
            ))?,
            folders: folders.iter().map(|path| relative(path)).collect::<Result<_, _>>()?,
            files: files.iter().map(|path| relative(path)).collect::<Result<_, _>>()?,
            devices,
            grants: bound,
            proc: permissions.proc,
            limits: resources(limits, host.caps_memory()),
            rules: rules_fd,
            own_rules,
            filters: host.filters(),
            current_dir: text(command.current_dir.as_os_str().as_bytes())?,
            program: text(command.program.as_os_str().as_bytes())?,
            arguments: Vector::new(arguments.collect::<Result<_, _>>()?),
            environment: Vector::new(environment.into_iter().map(text).collect::<Result<_, _>>()?),
            owned,
        })
    }

    /// Closes the host's copies of what the sandbox has.
    pub(super) fn close(self) {
        drop(self.owned);
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
struct Binds {
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    devices: Vec<Bind>,
    bound: Vec<Bind>,
    /// INVARIANT: open until the sandbox has bound them, so that no other file can be taken for one of them.
    granted: Vec<(OwnedFd, Access)>,
    trees: Vec<OwnedFd>,
}

impl Binds {
    /// With the devices.
    fn new() -> Result<Self, ToolError> {
        let mut binds = Self {
            folders: ["/dev", "/proc", SCRATCH].map(PathBuf::from).into(),
            files: DEVICES.map(PathBuf::from).into(),
            devices: Vec::new(),
            bound: Vec::new(),
            granted: Vec::new(),
            trees: Vec::new(),
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
                if let Some(users) = users::of_host().filter(|_| mapped) {
                    // Where the file system has no such mapping, the program is a stranger there: it may less.
                    let _ = sys::map_tree(tree.as_fd(), users);
                }
                let found = Source::Tree(tree.as_raw_fd());
                self.trees.push(tree);
                found
            }
            // An ordinary user mounts nothing here; the sandbox can.
            Err(libc::EPERM) => {
                let inode = sys::inode(file.as_raw_fd()).map_err(failed)?;
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
