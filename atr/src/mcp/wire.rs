//! JSON-RPC, one message on a line, with bounds on everything a server can make the host hold.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use agent_primitives::json::Value;
use rmcp::RoleClient;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use super::error::Lost;
use crate::context::Stop;

/// Longest line, and so largest message, that a server may send.
pub const MAX_LINE: usize = 16 << 20;
/// Most values in one message. A value costs tens of bytes in memory however short its text is.
const MAX_NODES: usize = 1_000_000;
/// Most messages that wait for a server that does not read.
const MAX_SENDING: usize = 512;
/// Most requests of a server that are not answered yet. Each is a task of the library's, which reads on meanwhile.
const MAX_ASKED: usize = 1024;
/// Most lines of one connection that are no message. Servers print things they should not.
const MAX_JUNK: usize = 1024;
/// Most notifications and empty lines in a row, without an answer or a question between them. They cost nothing but the time
/// to read them, and a server that never stops would take a whole processor.
const MAX_IDLE: usize = 1 << 20;

pub(super) type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub(super) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// What is known of a connection without asking the server.
#[derive(Default)]
pub(super) struct Wire {
    failed: OnceLock<Lost>,
    stop: Stop,
    sending: AtomicUsize,
    asked: AtomicUsize,
    list_changed: AtomicBool,
}

impl Wire {
    /// Ends the connection. The first reason given is kept.
    pub(super) fn fail(&self, lost: Lost) {
        let _ = self.failed.set(lost);
        self.stop.raise();
    }

    /// Why the connection is over, if it is.
    pub(super) fn failure(&self) -> Option<Lost> {
        self.failed.get().cloned()
    }

    /// Resolves when the connection is over.
    pub(super) async fn failed(&self) -> Lost {
        self.stop.raised().await;
        self.failure().unwrap_or_else(|| Lost::new("the connection is closed"))
    }

    /// Whether the server has said since this was last asked that its list of tools has changed.
    pub(super) fn take_list_changed(&self) -> bool {
        self.list_changed.swap(false, Ordering::AcqRel)
    }

    /// Remembers that the list of tools has to be read again.
    pub(super) fn set_list_changed(&self) {
        self.list_changed.store(true, Ordering::Release);
    }

    pub(super) fn is_list_changed(&self) -> bool {
        self.list_changed.load(Ordering::Acquire)
    }
}

/// A place among the messages that wait to be sent.
struct Place(Arc<Wire>);

impl Place {
    fn take(wire: &Arc<Wire>) -> Option<Self> {
        let place = Self(Arc::clone(wire));
        if wire.sending.fetch_add(1, Ordering::AcqRel) < MAX_SENDING {
            return Some(place);
        }
        wire.fail(Lost::new("it does not read what it is sent"));
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The two streams of a connection.
pub(super) struct Lines {
    read: BufReader<Reader>,
    /// What has arrived of the next line. Kept here, since a read may be abandoned and begun anew.
    line: Vec<u8>,
    write: Arc<Mutex<Option<Writer>>>,
    wire: Arc<Wire>,
    junk: usize,
    idle: usize,
}

impl Lines {
    pub(super) fn new(read: Reader, write: Writer, wire: Arc<Wire>) -> Self {
        let (read, write) = (BufReader::new(read), Arc::new(Mutex::new(Some(write))));
        Self { read, line: Vec::new(), write, wire, junk: 0, idle: 0 }
    }

    /// The next message that is the library's to handle.
    async fn next(&mut self) -> Result<RxJsonRpcMessage<RoleClient>, Lost> {
        loop {
            read_line(&mut self.read, &mut self.line).await?;
            let line = std::mem::take(&mut self.line);
            match parse(&line) {
                Parsed::Message(message) => {
                    self.idle = 0;
                    let asks = matches!(*message, JsonRpcMessage::Request(_));
                    if asks && MAX_ASKED <= self.wire.asked.fetch_add(1, Ordering::AcqRel) {
                        return Err(Lost::new("it asks too much"));
                    }
                    return Ok(*message);
                }
                Parsed::ListChanged | Parsed::Dropped if MAX_IDLE <= self.idle => {
                    return Err(Lost::new("it sends notifications without end"));
                }
                Parsed::ListChanged => {
                    self.idle += 1;
                    self.wire.set_list_changed();
                }
                Parsed::Dropped => self.idle += 1,
                Parsed::Junk if self.junk < MAX_JUNK => self.junk += 1,
                Parsed::Junk => return Err(Lost::new("it sends too much that is no message")),
                Parsed::TooManyValues => return Err(Lost::new("it sent a message of too many values")),
            }
        }
    }
}

impl Transport<RoleClient> for Lines {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (write, place) = (Arc::clone(&self.write), Place::take(&self.wire));
        if matches!(item, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_)) {
            let _ = self
                .wire
                .asked
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |asked| asked.checked_sub(1));
        }
        async move {
            let _place = place.ok_or_else(|| io::Error::other("too many messages wait for the server"))?;
            let mut text = serde_json::to_vec(&item)?;
            text.push(b'\n');
            let mut write = write.lock().await;
            let write = write.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            write.write_all(&text).await?;
            write.flush().await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let wire = Arc::clone(&self.wire);
        let next = tokio::select! {
            biased;
            _ = wire.failed() => return None,
            next = self.next() => next,
        };
        next.map_err(|lost| wire.fail(lost)).ok()
    }

    async fn close(&mut self) -> io::Result<()> {
        self.wire.fail(Lost::new("the connection was closed"));
        if let Some(mut write) = self.write.lock().await.take() {
            let _ = write.shutdown().await;
        }
        Ok(())
    }
}

/// Appends to `line` until it ends. Nothing is lost when the future is dropped and begun anew.
async fn read_line(read: &mut BufReader<Reader>, line: &mut Vec<u8>) -> Result<(), Lost> {
    loop {
        let arrived = read.fill_buf().await.map_err(|error| Lost::because("it cannot be read", error))?;
        if arrived.is_empty() {
            return Err(Lost::new("it closed the connection"));
        }
        let (part, ends) = match arrived.iter().position(|byte| *byte == b'\n') {
            Some(end) => (arrived.get(..=end).unwrap_or_default(), true),
            None => (arrived, false),
        };
        if MAX_LINE < line.len() + part.len() {
            return Err(Lost::new("it sent a line that is too long"));
        }
        line.extend_from_slice(part);
        let length = part.len();
        read.consume(length);
        if ends {
            return Ok(());
        }
    }
}

enum Parsed {
    Message(Box<RxJsonRpcMessage<RoleClient>>),
    ListChanged,
    /// A notification that nobody here needs.
    Dropped,
    Junk,
    TooManyValues,
}

fn parse(line: &[u8]) -> Parsed {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Parsed::Dropped;
    }
    if MAX_NODES < nodes_at_most(line) {
        return Parsed::TooManyValues;
    }
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Parsed::Junk };
    let method = value.get("method").and_then(Value::as_str);
    if value.get("id").is_none() && method.is_some_and(|method| method.starts_with("notifications/")) {
        return match method {
            Some("notifications/tools/list_changed") => Parsed::ListChanged,
            _ => Parsed::Dropped,
        };
    }
    serde_json::from_value(value).map_or(Parsed::Junk, |message| Parsed::Message(Box::new(message)))
}

/// How many values a JSON text can have at most: one, and one more for each comma and each bracket outside of strings.
fn nodes_at_most(text: &[u8]) -> usize {
    let (mut nodes, mut quoted, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => nodes += 1,
            _ => {}
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_strings_are_no_values() {
        let cases: [(&str, usize); 6] = [
            ("1", 1),
            ("[1,2,3]", 4),
            (r#"{"a":1,"b":[]}"#, 4),
            (r#""a,b,[c""#, 1),
            (r#"["\",[",1]"#, 3),
            (r#""\\",{"#, 3),
        ];
        for (text, expected) in cases {
            assert_eq!(nodes_at_most(text.as_bytes()), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn notifications_without_end_end_the_connection_and_answers_between_them_do_not() {
        let note = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#.to_owned() + "\n\n";
        let answer = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#.to_owned() + "\n";
        for (text, ends_with) in [(note.clone() + &answer, None), (note.repeat(2), Some("without end"))] {
            let (read, write) = (io::Cursor::new(text.into_bytes()), tokio::io::sink());
            let mut lines = Lines::new(Box::pin(read), Box::pin(write), Arc::default());
            lines.idle = MAX_IDLE - 2;
            match (lines.next().await, ends_with) {
                (Ok(_), None) => assert_eq!(lines.idle, 0),
                (Err(lost), Some(reason)) => assert!(lost.to_string().contains(reason), "{lost}"),
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn notifications_end_here_and_requests_do_not() {
        let is = |text: &str| match parse(text.as_bytes()) {
            Parsed::Message(_) => "message",
            Parsed::ListChanged => "changed",
            Parsed::Dropped => "dropped",
            Parsed::Junk => "junk",
            Parsed::TooManyValues => "too many",
        };
        let cases = [
            (r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#, "changed"),
            (r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}"#, "dropped"),
            (r#"{"jsonrpc":"2.0","method":"notifications/no/such"}"#, "dropped"),
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, "message"),
            (r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{}}"#, "message"),
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, "message"),
            ("Listening on port 80", "junk"),
            (r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#, "junk"),
            ("", "dropped"),
        ];
        for (text, expected) in cases {
            assert_eq!(is(text), expected, "{text}");
        }
    }
}
