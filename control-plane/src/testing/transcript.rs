//! The record as a text that a test can keep.

use std::fmt::Write as _;

use serde_json::Value;

use crate::kernel::Kernel;
use crate::recorder::RecordingError;

/// What is left out: digests and documents, which change with the version of this library or with every word of a policy,
/// and are not what a snapshot is about.
const LEFT_OUT: [&str; 9] =
    ["hash", "policy", "document", "task_policy", "contract", "binding", "ticket", "previous", "digest"];

/// The record of a kernel, an event a line, as JSON with its keys in order and without digests and documents. Under a
/// [`ManualClock`](agent_primitives::ManualClock) the same calls give the same text.
///
/// # Errors
/// The recorder cannot be read, or has dropped what came first.
pub fn transcript(kernel: &Kernel) -> Result<String, RecordingError> {
    let mut text = String::new();
    for stored in kernel.recorder().events(0) {
        let mut line = stored?.to_json()?;
        prune(&mut line);
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
        fields.values_mut().for_each(prune);
    }
}
