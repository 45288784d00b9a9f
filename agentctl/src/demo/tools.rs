//! The demo's tools: git and file reading as child processes, mail as a function.

use std::path::PathBuf;
use std::sync::Arc;

use agent_control_plane::atr::{Command, Effect, Level, PathRoot, Registry, SandboxPolicy};
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
    let mut registry = Registry::builder();
    registry
        .tool("git")
        .description("Runs git in the repository")
        .effects([Effect::Read, Effect::Write, Effect::Delete])
        .isolation(SandboxPolicy::at_least(Level::Child))
        .command(git_schema, child("git", scratch)?)?;
    registry
        .tool("file.read")
        .description("Reads a text file of the repository")
        .effects([Effect::Read])
        .path_argument("/path", repository)
        .isolation(SandboxPolicy::at_least(Level::Child))
        .command(read_schema, child("read-file", scratch)?)?;
    registry.tool("mail.send").description("Sends a mail").effects([Effect::Message]).run(
        move |_context, mail: Mail| {
            let outbox = Arc::clone(&outbox);
            async move { outbox::put(&outbox, &mail).map(|()| json!({"queued": true})) }
        },
    )?;
    Ok(registry.build())
}

/// This very program as a child process, with an environment that holds what git needs and nothing of the host's.
fn child(name: &str, scratch: &Scratch) -> anyhow::Result<Command> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let env = [
        ("PATH", path.as_str()),
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        // The scratch copy may belong to another user than this process, as it does in containers.
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
    ];
    Ok(Command {
        program: std::env::current_exe()?,
        args: vec!["tool".into(), name.into()],
        env: env.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        current_dir: scratch.repository(),
    })
}
