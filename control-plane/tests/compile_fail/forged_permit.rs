//! Permits cannot even be named outside the kernel.

use agent_control_plane::policy::permit::Permit;

fn main() {}
