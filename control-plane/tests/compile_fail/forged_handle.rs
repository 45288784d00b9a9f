//! Nobody but the kernel makes the handle of an agent.

use agent_control_plane::AgentHandle;

fn forge(real: AgentHandle) -> AgentHandle {
    AgentHandle { kernel: real.kernel, agent: real.agent }
}

fn main() {}
