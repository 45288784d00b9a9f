//! What the host sees from outside of the programs that carry a mark.

use std::fs;
use std::path::Path;

/// Bytes of one page of a guest's memory.
const PAGE: u64 = 64 << 10;
/// Pages that the memory of the first marked guest has.
const FEWEST_PAGES: u32 = 40;

/// What the programs of one world are found by.
#[derive(Clone)]
pub(crate) struct Mark {
    /// An argument of each process.
    pub(crate) name: String,
    world: u32,
}

impl Mark {
    pub(crate) fn new(world: u32) -> Self {
        Self { name: format!("agent-os-test-{}-{world}-", std::process::id()), world }
    }

    /// How large the memory of each guest is, in pages: no other world's are as large.
    pub(crate) fn pages(&self) -> u32 {
        let pages = FEWEST_PAGES + self.world;
        assert!(pages < 1024, "more worlds than a memory of 64 MiB tells apart");
        pages
    }
}

/// Where the host looks for programs.
#[derive(Clone)]
pub(crate) enum Eye {
    /// At the processes of the machine.
    Processes,
    /// At the memory of this process, which guests have theirs in, and at its threads with this name, which run them.
    #[cfg_attr(not(feature = "wasm"), expect(dead_code, reason = "no place has guests"))]
    Guests { threads: String },
}

impl Eye {
    /// How many programs are there.
    pub(crate) fn alive(&self, mark: &Mark) -> usize {
        match self {
            Self::Processes => processes(&mark.name).len(),
            Self::Guests { .. } => memories(u64::from(mark.pages()) * PAGE),
        }
    }

    /// Whether those that are there are all stopped, as the kernel of the machine has it.
    pub(crate) fn all_stopped(&self, mark: &Mark) -> bool {
        let stopped = |process: u32| stat(&process_folder(process)).is_none_or(|(state, _)| state == 'T');
        matches!(self, Self::Processes) && processes(&mark.name).into_iter().all(stopped)
    }

    /// Processor time of all of them, in ticks; of guests, of all that ever ran on these threads.
    pub(crate) fn ticks(&self, mark: &Mark) -> u64 {
        let times =
            |folders: Vec<String>| folders.iter().filter_map(|at| stat(at)).map(|(_, ticks)| ticks).sum();
        match self {
            Self::Processes => times(processes(&mark.name).into_iter().map(process_folder).collect()),
            Self::Guests { threads } => times(threads_called(threads)),
        }
    }

    /// How many ticks the threads that run nothing may use up in a moment: they are woken for other things.
    pub(crate) fn noise(&self) -> u64 {
        if matches!(self, Self::Processes) { 0 } else { 1 }
    }
}

fn process_folder(process: u32) -> String {
    format!("/proc/{process}")
}

/// The processes with this mark in their command line, zombies and the init of a container not among them.
fn processes(mark: &str) -> Vec<u32> {
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| *number != std::process::id())
        .filter(|number| {
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            let mut args = line.split(|byte| *byte == 0);
            let init = args.next().is_some_and(|program| program.ends_with(b"docker-init"));
            !init && args.any(|arg| arg == mark.as_bytes())
        })
        .collect()
}

/// How many pieces of this process's memory are of exactly this size, may be written and are nobody's file.
fn memories(size: u64) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some((from, to)) = fields[0].split_once('-') else { return false };
        let ends = [from, to].map(|end| u64::from_str_radix(end, 16).unwrap());
        fields[1] == "rw-p" && fields[4] == "0" && ends[1] - ends[0] == size
    };
    maps.lines().filter(is_one).count()
}

fn threads_called(name: &str) -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let called =
        |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    tasks.filter(|path| called(path)).map(|path| path.display().to_string()).collect()
}

/// State and processor time of a process or a thread, in ticks.
fn stat(folder: &str) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields[0].chars().next()?, fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?))
}
