//! One call of a program over its streams: arguments in, exactly one JSON value out.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::session::{Cause, Exit, Order, Session, Usage};
use super::{Finished, Launch};
use crate::Output;
use crate::error::{Stderr, ToolError};
use crate::isolation::{GuaranteeSet, Limits};

/// How long the streams of a program that has ended may stay open before they are given up. What the program itself
/// wrote has long arrived.
const LINGER: Duration = Duration::from_millis(100);
/// How much of standard error is read at once.
const CHUNK: usize = 8 << 10;
/// What is appended to standard error that was longer than its limit.
const CUT: &[u8] = b"\n[cut]";

/// Makes one call on the session that `started` answers.
pub(super) async fn call(
    started: impl Future<Output = Result<Session, ToolError>>,
    launch: Launch,
    arguments: Bytes,
) -> Finished {
    let session = match started.await {
        Ok(session) => session,
        Err(error) => return Finished::new(Err(error), Usage::default(), GuaranteeSet::NONE),
    };
    let Session { stdin, stdout, stderr, control, mut exit, guarantees } = session;
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let limits = &launch.limits;
    let mut streamed = Ok(());
    let ended = {
        let mut streams = pin!(async {
            tokio::try_join!(
                feed(stdin, &arguments),
                read(stdout, limits.output_bytes, &mut answer),
                keep(stderr, limits.stderr_bytes, &mut complaint),
            )
        });
        tokio::select! {
            done = &mut streams => {
                streamed = done.map(drop);
                if streamed.is_err() {
                    control.order(Order::Kill);
                }
                exit.await
            }
            ended = &mut exit => {
                let until = launch.timer.monotonic().after(LINGER);
                tokio::select! {
                    done = &mut streams => streamed = done.map(drop),
                    () = launch.timer.sleep_until(until) => {}
                }
                ended
            }
        }
    };
    let result = streamed.and_then(|()| judge(&ended, &complaint, limits)).and_then(|()| {
        if limits.output_bytes < answer.len() {
            return Err(ToolError::OutputTooLarge { limit: limits.output_bytes });
        }
        Output::parse(&answer, limits.output_bytes)
    });
    Finished::new(result, ended.usage, guarantees)
}

/// What the end of a program means for its call.
pub(super) fn judge(exit: &Exit, complaint: &[u8], limits: &Limits) -> Result<(), ToolError> {
    let stderr = || Stderr::new(complaint);
    Err(match &exit.cause {
        Cause::Code(0) => return Ok(()),
        Cause::Code(code) => ToolError::ExitCode { code: *code, stderr: stderr() },
        Cause::Signal(signal) => ToolError::Crashed { signal: *signal, stderr: stderr() },
        Cause::Killed => ToolError::Killed,
        Cause::Cpu => ToolError::CpuExceeded { limit: limits.cpu },
        Cause::Memory => ToolError::MemoryExceeded { limit: limits.memory_bytes },
        Cause::Processes => ToolError::ProcessesExceeded { limit: limits.processes },
        Cause::Fuel => ToolError::FuelExhausted,
        Cause::Trap(trap) => ToolError::Trapped { trap: trap.clone() },
        Cause::Violation(what) => ToolError::SandboxViolation { what: what.clone() },
        Cause::Lost(reason) => ToolError::Spawn { source: io::Error::other(reason.clone()) },
    })
}

/// Writes the arguments and closes. A program may end, or close its end, without reading them.
async fn feed(mut stdin: Pin<Box<dyn AsyncWrite + Send>>, arguments: &[u8]) -> Result<(), ToolError> {
    match stdin.write_all(arguments).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(lost(error)),
        _ => {}
    }
    // For streams that are not closed by being dropped. That nobody reads any more is no failure of the call.
    let _ = stdin.shutdown().await;
    Ok(())
}

/// Reads the answer up to `limit`.
async fn read(
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    limit: usize,
    into: &mut Vec<u8>,
) -> Result<(), ToolError> {
    stdout.take(limit as u64 + 1).read_to_end(into).await.map_err(lost)?;
    if limit < into.len() {
        return Err(ToolError::OutputTooLarge { limit });
    }
    Ok(())
}

/// Reads all, and keeps the first `limit` bytes: a program must not stop because nobody reads its complaints.
async fn keep(
    mut stderr: Pin<Box<dyn AsyncRead + Send>>,
    limit: usize,
    into: &mut Vec<u8>,
) -> Result<(), ToolError> {
    let mut chunk = vec![0; CHUNK];
    let mut cut = false;
    loop {
        let length = stderr.read(&mut chunk).await.map_err(lost)?;
        if length == 0 {
            return Ok(());
        }
        let room = limit.saturating_sub(into.len());
        into.extend(chunk.iter().take(length.min(room)));
        if room < length && !cut {
            cut = true;
            into.extend_from_slice(CUT);
        }
    }
}

fn lost(source: io::Error) -> ToolError {
    ToolError::Spawn { source }
}
