//! A text argument that is a URL.
//!
//! The check and the client that follows the URL must see one host. So the text has to say plainly what the parser
//! found: whatever a lenient parser repairs, strips or decodes on the way is refused.

pub(super) mod address;

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use self::address::Class;
use super::super::error::{Code, Mark, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::source::{Node, Tree};
use super::Truth;
use super::host::{HostPattern, host_pattern, same_name, without_root_dot};
use super::network;

/// Longest URL in bytes that is looked at.
const MAX_URL_BYTES: usize = 8192;

/// Schemes that have a host and a default port, so that every part of the grant means something.
pub(in crate::policy) const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];

/// The fields of the guard.
pub(in crate::policy) const FIELDS: [&str; 5] = ["schemes", "hosts", "ports", "addresses", "networks"];

/// What a URL may be.
#[derive(Debug)]
pub(in crate::policy) struct UrlGuard {
    schemes: Box<[String]>,
    hosts: Box<[HostPattern]>,
    /// `None`: the scheme's own port.
    ports: Option<Box<[u16]>>,
    /// Classes an address literal may have; none unless listed.
    addresses: Box<[Class]>,
    /// Ranges in which an address literal is granted without its class or its entry in `hosts`.
    networks: Box<[IpNet]>,
}

impl UrlGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`url`", &FIELDS, report)?;
        let known = SCHEMES.map(|name| (name, name));
        let schemes = guard.require("schemes", "`url`", report).and_then(|entry| {
            let nodes = fields::some_list(&entry.value, "`schemes`", report)?;
            let words = nodes.iter().filter_map(|node| fields::word(node, "scheme", &known, report));
            Some(words.map(str::to_owned).collect())
        });
        let hosts = guard.require("hosts", "`url`", report).and_then(|entry| {
            let texts = fields::texts(&entry.value, "`hosts`", report)?;
            let read = |(text, at): (&str, Mark)| match host_pattern(text) {
                Ok(pattern) => Some(pattern),
                Err(reason) => {
                    report.add(Code::BadOperand, at, format!("the host {}: {reason}", quoted(text)));
                    None
                }
            };
            Some(texts.into_iter().filter_map(read).collect())
        });
        let ports = guard.get("ports").map(|entry| ports(&entry.value, report));
        let addresses = guard.get("addresses").map(|entry| {
            let nodes = fields::some_list(&entry.value, "`addresses`", report)?;
            let word = |node| fields::word(node, "class of addresses", &Class::NAMES, report);
            Some(nodes.iter().filter_map(word).collect())
        });
        let networks = guard.get("networks").map(|entry| network::parse(&entry.value, "`networks`", report));
        Some(Self {
            schemes: schemes?,
            hosts: hosts?,
            ports: flip(ports)?.flatten(),
            addresses: flip(addresses)?.unwrap_or_default(),
            networks: flip(networks)?.unwrap_or_default(),
        })
    }

    pub(super) fn judge(&self, text: &str) -> Truth {
        let Some((url, host)) = plain_url(text) else { return Truth::Unknown };
        let port_fits = match &self.ports {
            None => url.port().is_none(),
            Some(ports) => url.port_or_known_default().is_some_and(|port| ports.contains(&port)),
        };
        let fits =
            self.schemes.iter().any(|scheme| scheme == url.scheme()) && port_fits && self.host_fits(&host);
        fits.into()
    }

    fn host_fits(&self, host: &Host<String>) -> bool {
        let literal = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        };
        if literal.is_some_and(|address| network::contain(&self.networks, address)) {
            return true;
        }
        let class = address::class(host);
        let listed = self.hosts.iter().any(|pattern| pattern.matches(host));
        listed && class.is_none_or(|class| self.addresses.contains(&class))
    }
}

/// Absent stays absent; present and bad is bad.
#[expect(clippy::option_option, reason = "absent and malformed are two things")]
fn flip<T>(field: Option<Option<T>>) -> Option<Option<T>> {
    match field {
        None => Some(None),
        Some(None) => None,
        Some(value) => Some(value),
    }
}

/// `default` is `Some(None)`; a list of ports is `Some(Some(…))`.
#[expect(clippy::option_option, reason = "absent and malformed are two things")]
fn ports(node: &Node, report: &mut Report) -> Option<Option<Box<[u16]>>> {
    if matches!(&node.tree, Tree::Text(word) if word == "default") {
        return Some(None);
    }
    if matches!(node.tree, Tree::Text(_)) {
        report.add(Code::BadOperand, node.at, "`ports` is `default` or a list of port numbers");
        return None;
    }
    let mut ports = Vec::new();
    for item in fields::some_list(node, "`ports`", report)? {
        let port = match &item.tree {
            Tree::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            _ => None,
        };
        match port.filter(|port| 0 < *port) {
            Some(port) => ports.push(port),
            None => report.add(Code::BadOperand, item.at, "a port is a number from 1 to 65535"),
        }
    }
    Some(Some(ports.into()))
}

/// Parses a URL with a host, if its text has only one reading. The host comes without the dot of the root.
fn plain_url(text: &str) -> Option<(Url, Host<String>)> {
    let stripped_or_repaired = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'\\';
    if MAX_URL_BYTES < text.len() || text.bytes().any(stripped_or_repaired) {
        return None;
    }
    if text.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return None;
    }
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (written, port) = split_port(authority)?;
    if authority.contains('@') || written.is_empty() || port.is_some_and(str::is_empty) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let host = match url.host()? {
        Host::Domain(name) => {
            let name = without_root_dot(name).filter(|_| same_name(written, name))?;
            Host::Domain(name.to_owned())
        }
        Host::Ipv4(address) if written.is_ascii() && !written.contains('%') => Host::Ipv4(address),
        Host::Ipv6(address) => Host::Ipv6(address),
        Host::Ipv4(_) => return None,
    };
    Some((url, host))
}

/// Host and port as they are written; `None` if there is no way to tell them apart.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}
