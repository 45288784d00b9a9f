//! The pipes of one agent that is a program: frames in, calls, frames out.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agent_primitives::json::{self, Value};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::agent::AgentHandle;
use crate::call::{BadCall, Reply, Syscall};
use crate::error::CallError;

/// Longest frame, in bytes, without its length.
pub const MAX_FRAME: usize = 1 << 20;
/// Most calls of one program that are under way at once.
pub const MAX_CALLS: usize = 64;

/// How much is read at once.
const CHUNK: usize = 16 << 10;
/// Bytes of a frame's length.
const LENGTH: usize = 4;

/// An answer that is being waited for.
type Answer = Pin<Box<dyn Future<Output = Value> + Send>>;

/// Why no further frame can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A frame of no length.
    Empty,
    /// A frame longer than one may be.
    Long(u32),
    /// An end in the middle of a frame.
    Cut,
    /// What the program was to be given is too long for a frame.
    Input,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a frame of no length"),
            Self::Long(length) => write!(f, "a frame of {length} bytes, more than {MAX_FRAME}"),
            Self::Cut => f.write_str("an end in the middle of a frame"),
            Self::Input => write!(f, "its input takes more than {MAX_FRAME} bytes"),
        }
    }
}

impl Broken {
    pub(super) fn as_bad_call(self) -> BadCall {
        BadCall::new(&self)
    }
}

/// Both pipes, and the calls under way between them.
pub(super) struct Channel<'a> {
    agent: &'a AgentHandle,
    /// `None` once the program does not read any more.
    stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// `None` once the program has closed it.
    stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// What came and is not yet a frame: at most one frame and one chunk.
    arrived: VecDeque<u8>,
    /// What is to go: answers are taken while it holds less than a frame.
    leaving: VecDeque<u8>,
    /// At most [`MAX_CALLS`].
    calls: Vec<Answer>,
}

impl<'a> Channel<'a> {
    pub(super) fn new(
        agent: &'a AgentHandle,
        stdin: Pin<Box<dyn AsyncWrite + Send>>,
        stdout: Pin<Box<dyn AsyncRead + Send>>,
    ) -> Self {
        let (arrived, leaving) = (VecDeque::new(), VecDeque::new());
        Self { agent, stdin: Some(stdin), stdout: Some(stdout), arrived, leaving, calls: Vec::new() }
    }

    /// Puts a frame into what is to go.
    pub(super) fn send(&mut self, frame: &Value) -> Result<(), Broken> {
        let text = frame.to_string();
        if MAX_FRAME < text.len() {
            return Err(Broken::Input);
        }
        let length = u32::try_from(text.len()).map_err(|_| Broken::Input)?;
        if self.stdin.is_some() {
            self.leaving.extend(length.to_be_bytes());
            self.leaving.extend(text.into_bytes());
        }
        Ok(())
    }

    /// Makes the calls that come and answers them. It ends when no frame can be found any more.
    pub(super) async fn talk(&mut self) -> Result<std::convert::Infallible, Broken> {
        poll_fn(|context| {
            loop {
                let wrote = self.write(context);
                let answered = self.answer(context);
                let read = self.read(context).map_err(|broken| Poll::Ready(Err(broken)));
                match read {
                    Err(broken) => return broken,
                    Ok(read) if !(wrote || answered || read) => return Poll::Pending,
                    Ok(_) => {}
                }
            }
        })
        .await
    }

    /// Writes what is to go. `true` when some of it went.
    fn write(&mut self, context: &mut Context<'_>) -> bool {
        let Some(stdin) = &mut self.stdin else { return false };
        let (first, _) = self.leaving.as_slices();
        if first.is_empty() {
            return false;
        }
        match stdin.as_mut().poll_write(context, first) {
            Poll::Pending => false,
            Poll::Ready(Ok(written @ 1..)) => {
                self.leaving.drain(..written);
                true
            }
            // Nobody reads the answers any more; what the program still asks for is done all the same.
            Poll::Ready(_) => {
                self.stdin = None;
                self.leaving.clear();
                true
            }
        }
    }

    /// Takes the answers that are there, as long as there is room for them. `true` when one was.
    fn answer(&mut self, context: &mut Context<'_>) -> bool {
        let mut answered = false;
        let mut at = 0;
        while self.leaving.len() < MAX_FRAME {
            let Some(call) = self.calls.get_mut(at) else { break };
            let Poll::Ready(answer) = call.as_mut().poll(context) else {
                at += 1;
                continue;
            };
            drop(self.calls.swap_remove(at));
            answered = true;
            if self.send(&answer).is_err() {
                let message = format!("the answer takes more than {MAX_FRAME} bytes");
                let error =
                    json!({"code": TOO_LONG, "class": "mistake", "retryable": false, "message": message});
                // It is short.
                let _sent = self.send(&json!({"id": answer.get("id"), "error": error}));
            }
        }
        answered
    }

    /// Reads what comes and begins the calls in it, unless too many are under way. `true` when something was read or begun.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        if MAX_CALLS <= self.calls.len() || MAX_FRAME <= self.leaving.len() {
            return Ok(false);
        }
        if let Some(frame) = self.frame()? {
            self.begin(&frame);
            return Ok(true);
        }
        match self.fill(context) {
            Poll::Pending => Ok(false),
            Poll::Ready(true) => Ok(true),
            Poll::Ready(false) if self.arrived.is_empty() => Ok(false),
            Poll::Ready(false) => Err(Broken::Cut),
        }
    }

    /// Reads once. `false` when nothing will ever come.
    fn fill(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let Some(stdout) = &mut self.stdout else { return Poll::Ready(false) };
        let mut chunk = [0; CHUNK];
        let mut buffer = ReadBuf::new(&mut chunk);
        let read = ready!(stdout.as_mut().poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            self.stdout = None;
            return Poll::Ready(false);
        }
        self.arrived.extend(buffer.filled());
        Poll::Ready(true)
    }

    /// The next frame, if all of it is there.
    fn frame(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let mut head = [0; LENGTH];
        if self.arrived.len() < LENGTH {
            return Ok(None);
        }
        head.iter_mut().zip(&self.arrived).for_each(|(to, from)| *to = *from);
        let length = u32::from_be_bytes(head);
        let size = usize::try_from(length).map_err(|_| Broken::Long(length))?;
        match size {
            0 => Err(Broken::Empty),
            _ if MAX_FRAME < size => Err(Broken::Long(length)),
            _ if self.arrived.len() < LENGTH + size => Ok(None),
            _ => {
                self.arrived.drain(..LENGTH);
                Ok(Some(self.arrived.drain(..size).collect()))
            }
        }
    }

    /// Begins the call in a frame.
    fn begin(&mut self, frame: &[u8]) {
        let agent = self.agent.clone();
        let (id, call) = read_call(frame);
        self.calls.push(Box::pin(async move {
            let answer = match call {
                Ok(call) => agent.syscall(call).await,
                Err(bad) => Err(agent.refuse(bad).await),
            };
            told(id, &answer)
        }));
    }
}

/// Stable code of an answer that no frame holds.
const TOO_LONG: &str = "AK0981";

fn told(id: Option<u64>, answer: &Result<Reply, CallError>) -> Value {
    match answer {
        Ok(reply) => json!({"id": id, "ok": reply.to_json()}),
        Err(error) => json!({"id": id, "error": error.to_json()}),
    }
}

/// Reads `{"id": n, "call": {…}}`; the id also where the call is none.
fn read_call(frame: &[u8]) -> (Option<u64>, Result<Syscall, BadCall>) {
    let limits = json::Limits { bytes: MAX_FRAME, ..json::Limits::DEFAULT };
    let mut frame = match json::parse(frame, &limits) {
        Ok(Value::Object(frame)) => frame,
        Ok(_) => return (None, Err(BadCall::new(&"a frame is an object"))),
        Err(error) => return (None, Err(BadCall::new(&error))),
    };
    let id = frame.remove("id").and_then(|id| id.as_u64());
    let call = frame.remove("call");
    match (id, call) {
        (Some(_), Some(call)) if frame.is_empty() => (id, Syscall::from_value(call)),
        _ => (id, Err(BadCall::new(&"a frame has an `id`, a number, and a `call`, and no other member"))),
    }
}
