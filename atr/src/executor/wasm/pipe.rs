//! A standard stream of a guest: bounded, with one end on each side.
//!
//! What the guest writes is in the pipe when the call returns, so nothing is lost when it ends, and no task of the
//! runtime carries anything from one side to the other.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// How much is on its way at most.
pub(super) const CAPACITY: usize = 64 << 10;

#[derive(Debug, Default)]
struct Pipe(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing more will be written.
    closed: bool,
    /// Nobody will read any more.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: no code that can panic runs between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.bytes.len())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        wake(&mut self.reader);
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let most = most.min(self.bytes.len());
        let taken = self.bytes.drain(..most).collect();
        wake(&mut self.writer);
        taken
    }

    fn close(&mut self) {
        self.closed = true;
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// An empty pipe.
pub(super) fn pipe() -> (Writer, Reader) {
    let pipe = Arc::new(Pipe::default());
    (Writer(Arc::new(WriterEnd(Arc::clone(&pipe)))), Reader(Arc::new(ReaderEnd(pipe))))
}

/// What is written to. The pipe is closed with its last clone.
#[derive(Clone, Debug)]
pub(super) struct Writer(Arc<WriterEnd>);

#[derive(Debug)]
struct WriterEnd(Arc<Pipe>);

impl Drop for WriterEnd {
    fn drop(&mut self) {
        self.0.lock().close();
    }
}

/// Closes a pipe without being an end of it.
#[derive(Debug)]
pub(super) struct Closer(Arc<Pipe>);

impl Closer {
    /// Lets nothing more be written. What is on its way arrives.
    pub(super) fn close(&self) {
        self.0.lock().close();
    }
}

/// What is read from. Writing fails once its last clone is gone.
#[derive(Clone, Debug)]
pub(super) struct Reader(Arc<ReaderEnd>);

#[derive(Debug)]
struct ReaderEnd(Arc<Pipe>);

impl Drop for ReaderEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        state.bytes = VecDeque::new();
        wake(&mut state.writer);
    }
}

impl Writer {
    pub(super) fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.0.0))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock()
    }
}

impl Reader {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock()
    }
}

/// The host's side of what a guest reads.
impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.closed || state.abandoned {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let (now, _) = bytes.split_at(state.room().min(bytes.len()));
        if now.is_empty() && !bytes.is_empty() {
            state.writer = Some(task.waker().clone());
            return Poll::Pending;
        }
        state.put(now);
        Poll::Ready(Ok(now.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().close();
        Poll::Ready(Ok(()))
    }
}

/// The host's side of what a guest writes.
impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.bytes.is_empty() && !state.closed {
            state.reader = Some(task.waker().clone());
            return Poll::Pending;
        }
        into.put_slice(&state.take(into.remaining()));
        Poll::Ready(Ok(()))
    }
}

/// The guest's side of what it writes.
#[wasmtime_wasi::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut state = self.lock();
        if state.abandoned {
            return Err(StreamError::Closed);
        }
        if state.room() < bytes.len() {
            return Err(StreamError::trap("more is written than there is room for"));
        }
        state.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let state = self.lock();
        if state.abandoned { Err(StreamError::Closed) } else { Ok(state.room()) }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        poll_fn(|task| {
            let mut state = self.lock();
            if 0 < state.room() || state.abandoned {
                return Poll::Ready(());
            }
            state.writer = Some(task.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The guest's side of what it reads.
#[wasmtime_wasi::async_trait]
impl InputStream for Reader {
    fn read(&mut self, most: usize) -> StreamResult<Bytes> {
        let mut state = self.lock();
        if state.bytes.is_empty() && state.closed {
            return Err(StreamError::Closed);
        }
        Ok(state.take(most).into())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        poll_fn(|task| {
            let mut state = self.lock();
            if !state.bytes.is_empty() || state.closed {
                return Poll::Ready(());
            }
            state.reader = Some(task.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl IsTerminal for Reader {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl IsTerminal for Writer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Reader {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl StdoutStream for Writer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}
