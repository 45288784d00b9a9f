//! Tools that are programs, run by whichever executor the policy allows.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use agent_primitives::{Digest, ToolId};
use bytes::Bytes;

use super::{Artefact, Executors, Launch, Prepare};
use crate::error::ToolError;
use crate::isolation::{Limits, Permissions, SandboxPolicy};
use crate::manifest::artefact_digest;

/// A file that must be what it was when the tool was registered.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
}

/// What is run, and under what conditions.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) id: ToolId,
    /// The files of the command among the artefacts.
    pub(crate) pins: Vec<Pin>,
    pub(crate) executors: Executors,
    pub(crate) artefacts: Vec<Artefact>,
    pub(crate) policy: SandboxPolicy,
    pub(crate) permissions: Permissions,
    pub(crate) limits: Limits,
}

impl Program {
    /// Looks once more at the files that were pinned. Whoever may write there can still exchange one between this and the
    /// start of the program, which goes by path.
    async fn unchanged(&self) -> Result<(), ToolError> {
        for Pin { path, digest } in self.pins.iter().cloned() {
            let looked = tokio::task::spawn_blocking(move || artefact_digest(path)).await;
            let observed = match looked {
                Ok(Ok(observed)) => observed,
                Ok(Err(error)) => return Err(ToolError::Spawn { source: io::Error::other(error) }),
                Err(error) => return Err(ToolError::Spawn { source: io::Error::other(error) }),
            };
            if observed != digest {
                return Err(ToolError::DefinitionChanged { id: self.id.clone(), approved: digest, observed });
            }
        }
        Ok(())
    }
}

pub(crate) fn prepare(program: Program) -> Prepare {
    let program = Arc::new(program);
    Box::new(move |arguments| {
        let (program, arguments) = (Arc::clone(&program), Bytes::copy_from_slice(arguments.canonical()));
        Ok(Box::new(move |cx| {
            Box::pin(async move {
                let Program { executors, artefacts, policy, permissions, limits, .. } = &*program;
                let (executor, artefact) = executors.choose(artefacts, *policy, permissions, limits)?;
                cx.isolated();
                if matches!(artefact, Artefact::Command(_)) {
                    program.unchanged().await?;
                }
                let launch = Launch {
                    artefact,
                    permissions: permissions.clone(),
                    limits: *limits,
                    agent: cx.agent().clone(),
                    timer: Arc::clone(cx.timer()),
                    executions: cx.executions().clone(),
                };
                let finished = executor.call(launch, arguments).await;
                cx.used(finished.usage, executor.level(), finished.guarantees);
                finished.result
            })
        }))
    })
}
