//! What the init of a sandbox tells the host, over a pipe.

use std::time::Duration;

use super::sys::Errno;

/// Bytes of a report: fewer than a pipe takes in one piece.
pub(super) const SIZE: usize = 32;

/// How far a sandbox had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Plan,
    Group,
    Streams,
    Namespaces,
    Orders,
    User,
    Host,
    Root,
    Devices,
    Scratch,
    Proc,
    Grant,
    Pivot,
    Capabilities,
    Split,
    Limits,
    Folder,
    Rules,
    Filter,
    Execute,
}

impl Stage {
    const ALL: [(Self, &'static str); 20] = [
        (Self::Plan, "read its plan"),
        (Self::Group, "join its control group"),
        (Self::Streams, "take its streams"),
        (Self::Namespaces, "make namespaces"),
        (Self::Orders, "wait for orders"),
        (Self::User, "become an unprivileged user"),
        (Self::Host, "forget the host's name"),
        (Self::Root, "mount a root"),
        (Self::Devices, "bind the devices"),
        (Self::Scratch, "mount the scratch folder"),
        (Self::Proc, "mount a list of its processes"),
        (Self::Grant, "bind what is granted"),
        (Self::Pivot, "leave the host's root"),
        (Self::Capabilities, "give up capabilities"),
        (Self::Split, "split off the program"),
        (Self::Limits, "limit itself"),
        (Self::Folder, "enter the working directory"),
        (Self::Rules, "load the Landlock rules"),
        (Self::Filter, "load the system call filter"),
        (Self::Execute, "execute the program"),
    ];

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }

    fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().map(|(stage, _)| *stage).find(|stage| *stage as u64 == number)
    }
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The program was not started.
    Failed(Stage, Errno),
    /// The sandbox has let go of everything of the host's, and waits to be let go.
    Ready,
    /// The program runs.
    Started,
    /// The program has ended, and whatever it had left behind was killed.
    Ended {
        /// As `wait` has it.
        status: i32,
        cpu: Duration,
    },
}

impl Report {
    pub(super) fn encode(self) -> [u8; SIZE] {
        let words: [u64; 4] = match self {
            Self::Failed(stage, errno) => [1, stage as u64, u64::from(errno.unsigned_abs()), 0],
            Self::Ready => [4, 0, 0, 0],
            Self::Started => [2, 0, 0, 0],
            Self::Ended { status, cpu } => {
                [3, u64::from(status.cast_unsigned()), cpu.as_secs(), u64::from(cpu.subsec_micros())]
            }
        };
        let mut bytes = [0; SIZE];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        let mut words = [0u64; 4];
        for (word, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*from);
        }
        match words {
            [1, stage, errno, ..] => {
                Some(Self::Failed(Stage::from_number(stage)?, i32::try_from(errno).ok()?))
            }
            [4, ..] => Some(Self::Ready),
            [2, ..] => Some(Self::Started),
            [3, status, secs, micros] => Some(Self::Ended {
                status: u32::try_from(status).ok()?.cast_signed(),
                cpu: Duration::from_secs(secs).saturating_add(Duration::from_micros(micros)),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_arrives_as_it_was_sent() {
        let ended = Report::Ended { status: -1, cpu: Duration::from_micros(3_000_007) };
        let failed = Stage::ALL.map(|(stage, _)| Report::Failed(stage, libc::EPERM));
        for report in failed.into_iter().chain([Report::Ready, Report::Started, ended]) {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(&[0; SIZE]), None);
    }
}
