//! Ranges of addresses, and a text argument that is one address.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::error::{Code, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::source::Node;
use super::Truth;

/// The fields of the guard `ip`.
pub(in crate::policy) const FIELDS: [&str; 1] = ["in"];

/// An address in one of some ranges.
#[derive(Debug)]
pub(in crate::policy) struct IpGuard {
    networks: Box<[IpNet]>,
}

impl IpGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`ip`", &FIELDS, report)?;
        let entry = guard.require("in", "`ip`", report)?;
        Some(Self { networks: parse(&entry.value, "`in`", report)? })
    }

    /// Only the plain spelling is an address: decimal octets without leading zeros, or the colon form.
    pub(super) fn judge(&self, text: &str) -> Truth {
        text.parse().map_or(Truth::Unknown, |address| contain(&self.networks, address).into())
    }
}

/// A list of ranges like `10.0.0.0/8`; a bare address is a range of one.
pub(super) fn parse(node: &Node, what: &str, report: &mut Report) -> Option<Box<[IpNet]>> {
    let texts = fields::texts(node, what, report)?;
    let mut networks = Vec::new();
    for (text, at) in texts {
        match network(text) {
            Ok(network) => networks.push(network),
            Err(reason) => {
                report.add(Code::BadOperand, at, format!("the network {}: {reason}", quoted(text)));
            }
        }
    }
    (!networks.is_empty()).then(|| networks.into())
}

fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| "not an address with a prefix, like `10.0.0.0/8`")?;
    let whole = network.trunc();
    if whole.addr() == network.addr() {
        Ok(network)
    } else {
        Err(format!("it has bits beyond its prefix; the range is `{whole}`"))
    }
}

/// An IPv6 address that carries an IPv4 one counts as that.
pub(super) fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
