//! An agent cannot change what the host said about it.

use agent_control_plane::AgentHandle;

fn grant(agent: AgentHandle) {
    agent.fact("permission", "ADMIN");
}

fn main() {}
