//! The scripts, and what they answer.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Script, Value};

use super::{VfsError, damaged};
use crate::vfs::backend::remote::{Link, drive};

/// A script, addressed by its digest: the server is sent the text only if it does not know it.
pub(super) struct Source(LazyLock<Script>);

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: Source =
            Source(LazyLock::new(|| Script::new(concat!(include_str!("tree.lua"), include_str!($file)))));
    };
}

script!(READ, "read.lua");
script!(WRITE, "write.lua");
script!(REMOVE, "remove.lua");
script!(LIST, "list.lua");
script!(STAT, "stat.lua");

/// An argument of a script, after the time and the path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Number(u64),
}

/// Why a script gave no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused; the connection is in order.
    Refused(VfsError),
    /// The connection is not to be used again.
    Lost,
}

impl Source {
    pub(super) async fn run(
        &'static self,
        link: &mut Link<MultiplexedConnection>,
        prefix: &str,
        now: i64,
        path: &str,
        rest: &[Arg<'_>],
    ) -> Result<Reply, Failure> {
        let mut call = self.0.key(prefix);
        call.arg(now).arg(path);
        for argument in rest {
            match argument {
                Arg::Text(text) => call.arg(*text),
                Arg::Bytes(bytes) => call.arg(*bytes),
                Arg::Number(number) => call.arg(*number),
            };
        }
        match drive(&mut link.driver, call.invoke_async::<Vec<Value>>(&mut link.client)).await {
            Ok(Ok(values)) => Ok(Reply(values.into_iter())),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => {
                tracing::warn!("the connection to a Redis server ended");
                Err(Failure::Lost)
            }
        }
    }
}

fn failure(error: &redis::RedisError) -> Failure {
    let full = error.code() == Some("OOM") || error.to_string().contains("OOM command not allowed");
    if full {
        return Failure::Refused(VfsError::NoSpace);
    }
    tracing::warn!(%error, "a Redis server failed");
    match error.kind() {
        // It answered, so the connection works.
        ErrorKind::Server(_) => Failure::Refused(VfsError::Backend),
        _ => Failure::Lost,
    }
}

/// What a script answered: a word, and what comes with it, taken one by one.
#[derive(Debug)]
pub(super) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    /// Whether the answer is `word`.
    pub(super) fn says(&self, word: &str) -> bool {
        matches!(self.0.as_slice().first(), Some(Value::BulkString(bytes)) if bytes == word.as_bytes())
    }

    /// What follows `Ok`, or the error that the word stands for.
    pub(super) fn ok(mut self) -> Result<Self, VfsError> {
        match self.text()?.as_str() {
            "Ok" => Ok(self),
            "NotFound" => Err(VfsError::NotFound),
            "IsDirectory" => Err(VfsError::IsDirectory),
            "NotDirectory" => Err(VfsError::NotDirectory),
            "Exists" => Err(VfsError::Exists),
            "Conflict" => Err(VfsError::Conflict),
            "Quota" => Err(VfsError::Quota),
            "TooLarge" => Err(VfsError::TooLarge),
            "TooManyLabels" => Err(VfsError::TooManyLabels),
            "Format" => Err(damaged("format")),
            _ => Err(damaged("content")),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, VfsError> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            _ => Err(damaged("answer")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, VfsError> {
        String::from_utf8(self.bytes()?).map_err(|_| damaged("text"))
    }

    pub(super) fn number(&mut self) -> Result<u64, VfsError> {
        self.text()?.parse().map_err(|_| damaged("number"))
    }
}
