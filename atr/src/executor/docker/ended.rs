//! What the end of a container means.

use crate::executor::session::Cause;

/// What docker-init adds to the number of a signal.
const BY_SIGNAL: i64 = 128;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGXCPU: i32 = 24;
const SIGSYS: i32 = 31;
/// Signals that end nothing unless a program wants it: SIGCHLD, SIGCONT, those that stop, SIGURG, SIGWINCH.
const HARMLESS: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

/// How it came to an end.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// Of itself, as the daemon reports it.
    Code(i64),
    /// It was told to be removed.
    Killed,
    /// It had used up its time, and was told to be removed.
    Cpu,
    /// Nobody can tell.
    Lost(String),
}

/// What it means, given what was ordered.
pub(super) fn cause(end: End, out_of_memory: bool, killed: bool, terminated: bool) -> Cause {
    match end {
        End::Killed => Cause::Killed,
        End::Lost(_) if killed => Cause::Killed,
        End::Lost(reason) => Cause::Lost(reason),
        End::Cpu => Cause::Cpu,
        End::Code(code) => of_code(code, out_of_memory, killed, terminated),
    }
}

fn of_code(code: i64, out_of_memory: bool, killed: bool, terminated: bool) -> Cause {
    let signal = i32::try_from(code - BY_SIGNAL).ok().filter(|signal| (1..=64).contains(signal));
    match signal.filter(|signal| !HARMLESS.contains(signal)) {
        Some(SIGKILL) if killed => Cause::Killed,
        Some(SIGTERM) if terminated => Cause::Killed,
        _ if out_of_memory && code != 0 => Cause::Memory,
        Some(SIGXCPU) => Cause::Cpu,
        Some(SIGSYS) => Cause::Violation("a system call that the daemon does not name".to_owned()),
        Some(signal) => Cause::Signal(signal),
        None => Cause::Code(i32::try_from(code).unwrap_or(-1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_what_docker_init_means_by_it() {
        let cases = [
            ((0, false, false, false), Cause::Code(0)),
            // A process of it was too large; it went on without, and succeeded.
            ((0, true, false, false), Cause::Code(0)),
            ((3, false, false, false), Cause::Code(3)),
            ((127, false, false, false), Cause::Code(127)),
            ((128, false, false, false), Cause::Code(128)),
            ((139, false, false, false), Cause::Signal(11)),
            ((145, false, false, false), Cause::Code(145)),
            ((255, false, false, false), Cause::Code(255)),
            ((137, false, false, false), Cause::Signal(9)),
            ((137, true, false, false), Cause::Memory),
            ((1, true, false, false), Cause::Memory),
            ((137, true, true, false), Cause::Killed),
            ((143, false, false, false), Cause::Signal(15)),
            ((143, false, false, true), Cause::Killed),
            ((152, false, false, false), Cause::Cpu),
        ];
        for ((code, out_of_memory, killed, terminated), expected) in cases {
            assert_eq!(of_code(code, out_of_memory, killed, terminated), expected, "{code}");
        }
        assert!(matches!(of_code(159, false, false, false), Cause::Violation(_)));
    }
}
