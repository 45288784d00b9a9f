//! Programs as child processes in namespaces of their own, behind Landlock and seccomp.
//!
//! What this module calls of its neighbours, until they are there:
//!
//! ```text
//! seccomp::program()                  -> Result<Vec<libc::sock_filter>, String>     loaded with SECCOMP_SET_MODE_FILTER
//! landlock::Ruleset::new(grants: &[(OwnedFd /* O_PATH, canonical */, Access)]) -> Result<Ruleset, String>
//!     ruleset.fd() -> BorrowedFd                                                    restricted in the child by a raw call
//!     landlock::scratch_access() / proc_access() / device_access() -> u64           bits of the rules that only the child can add
//! cgroup::Cgroup::create(limits: &Limits, tag: &str) -> Result<Option<Cgroup>, String>
//!     (`processes` + 1: the init of the namespace counts too)
//!     .add(pid: i32) -> io::Result<()>                from the parent, before the child goes on
//!     .freeze() / .thaw() / .kill() -> io::Result<()>   kill works while frozen
//!     .frozen() -> io::Result<bool>
//!     .usage() -> Usage, .out_of_memory() -> bool, .out_of_processes() -> bool
//!     .caps_memory() / .caps_processes() / .freezes() -> bool
//!     .remove(&self) -> io::Result<()>                after everything is reaped
//! ```
