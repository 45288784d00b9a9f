//! Tools that are programs, run by whichever executor the policy allows.

use std::sync::Arc;

use bytes::Bytes;

use super::{Artefact, Executors, Launch, Prepare};
use crate::isolation::{Limits, Permissions, SandboxPolicy};

/// What is run, and under what conditions.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) executors: Executors,
    pub(crate) artefacts: Vec<Artefact>,
    pub(crate) policy: SandboxPolicy,
    pub(crate) permissions: Permissions,
    pub(crate) limits: Limits,
}

pub(crate) fn prepare(program: Program) -> Prepare {
    let program = Arc::new(program);
    Box::new(move |arguments| {
        let (program, arguments) = (Arc::clone(&program), Bytes::copy_from_slice(arguments.canonical()));
        Ok(Box::new(move |cx| {
            Box::pin(async move {
                let Program { executors, artefacts, policy, permissions, limits } = &*program;
                let (executor, artefact) = executors.choose(artefacts, *policy, permissions, limits)?;
                cx.isolated();
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
