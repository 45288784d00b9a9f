//! What has been approved, kept from one start of the host to the next.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::{Digest, Timestamp, ToolId};
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::error::McpError;

/// Most approvals that one store keeps.
pub const MAX_PINS: usize = 10_000;
/// Largest file of approvals, in bytes.
pub const MAX_PINS_BYTES: u64 = 64 << 20;
const FORMAT: u32 = 1;

/// One approval: that of the latest definition of one tool of one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Pin {
    /// Identity of the server: see [`Server`](super::Server).
    pub endpoint: Digest,
    /// The tool.
    pub tool: ToolId,
    /// The number of the definition among those of the tool that were ever offered for approval.
    pub version: u64,
    /// Digest of the contract that was approved.
    pub digest: Digest,
    /// What the server said of the tool then.
    pub definition: Definition,
    /// Who approved it, in the host's words.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Whether the server has shown something else since. It is not approved again before somebody has looked.
    #[serde(default)]
    pub suspended: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    pins: Vec<Pin>,
}

type Key = (Digest, ToolId);

/// Approvals of tools of MCP servers, in a JSON file or in memory only.
///
/// Only what an operator approves gets in; nothing that a server shows changes what is kept, except that it suspends it.
/// One store belongs to one host at a time: the file is replaced as a whole at each change, and not locked.
#[derive(Debug)]
pub struct Pins {
    file: Option<PathBuf>,
    pins: Mutex<BTreeMap<Key, Pin>>,
}

impl Pins {
    /// A store that forgets with the host.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { file: None, pins: Mutex::default() }
    }

    /// A store in a file, which need not exist yet; its folder does. Blocks for reading it.
    ///
    /// # Errors
    /// [`McpError::Pins`]: it cannot be read, is too large, or is not what [`Pins`] writes.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, McpError> {
        let path = path.into();
        let pins = match fs::File::open(&path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(McpError::Pins(format!("cannot be read: {error}"))),
        };
        Ok(Self { file: Some(path), pins: Mutex::new(pins) })
    }

    /// Everything that is kept, by server and then by tool.
    #[must_use]
    pub fn all(&self) -> Vec<Pin> {
        self.lock().values().cloned().collect()
    }

    pub(super) fn get(&self, endpoint: Digest, tool: &ToolId) -> Option<Pin> {
        self.lock().get(&(endpoint, tool.clone())).cloned()
    }

    /// Keeps an approval in place of the earlier one of the same tool of the same server. Nothing is kept if it cannot be
    /// written.
    pub(super) fn keep(&self, pin: Pin) -> Result<(), McpError> {
        let mut pins = self.lock();
        let key = (pin.endpoint, pin.tool.clone());
        let mut next = pins.clone();
        next.insert(key, pin);
        if MAX_PINS < next.len() {
            return Err(McpError::Pins(format!("would hold more than {MAX_PINS} approvals")));
        }
        self.write(&next)?;
        *pins = next;
        Ok(())
    }

    /// Suspends the approvals of these tools. They are suspended for this run even if it cannot be written.
    pub(super) fn suspend(&self, endpoint: Digest, tools: &[ToolId]) -> Result<(), McpError> {
        let mut pins = self.lock();
        let mut changed = false;
        for tool in tools {
            if let Some(pin) = pins.get_mut(&(endpoint, tool.clone())) {
                changed |= !pin.suspended;
                pin.suspended = true;
            }
        }
        if changed { self.write(&pins) } else { Ok(()) }
    }

    fn write(&self, pins: &BTreeMap<Key, Pin>) -> Result<(), McpError> {
        let Some(path) = &self.file else { return Ok(()) };
        let failed = |error: io::Error| McpError::Pins(format!("cannot be written: {error}"));
        let file = File { format: FORMAT, pins: pins.values().cloned().collect() };
        let text = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
        if MAX_PINS_BYTES < text.len() as u64 {
            return Err(McpError::Pins(format!("would be larger than {MAX_PINS_BYTES} bytes")));
        }
        replace(path, &text).map_err(failed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Pin>> {
        // INVARIANT: it is replaced as a whole, or one flag of it is set, so a poisoned map is still whole.
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: fs::File) -> Result<BTreeMap<Key, Pin>, McpError> {
    let mut text = Vec::new();
    let unread = |error: io::Error| McpError::Pins(format!("cannot be read: {error}"));
    file.take(MAX_PINS_BYTES + 1).read_to_end(&mut text).map_err(unread)?;
    if MAX_PINS_BYTES < text.len() as u64 {
        return Err(McpError::Pins(format!("is larger than {MAX_PINS_BYTES} bytes")));
    }
    let file: File =
        serde_json::from_slice(&text).map_err(|error| McpError::Pins(format!("is not one: {error}")))?;
    if file.format != FORMAT || MAX_PINS < file.pins.len() {
        return Err(McpError::Pins(format!("is not of format {FORMAT}, or holds too much")));
    }
    let count = file.pins.len();
    let pins: BTreeMap<Key, Pin> =
        file.pins.into_iter().map(|pin| ((pin.endpoint, pin.tool.clone()), pin)).collect();
    if pins.len() != count {
        return Err(McpError::Pins("approves one tool of one server twice".to_owned()));
    }
    Ok(pins)
}

/// Writes a file that is there as a whole, the old one or the new one, whenever the machine stops. Only its owner may
/// read it.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".new");
    let beside = folder.join(name);
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(folder)?.sync_all()
}
