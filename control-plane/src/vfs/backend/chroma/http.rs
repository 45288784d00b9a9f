//! Requests to the server, over connections that the requests drive.

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use url::Url;

use super::{ENGINE, StoreError, VfsError};
use crate::vfs::backend::remote::{Link, damaged, drive};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// A connection.
pub(super) type Line = Link<SendRequest<Full<bytes::Bytes>>>;

/// Where the server is.
#[derive(Debug)]
pub(super) struct Server {
    host: String,
    port: u16,
}

/// What came of a request, and the connection if it can be used again.
pub(super) type Done = (Option<Line>, Result<Value, Failure>);

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is nothing of that name.
    Missing,
    /// Anything else.
    Other(VfsError),
}

impl From<Failure> for VfsError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing => damaged("collection"),
            Failure::Other(error) => error,
        }
    }
}

impl Server {
    pub(super) fn parse(address: &str) -> Result<Self, StoreError> {
        let bad = |reason: &str| StoreError::Address { engine: ENGINE, reason: reason.to_owned() };
        let url = Url::parse(address).map_err(|error| bad(&error.to_string()))?;
        let plain = url.path() == "/"
            && url.query().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if url.scheme() != "http" || !plain {
            return Err(bad("it has the form http://host:port"));
        }
        let host = url.host_str().ok_or_else(|| bad("it names no host"))?;
        Ok(Self { host: host.to_owned(), port: url.port_or_known_default().unwrap_or(80) })
    }

    pub(super) async fn connect(&self) -> Result<Line, VfsError> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(server = ?self, %error, "cannot connect to a Chroma server");
            VfsError::Backend
        };
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await.map_err(|error| failed(&error))?;
        // Without it small requests may wait for each other; it is no reason to fail.
        let _ = stream.set_nodelay(true);
        let (client, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let driver = Box::pin(async {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to a Chroma server ended");
            }
        });
        Ok(Link { client, driver })
    }

    /// Sends `body` to `path`; with `None` asks for what is there. A connection that the server closed while it was idle is
    /// made anew; after the request was sent nothing is tried again.
    pub(super) async fn call(&self, line: Option<Line>, path: &str, body: Option<&Value>) -> Done {
        match self.live(line).await {
            Ok(line) => self.send(line, path, body).await,
            Err(error) => (None, Err(Failure::Other(error))),
        }
    }

    async fn live(&self, line: Option<Line>) -> Result<Line, VfsError> {
        if let Some(mut line) = line
            && matches!(drive(&mut line.driver, line.client.ready()).await, Ok(Ok(())))
        {
            return Ok(line);
        }
        self.connect().await
    }

    async fn send(&self, mut line: Line, path: &str, body: Option<&Value>) -> Done {
        let request = Request::builder()
            .method(if body.is_some() { Method::POST } else { Method::GET })
            .uri(path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()));
        let Ok(request) = request else { return (Some(line), Err(Failure::Other(damaged("request")))) };
        let client = &mut line.client;
        let answer = drive(&mut line.driver, async {
            let (head, body) = client.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((head.status, body))
        });
        match answer.await {
            Ok(Ok((status, body))) => (Some(line), read(status, &body)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a Chroma server failed");
                (None, Err(Failure::Other(VfsError::Backend)))
            }
            Err(_) => (None, Err(Failure::Other(VfsError::Backend))),
        }
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|_| Failure::Other(damaged("answer")));
    }
    match status {
        StatusCode::NOT_FOUND => Err(Failure::Missing),
        StatusCode::PAYLOAD_TOO_LARGE => Err(Failure::Other(VfsError::TooLarge)),
        _ => {
            let said: String = String::from_utf8_lossy(body).chars().take(500).collect();
            tracing::warn!(%status, said, "a Chroma server refused");
            Err(Failure::Other(VfsError::Backend))
        }
    }
}
