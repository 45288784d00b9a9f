//! The peer's two entry points as operations that can be timed.

use std::collections::HashMap;
use std::error::Error;

use agent_os_peer_harness::{Operation, Request};
use agentmesh::policy::{PolicyEngine, PolicyError};
use agentmesh::{AgentMeshClient, ClientError, ClientOptions};
use serde_yaml::Value;

/// Half of the 100 000 entries after which the audit log moves all of them on every append.
pub(crate) const CALLS_PER_CLIENT: usize = 50_000;

/// A request in the peer's own types.
#[derive(Debug)]
pub(crate) struct Call {
    action: String,
    context: HashMap<String, Value>,
}

impl Call {
    pub(crate) fn new(request: &Request) -> Result<Self, serde_yaml::Error> {
        let context = request
            .arguments
            .iter()
            .map(|(argument, value)| Ok((argument.clone(), serde_yaml::to_value(value)?)))
            .collect::<Result<_, serde_yaml::Error>>()?;
        Ok(Self { action: request.tool.clone(), context })
    }
}

/// `PolicyEngine::evaluate`.
pub(crate) struct Evaluate<'a> {
    engine: PolicyEngine,
    calls: &'a [Call],
}

impl<'a> Evaluate<'a> {
    pub(crate) fn new(policy: &str, calls: &'a [Call]) -> Result<Self, PolicyError> {
        let engine = PolicyEngine::new();
        engine.load_from_yaml(policy)?;
        Ok(Self { engine, calls })
    }

    /// How many of the calls the policy allows.
    pub(crate) fn allowed(mut self) -> usize {
        (0..self.calls.len()).filter(|position| self.call(*position)).count()
    }
}

impl Operation for Evaluate<'_> {
    fn call(&mut self, position: usize) -> bool {
        let Some(call) = self.calls.get(position) else { return false };
        self.engine.evaluate(&call.action, Some(&call.context)).is_allowed()
    }
}

/// `AgentMeshClient::execute_with_governance`.
pub(crate) struct Govern<'a> {
    client: AgentMeshClient,
    policy: String,
    calls: &'a [Call],
}

impl<'a> Govern<'a> {
    pub(crate) fn new(policy: String, calls: &'a [Call]) -> Result<Self, ClientError> {
        Ok(Self { client: client(&policy)?, policy, calls })
    }
}

impl Operation for Govern<'_> {
    fn call(&mut self, position: usize) -> bool {
        let Some(call) = self.calls.get(position) else { return false };
        self.client.execute_with_governance(&call.action, Some(&call.context)).allowed
    }

    fn calls_per_state(&self) -> Option<usize> {
        Some(CALLS_PER_CLIENT)
    }

    fn renew(&mut self) -> Result<(), Box<dyn Error>> {
        self.client = client(&self.policy)?;
        Ok(())
    }
}

fn client(policy: &str) -> Result<AgentMeshClient, ClientError> {
    let options = ClientOptions { policy_yaml: Some(policy.to_owned()), ..ClientOptions::default() };
    AgentMeshClient::with_options("bench", options)
}
