//! Where an address literal leads.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::Host;

/// Classes a policy can name. What is none of them (documentation, multicast, benchmarking, future use) is
/// [`Class::Reserved`], which no policy can grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy::guard) enum Class {
    Public,
    Private,
    Loopback,
    LinkLocal,
    Reserved,
}

impl Class {
    pub(in crate::policy::guard) const NAMES: [(&'static str, Self); 4] = [
        ("public", Self::Public),
        ("private", Self::Private),
        ("loopback", Self::Loopback),
        ("link_local", Self::LinkLocal),
    ];
}

/// The class of an address literal, or of `localhost`; `None` for any other name, which only a resolver can class.
pub(super) fn class(host: &Host<String>) -> Option<Class> {
    match host {
        Host::Domain(name) if name == "localhost" || name.ends_with(".localhost") => Some(Class::Loopback),
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(v4(*address)),
        Host::Ipv6(address) => Some(v6(*address)),
    }
}

/// Whether an address literal leads neither to this machine nor into its network. Ranges for documentation and the like
/// lead nowhere, which is outside too.
pub(in crate::policy::guard) fn leads_outside(host: &Host<String>) -> bool {
    let unspecified = matches!(host, Host::Ipv4(address) if address.is_unspecified())
        || matches!(host, Host::Ipv6(address) if address.is_unspecified());
    !unspecified && matches!(class(host), None | Some(Class::Public | Class::Reserved))
}

/// After the IANA registry of special-purpose IPv4 addresses.
fn v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        // 100.64/10 is the carrier's private range.
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Class::Private,
        [0, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18..=19, ..] => Class::Reserved,
        [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

/// After the IANA registry of special-purpose IPv6 addresses. One that carries an IPv4 address leads where that leads.
fn v6(address: Ipv6Addr) -> Class {
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Reserved,
        // Mapped, compatible, translated (NAT64) and 6to4.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => carried(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => carried(high, low),
        [0x2002, high, low, ..] => carried(high, low),
        [0xfc00..=0xfdff, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        // Teredo, benchmarking, ORCHID and the other protocol assignments; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn literals_are_classed_by_where_they_lead() {
        let cases = [
            ("8.8.8.8", Class::Public),
            ("10.1.2.3", Class::Private),
            ("172.31.0.1", Class::Private),
            ("172.32.0.1", Class::Public),
            ("192.168.0.1", Class::Private),
            ("100.64.0.1", Class::Private),
            ("127.9.9.9", Class::Loopback),
            ("169.254.169.254", Class::LinkLocal),
            ("0.0.0.0", Class::Reserved),
            ("192.0.2.1", Class::Reserved),
            ("198.18.0.1", Class::Reserved),
            ("224.0.0.1", Class::Reserved),
            ("255.255.255.255", Class::Reserved),
            ("::1", Class::Loopback),
            ("::", Class::Reserved),
            ("::ffff:127.0.0.1", Class::Loopback),
            ("::ffff:8.8.8.8", Class::Public),
            ("::169.254.169.254", Class::LinkLocal),
            ("64:ff9b::10.0.0.1", Class::Private),
            ("2002:7f00:1::", Class::Loopback),
            ("2001::1", Class::Reserved),
            ("2001:db8::1", Class::Reserved),
            ("fd00::1", Class::Private),
            ("fe80::1", Class::LinkLocal),
            ("ff02::1", Class::Reserved),
            ("2606:4700::1111", Class::Public),
        ];
        for (text, expected) in cases {
            let host = match text.parse().unwrap() {
                IpAddr::V4(address) => Host::Ipv4(address),
                IpAddr::V6(address) => Host::Ipv6(address),
            };
            assert_eq!(class(&host), Some(expected), "{text}");
        }
        assert_eq!(class(&Host::Domain("a.localhost".into())), Some(Class::Loopback));
        assert_eq!(class(&Host::Domain("example.com".into())), None);
    }
}
