//! A kernel without a policy cannot be built.

fn main() {
    let _ = agent_control_plane::Kernel::builder().build();
}
