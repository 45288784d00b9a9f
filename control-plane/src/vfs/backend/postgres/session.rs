//! A connection, a transaction on it, and what goes wrong with either.

use std::sync::Arc;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::VfsError;
use crate::vfs::backend::remote::Link;

/// Why a piece of work was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was refused; the connection is in order.
    Refused(VfsError),
    /// The server gave it up for the sake of another one. It may be begun again.
    GivenUp,
    /// The connection is not to be used again.
    Lost,
}

impl From<VfsError> for Failure {
    fn from(error: VfsError) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(state)
                if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(state) =>
            {
                Self::GivenUp
            }
            Some(state) if *state == SqlState::DISK_FULL => Self::Refused(VfsError::NoSpace),
            // The server is going away, or wants to be rid of this connection.
            Some(state) if state.code().starts_with("57P") => Self::Lost,
            Some(state) => {
                tracing::warn!(state = state.code(), %error, "a PostgreSQL server refused");
                Self::Refused(VfsError::Backend)
            }
            None => {
                tracing::warn!(%error, "the connection to a PostgreSQL server failed");
                Self::Lost
            }
        }
    }
}

pub(super) async fn connect(config: &Config) -> Result<Link<Arc<Client>>, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let driver = Box::pin(async {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "the connection to a PostgreSQL server ended");
        }
    });
    Ok(Link { client: Arc::new(client), driver })
}

/// Does `work` wholly or not at all.
pub(super) async fn transaction<T>(
    client: &Client,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // Whatever the server's default is: what must not change meanwhile is locked.
    client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    match work.await {
        Ok(done) => {
            client.batch_execute("COMMIT").await?;
            Ok(done)
        }
        Err(Failure::Lost) => Err(Failure::Lost),
        Err(failure) => {
            client.batch_execute("ROLLBACK").await?;
            Err(failure)
        }
    }
}
