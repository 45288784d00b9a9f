//! The demo's tools: git and file reading as confined processes, mail as a function.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use agent_control_plane::atr::{
    Access, Command, Effect, Executor as _, Level, Limits, PathRoot, Permissions, Process, Registry,
    SandboxPolicy,
};
use serde_json::json;

use super::outbox::{self, Mail};
use super::scratch::Scratch;
use crate::tool::REPOSITORY;

pub(crate) fn registry(scratch: &Scratch) -> anyhow::Result<Registry> {
    let outbox: Arc<PathBuf> = scratch.outbox().into();
    let read_schema =
        json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    let git_schema = json!({
        "type": "object",
        "properties": {"argv": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 32}},
        "required": ["argv"],
    });
    let repository =
        PathRoot { mounted_at: REPOSITORY.to_owned(), host: scratch.repository(), must_exist: true };
    let isolation = isolation();
    let mut registry = Registry::builder();
    registry
        .tool("git")
        .description("Runs git in the repository")
        .effects([Effect::Read, Effect::Write, Effect::Delete])
        .isolation(isolation)
        .permissions(granted(scratch, Access::Write))
        .command(git_schema, this_program("git", scratch)?)?;
    registry
        .tool("file.read")
        .description("Reads a text file of the repository")
        .effects([Effect::Read])
        .path_argument("/path", repository)
        .isolation(isolation)
        .permissions(granted(scratch, Access::Read))
        .command(read_schema, this_program("read-file", scratch)?)?;
    registry.tool("mail.send").description("Sends a mail").effects([Effect::Message]).run(
        move |_context, mail: Mail| {
            let outbox = Arc::clone(&outbox);
            async move { outbox::put(&outbox, &mail).map(|()| json!({"queued": true})) }
        },
    )?;
    Ok(registry.build())
}

/// Confined where this machine can do that. Where it cannot, the demo says so and trusts its own two tools.
fn isolation() -> SandboxPolicy {
    match Process::new().guarantees(&Permissions::none(), &Limits::DEFAULT) {
        Ok(_) => SandboxPolicy::CONFINED,
        Err(error) => {
            let why = error.host_detail().unwrap_or_default().into_owned();
            // Nobody is there to be told that standard error is closed.
            let _ = writeln!(
                std::io::stderr(),
                "note: no sandbox here ({why}); git and file.read run without one"
            );
            SandboxPolicy::at_least(Level::Child)
        }
    }
}

/// This very program, in the repository and with nothing else of the host's but the programs of the system.
fn this_program(name: &str, scratch: &Scratch) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.canonicalize()?).arg("tool").arg(name);
    command.env.insert("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
    command.env.insert("HOME".to_owned(), "/nonexistent".to_owned());
    command.current_dir = scratch.repository();
    Ok(command)
}

fn granted(scratch: &Scratch, access: Access) -> Permissions {
    Permissions::system().folder(scratch.repository(), access)
}
