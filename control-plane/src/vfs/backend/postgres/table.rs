//! The table that all stores of a database share.
//!
//! A row is a file or a directory. Its key is its directory, as a digest so that it fits an index whatever the length of the
//! path, and its name. The root of a store is the row without a name; its `size` and `files` say what the store holds, and
//! `last` is the number of the last version given out. The form of the table is its comment.

use agent_primitives::Digest;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{ENGINE, StoreError, server};

/// The form this version reads and writes.
const FORMAT: &str = "agent-os files 1";

const FOUND: &str = "SELECT obj_description(to_regclass('agent_os_files'), 'pg_class'), to_regclass('agent_os_files') IS NULL";

const CREATE: &str = r#"
CREATE TABLE IF NOT EXISTS agent_os_files (
    store    text COLLATE "C" NOT NULL,
    dir      bytea NOT NULL,
    name     text COLLATE "C" NOT NULL,
    path     text NOT NULL,
    is_file  boolean NOT NULL,
    labels   text NOT NULL,
    version  bytea,
    size     bigint NOT NULL,
    files    bigint NOT NULL DEFAULT 0,
    last     bigint NOT NULL DEFAULT 0,
    expires  bigint,
    content  bytea,
    searched integer NOT NULL DEFAULT 0,
    words    tsvector,
    PRIMARY KEY (store, dir, name)
);
ALTER TABLE agent_os_files ALTER content SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS agent_os_files_expires ON agent_os_files (store, expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS agent_os_files_words ON agent_os_files USING gin (words);
COMMENT ON TABLE agent_os_files IS 'agent-os files 1';
"#;

const ROOT: &str = "INSERT INTO agent_os_files (store, dir, name, path, is_file, labels, size) \
     VALUES ($1, $2, '', '', false, '', 0) ON CONFLICT DO NOTHING";

/// Makes the table and the root of the store, if they are not there.
pub(super) async fn open(client: &Client, store: &str) -> Result<(), StoreError> {
    // Two who create the same table at once would fail; the lock ends with the transaction.
    client
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('agent_os_files'))")
        .await
        .map_err(server)?;
    let row = client.query_typed_one(FOUND, &[]).await.map_err(server)?;
    let (found, is_missing): (Option<String>, bool) =
        (row.try_get(0).map_err(server)?, row.try_get(1).map_err(server)?);
    if is_missing {
        client.batch_execute(CREATE).await.map_err(server)?;
    } else if found.as_deref() != Some(FORMAT) {
        let found = found.unwrap_or_else(|| "a table of another program".to_owned());
        return Err(StoreError::Format { engine: ENGINE, found });
    }
    let root = dir("");
    client.execute_typed(ROOT, &[(&store, Type::TEXT), (&root, Type::BYTEA)]).await.map_err(server)?;
    client.batch_execute("COMMIT").await.map_err(server)
}

/// The key of what lies directly in the directory at `path`.
pub(super) fn dir(path: &str) -> Vec<u8> {
    Digest::of("agent-os vfs directory v1", path.as_bytes()).as_bytes().to_vec()
}
