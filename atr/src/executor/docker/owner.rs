//! Whose a container is, so that what a host which died has left can be told from what is in use.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use agent_primitives::{Clock, IdSource, SystemIds};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::error::ToolError;
use crate::executor::Launch;
use crate::isolation::Level;

/// All our containers are named so. An image can bring labels, but no name.
const PREFIX: &str = "atr-";
/// The label with who started a container.
pub(super) const OWNER: &str = "atr.owner";
const AGENT: &str = "atr.agent";
const DEADLINE: &str = "atr.deadline";
/// For how long after its deadline a container is left alone that may be another machine's.
const GRACE: Duration = Duration::from_secs(60);

/// A name that nobody has given before.
pub(super) fn container_name() -> Result<String, ToolError> {
    let bits = SystemIds.bits().map_err(|error| ToolError::unavailable(Level::Container, error))?;
    Ok(format!("{PREFIX}{:032x}", u128::from_be_bytes(bits)))
}

/// This process, or what another one said of itself: boot of the machine, namespace of process numbers, number, time of
/// start. Empty where the system does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    boot: String,
    namespace: String,
    process: u32,
    started: String,
}

impl Owner {
    /// This process.
    pub(super) fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let process = std::process::id();
        Self {
            boot: read("/proc/sys/kernel/random/boot_id"),
            namespace: namespace.to_string_lossy().into_owned(),
            process,
            started: started(process).unwrap_or_default(),
        }
    }

    /// What is written on a container of this process.
    pub(super) fn labels(&self, launch: &Launch, clock: &dyn Clock) -> HashMap<String, String> {
        let deadline = clock.now().as_micros() / 1_000_000 + seconds(launch.limits.deadline);
        [(OWNER, self.to_string()), (AGENT, launch.agent.to_string()), (DEADLINE, deadline.to_string())]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ').map(str::to_owned);
        let mut next = || parts.next();
        let (boot, namespace) = (next()?, next()?);
        let (process, started) = (next()?.parse().ok()?, next()?);
        parts.next().is_none().then_some(Self { boot, namespace, process, started })
    }

    /// Whether a process is certainly gone, as far as this one can see.
    fn is_gone(&self, here: &Self) -> bool {
        if [&self.boot, &here.boot, &self.namespace, &self.started].iter().any(|part| part.is_empty()) {
            return false;
        }
        // A number in another namespace says nothing here.
        self.boot != here.boot
            || (self.namespace == here.namespace
                && match started(self.process) {
                    Some(started) => started != self.started,
                    // It may be there, and not to be looked at.
                    None => is_nobody(self.process),
                })
    }

    /// Whether a container with this name and these labels is one of ours that nobody waits for any more.
    pub(super) fn may_remove(&self, name: &str, labels: &HashMap<String, String>, clock: &dyn Clock) -> bool {
        let owner = labels.get(OWNER).and_then(|text| Self::parse(text));
        let deadline = labels.get(DEADLINE).and_then(|text| text.parse::<i64>().ok());
        let (Some(owner), Some(deadline)) = (owner, deadline) else { return false };
        let now = clock.now().as_micros() / 1_000_000;
        name.strip_prefix('/').unwrap_or(name).starts_with(PREFIX)
            && owner.is_gone(self)
            // Another boot may be one of another machine that uses this daemon, and not over.
            && (owner.boot == self.boot || deadline.saturating_add(seconds(GRACE)) < now)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { boot, namespace, process, started } = self;
        write!(f, "{boot} {namespace} {process} {started}")
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Whether no process has this number.
fn is_nobody(process: u32) -> bool {
    let number = i32::try_from(process).ok().and_then(Pid::from_raw);
    number.is_none_or(|number| test_kill_process(number) == Err(Errno::SRCH))
}

/// When the process with this number was started, in the kernel's ticks since boot.
fn started(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the 20th field after it is the 22nd of all.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use agent_primitives::{ManualClock, Timestamp};

    use super::*;

    #[test]
    fn only_what_a_host_that_is_gone_has_left_is_removed() {
        let here = Owner::this();
        let (before, foreign) = (
            Owner { boot: "another".to_owned(), ..here.clone() },
            Owner { namespace: "pid:[1]".to_owned(), ..here.clone() },
        );
        // Process 1 is there, and was not started when this one was.
        let successor = Owner { process: 1, ..here.clone() };
        let nobody = Owner { process: u32::MAX, ..here.clone() };
        let unknown = Owner { started: String::new(), ..successor.clone() };
        let cases = [
            ("/atr-1", before.to_string(), "1000", true),
            ("/atr-1", before.to_string(), "1001", false),
            ("/atr-1", successor.to_string(), "1001", true),
            ("/atr-1", nobody.to_string(), "1001", true),
            ("/other", successor.to_string(), "1000", false),
            ("/atr-1", here.to_string(), "1000", false),
            ("/atr-1", foreign.to_string(), "1000", false),
            ("/atr-1", unknown.to_string(), "1000", false),
            ("/atr-1", "nonsense".to_owned(), "1000", false),
            ("/atr-1", successor.to_string(), "soon", false),
        ];
        let clock = ManualClock::at(Timestamp::from_micros(1_061_000_000));
        for (name, owner, deadline, expected) in cases {
            let labels = HashMap::from([
                (OWNER.to_owned(), owner.clone()),
                (DEADLINE.to_owned(), deadline.to_owned()),
            ]);
            assert_eq!(here.may_remove(name, &labels, &clock), expected, "{name} {owner} {deadline}");
        }
    }

    #[test]
    fn an_owner_is_read_back_as_written() {
        let here = Owner::this();
        assert_eq!(Owner::parse(&here.to_string()).unwrap(), here);
    }
}
