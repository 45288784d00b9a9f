//! Connections to a server, moved by whoever uses them.
//!
//! A client library hands out a client and a future that moves its bytes, and expects the future to be spawned. Here nothing
//! is: the operation that uses a connection polls that future beside its own work, so no task outlives an operation, and
//! dropping one in the middle closes its connection. Between operations nobody looks at a connection; that the server went
//! away shows at the next use.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{MAX_CONNECTIONS, VfsError};

/// Moves the bytes of one connection; ends when the connection does.
pub(in crate::vfs::backend) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A client and what drives it.
pub(in crate::vfs::backend) struct Link<C> {
    pub(in crate::vfs::backend) client: C,
    pub(in crate::vfs::backend) driver: Driver,
}

/// The connection ended before the work did.
#[derive(Clone, Copy, Debug)]
pub(in crate::vfs::backend) struct Lost;

/// Does `work` while `driver` moves its bytes.
pub(in crate::vfs::backend) async fn drive<T>(
    driver: &mut Driver,
    work: impl Future<Output = T>,
) -> Result<T, Lost> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        if driver.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // The last thing the connection did may have been to deliver the answer.
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => Poll::Ready(Err(Lost)),
        }
    })
    .await
}

/// Connections of one store that nobody uses at the moment.
///
/// INVARIANT: at most [`MAX_CONNECTIONS`] are idle or in use.
pub(in crate::vfs::backend) struct Pool<C> {
    places: Semaphore,
    idle: Mutex<Vec<Link<C>>>,
}

/// A connection in use. It is closed when this is dropped, unless it was given back.
pub(in crate::vfs::backend) struct Lease<'a, C> {
    pub(in crate::vfs::backend) link: Link<C>,
    place: Place<'a, C>,
}

/// The right to have a connection.
pub(in crate::vfs::backend) struct Place<'a, C> {
    pool: &'a Pool<C>,
    _permit: SemaphorePermit<'a>,
}

impl<C> Pool<C> {
    pub(in crate::vfs::backend) fn new() -> Self {
        Self { places: Semaphore::new(MAX_CONNECTIONS), idle: Mutex::new(Vec::new()) }
    }

    /// An idle connection, or the one that `connect` makes. Waits while all are in use.
    pub(in crate::vfs::backend) async fn lease<'a>(
        &'a self,
        connect: impl Future<Output = Result<Link<C>, VfsError>>,
    ) -> Result<Lease<'a, C>, VfsError> {
        let permit = self.places.acquire().await.map_err(|_| VfsError::Backend)?;
        let idle = self.idle().pop();
        let link = match idle {
            Some(link) => link,
            None => connect.await?,
        };
        Ok(Lease { link, place: Place { pool: self, _permit: permit } })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Link<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, C> Lease<'a, C> {
    /// Gives the connection back: it is in order, and nothing is on its way.
    #[cfg(any(feature = "redis", feature = "postgres"))]
    pub(in crate::vfs::backend) fn give_back(self) {
        self.place.give_back(self.link);
    }

    /// Closes the connection, and the idle ones with it: what took it away took them too.
    #[cfg(any(feature = "redis", feature = "postgres"))]
    pub(in crate::vfs::backend) fn lost(self) {
        self.place.lost();
    }

    /// The connection and its place apart, for work that owns the one.
    #[cfg(feature = "chroma")]
    pub(in crate::vfs::backend) fn split(self) -> (Link<C>, Place<'a, C>) {
        (self.link, self.place)
    }
}

impl<C> Place<'_, C> {
    /// See [`Lease::give_back`].
    pub(in crate::vfs::backend) fn give_back(self, link: Link<C>) {
        self.pool.idle().push(link);
    }

    /// See [`Lease::lost`].
    pub(in crate::vfs::backend) fn lost(self) {
        self.pool.idle().clear();
    }
}

impl<C> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle().len()).finish_non_exhaustive()
    }
}
