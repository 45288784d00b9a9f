//! The three streams of a container, between whoever uses it and the connection's own thread.

use std::io;
use std::sync::Arc;

use bollard::container::{AttachContainerResults, LogOutput};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::engine::Engine;

/// How much of one stream waits for its reader. The daemon keeps about a megabyte more, then the program waits.
const BUFFER: usize = 64 << 10;

/// One end of each stream.
pub(super) struct Ends {
    pub(super) stdin: DuplexStream,
    pub(super) stdout: DuplexStream,
    pub(super) stderr: DuplexStream,
}

/// Both ends of three streams.
pub(super) fn pair() -> (Ends, Ends) {
    let [(a, x), (b, y), (c, z)] = [(); 3].map(|()| duplex(BUFFER));
    (Ends { stdin: a, stdout: b, stderr: c }, Ends { stdin: x, stdout: y, stderr: z })
}

/// What moves bytes until the container has ended.
pub(super) struct Pumps {
    stdin: JoinHandle<()>,
    stdout: JoinHandle<()>,
    stderr: JoinHandle<()>,
}

impl Pumps {
    /// Joins the ends to two connections that were attached before the container started. Two, so that a stream which
    /// nobody reads does not hold up the other.
    pub(super) fn start(
        engine: &Arc<Engine>,
        ends: Ends,
        main: AttachContainerResults,
        complaints: AttachContainerResults,
    ) -> Self {
        let Ends { stdin, stdout, stderr } = ends;
        Self {
            stdin: engine.spawn(feed(stdin, main.input)),
            stdout: engine.spawn(deliver(main.output, stdout)),
            stderr: engine.spawn(deliver(complaints.output, stderr)),
        }
    }

    /// Resolves once everything that the container wrote has been handed on.
    pub(super) async fn drained(mut self) {
        // It fails only if the runtime is shutting down.
        let _ = (&mut self.stdout).await;
        let _ = (&mut self.stderr).await;
    }
}

impl Drop for Pumps {
    fn drop(&mut self) {
        // Nothing reads any more. What the container wrote stays for its reader, who may be slow.
        self.stdin.abort();
    }
}

async fn feed(mut from: impl AsyncRead + Unpin, mut into: impl AsyncWrite + Unpin) {
    // A program may end, or close its end, without reading.
    let _ = tokio::io::copy(&mut from, &mut into).await;
    let _ = into.shutdown().await;
}

async fn deliver<E>(mut from: impl Stream<Item = Result<LogOutput, E>> + Unpin, mut into: DuplexStream) {
    while let Some(Ok(LogOutput::StdOut { message } | LogOutput::StdErr { message })) = from.next().await {
        if into.write_all(&message).await.is_err() {
            break;
        }
    }
}

/// An error of the daemon's as one of the system's.
pub(super) fn as_io(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(crate::error::one_line(error, 512))
}
