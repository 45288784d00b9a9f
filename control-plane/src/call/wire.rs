//! Calls and what they answer as JSON, for programs that hold no [`AgentHandle`](crate::AgentHandle).
//!
//! | call | members |
//! | --- | --- |
//! | `read` | `path` or `descriptor`; `offset`, `length` (at most and unless said [`MAX_DATA`]), `nonblock` |
//! | `write` | `path` or `descriptor`; `text` or `base64`; with a path `change` (`replace` unless said, `append`, `create_new`, `remove`), `expected` version, `ttl_ms`; with a descriptor `offset` |
//! | `open` | `path`, `flags`: an object of `read`, `write`, `append`, `create`, `exclusive` |
//! | `close` | `descriptor` |
//! | `exec` | `tool`, `arguments`, `deadline_ms` |
//! | `signal` | `to`, `signal`, `reason` |
//! | `mask` | `block`, `unblock`: lists of signals |
//! | `await` | `signals`, `deadline_ms` |
//! | `check_policy` | another call |
//! | `exit` | `code`, `message` |
//!
//! A call is an object with the call's name as its only member, such as `{"exec": {"tool": "echo", "arguments": {}}}`.
//! Members that are not known, and members that are there twice, are refused.

use std::time::Duration;

use agent_primitives::json::{self, Value};
use agent_primitives::{Signal, SignalSet};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{BadCall, Change, FileRef, RawArguments, Reply, Syscall, WriteTo};
use crate::vfs::{Descriptor, OpenFlags, Version};

/// Most bytes that one read answers in this form; a longer one is cut to it.
pub const MAX_DATA: u64 = 256 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Read(Read),
    Write(Write),
    Open {
        path: String,
        flags: OpenFlags,
    },
    Close {
        descriptor: u32,
    },
    Exec {
        tool: String,
        arguments: Value,
        #[serde(default)]
        deadline_ms: Option<u64>,
    },
    Signal {
        to: String,
        signal: Signal,
        #[serde(default)]
        reason: String,
    },
    Mask {
        #[serde(default)]
        block: Vec<Signal>,
        #[serde(default)]
        unblock: Vec<Signal>,
    },
    Await {
        signals: Vec<Signal>,
        deadline_ms: u64,
    },
    CheckPolicy(Box<Wire>),
    Exit {
        code: i32,
        #[serde(default)]
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    path: Option<String>,
    descriptor: Option<u32>,
    offset: Option<u64>,
    length: Option<u64>,
    #[serde(default)]
    nonblock: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    path: Option<String>,
    descriptor: Option<u32>,
    text: Option<String>,
    base64: Option<String>,
    change: Option<WireChange>,
    expected: Option<String>,
    ttl_ms: Option<u64>,
    offset: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireChange {
    Replace,
    Append,
    CreateNew,
    Remove,
}

impl Syscall {
    /// Reads any of the calls from untrusted JSON: see [the module](self).
    ///
    /// # Errors
    /// Text that is no such object, within the limits of [`json::Limits::DEFAULT`].
    pub fn from_json(text: &[u8]) -> Result<Self, BadCall> {
        let value = json::parse(text, &json::Limits::DEFAULT).map_err(|error| BadCall(error.to_string()))?;
        Self::from_value(value)
    }

    /// Reads any of the calls from JSON that was parsed with its limits kept.
    pub(crate) fn from_value(value: Value) -> Result<Self, BadCall> {
        let wire: Wire = serde_json::from_value(value).map_err(|error| BadCall(error.to_string()))?;
        wire.call().map_err(|wrong| BadCall(wrong.to_owned()))
    }
}

impl Wire {
    fn call(self) -> Result<Syscall, &'static str> {
        Ok(match self {
            Self::Read(read) => read.call()?,
            Self::Write(write) => write.call()?,
            Self::Open { path, flags } => Syscall::Open { path, flags },
            Self::Close { descriptor } => Syscall::Close { descriptor: Descriptor::from_raw(descriptor) },
            Self::Exec { tool, arguments, deadline_ms } => Syscall::Exec {
                tool,
                arguments: RawArguments::Value(arguments),
                deadline: deadline_ms.map(Duration::from_millis),
            },
            Self::Signal { to, signal, reason } => Syscall::Signal { to, signal, reason },
            Self::Mask { block, unblock } => {
                Syscall::Mask { block: SignalSet::from_iter(block), unblock: SignalSet::from_iter(unblock) }
            }
            Self::Await { signals, deadline_ms } => Syscall::Await {
                set: SignalSet::from_iter(signals),
                deadline: Duration::from_millis(deadline_ms),
            },
            Self::CheckPolicy(call) => Syscall::CheckPolicy(Box::new(call.call()?)),
            Self::Exit { code, message } => Syscall::Exit { code, message },
        })
    }
}

impl Read {
    fn call(self) -> Result<Syscall, &'static str> {
        let Self { path, descriptor, offset, length, nonblock } = self;
        let file = match (path, descriptor) {
            (Some(path), None) => FileRef::Path(path),
            (None, Some(descriptor)) => FileRef::Descriptor(Descriptor::from_raw(descriptor)),
            _ => return Err("a read takes either `path` or `descriptor`"),
        };
        Ok(Syscall::Read { file, offset, length: length.unwrap_or(MAX_DATA).min(MAX_DATA), nonblock })
    }
}

impl Write {
    fn call(self) -> Result<Syscall, &'static str> {
        let Self { path, descriptor, text, base64, change, expected, ttl_ms, offset } = self;
        let data = match (text, base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => STANDARD.decode(text).map_err(|_| "`base64` is none")?.into(),
            (None, None) if matches!(change, Some(WireChange::Remove)) => Bytes::new(),
            _ => return Err("a write takes either `text` or `base64`"),
        };
        let to = match (path, descriptor) {
            (Some(path), None) if offset.is_none() => WriteTo::Path {
                path,
                change: match change {
                    None | Some(WireChange::Replace) => Change::Replace,
                    Some(WireChange::Append) => Change::Append,
                    Some(WireChange::CreateNew) => Change::CreateNew,
                    Some(WireChange::Remove) => Change::Remove,
                },
                expected: expected
                    .map(|version| version.parse().map(Version::from_u128))
                    .transpose()
                    .map_err(|_| "`expected` is no version")?,
                ttl: ttl_ms.map(Duration::from_millis),
            },
            (None, Some(descriptor)) if change.is_none() && expected.is_none() && ttl_ms.is_none() => {
                WriteTo::Descriptor { descriptor: Descriptor::from_raw(descriptor), offset }
            }
            _ => return Err("a write takes either `path`, or `descriptor` with `offset` at most"),
        };
        Ok(Syscall::Write { to, data })
    }
}

impl Reply {
    /// The reply as a JSON object, to which members may be added: what was read as `text` where it is plain text and else as
    /// `base64`, with its `version` and `labels`; what a tool answered as `output`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let version = |version: &Option<Version>| version.map(|version| version.as_u128().to_string());
        match self {
            Self::Data { data, version: at, labels } => {
                let (kind, data) = match plain(data) {
                    Some(text) => ("text", text.to_owned()),
                    None => ("base64", STANDARD.encode(data)),
                };
                json!({kind: data, "version": version(at), "labels": labels})
            }
            Self::Written { bytes, version: at } => json!({"bytes": bytes, "version": version(at)}),
            Self::Opened(descriptor) => json!({"descriptor": descriptor.as_raw()}),
            Self::Output { output, labels, call } => {
                json!({"output": output.value(), "labels": labels, "call": call})
            }
            Self::Signal(notice) => json!({"signal": notice.signal, "from": notice.from.to_string(),
                "reason": notice.reason, "raised": notice.raised.to_string(), "labels": notice.labels}),
            Self::Decision(decision) => json!({"verdict": decision.verdict().to_string(),
                "rules": decision.rules().collect::<Vec<_>>()}),
            Self::Done => json!({}),
        }
    }
}

/// The bytes as text that JSON makes at most twice as long.
fn plain(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    let fits = |symbol: char| !symbol.is_control() || matches!(symbol, '\n' | '\r' | '\t');
    text.chars().all(fits).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_json() {
        let cases = [
            (
                r#"{"read": {"path": "/mem/a"}}"#,
                "Read { file: Path(\"/mem/a\"), offset: None, length: 262144, nonblock: false }",
            ),
            (
                r#"{"read": {"descriptor": 3, "offset": 7, "length": 99999999999}}"#,
                "Read { file: Descriptor(Descriptor(3)), offset: Some(7), length: 262144, nonblock: false }",
            ),
            (
                r#"{"write": {"path": "/a", "base64": "aGk=", "change": "append", "ttl_ms": 5}}"#,
                "Write { to: Path { path: \"/a\", change: Append, expected: None, ttl: Some(5ms) }, data: b\"hi\" }",
            ),
            (
                r#"{"write": {"path": "/a", "change": "remove", "expected": "12"}}"#,
                "Write { to: Path { path: \"/a\", change: Remove, expected: Some(Version(12)), ttl: None }, data: b\"\" }",
            ),
            (
                r#"{"write": {"descriptor": 3, "text": "hi", "offset": 1}}"#,
                "Write { to: Descriptor { descriptor: Descriptor(3), offset: Some(1) }, data: b\"hi\" }",
            ),
            (r#"{"close": {"descriptor": 4}}"#, "Close { descriptor: Descriptor(4) }"),
            (
                r#"{"exec": {"tool": "echo", "arguments": {"a": 1}, "deadline_ms": 20}}"#,
                "Exec { tool: \"echo\", arguments: Value(Object {\"a\": Number(1)}), deadline: Some(20ms) }",
            ),
            (
                r#"{"signal": {"to": "b", "signal": "SIGUSR1"}}"#,
                "Signal { to: \"b\", signal: Usr1, reason: \"\" }",
            ),
            (r#"{"check_policy": {"exit": {"code": 3}}}"#, "CheckPolicy(Exit { code: 3, message: \"\" })"),
        ];
        for (text, call) in cases {
            assert_eq!(format!("{:?}", Syscall::from_json(text.as_bytes()).unwrap()), call, "{text}");
        }
        let call = Syscall::from_json(br#"{"await": {"signals": ["SIGTERM"], "deadline_ms": 1}}"#).unwrap();
        assert!(matches!(call, Syscall::Await { set, .. } if set.contains(Signal::Term)));
    }

    #[test]
    fn what_is_no_call_is_refused_whole() {
        let cases = [
            "",
            "[]",
            "{}",
            r#"{"reed": {"path": "/a"}}"#,
            r#"{"read": {}}"#,
            r#"{"read": {"path": "/a", "descriptor": 3}}"#,
            r#"{"read": {"path": "/a", "length": -1}}"#,
            r#"{"read": {"path": "/a", "path": "/b"}}"#,
            r#"{"read": {"path": "/a", "sudo": true}}"#,
            r#"{"read": {"path": "/a"}, "exit": {"code": 0}}"#,
            r#"{"write": {"path": "/a"}}"#,
            r#"{"write": {"path": "/a", "text": "x", "base64": "eA=="}}"#,
            r#"{"write": {"path": "/a", "base64": "?"}}"#,
            r#"{"write": {"path": "/a", "text": "x", "offset": 3}}"#,
            r#"{"write": {"descriptor": 3, "text": "x", "change": "append"}}"#,
            r#"{"write": {"path": "/a", "text": "x", "expected": "latest"}}"#,
            r#"{"open": {"path": "/a", "flags": {"sudo": true}}}"#,
            r#"{"close": {"descriptor": 4294967296}}"#,
            r#"{"exec": {"tool": "echo"}}"#,
            r#"{"signal": {"to": "b", "signal": 9}}"#,
            r#"{"await": {"signals": ["SIGHUP"], "deadline_ms": 1}}"#,
            r#"{"exit": {"code": 0}} {}"#,
        ];
        for text in cases {
            assert!(Syscall::from_json(text.as_bytes()).is_err(), "{text}");
        }
        let nested = "{\"check_policy\":".repeat(100);
        assert!(Syscall::from_json(nested.as_bytes()).is_err());
    }

    #[test]
    fn data_is_text_where_it_is_plain() {
        let reply = |data: &'static [u8]| Reply::Data {
            data: Bytes::from_static(data),
            version: Some(Version::from_u128(u128::MAX)),
            labels: agent_primitives::LabelSet::EMPTY,
        };
        let told = reply("dé\n".as_bytes()).to_json();
        assert_eq!((&told["text"], &told["version"]), (&json!("dé\n"), &json!(u128::MAX.to_string())));
        for data in [b"\xff".as_slice(), b"a\0"] {
            let told = reply(data).to_json();
            assert!(told.get("text").is_none());
            assert_eq!(STANDARD.decode(told["base64"].as_str().unwrap()).unwrap(), data);
        }
    }
}
