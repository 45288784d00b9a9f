//! Names and addresses of hosts, and patterns on them.

use std::net::IpAddr;

use unicode_normalization::is_nfkc;
use url::Host;

/// Names that no public resolver answers for, after RFC 6761, 6762 (with its appendix G) and 8375 and the hosts file of
/// common systems. Names of a single label are internal too.
const INTERNAL: [&str; 10] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "home.arpa",
    "lan",
];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// Every host but the internal names.
    Any,
    Name(String),
    /// One or more labels in front of this name.
    Below(String),
    Address(IpAddr),
}

impl HostPattern {
    pub(super) fn matches(&self, host: &Host<String>) -> bool {
        match (self, host) {
            (Self::Any, Host::Domain(host)) => host.contains('.') && !internal(host),
            // What an address literal may be is for its class to say.
            (Self::Any, Host::Ipv4(_) | Host::Ipv6(_)) => true,
            (Self::Name(name), Host::Domain(host)) => host == name,
            (Self::Below(name), Host::Domain(host)) => host
                .strip_suffix(name.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty() && (!internal(host) || internal(name))),
            (Self::Address(address), Host::Ipv4(host)) => *address == IpAddr::V4(*host),
            (Self::Address(address), Host::Ipv6(host)) => *address == IpAddr::V6(*host),
            _ => false,
        }
    }
}

/// Whether the name is one of those that lead into the network the tool stands in, whoever asks.
pub(super) fn internal(name: &str) -> bool {
    INTERNAL
        .iter()
        .any(|top| name.strip_suffix(top).is_some_and(|front| front.is_empty() || front.ends_with('.')))
}

pub(super) fn host_pattern(text: &str) -> Result<HostPattern, &'static str> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name.contains('*') {
        return Err("`*` stands only in front, as `*.example.com`, or alone");
    }
    if name.contains(['/', ':', '@', '%']) && !name.starts_with('[') {
        return Err("a host is a name or an address, without scheme, port or path");
    }
    match (below, Host::parse(name)) {
        (false, Ok(Host::Ipv4(address))) => Ok(HostPattern::Address(address.into())),
        (false, Ok(Host::Ipv6(address))) => Ok(HostPattern::Address(address.into())),
        (true, Ok(Host::Ipv4(_) | Host::Ipv6(_))) => Err("an address has no names below it"),
        (below, Ok(Host::Domain(name))) => {
            let name = without_root_dot(&name).ok_or("not a host name")?.to_owned();
            Ok(if below { HostPattern::Below(name) } else { HostPattern::Name(name) })
        }
        (_, Err(_)) => Err("not a host name"),
    }
}

/// `None` unless every label is made of letters, digits, `-` and `_`. The parser takes more, and a client that ends the
/// host at one of those characters would connect to what stands in front of it.
pub(super) fn without_root_dot(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.split('.').all(|label| !label.is_empty() && label.bytes().all(letter)).then_some(name)
}

/// Whether `parsed` is `written` but for case and the ASCII form of internationalised labels. A letter that the parser
/// maps to another one (full-width, a dot from another script, an invisible one) makes the two differ.
pub(super) fn same_name(written: &str, parsed: &str) -> bool {
    let labels = |name: &str| name.split('.').count();
    let same = |(written, parsed): (&str, &str)| {
        if written.is_ascii() {
            written.eq_ignore_ascii_case(parsed)
        } else {
            parsed.starts_with("xn--") && is_nfkc(written)
        }
    };
    labels(written) == labels(parsed) && written.split('.').zip(parsed.split('.')).all(same)
}
