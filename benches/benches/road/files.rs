//! Files through the road, beside the same bytes in a file of the host's memory.

use std::fs;
use std::sync::Arc;

use agent_control_plane::atr::Effect;
use agent_control_plane::call::{FileRef, Reply, Syscall, WriteTo};
use agent_control_plane::primitives::LabelSet;
use agent_control_plane::vfs::{
    Access, Memory, MemoryBackend, Mount, OpenFlags, Quota, RelPath, VfsPath, Write, WriteMode,
};
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder};
use agent_os_benches::machine;
use agent_os_benches::statistics::{Stopwatch, measure};
use agent_os_benches::table::Table;
use agent_os_benches::workload::ToolCalls;
use anyhow::{anyhow, bail, ensure};
use bytes::Bytes;

use crate::options::Options;
use crate::world::{self, FILE, FILE_BYTES, at_once};
use crate::{print, progress};

/// Where the machine keeps files in memory.
const HOST_MEMORY: &str = "/dev/shm";

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let mut table = Table::of_figures("files of 256 B, recorder in memory, 10 rules");
    let kernel = world::kernel(&ToolCalls::new(10), "deny", Effect::Read, FlightRecorder::memory()?)?;
    let agent = kernel.spawn(AgentSpec::new("bench"))?;
    at_once(agent.syscall(world::write()))??;
    let (read, write) = by_descriptor(&agent)?;
    let rows = [
        ("read by path", world::read()),
        ("read by descriptor", read),
        ("write by path", world::write()),
        ("write by descriptor", write),
    ];
    for (name, call) in rows {
        let figure =
            measure(watch, options.effort(), 1, |_| anyhow::Ok(at_once(agent.syscall(call.clone()))??))?;
        table.figure(name, &figure);
    }
    by_hand(watch, options, &mut table)?;
    print(format!("\n## Files\n\n{table}"))?;
    directories(watch, options)
}

fn by_descriptor(agent: &AgentHandle) -> anyhow::Result<(Syscall, Syscall)> {
    let flags = OpenFlags { read: true, write: true, ..OpenFlags::default() };
    let opened = at_once(agent.syscall(Syscall::Open { path: FILE.to_owned(), flags }))??;
    let Reply::Opened(descriptor) = opened else { bail!("an open answered {opened:?}") };
    let (file, length) = (FileRef::Descriptor(descriptor), FILE_BYTES as u64);
    let read = Syscall::Read { file, offset: Some(0), length, nonblock: false };
    let to = WriteTo::Descriptor { descriptor, offset: Some(0) };
    Ok((read, Syscall::Write { to, data: Bytes::from(vec![b'x'; FILE_BYTES]) }))
}

/// Opening, reading or writing, and closing a file that the host keeps in memory: what stands there without a kernel.
fn by_hand(watch: &Stopwatch, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let Ok(folder) = tempfile::tempdir_in(HOST_MEMORY) else {
        progress(&format!("  no {HOST_MEMORY}: the rows by hand are left out"));
        return Ok(());
    };
    let kind = machine::file_system(folder.path());
    let file = folder.path().join("note");
    let content = [b'x'; FILE_BYTES];
    fs::write(&file, content)?;
    let figure = measure(watch, options.effort(), 1, |_| fs::read(&file).map_err(|error| anyhow!(error)))?;
    table.figure(&format!("by hand: `fs::read` on {kind}"), &figure);
    let figure =
        measure(watch, options.effort(), 1, |_| fs::write(&file, content).map_err(|error| anyhow!(error)))?;
    table.figure(&format!("by hand: `fs::write` on {kind}"), &figure);
    Ok(())
}

/// Listing ten files, in a store that holds nothing else and in one that holds many more.
fn directories(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    const LISTED: usize = 10;
    progress("  directories");
    let mut table = Table::of_figures("reading the listing of a directory of 10 files");
    for others in [0, options.scaled(1_000_000)] {
        let store = Memory::new();
        for number in 0..others {
            put(&store, &format!("other/{}/{number}", number % 1000))?;
        }
        for number in 0..LISTED {
            put(&store, &format!("few/{number}"))?;
        }
        let point = VfsPath::parse("/mem/working")?;
        let mount = Mount::new(point, Arc::new(store), Access::ReadOnly);
        let kernel = world::kernel(&ToolCalls::new(10), "deny", Effect::Read, FlightRecorder::memory()?)?;
        let agent = kernel.spawn(AgentSpec::new("bench").mount(mount))?;
        let file = FileRef::Path("/mem/working/few".to_owned());
        let call = Syscall::Read { file, offset: None, length: 1 << 20, nonblock: false };
        let figure = measure(watch, options.effort(), 1, |_| {
            let Reply::Data { data, .. } = at_once(agent.syscall(call.clone()))?? else {
                bail!("a read answered something else")
            };
            ensure!(data.iter().filter(|byte| **byte == b'\n').count() == LISTED, "not all are listed");
            Ok(())
        })?;
        table.figure(&format!("{others} other files in the store"), &figure);
    }
    print(format!("\n{table}"))
}

fn put(store: &Memory, path: &str) -> anyhow::Result<()> {
    let quota = Quota { bytes: u64::MAX, files: u64::MAX };
    let path = RelPath::parse(path)?;
    let write = Write::new(WriteMode::CreateNew, Bytes::from_static(b"x"), LabelSet::EMPTY, quota);
    at_once(store.write(path, write))??;
    Ok(())
}
