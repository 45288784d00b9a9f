//! Whether a tree of processes stands still, where no control group can say so.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

/// Most threads that are looked at. A larger tree does not count as stopped.
const MAX_THREADS: usize = 4096;

/// In which the kernel tells time to programs, whatever it counts in itself.
const TICKS_PER_SECOND: u64 = 100;

/// Whether every thread beneath `init`, which is not looked at itself, stands still.
///
/// It looks twice. One that was woken and stopped again in between has been switched to meanwhile, so two looks that see
/// the same threads, all stopped, with the same number of switches, saw a moment at which none ran; and what does not run
/// wakes nobody.
pub(super) fn is_stopped(init: Pid) -> bool {
    let look = || stopped_threads(init);
    look().is_some_and(|first| look().is_some_and(|second| first == second))
}

/// Each thread with its switches. `None`: one runs, or the tree cannot be seen.
fn stopped_threads(init: Pid) -> Option<Vec<(i32, u64)>> {
    let mut threads = Vec::new();
    let mut processes = children(init.as_raw_nonzero().get())?;
    while let Some(process) = processes.pop() {
        for entry in fs::read_dir(format!("/proc/{process}/task")).ok()? {
            let thread: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            threads.push((thread, switches_of_stopped(process, thread)?));
            if MAX_THREADS < threads.len() {
                return None;
            }
        }
        processes.extend(children(process)?);
    }
    threads.sort_unstable();
    Some(threads)
}

/// Processor time of everything beneath `init`, of what was reaped as well, to a hundredth of a second.
pub(super) fn processor_time(init: Pid) -> Option<Duration> {
    let init = init.as_raw_nonzero().get();
    // Its own time is the host's; what it has reaped is the program's.
    let mut ticks = times(init)?.1;
    let mut processes = children(init)?;
    let mut seen = 0;
    while let Some(process) = processes.pop() {
        seen += 1;
        if MAX_THREADS < seen {
            return None;
        }
        // One that has ended meanwhile is in the time of who reaped it the next time.
        if let Some((own, reaped)) = times(process) {
            ticks = ticks.saturating_add(own).saturating_add(reaped);
            processes.extend(children(process).unwrap_or_default());
        }
    }
    Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND)))
}

/// Processor time of a process and of those it has reaped, in ticks.
fn times(process: i32) -> Option<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let mut next = || times.next().flatten();
    let (user, system) = (next()?, next()?);
    let (reaped_user, reaped_system) = (next()?, next()?);
    Some((user.checked_add(system)?, reaped_user.checked_add(reaped_system)?))
}

fn children(process: i32) -> Option<Vec<i32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let list = fs::read_to_string(entry.ok()?.path().join("children")).ok()?;
        for child in list.split_whitespace() {
            all.push(child.parse().ok()?);
        }
    }
    Some(all)
}

fn switches_of_stopped(process: i32, thread: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let still = field("State:")?.starts_with(['T', 't', 'Z', 'X']);
    let switches = |name| field(name)?.parse::<u64>().ok();
    let all = switches("voluntary_ctxt_switches:")?.checked_add(switches("nonvoluntary_ctxt_switches:")?)?;
    still.then_some(all)
}
