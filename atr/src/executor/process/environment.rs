//! The environment of a confined program: built from nothing.

use std::collections::BTreeMap;

use super::super::Command;

/// What every program has, unless its command says otherwise.
const ALWAYS: [(&str, &str); 4] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("LANG", "C.UTF-8"),
    ("HOME", "/scratch"),
    ("TMPDIR", "/scratch"),
];
/// Variables by which a loader or an interpreter is made to run something else.
const STEERING: [&str; 12] = [
    "LD_", "GLIBC_", "GCONV_", "MALLOC_", "DYLD_", "BASH_", "PYTHON", "PERL", "RUBY", "NODE_", "JAVA_",
    "GIT_",
];
const MAX_NAME: usize = 64;

/// `NAME=value` for each variable.
///
/// # Errors
/// The name that no sandbox takes.
pub(super) fn of(command: &Command) -> Result<Vec<String>, String> {
    if let Some(name) = command.env.keys().find(|name| !is_taken(name)) {
        return Err(format!("the environment variable `{name}` is not let into a sandbox"));
    }
    let mut all: BTreeMap<&str, &str> = ALWAYS.into();
    all.extend(command.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(all.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn is_taken(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(letters)
        && !STEERING.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_loader_is_taken() {
        for name in [
            "LD_PRELOAD",
            "GLIBC_TUNABLES",
            "PYTHONPATH",
            "GIT_SSH_COMMAND",
            "BASH_ENV",
            "path",
            "A-B",
            "",
            "1A",
            "A%%",
        ] {
            let mut command = Command::new("/x");
            command.env.insert(name.to_owned(), "1".to_owned());
            assert!(of(&command).is_err(), "{name}");
        }
        assert!(!is_taken(&"A".repeat(MAX_NAME + 1)));
        assert!(is_taken(&"A".repeat(MAX_NAME)));
    }

    #[test]
    fn a_command_adds_to_the_base_and_overrides_it() {
        let mut command = Command::new("/x");
        command.env.insert("HOME".to_owned(), "/".to_owned());
        command.env.insert("TOKEN_1".to_owned(), "a=b".to_owned());
        let expected =
            ["HOME=/", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=/scratch", "TOKEN_1=a=b"];
        assert_eq!(of(&command).unwrap(), expected);
    }
}
