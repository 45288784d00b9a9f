//! The outbox: a mail that was sent is a file in a folder, for whatever delivers it.

use std::io::Write as _;
use std::path::Path;

use agent_control_plane::atr::ToolError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mail.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Mail {
    /// Address of the receiver.
    pub(crate) to: String,
    /// One line.
    pub(crate) subject: String,
    /// The text.
    pub(crate) body: String,
}

/// Puts a mail into the folder.
pub(crate) fn put(folder: &Path, mail: &Mail) -> Result<(), ToolError> {
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix("mail-").suffix(".json").tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(mail)?)?;
        file.keep()?;
        Ok(())
    };
    write().map_err(|_error| ToolError::failed("the outbox cannot be written"))
}

/// One line for each mail in the folder.
pub(crate) fn list(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in folder.read_dir()? {
        let mail: Mail = serde_json::from_slice(&std::fs::read(entry?.path())?)?;
        lines.push(format!("to {}: {}", mail.to, mail.subject));
    }
    lines.sort();
    Ok(lines)
}
