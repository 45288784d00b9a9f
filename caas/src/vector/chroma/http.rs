//! Requests to the server, over connections that the requests themselves move: no task outlives them.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use agent_primitives::Timer;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::ChromaError;
use crate::within::within;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// How often something is asked that a server has no room for at the moment, and how long it is waited before the second time. The
/// wait doubles each time.
const ATTEMPTS: u32 = 3;
const WAIT: Duration = Duration::from_millis(100);

/// Where a token is put in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenHeader {
    /// `Authorization: Bearer …`.
    Authorization,
    /// `X-Chroma-Token: …`.
    XChromaToken,
}

pub(super) struct Server {
    host: String,
    port: u16,
    local: bool,
    /// Marked as a secret, so that nobody prints it.
    token: Option<(HeaderName, HeaderValue)>,
    timer: Arc<dyn Timer>,
    timeout: Duration,
    /// A connection that nobody uses.
    idle: Mutex<Option<Line>>,
}

/// A connection, and what moves its bytes.
struct Line {
    client: SendRequest<Full<Bytes>>,
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Server {
    pub(super) fn parse(address: &str, timer: Arc<dyn Timer>) -> Result<Self, ChromaError> {
        let form = ChromaError::Unusable("its address has the form http://host:port");
        let Ok(url) = Url::parse(address) else { return Err(form) };
        let plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let (Some(host), true, "http") = (url.host(), plain, url.scheme()) else { return Err(form) };
        let local = match &host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let (timeout, idle) = (Duration::from_secs(30), Mutex::new(None));
        Ok(Self { host: host.to_string(), port, local, token: None, timer, timeout, idle })
    }

    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    pub(super) fn set_token(&mut self, header: TokenHeader, token: &str) -> Result<(), ChromaError> {
        if !self.local {
            return Err(ChromaError::Unusable(
                "a token would be read by everyone on the way to another machine",
            ));
        }
        let (name, text) = match header {
            TokenHeader::Authorization => (AUTHORIZATION, format!("Bearer {token}")),
            TokenHeader::XChromaToken => (HeaderName::from_static("x-chroma-token"), token.to_owned()),
        };
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| ChromaError::Unusable("a token has no control characters"))?;
        value.set_sensitive(true);
        self.token = Some((name, value));
        Ok(())
    }

    /// Sends `body` to `path`, or asks for what is there, and again where the server says that it has no room or fails. Nothing that is
    /// asked here does more when it is done twice. `None` where there is nothing of that name.
    pub(super) async fn call(&self, path: &str, body: Option<Vec<u8>>) -> Result<Option<Bytes>, ChromaError> {
        let body = body.map(Bytes::from);
        let mut wait = WAIT;
        for _ in 1..ATTEMPTS {
            match self.attempt(path, body.clone()).await {
                Err(error) if error.is_passing() => {
                    self.timer.sleep_until(self.timer.monotonic().after(wait)).await;
                    wait = wait.saturating_mul(2);
                }
                done => return done,
            }
        }
        self.attempt(path, body).await
    }

    async fn attempt(&self, path: &str, body: Option<Bytes>) -> Result<Option<Bytes>, ChromaError> {
        let work = async {
            let line = self.line().await?;
            self.send(line, path, body).await
        };
        let answer = within(&*self.timer, self.timeout, work).await;
        answer.unwrap_or_else(|| Err(ChromaError::server("did not answer in time")))
    }

    /// A connection that is open, as far as this side knows.
    async fn line(&self) -> Result<Line, ChromaError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut line) = idle
            && matches!(drive(&mut line.driver, line.client.ready()).await, Some(Ok(())))
        {
            return Ok(line);
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let unreachable =
            |error: &dyn fmt::Display| ChromaError::server(format!("cannot be reached: {error}"));
        let stream = TcpStream::connect((host, self.port)).await.map_err(|error| unreachable(&error))?;
        // Without it small requests may wait for each other; it is no reason to fail.
        let _ = stream.set_nodelay(true);
        let (client, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
        // What ends the connection is told by the request that it ends.
        Ok(Line { client, driver: Box::pin(async { drop(connection.await) }) })
    }

    async fn send(
        &self,
        mut line: Line,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Option<Bytes>, ChromaError> {
        let mut request = Request::builder()
            .method(if body.is_some() { Method::POST } else { Method::GET })
            .uri(path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = &self.token {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body.unwrap_or_default())).map_err(ChromaError::server)?;
        let client = &mut line.client;
        let answer = drive(&mut line.driver, async {
            let (head, body) = client.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((head.status, body))
        });
        let (status, body) = match answer.await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(ChromaError::server(format!("broke off: {error}"))),
            None => return Err(ChromaError::server("closed the connection")),
        };
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        match status {
            _ if status.is_success() => Ok(Some(body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => {
                let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                Err(ChromaError::Server {
                    status: Some(status.as_u16()),
                    reason: format!("refused with {status}: {}", said.escape_debug()),
                })
            }
        }
    }
}

/// Does `work` while `driver` moves its bytes; nothing where the connection ends before.
async fn drive<T>(
    driver: &mut Pin<Box<dyn Future<Output = ()> + Send>>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        if driver.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // The last thing that the connection did may have been to deliver the answer.
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, token, .. } = self;
        let token = token.as_ref().map(|(name, _)| name);
        f.debug_struct("Server")
            .field("host", host)
            .field("port", port)
            .field("token", &token)
            .finish_non_exhaustive()
    }
}
