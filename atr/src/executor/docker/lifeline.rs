//! A way to end a container that needs no daemon.

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;

use super::engine::Engine;

/// The first process of a container, if it can be reached from here: the daemon is on this machine and in this namespace
/// of process numbers. With it ends everything in the container.
pub(super) struct Lifeline {
    #[cfg(target_os = "linux")]
    init: Option<OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Lifeline {
    pub(super) fn of(pid: Option<i64>, id: &str) -> Self {
        Self { init: pid.and_then(|pid| reach(pid, id)) }
    }

    /// Kills everything in the container. Whether all of it is gone: not if it cannot be reached, or is frozen and stays so.
    pub(super) async fn cut(&self, engine: &Engine) -> bool {
        use rustix::io::Errno;
        use rustix::process::{Signal, pidfd_send_signal};
        let Some(init) = &self.init else { return false };
        for _ in 0..20 {
            match pidfd_send_signal(init, Signal::KILL) {
                Err(error) => return error == Errno::SRCH,
                Ok(()) => {
                    let soon = engine.timer.monotonic().after(std::time::Duration::from_millis(50));
                    engine.timer.sleep_until(soon).await;
                }
            }
        }
        false
    }
}

#[cfg(target_os = "linux")]
fn reach(pid: i64, id: &str) -> Option<OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let init = pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()?;
    // Opened first, so that the number cannot have been given to another process in between.
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    (!id.is_empty() && groups.contains(id)).then_some(init)
}

#[cfg(not(target_os = "linux"))]
impl Lifeline {
    pub(super) fn of(_: Option<i64>, _: &str) -> Self {
        Self {}
    }

    pub(super) async fn cut(&self, _: &Engine) -> bool {
        false
    }
}
