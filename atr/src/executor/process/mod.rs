//! Programs as processes that are confined by the kernel.

pub(crate) mod cgroup;
pub(crate) mod landlock;
pub(crate) mod seccomp;
