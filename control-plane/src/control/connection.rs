//! One connection: who it is, and one line after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{Action, Answer, Failure, MAX_LINE, Outcome, Request, VERSION};
use super::{LINE_DEADLINE, MAX_CONNECTIONS, Shared};

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// What came in.
enum Came {
    Line(Vec<u8>),
    TooLong,
    /// The other end has gone, or nothing came in time.
    End,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self { shared, read: BufReader::with_capacity(1024, read), write }
    }

    /// Tells one that is too many so.
    pub(super) async fn turn_away(mut self) {
        let failure =
            Failure::new("AK0954", format!("{MAX_CONNECTIONS} connections are open, as many as are served"));
        let _gone_already = self.say(0, Outcome::Error(failure)).await;
    }

    pub(super) async fn serve(mut self) {
        let peer = self.read.get_ref().as_ref().peer_cred().map(|peer| peer.uid());
        let own = rustix::process::geteuid().as_raw();
        let uid = match peer {
            Ok(uid) if may_speak(own, uid) => uid,
            _ => {
                let failure =
                    Failure::new("AK0955", "only the user that the kernel runs as, and root, are heard here");
                let _gone_already = self.say(0, Outcome::Error(failure)).await;
                return;
            }
        };
        while let Came::Line(line) = self.next().await {
            let answered = match Request::parse(&line) {
                Ok(Request { id, action: Action::Tail { from, agent, follow } }) => {
                    self.tail(id, from, agent.as_deref(), follow).await
                }
                Ok(Request { id, action }) => {
                    let outcome = self.shared.answer(uid, action).await;
                    self.say(id, outcome).await
                }
                Err((id, failure)) => self.say(id, Outcome::Error(failure)).await,
            };
            if answered.is_err() {
                return;
            }
        }
    }

    /// Waits for a line; not beyond the end of the kernel.
    async fn next(&mut self) -> Came {
        let shared = Arc::clone(&self.shared);
        let inner = shared.inner();
        let Self { read, .. } = self;
        let line = within(&shared, LINE_DEADLINE, async {
            tokio::select! {
                biased;
                line = read_line(read) => line,
                () = inner.closing_done() => Ok(Came::End),
            }
        });
        let came = line.await.unwrap_or(Came::End);
        if matches!(came, Came::TooLong) {
            let failure = Failure::new("AK0956", format!("a request has at most {MAX_LINE} bytes"));
            let _gone_already = self.say(0, Outcome::Error(failure)).await;
        }
        came
    }

    /// Writes one line of an answer.
    pub(super) async fn say(&mut self, id: u64, result: Outcome) -> io::Result<()> {
        let answer = Answer { version: VERSION, id, result };
        let mut line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
        line.push(b'\n');
        let shared = Arc::clone(&self.shared);
        within(&shared, LINE_DEADLINE, self.write.write_all(&line)).await
    }
}

/// Whether a user is heard by a kernel that runs as `own`.
fn may_speak(own: u32, peer: u32) -> bool {
    peer == own || peer == 0
}

async fn read_line(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Came> {
    let mut line = Vec::new();
    let read = read.take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).await?;
    Ok(match line.pop() {
        None => Came::End,
        Some(b'\n') => Came::Line(line),
        Some(_) if MAX_LINE < read => Came::TooLong,
        // The other end has gone in the middle of a line.
        Some(_) => Came::End,
    })
}

/// Does something on a connection, unless it takes too long.
async fn within<T>(
    shared: &Shared,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let inner = shared.inner();
    let deadline = inner.monotonic().after(limit);
    let done = inner.until(deadline, work).await;
    done.unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_user_and_root_are_heard() {
        let cases =
            [(1000, 1000, true), (1000, 0, true), (0, 0, true), (1000, 1001, false), (0, 1000, false)];
        for (own, peer, heard) in cases {
            assert_eq!(may_speak(own, peer), heard, "{peer} speaks to {own}");
        }
    }
}
