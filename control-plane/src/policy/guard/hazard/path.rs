//! Paths that lead out of an agent's own work: into the system, into other accounts, to keys.

/// Folders of a system, by their first or first two steps from the root. `*` is any one step.
const SYSTEM: [&[&str]; 30] = [
    &["etc"],
    &["root"],
    &["proc"],
    &["sys"],
    &["boot"],
    &["bin"],
    &["sbin"],
    &["lib"],
    &["lib64"],
    &["usr", "bin"],
    &["usr", "sbin"],
    &["usr", "lib"],
    &["usr", "local"],
    &["var", "lib"],
    &["var", "run"],
    &["var", "spool"],
    &["var", "www"],
    &["var", "backups"],
    &["run", "secrets"],
    &["run", "docker.sock"],
    &["private", "etc"],
    &["private", "var"],
    &["system", "library"],
    &["library", "keychains"],
    &["windows"],
    &["winnt"],
    &["program files"],
    &["programdata"],
    &["system32"],
    &["boot.ini"],
];
/// Devices that only take or give.
const HARMLESS_DEVICES: [&str; 8] = ["null", "stdin", "stdout", "stderr", "zero", "urandom", "random", "tty"];
/// Files and folders that hold keys, passwords or what runs at the next start, wherever they are.
const PRECIOUS: [&str; 42] = [
    ".ssh",
    ".aws",
    ".gnupg",
    ".kube",
    ".azure",
    ".gcloud",
    ".netrc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    ".bash_history",
    ".zsh_history",
    ".bashrc",
    ".bash_profile",
    ".profile",
    ".zshrc",
    ".env",
    ".vault-token",
    ".npmrc",
    ".pypirc",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "authorized_keys",
    "known_hosts",
    "shadow",
    "passwd",
    "sudoers",
    "gshadow",
    "ntds.dit",
    "docker.sock",
    "wp-config.php",
    "credentials.json",
    "service-account.json",
    "secrets.yaml",
    "secrets.yml",
    "secrets.json",
    "master.key",
    "web.config",
    "login.keychain",
];
/// Logs that tell who came in.
const TELLTALE_LOGS: [&str; 9] =
    ["auth.log", "secure", "audit", "wtmp", "btmp", "lastlog", "syslog", "messages", "audit.log"];
/// Longest path that is looked at; longer runs of text without blanks are no paths.
const MAX_PATH_BYTES: usize = 4096;

/// Whether some word of the text is such a path, or climbs out of its folder.
pub(super) fn in_text(text: &str) -> bool {
    let ends = |char: char| {
        char.is_whitespace()
            || matches!(
                char,
                '"' | '\'' | '`' | '<' | '>' | '|' | ';' | '(' | ')' | ',' | '=' | '[' | ']' | '{' | '}'
            )
    };
    protected(text.trim()) || text.split(ends).any(protected)
}

/// Whether this one word is such a path.
pub(super) fn protected(word: &str) -> bool {
    let word = word.trim_matches(|char: char| {
        matches!(char, '"' | '\'' | '`' | '.' | ',' | ':' | '!' | '?') && char != '.'
    });
    if word.len() < 3 || MAX_PATH_BYTES < word.len() || word.contains("://") && !word.starts_with("file:") {
        return false;
    }
    let path = word.to_ascii_lowercase().replace('\\', "/");
    let path = path.strip_prefix("file:").unwrap_or(&path).trim_end_matches('.');
    let absolute = path.starts_with('/') || drive(path).is_some();
    let home =
        ["~", "$home", "${home}", "%userprofile%", "%appdata%"].iter().any(|home| path.starts_with(home));
    if ["%systemroot%", "%windir%", "%system32%"].iter().any(|system| path.contains(system)) {
        return true;
    }
    let rest = drive(path).unwrap_or(path);
    let Some(steps) = steps(rest) else { return true };
    let names_a_path = absolute || home || 1 < steps.len() || path.starts_with('.');
    let precious = |step: &&str| {
        PRECIOUS.contains(step)
            || step.starts_with(".env.") && !step.ends_with("example") && !step.ends_with("sample")
            || step.ends_with(".pem") && step.contains("key")
    };
    // `shadow` alone is a word; `x/shadow` and `id_rsa` are files.
    let bare = 1 == steps.len() && steps.iter().any(|step| step.contains(['.', '_']) && precious(step));
    bare || (names_a_path && steps.iter().any(precious)) || (absolute && system(&steps))
}

fn system(steps: &[&str]) -> bool {
    let device =
        matches!(steps, ["dev", rest @ ..] if !matches!(rest, [device] if HARMLESS_DEVICES.contains(device)));
    let log = matches!(steps, ["var", "log", rest @ ..] if rest.first().is_none_or(|log| TELLTALE_LOGS.contains(log)));
    let other_home =
        matches!(steps, ["home" | "users", _, folder, ..] if folder.starts_with('.') || *folder == "appdata");
    device || log || other_home || SYSTEM.iter().any(|known| steps.starts_with(known))
}

/// What follows `c:` in front of a path.
fn drive(path: &str) -> Option<&str> {
    let (letter, rest) = path.split_once(':')?;
    let one_letter = letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_alphabetic());
    (one_letter && rest.starts_with('/')).then_some(rest)
}

/// The steps of a path with `.` and empty ones left out; `None` if it climbs: where it leads is then not in the text.
fn steps(path: &str) -> Option<Vec<&str>> {
    let mut steps = Vec::new();
    for step in path.split('/') {
        match step.trim_end_matches(['\0', ' ']) {
            "" | "." => {}
            ".." | "..;" | "...." if path.contains('/') => return None,
            step => steps.push(step),
        }
    }
    Some(steps)
}
