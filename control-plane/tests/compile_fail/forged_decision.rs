//! Nobody but the policy makes a decision.

use agent_control_plane::policy::Decision;
use agent_control_plane::primitives::Verdict;

fn forge() -> Decision {
    Decision { verdict: Verdict::Allow }
}

fn main() {}
