//! Whether a tree of processes stands still, where no control group can say so.

use std::fs;

use rustix::process::Pid;

/// Most threads that are looked at. A larger tree does not count as stopped.
const MAX_THREADS: usize = 4096;

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
