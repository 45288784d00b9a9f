//! What runs between the host and the program: the init of the sandbox, and the program until it is executed.
//!
//! Everything here runs in a process split off a host with many threads, so it makes system calls and does nothing
//! else; see [`sys`].

use std::os::fd::RawFd;

use super::plan::{Bind, Plan, Source};
use super::report::{Report, Stage};
use super::sys::{self, Errno};

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

/// The first process of the sandbox. The kernel kills all others when it ends.
///
/// It is the host's own code, beside the program and out of its reach: in the same namespaces, without capabilities,
/// not dumpable, deaf to signals from inside.
pub(super) fn init(plan: &Plan) -> ! {
    match run(plan) {
        Ok(()) => sys::exit(0),
        Err(failure) => fail(plan, failure),
    }
}

fn fail(plan: &Plan, (stage, errno): (Stage, Errno)) -> ! {
    tell(plan, Report::Failed(stage, errno));
    sys::exit(1)
}

fn tell(plan: &Plan, report: Report) {
    // If the host does not hear it, it is gone or has given up, and this process ends either way.
    let _ = sys::write(plan.status, &report.encode());
}

fn run(plan: &Plan) -> Staged {
    for group in &plan.groups {
        stage(Stage::Group, sys::write(*group, b"0"))?;
    }
    // From here on its own groups are the topmost that it sees: their names tell about the host.
    stage(Stage::Group, sys::hide_groups_above())?;
    stage(Stage::Streams, streams(plan))?;
    tell(plan, Report::Ready);
    if !wait_to_go(plan)? {
        return Ok(());
    }
    user(plan)?;
    mounts(plan)?;
    stage(Stage::Capabilities, sys::drop_capabilities().and_then(|()| sys::forgo_rights()))?;
    let children = stage(Stage::Orders, sys::watch_children())?;
    let program = stage(Stage::Split, sys::split_until_exec(program, plan))?;
    // The program's ends of the pipes are its own now: nobody else keeps them open.
    let mut keep = [plan.status, plan.orders, children];
    keep.sort_unstable();
    stage(Stage::Streams, sys::close_all_but(0, &keep))?;
    tell(plan, Report::Started);
    let status = stage(Stage::Orders, serve(plan, program, children))?;
    if let Some(status) = status {
        sys::kill(-1, libc::SIGKILL);
        while sys::reap_any(true).is_ok() {}
        tell(plan, Report::Ended { status, cpu: sys::used_by_children() });
    }
    Ok(())
}

fn streams(plan: &Plan) -> Result<(), Errno> {
    for (to, from) in plan.streams.into_iter().enumerate() {
        sys::duplicate(from, to as RawFd)?;
    }
    sys::close_all_but(3, &plan.keep)?;
    sys::start_session()
}

/// Waits for the order to go, and as long as the last order is to stop. `false`: there is nothing to go for any more.
fn wait_to_go(plan: &Plan) -> Staged<bool> {
    let (mut go, mut stopped) = (false, false);
    while !go || stopped {
        let mut order = [0];
        if stage(Stage::Orders, sys::read(plan.orders, &mut order))? == 0 {
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

fn user(plan: &Plan) -> Staged {
    if plan.drop_groups {
        stage(Stage::User, sys::drop_groups())?;
    }
    stage(Stage::User, sys::become_user(USER))?;
    stage(Stage::Host, sys::name_host(b"sandbox"))
}

/// Builds a root out of nothing and what is granted, and leaves the host's.
fn mounts(plan: &Plan) -> Staged {
    stage(Stage::Root, sys::make_mounts_private())?;
    // Any folder would do; this one is there on every host. What it showed is not looked at again.
    stage(Stage::Root, sys::mount(c"tmpfs", c"/proc", &plan.root_options))?;
    // What is bound by path is copied before the host's files are out of sight.
    stage(Stage::Root, sys::enter(c"/proc"))?;
    for path in &plan.folders {
        stage(Stage::Root, sys::make_folder(path))?;
    }
    for path in &plan.files {
        stage(Stage::Root, sys::make_file(path))?;
    }
    for device in &plan.devices {
        stage(Stage::Devices, bind(device))?;
    }
    stage(Stage::Scratch, sys::mount(c"tmpfs", c"scratch", &plan.scratch_options))?;
    if plan.proc {
        stage(Stage::Proc, sys::mount(c"proc", c"proc", c"hidepid=invisible,subset=pid"))?;
    }
    for grant in &plan.grants {
        stage(Stage::Grant, bind(grant))?;
    }
    stage(Stage::Pivot, sys::pivot())?;
    stage(Stage::Pivot, sys::close_root())
}

/// Shows a file or folder of the host in the new root, which is the working directory.
fn bind(bind: &Bind) -> Result<(), Errno> {
    let tree = match &bind.source {
        Source::Tree(tree) => *tree,
        Source::Path { path, inode } => {
            let found = sys::open_path(libc::AT_FDCWD, path, 0)?;
            if sys::inode(found)? != *inode {
                // Somebody has put another file there since the host looked.
                return Err(libc::ESTALE);
            }
            let tree = sys::copy_tree(found)?;
            sys::restrict_tree(tree, bind.attributes)?;
            tree
        }
    };
    let target = sys::open_path(libc::AT_FDCWD, &bind.target, libc::RESOLVE_IN_ROOT)?;
    sys::attach(tree, target)
}

/// Passes on orders and reaps orphans until the program has ended; answers its status. `None`: the host is gone.
fn serve(plan: &Plan, program: i32, children: RawFd) -> Result<Option<i32>, Errno> {
    loop {
        let (ordered, ended) = sys::wait_for(plan.orders, children)?;
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
            let length = sys::read(plan.orders, &mut given)?;
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
fn program(plan: &Plan) -> ! {
    match become_program(plan) {
        Ok(never) => match never {},
        Err(failure) => fail(plan, failure),
    }
}

fn become_program(plan: &Plan) -> Staged<std::convert::Infallible> {
    stage(Stage::Limits, sys::start_session())?;
    stage(Stage::Limits, sys::forget_signals())?;
    sys::mask_modes();
    stage(Stage::Folder, sys::enter(&plan.current_dir))?;
    for (path, rights) in &plan.own_rules {
        stage(Stage::Rules, sys::landlock_allow(plan.rules, path, *rights))?;
    }
    stage(Stage::Rules, sys::landlock_restrict(plan.rules))?;
    for (resource, soft, hard) in &plan.limits {
        stage(Stage::Limits, sys::limit(*resource, *soft, *hard))?;
    }
    // Nothing of the host's is left open to the program, whatever happens to a descriptor above.
    stage(Stage::Streams, sys::close_on_exec(3))?;
    for filter in plan.filters {
        stage(Stage::Filter, sys::filter(filter))?;
    }
    Err((Stage::Execute, sys::execute(&plan.program, &plan.arguments, &plan.environment)))
}
