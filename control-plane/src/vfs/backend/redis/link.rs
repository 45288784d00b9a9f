//! Where the server is, and how to get there.

use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::{StoreError, VfsError};
use crate::vfs::backend::remote::Link;

/// The name of the engine in errors.
const ENGINE: &str = "Redis";

/// A server's address and what it asks of its clients.
pub(super) struct Server(ConnectionInfo);

impl Server {
    pub(super) fn parse(address: &str) -> Result<Self, StoreError> {
        let bad = |reason: String| StoreError::Address { engine: ENGINE, reason };
        let info = address.into_connection_info().map_err(|error| bad(error.to_string()))?;
        match info.addr() {
            ConnectionAddr::Tcp(..) => Ok(Self(info)),
            ConnectionAddr::Unix(_) if cfg!(unix) => Ok(Self(info)),
            _ => Err(bad("only TCP without TLS and Unix sockets are spoken".to_owned())),
        }
    }

    pub(super) async fn connect(&self) -> Result<Link<MultiplexedConnection>, VfsError> {
        let linked = match self.0.addr() {
            ConnectionAddr::Tcp(host, port) => match TcpStream::connect((host.as_str(), *port)).await {
                Ok(stream) => {
                    // Without it small requests may wait for each other; it is no reason to fail.
                    let _ = stream.set_nodelay(true);
                    self.greet(stream).await
                }
                Err(error) => Err(error.into()),
            },
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => self.greet(stream).await,
                Err(error) => Err(error.into()),
            },
            _ => return Err(VfsError::NotSupported),
        };
        linked.map_err(|error| {
            tracing::warn!(server = ?self, %error, "cannot connect to a Redis server");
            VfsError::Backend
        })
    }

    async fn greet<S>(&self, stream: S) -> RedisResult<Link<MultiplexedConnection>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // The deadline is the caller's, so the library's own is off.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let settings = self.0.redis_settings();
        let (client, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
        Ok(Link { client, driver: Box::pin(driver) })
    }
}

impl fmt::Debug for Server {
    /// The address without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.addr())
    }
}
