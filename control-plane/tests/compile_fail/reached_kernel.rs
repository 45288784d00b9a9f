//! A handle gives out neither the kernel nor its tools.

use agent_control_plane::AgentHandle;

fn reach(agent: AgentHandle) {
    let _ = agent.kernel;
}

fn main() {}
