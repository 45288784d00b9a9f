//! What runs between the host and the program: the init of the sandbox, and the program until it is executed.
//!
//! Everything here runs in a process split off a host with many threads, so it makes system calls and does nothing
//! else; see [`sys`].

use std::os::fd::RawFd;

use super::handover::{Bind, Handed, ORDERS, OTHERS, RULES, STATUS, Source};
use super::report::{Report, Stage};
use super::sys::{self, Errno, MAX_FILES, Vector};

/// The user and group that a program has, inside and on a host that is root: nobody.
pub(super) const USER: u32 = 65534;

/// What the host writes to a sandbox, one byte each. The end of the pipe is the end of the host.
pub(super) mod orders {
    pub(in super::super) const GO: u8 = b'g';
    pub(in super::super) const STOP: u8 = b's';
    pub(in super::super) const CONTINUE: u8 = b'c';
    pub(in super::super) const TERMINATE: u8 = b't';
}

type Staged<T = ()> = Result<T, (Stage, Errno)>;

fn stage<T>(stage: Stage, done: Result<T, Errno>) -> Staged<T> {
    done.map_err(|errno| (stage, errno))
}

/// What a new process begins with: the descriptors of a plan, and a file that holds its bytes.
pub(super) struct Given<'a> {
    pub(super) plan: RawFd,
    pub(super) length: usize,
    pub(super) files: &'a [RawFd],
}

/// The first process of the sandbox. The kernel kills all others when it ends.
///
/// It is the host's own code, beside the program and out of its reach: in the same namespaces, without capabilities,
/// not dumpable, deaf to signals from inside.
pub(super) fn init(given: &Given<'_>) -> ! {
    let Some(status) = given.files.get(STATUS).copied() else { sys::exit(1) };
    let read = sys::map(given.plan, given.length).and_then(|bytes| Handed::read(bytes, given.files));
    match stage(Stage::Plan, read).and_then(|plan| run(&plan)) {
        Ok(()) => sys::exit(0),
        Err(failure) => fail(status, failure),
    }
}

fn fail(status: RawFd, (stage, errno): (Stage, Errno)) -> ! {
    tell(status, Report::Failed(stage, errno));
    sys::exit(1)
}

fn tell(status: RawFd, report: Report) {
    // If the host does not hear it, it is gone or has given up, and this process ends either way.
    let _ = sys::write(status, &report.encode());
}

fn run(plan: &Handed<'_>) -> Staged {
    let (status, orders) = stage(Stage::Plan, plan.file(STATUS).and_then(|at| Ok((at, plan.file(ORDERS)?))))?;
    for group in plan.group_files() {
        stage(Stage::Group, sys::write(*group, b"0"))?;
    }
    stage(Stage::Streams, streams(plan))?;
    // Here and not when it was split off: so those of several sandboxes are made at the same time, and its own control groups
    // are the topmost that it sees, whose names would tell about the host.
    stage(Stage::Namespaces, sys::enter_new(sys::OTHER_NAMESPACES))?;
    tell(status, Report::Ready);
    if !wait_to_go(orders)? {
        return Ok(());
    }
    user(plan)?;
    mounts(plan)?;
    stage(Stage::Capabilities, sys::drop_capabilities().and_then(|()| sys::forgo_rights()))?;
    let children = stage(Stage::Orders, sys::watch_children())?;
    let program = stage(Stage::Split, sys::split_until_exec(program, plan))?;
    // The program's ends of the pipes are its own now: nobody else keeps them open.
    let mut keep = [status, orders, children];
    keep.sort_unstable();
    stage(Stage::Streams, sys::close_all_but(0, &keep))?;
    tell(status, Report::Started);
    let ended = stage(Stage::Orders, serve(orders, program, children))?;
    if let Some(ended) = ended {
        sys::kill(-1, libc::SIGKILL);
        while sys::reap_any(true).is_ok() {}
        tell(status, Report::Ended { status: ended, cpu: sys::used_by_children() });
    }
    Ok(())
}

/// Takes the program's streams, and lets go of all but what this process needs.
fn streams(plan: &Handed<'_>) -> Result<(), Errno> {
    for (to, from) in plan.files.iter().take(STATUS).enumerate() {
        sys::duplicate(*from, to as RawFd)?;
    }
    let needed = plan.files.iter().enumerate().filter_map(|(place, file)| {
        let joined = (OTHERS..OTHERS + plan.groups).contains(&place);
        (STATUS <= place && !joined).then_some(*file)
    });
    let mut keep = [RawFd::MAX; MAX_FILES];
    keep.iter_mut().zip(needed).for_each(|(to, from)| *to = from);
    keep.sort_unstable();
    let count = keep.partition_point(|file| *file < RawFd::MAX);
    sys::close_all_but(3, keep.get(..count).unwrap_or_default())?;
    sys::start_session()
}

/// Waits for the order to go, and as long as the last order is to stop. `false`: there is nothing to go for any more.
fn wait_to_go(orders: RawFd) -> Staged<bool> {
    let (mut go, mut stopped) = (false, false);
    while !go || stopped {
        let mut order = [0];
        if stage(Stage::Orders, sys::read(orders, &mut order))? == 0 {
            return Ok(false);
        }
        match order {
            [orders::GO] => go = true,
            [orders::STOP] => stopped = true,
            [orders::CONTINUE] => stopped = false,
            [orders::TERMINATE] => return Ok(false),
            _ => {}
        }
    }
    Ok(true)
}

fn user(plan: &Handed<'_>) -> Staged {
    if plan.drop_groups {
        stage(Stage::User, sys::drop_groups())?;
    }
    stage(Stage::User, sys::become_user(USER))?;
    stage(Stage::Host, sys::name_host(b"sandbox"))
}

/// Builds a root out of nothing and what is granted, and leaves the host's.
fn mounts(plan: &Handed<'_>) -> Staged {
    stage(Stage::Root, sys::make_mounts_private())?;
    // Any folder would do; this one is there on every host. What it showed is not looked at again.
    stage(Stage::Root, sys::mount(c"tmpfs", c"/proc", plan.root_options))?;
    // What is bound by path is copied before the host's files are out of sight.
    stage(Stage::Root, sys::enter(c"/proc"))?;
    for path in plan.new_folders {
        stage(Stage::Root, path.and_then(sys::make_folder))?;
    }
    for path in plan.new_files {
        stage(Stage::Root, path.and_then(sys::make_file))?;
    }
    for device in plan.devices {
        stage(Stage::Devices, device.and_then(|device| bind(plan, device)))?;
    }
    stage(Stage::Scratch, sys::mount(c"tmpfs", c"scratch", plan.scratch_options))?;
    if plan.proc {
        stage(Stage::Proc, sys::mount(c"proc", c"proc", c"hidepid=invisible,subset=pid"))?;
    }
    for grant in plan.grants {
        stage(Stage::Grant, grant.and_then(|grant| bind(plan, grant)))?;
    }
    stage(Stage::Pivot, sys::pivot())?;
    stage(Stage::Pivot, sys::close_root())
}

/// Shows a file or folder of the host in the new root, which is the working directory.
fn bind(plan: &Handed<'_>, bind: Bind<'_>) -> Result<(), Errno> {
    let tree = match bind.source {
        Source::Tree(place) => plan.file(place)?,
        Source::Path { path, inode } => {
            let found = sys::open_path(libc::AT_FDCWD, path, 0)?;
            if sys::inode(found)? != inode {
                // Somebody has put another file there since the host looked.
                return Err(libc::ESTALE);
            }
            let tree = sys::copy_tree(found)?;
            sys::restrict_tree(tree, bind.attributes)?;
            tree
        }
    };
    let target = sys::open_path(libc::AT_FDCWD, bind.target, libc::RESOLVE_IN_ROOT)?;
    sys::attach(tree, target)
}

/// Passes on orders and reaps orphans until the program has ended; answers its status. `None`: the host is gone.
fn serve(orders: RawFd, program: i32, children: RawFd) -> Result<Option<i32>, Errno> {
    loop {
        let (ordered, ended) = sys::wait_for(orders, children)?;
        if ended {
            let mut news = [0; 128];
            sys::read(children, &mut news)?;
            while let Ok(Some((pid, status))) = sys::reap_any(false) {
                if pid == program {
                    return Ok(Some(status));
                }
            }
        }
        if ordered {
            let mut given = [0; 64];
            let length = sys::read(orders, &mut given)?;
            if length == 0 {
                return Ok(None);
            }
            for order in given.iter().take(length) {
                match *order {
                    orders::STOP => sys::kill(-1, libc::SIGSTOP),
                    orders::CONTINUE => sys::kill(-1, libc::SIGCONT),
                    orders::TERMINATE => sys::kill(program, libc::SIGTERM),
                    _ => {}
                }
            }
        }
    }
}

/// The program, until it is executed.
fn program(plan: &Handed<'_>) -> ! {
    let failure = match become_program(plan) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    match plan.file(STATUS) {
        Ok(status) => fail(status, failure),
        Err(_) => sys::exit(1),
    }
}

fn become_program(plan: &Handed<'_>) -> Staged<std::convert::Infallible> {
    stage(Stage::Limits, sys::start_session())?;
    stage(Stage::Limits, sys::forget_signals())?;
    sys::mask_modes();
    stage(Stage::Folder, sys::enter(plan.current_dir))?;
    let rules = stage(Stage::Rules, plan.file(RULES))?;
    for rule in plan.own_rules {
        let allow = |(path, rights)| sys::landlock_allow(rules, path, rights);
        stage(Stage::Rules, rule.and_then(allow))?;
    }
    stage(Stage::Rules, sys::landlock_restrict(rules))?;
    // Before anything is limited: it takes memory.
    let arguments = stage(Stage::Execute, Vector::new(plan.arguments.len(), plan.arguments))?;
    let environment = stage(Stage::Execute, Vector::new(plan.environment.len(), plan.environment))?;
    for limit in plan.limits {
        let limit = limit.and_then(|(resource, soft, hard)| sys::limit(resource, soft, hard));
        stage(Stage::Limits, limit)?;
    }
    // Nothing of the host's is left open to the program, whatever happens to a descriptor above.
    stage(Stage::Streams, sys::close_on_exec(3))?;
    for filter in plan.filters {
        stage(Stage::Filter, filter.and_then(sys::filter))?;
    }
    Err((Stage::Execute, sys::execute(plan.program, &arguments, &environment)))
}
