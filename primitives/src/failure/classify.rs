//! From what a system reported to the kind of failure it was.
//!
//! Every function here takes numbers and enumerations. None takes text: whoever writes the text of an error would
//! otherwise decide whether it counts as a policy block.

use std::io::ErrorKind;
use std::process::ExitStatus;
use std::time::Duration;

use super::FailureType;

/// Longest wait that a `Retry-After` can ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The kind of a failure, and whether trying again is worth it in this very case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Classification {
    /// The kind.
    pub failure_type: FailureType,
    /// Whether the same call may be tried again. Stricter than the type in places: a payload that is too large stays so.
    pub retryable: bool,
    /// How long the other side asked to wait; at most [`MAX_RETRY_AFTER`].
    pub after: Option<Duration>,
}

/// A code outside its own protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} is not {what}")]
pub struct UnknownCode {
    code: i64,
    what: &'static str,
}

impl From<FailureType> for Classification {
    fn from(failure_type: FailureType) -> Self {
        Self { retryable: failure_type.retryable(), failure_type, after: None }
    }
}

fn final_case(failure_type: FailureType) -> Classification {
    Classification { retryable: false, failure_type, after: None }
}

/// An HTTP status and the seconds of its `Retry-After`, if it had one; 1xx to 3xx are no failure.
///
/// The wait is kept only where trying again is worth it.
///
/// # Errors
/// A number that is no status: below 100 or above 599.
pub fn http(status: u16, retry_after_seconds: Option<u64>) -> Result<Option<Classification>, UnknownCode> {
    let found: Classification = match status {
        100..=399 => return Ok(None),
        401 | 403 => FailureType::PermissionDenied.into(),
        408 | 504 => FailureType::Timeout.into(),
        409 => FailureType::Conflict.into(),
        413 | 507 => final_case(FailureType::ResourceExhausted),
        425 => FailureType::DependencyUnavailable.into(),
        429 => FailureType::RateLimited.into(),
        451 => FailureType::BlockedByControlPlane.into(),
        499 => FailureType::Cancelled.into(),
        400..=499 | 501 => FailureType::InvalidAction.into(),
        500..=599 => FailureType::DependencyUnavailable.into(),
        _ => return Err(UnknownCode { code: status.into(), what: "an HTTP status" }),
    };
    let after = retry_after_seconds.filter(|_| found.retryable);
    let after = after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    Ok(Some(Classification { after, ..found }))
}

/// A canonical gRPC code; 0 is no failure.
///
/// # Errors
/// A number outside 0 to 16.
pub fn grpc(code: i32) -> Result<Option<Classification>, UnknownCode> {
    Ok(Some(match code {
        0 => return Ok(None),
        1 => FailureType::Cancelled.into(),
        2 => FailureType::Unknown.into(),
        3 | 5 | 9 | 11 | 12 => FailureType::InvalidAction.into(),
        4 => FailureType::Timeout.into(),
        // What already exists will exist the next time.
        6 => final_case(FailureType::Conflict),
        7 | 16 => FailureType::PermissionDenied.into(),
        8 => FailureType::ResourceExhausted.into(),
        10 => FailureType::Conflict.into(),
        13 => FailureType::LogicError.into(),
        14 => FailureType::DependencyUnavailable.into(),
        15 => FailureType::IntegrityViolation.into(),
        _ => return Err(UnknownCode { code: code.into(), what: "a gRPC code" }),
    }))
}

/// The kind of an input/output error. Never a terminal one.
#[must_use]
pub fn io(kind: ErrorKind) -> Classification {
    use ErrorKind as Io;
    match kind {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => FailureType::PermissionDenied.into(),
        Io::TimedOut => FailureType::Timeout.into(),
        Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::NotConnected
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown
        | Io::AddrNotAvailable
        | Io::BrokenPipe
        | Io::UnexpectedEof
        | Io::WriteZero
        | Io::Interrupted => FailureType::DependencyUnavailable.into(),
        Io::WouldBlock
        | Io::ResourceBusy
        | Io::ExecutableFileBusy
        | Io::Deadlock
        | Io::AddrInUse
        | Io::StaleNetworkFileHandle => FailureType::Conflict.into(),
        Io::AlreadyExists => final_case(FailureType::Conflict),
        Io::OutOfMemory => FailureType::ResourceExhausted.into(),
        // Space does not come back by waiting.
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => final_case(FailureType::ResourceExhausted),
        Io::NotFound
        | Io::InvalidInput
        | Io::InvalidData
        | Io::InvalidFilename
        | Io::NotADirectory
        | Io::IsADirectory
        | Io::DirectoryNotEmpty
        | Io::CrossesDevices
        | Io::TooManyLinks
        | Io::ArgumentListTooLong
        | Io::NotSeekable
        | Io::Unsupported => FailureType::InvalidAction.into(),
        _ => FailureType::Unknown.into(),
    }
}

/// A deadline of the caller's own that has passed.
#[must_use]
pub fn elapsed() -> Classification {
    FailureType::Timeout.into()
}

/// How a child process ended; success is no failure. Never a terminal one: the child chooses its code, and a status does
/// not tell who sent a signal. Whoever did send it records `Cancelled` itself.
///
/// Codes are those of `sysexits.h`, the shell (126, 127) and `timeout` (124); any other is unknown.
#[must_use]
pub fn exit(status: ExitStatus) -> Option<Classification> {
    if status.success() {
        return None;
    }
    if let Some(found) = signalled(status) {
        return Some(found);
    }
    Some(match status.code() {
        Some(64 | 65 | 66 | 67 | 68 | 73 | 78 | 127) => FailureType::InvalidAction.into(),
        Some(69 | 74 | 75 | 76) => FailureType::DependencyUnavailable.into(),
        Some(70) => FailureType::LogicError.into(),
        Some(71) => FailureType::ResourceExhausted.into(),
        Some(77 | 126) => FailureType::PermissionDenied.into(),
        Some(124) => FailureType::Timeout.into(),
        _ => FailureType::Unknown.into(),
    })
}

#[cfg(unix)]
fn signalled(status: ExitStatus) -> Option<Classification> {
    use std::os::unix::process::ExitStatusExt;

    // The numbers that are the same on every Unix: ILL, TRAP, ABRT, FPE and SEGV; XCPU and XFSZ.
    Some(match status.signal()? {
        4 | 5 | 6 | 8 | 11 => FailureType::LogicError.into(),
        24 | 25 => final_case(FailureType::ResourceExhausted),
        _ => FailureType::Unknown.into(),
    })
}

#[cfg(not(unix))]
fn signalled(_: ExitStatus) -> Option<Classification> {
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::failure::FailureClass;

    fn row(found: Option<Classification>) -> String {
        found.map_or("none".to_owned(), |found| {
            format!("{}{}", found.failure_type, if found.retryable { " retry" } else { "" })
        })
    }

    #[test]
    fn http_statuses_have_their_kind() {
        let cases: &[(&[u16], &str)] = &[
            (&[100, 200, 204, 302, 399], "none"),
            (&[400, 402, 404, 418, 422, 498, 501], "invalid_action"),
            (&[401, 403], "permission_denied"),
            (&[408, 504], "timeout retry"),
            (&[409], "conflict retry"),
            (&[413, 507], "resource_exhausted"),
            (&[425, 500, 502, 503, 505, 599], "dependency_unavailable retry"),
            (&[429], "rate_limited retry"),
            (&[451], "blocked_by_control_plane"),
            (&[499], "cancelled"),
        ];
        for (statuses, expected) in cases {
            for status in *statuses {
                assert_eq!(row(http(*status, None).unwrap()), *expected, "{status}");
            }
        }
        for status in [0, 99, 600, u16::MAX] {
            assert!(http(status, None).is_err(), "{status}");
        }
    }

    #[test]
    fn a_retry_after_is_capped_and_kept_only_where_a_retry_is_worth_it() {
        let after = |status, seconds| http(status, Some(seconds)).unwrap().unwrap().after;
        assert_eq!(after(429, 5), Some(Duration::from_secs(5)));
        assert_eq!(after(503, u64::MAX), Some(MAX_RETRY_AFTER));
        assert_eq!(after(413, 5), None);
    }

    #[test]
    fn grpc_codes_have_their_kind() {
        let expected = [
            "none",
            "cancelled",
            "unknown",
            "invalid_action",
            "timeout retry",
            "invalid_action",
            "conflict",
            "permission_denied",
            "resource_exhausted retry",
            "invalid_action",
            "conflict retry",
            "invalid_action",
            "invalid_action",
            "logic_error",
            "dependency_unavailable retry",
            "integrity_violation",
            "permission_denied",
        ];
        for (code, expected) in (0..).zip(expected) {
            assert_eq!(row(grpc(code).unwrap()), expected, "{code}");
        }
        assert_eq!(grpc(17).unwrap_err().to_string(), "17 is not a gRPC code");
        assert!(grpc(-1).is_err());
    }

    #[test]
    fn io_kinds_have_their_kind() {
        let cases = [
            (ErrorKind::NotFound, "invalid_action"),
            (ErrorKind::PermissionDenied, "permission_denied"),
            (ErrorKind::TimedOut, "timeout retry"),
            (ErrorKind::ConnectionRefused, "dependency_unavailable retry"),
            (ErrorKind::StorageFull, "resource_exhausted"),
            (ErrorKind::AlreadyExists, "conflict"),
            (ErrorKind::WouldBlock, "conflict retry"),
            (ErrorKind::Other, "unknown"),
        ];
        for (kind, expected) in cases {
            assert_eq!(row(Some(io(kind))), expected, "{kind:?}");
        }
        assert_eq!(row(Some(elapsed())), "timeout retry");
    }

    #[cfg(unix)]
    #[test]
    fn exit_statuses_have_their_kind() {
        use std::os::unix::process::ExitStatusExt;

        let cases = [
            (0, "none"),
            (1 << 8, "unknown"),
            (75 << 8, "dependency_unavailable retry"),
            (77 << 8, "permission_denied"),
            (124 << 8, "timeout retry"),
            (127 << 8, "invalid_action"),
            (9, "unknown"),
            (11, "logic_error"),
            (24, "resource_exhausted"),
        ];
        for (raw, expected) in cases {
            assert_eq!(row(exit(ExitStatus::from_raw(raw))), expected, "{raw}");
        }
        for raw in 0..=0xFFFF {
            let class = exit(ExitStatus::from_raw(raw)).map(|found| found.failure_type.class());
            assert_ne!(class, Some(FailureClass::Terminal), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn no_code_makes_a_terminal_failure_worth_a_retry(status: u16, code: i32, after: Option<u64>) {
            for found in [http(status, after), grpc(code % 20)].into_iter().flatten().flatten() {
                prop_assert!(!found.retryable || found.failure_type.retryable());
                prop_assert!(found.after.is_none_or(|wait| found.retryable && wait <= MAX_RETRY_AFTER));
            }
        }
    }
}
