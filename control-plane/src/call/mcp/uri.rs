//! The URIs of resources: `agentos:///` and the path of a file, in one spelling.

/// What every URI of a file begins with. There is no authority between the slashes.
const SCHEME: &str = "agentos://";

/// The path a URI names; `None` for every URI that is not exactly of this scheme.
///
/// Nothing is cut off, folded or resolved: a query, a fragment, an authority, a `..` and an escaped slash make it no resource.
/// Each character may be percent-encoded once.
pub(super) fn path_of(uri: &str) -> Option<String> {
    let path = uri.strip_prefix(SCHEME)?;
    if !path.starts_with('/') || path.contains(['?', '#', '\\']) {
        return None;
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                let decoded = u8::try_from(high << 4 | low).ok()?;
                // An escaped slash is no border between two names, an escaped escape is not decoded twice.
                Some(decoded).filter(|byte| !matches!(byte, b'/' | b'\\' | b'%' | 0))?
            }
            byte => byte,
        });
    }
    let path = String::from_utf8(bytes).ok()?;
    // What else a path may not be is for the border, which reads it next; this is where a client would look for a way out.
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    (!dots).then_some(path)
}

/// The URI of a file or directory in the root.
pub(super) fn of_name(name: &str) -> String {
    let mut uri = format!("{SCHEME}/");
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_scheme_leads_to_files() {
        let cases = [
            ("agentos:///mem/working/a", Some("/mem/working/a")),
            ("agentos:///", Some("/")),
            ("agentos:///mem/a%20b", Some("/mem/a b")),
            ("agentos:///mem/caf%C3%A9", Some("/mem/caf\u{e9}")),
            ("agentos:///mem/%61", Some("/mem/a")),
            ("file:///etc/passwd", None),
            ("FILE:///etc/passwd", None),
            ("file:%2f%2f/etc/passwd", None),
            ("agentos:%2F%2F/mem", None),
            ("AgentOS:///mem", None),
            (" agentos:///mem", None),
            ("agentos://host/mem", None),
            ("agentos://", None),
            ("agentos:/mem", None),
            ("/mem", None),
            ("", None),
            ("agentos:///mem?x=1", None),
            ("agentos:///mem#x", None),
            ("agentos:///mem/../policy", None),
            ("agentos:///mem/%2e%2e/policy", None),
            ("agentos:///mem%2Fworking", None),
            ("agentos:///mem%252Fworking", None),
            ("agentos:///mem%5Cworking", None),
            ("agentos:///mem\\working", None),
            ("agentos:///a%00", None),
            ("agentos:///a%f", None),
            ("agentos:///a%", None),
            ("agentos:///a%zz", None),
            ("agentos:///a%+1", None),
            ("agentos:///%ff", None),
        ];
        for (uri, path) in cases {
            assert_eq!(path_of(uri).as_deref(), path, "{uri}");
        }
    }

    #[test]
    fn a_name_comes_back_from_its_uri() {
        for name in ["mem", "a b", "caf\u{e9}", "x?y#z"] {
            assert_eq!(path_of(&of_name(name)), Some(format!("/{name}")));
        }
    }
}
