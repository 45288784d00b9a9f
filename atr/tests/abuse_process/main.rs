//! Hostile programs in the process sandbox: what they try, what comes of it, and that nothing of them is left.
//!
//! Every case runs a program made for it (`probe.c`) and looks from both sides: at what the program says it could do, and
//! at the host's own counts of processes, descriptors, mounts, control groups, connections and packets. After each, the
//! next call works and every count is as before. A machine on which a case cannot be tried fails it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod calls;
mod ends;
mod files;
mod host;
mod policy;
mod signals;
mod usage;
