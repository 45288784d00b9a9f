//! URLs that lead into the machine or its network, run something, or leave by a known drop.

use url::{Host, Url};

use super::super::host;
use super::super::url::address;

/// Schemes that read files, speak other protocols for the caller, or carry code.
const SCHEMES: [&str; 20] = [
    "file",
    "gopher",
    "dict",
    "ldap",
    "ldaps",
    "tftp",
    "jar",
    "netdoc",
    "php",
    "phar",
    "expect",
    "smb",
    "javascript",
    "vbscript",
    "internal",
    "kernel",
    "unix",
    "rmi",
    "view-source",
    "chrome",
];
/// Public places where whatever is posted can be picked up by somebody unknown.
const DROPS: [&str; 16] = [
    "pastebin.com",
    "webhook.site",
    "requestbin.com",
    "requestbin.net",
    "pipedream.net",
    "ngrok.io",
    "ngrok.app",
    "ngrok-free.app",
    "transfer.sh",
    "interact.sh",
    "oast.fun",
    "oast.pro",
    "burpcollaborator.net",
    "file.io",
    "0x0.st",
    "hastebin.com",
];
/// What a host or an address calls itself in tests and in carelessness.
const HOSTILE: [&str; 9] =
    ["evil", "attacker", "malicious", "hacker", "exfil", "phishing", "malware", "badguy", "c2server"];
/// Longest word that is looked at as a URL.
const MAX_URL_BYTES: usize = 8192;

/// Whether some word of the text is such a URL, or a mail address at a hostile host.
pub(super) fn in_text(text: &str) -> bool {
    let ends = |char: char| {
        char.is_whitespace() || matches!(char, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '|' | ';' | ',')
    };
    text.split(ends).filter(|word| word.len() <= MAX_URL_BYTES).any(|word| {
        let hostile = |name: &str| {
            name.split(['.', '-', '_']).any(|label| {
                HOSTILE
                    .iter()
                    .any(|bad| label.eq_ignore_ascii_case(bad) || label.to_ascii_lowercase().starts_with(bad))
            })
        };
        match word.split_once("://") {
            Some(_) => url(word, &hostile),
            None => {
                let script = ["javascript:", "vbscript:", "data:text/html"]
                    .iter()
                    .any(|start| word.to_ascii_lowercase().starts_with(start));
                script
                    || word.split_once('@').is_some_and(|(user, domain)| {
                        domain.contains('.') && (hostile(domain) || hostile(user))
                    })
            }
        }
    })
}

fn url(word: &str, hostile: &dyn Fn(&str) -> bool) -> bool {
    // A key or another word may stand in front: `--data=http://…`.
    let start = word.find("://").map_or(0, |end| {
        let scheme = word.get(..end).unwrap_or_default();
        scheme
            .rfind(|char: char| !char.is_ascii_alphanumeric() && !"+-.".contains(char))
            .map_or(0, |at| at + 1)
    });
    let word = word.get(start..).unwrap_or(word);
    let scheme = word.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if SCHEMES.contains(&scheme.as_str()) {
        return true;
    }
    let Ok(url) = Url::parse(word) else { return false };
    if !url.username().is_empty() && matches!(scheme.as_str(), "http" | "https" | "ftp" | "ws" | "wss") {
        return true;
    }
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let drop = DROPS.iter().any(|drop| {
                name.strip_suffix(drop).is_some_and(|front| front.is_empty() || front.ends_with('.'))
            });
            drop || hostile(&name)
                || (scheme.starts_with("http") && (host::internal(&name) || !name.contains('.')))
        }
        Some(host) => !address::leads_outside(&host.to_owned()),
        None => false,
    }
}
