//! W3C trace context: the header `traceparent`, in and out.

use std::fmt;
use std::str::FromStr;

/// Bytes of a trace's identifier.
const TRACE: usize = 16;
/// Bytes of a span's identifier.
const SPAN: usize = 8;
/// Characters of a header of version 00.
const LENGTH: usize = 2 + 1 + 2 * TRACE + 1 + 2 * SPAN + 1 + 2;
/// The flags that version 00 knows: sampled, and that the trace's identifier is random.
const KNOWN_FLAGS: u8 = 0b11;
const SAMPLED: u8 = 0b01;

/// Where in which trace a request comes from, as the header `traceparent` of [W3C trace
/// context](https://www.w3.org/TR/trace-context-2/) says it, version 00.
///
/// ```
/// # use agent_control_plane::observe::TraceParent;
/// let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent: TraceParent = header.parse()?;
/// assert!(parent.is_sampled());
/// assert_eq!(parent.to_string(), header);
/// # Ok::<(), agent_control_plane::observe::BadTraceParent>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: [u8; TRACE],
    span: [u8; SPAN],
    flags: u8,
}

/// Why a text is no `traceparent` of version 00. Whoever gets one begins a trace of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTraceParent {
    /// It is not as long as one, or has its dashes elsewhere.
    #[error("a traceparent has the form `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`")]
    Form,
    /// It is of another version.
    #[error("only version 00 of traceparent is read")]
    Version,
    /// A digit is not one of `0`-`9` and `a`-`f`.
    #[error("a traceparent is written in lower-case hex digits")]
    Digit,
    /// The identifier of the trace or of the span is all zeros.
    #[error("the identifiers of a traceparent are not all zeros")]
    Zero,
}

impl BadTraceParent {
    /// Stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Form => "AK0990",
            Self::Version => "AK0991",
            Self::Digit => "AK0992",
            Self::Zero => "AK0993",
        }
    }
}

impl TraceParent {
    /// A place in a trace.
    ///
    /// # Errors
    /// [`BadTraceParent::Zero`].
    pub fn new(trace: [u8; TRACE], span: [u8; SPAN], sampled: bool) -> Result<Self, BadTraceParent> {
        Self::with_flags(trace, span, u8::from(sampled))
    }

    fn with_flags(trace: [u8; TRACE], span: [u8; SPAN], flags: u8) -> Result<Self, BadTraceParent> {
        if trace == [0; TRACE] || span == [0; SPAN] {
            return Err(BadTraceParent::Zero);
        }
        Ok(Self { trace, span, flags: flags & KNOWN_FLAGS })
    }

    /// Which trace.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; TRACE] {
        self.trace
    }

    /// Which span of it is the parent.
    #[must_use]
    pub const fn span_id(&self) -> [u8; SPAN] {
        self.span
    }

    /// Whether the caller may have kept the trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl FromStr for TraceParent {
    type Err = BadTraceParent;

    /// Reads version 00 and nothing else; flags that it does not know are left out, as the standard demands.
    fn from_str(text: &str) -> Result<Self, BadTraceParent> {
        if text.len() != LENGTH {
            return Err(BadTraceParent::Form);
        }
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(BadTraceParent::Form);
        let ([version], trace, span, [flags]) =
            (bytes(part()?)?, bytes(part()?)?, bytes(part()?)?, bytes(part()?)?);
        if version != 0 {
            return Err(BadTraceParent::Version);
        }
        Self::with_flags(trace, span, flags)
    }
}

/// `N` bytes of lower-case hex digits.
fn bytes<const N: usize>(text: &str) -> Result<[u8; N], BadTraceParent> {
    if text.len() != 2 * N {
        return Err(BadTraceParent::Form);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(BadTraceParent::Digit),
            };
            *byte = *byte << 4 | value;
        }
    }
    Ok(bytes)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        f.write_str("00-")?;
        hex(f, &self.trace)?;
        f.write_str("-")?;
        hex(f, &self.span)?;
        write!(f, "-{:02x}", self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        for flags in ["00", "01", "02", "03"] {
            let text = format!("{}{flags}", GOOD.strip_suffix("01").unwrap());
            let parent: TraceParent = text.parse().unwrap();
            assert_eq!(parent.to_string(), text);
            assert_eq!(parent.is_sampled(), flags.ends_with(['1', '3']), "{flags}");
        }
        let unknown = format!("{}ff", GOOD.strip_suffix("01").unwrap());
        let known = unknown.parse::<TraceParent>().unwrap().to_string();
        assert!(known.ends_with("-03"), "flags it does not know are left out: {known}");
    }

    #[test]
    fn whatever_is_not_of_version_00_is_refused() {
        let cases = [
            ("", BadTraceParent::Form),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", BadTraceParent::Form),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", BadTraceParent::Form),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", BadTraceParent::Form),
            ("00-4bf92f3577b34da6a3ce929d0e0e473600f0-67aa0ba902b7-01", BadTraceParent::Form),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", BadTraceParent::Form),
            (" 0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", BadTraceParent::Digit),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", BadTraceParent::Version),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", BadTraceParent::Version),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", BadTraceParent::Digit),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", BadTraceParent::Digit),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", BadTraceParent::Zero),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", BadTraceParent::Zero),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<TraceParent>(), Err(error), "`{text}`");
        }
    }
}
