//! A text argument that is one mail address.
//!
//! Only what every mail system reads alike is an address. RFC 5322 also has comments, quoted local parts, display names
//! and lists, and old relays route by `%` and `!`; a reader of those may deliver elsewhere than this guard looked, so
//! the text is parsed here rather than by a library that takes them.

use url::Host;

use super::super::error::{Code, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::source::Node;
use super::Truth;
use super::host::{HostPattern, host_pattern, same_name, without_root_dot};

/// Longest address and longest local part in bytes, after RFC 5321 section 4.5.3.1.
const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;

/// The fields of the guard.
pub(in crate::policy) const FIELDS: [&str; 1] = ["domains"];

/// An address in one of some domains.
#[derive(Debug)]
pub(in crate::policy) struct EmailGuard {
    domains: Box<[HostPattern]>,
}

impl EmailGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`email`", &FIELDS, report)?;
        let entry = guard.require("domains", "`email`", report)?;
        let texts = fields::texts(&entry.value, "`domains`", report)?;
        let mut domains = Vec::new();
        for (text, at) in texts {
            match host_pattern(text) {
                Ok(HostPattern::Address(_)) => {
                    let message = format!("the domain {}: an address is no domain", quoted(text));
                    report.add(Code::BadOperand, at, message);
                }
                Ok(pattern) => domains.push(pattern),
                Err(reason) => {
                    report.add(Code::BadOperand, at, format!("the domain {}: {reason}", quoted(text)));
                }
            }
        }
        (!domains.is_empty()).then(|| Self { domains: domains.into() })
    }

    pub(super) fn judge(&self, text: &str) -> Truth {
        let Some(domain) = domain(text) else { return Truth::Unknown };
        self.domains.iter().any(|pattern| pattern.matches(&domain)).into()
    }
}

/// The domain of an address, in its ASCII form; `None` if the text is not exactly one plain address.
fn domain(text: &str) -> Option<Host<String>> {
    let (local, written) = text.split_once('@')?;
    if MAX_ADDRESS_BYTES < text.len() || MAX_LOCAL_BYTES < local.len() || !dot_atom(local) {
        return None;
    }
    // Everything the parser would decode, strip or cut off is refused before it sees it.
    if written.contains(['@', '[', ']', ':', '%', '/', '\\', '?', '#']) || written.ends_with('.') {
        return None;
    }
    match Host::parse(written).ok()? {
        Host::Domain(name) => {
            let name = without_root_dot(&name).filter(|name| same_name(written, name))?;
            Some(Host::Domain(name.to_owned()))
        }
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// Atoms between single dots. Of the characters RFC 5322 allows, those are left out that some mailers take for a route,
/// a program, a file or an option.
fn dot_atom(local: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-='&~#".contains(&byte);
    !local.starts_with('-') && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(plain))
}
