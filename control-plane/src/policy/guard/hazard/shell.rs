//! Shell command lines, read as a POSIX shell cuts them, and the same of `cmd` and PowerShell as far as words go.

use super::super::command::{Line, Word, lines};
use super::path;

/// How a command line counts: on its own, or as a few words in prose, where `rm` may be a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Command,
    Prose,
}

/// Most arguments of one command that are looked at, so that prose, where each word may be a program, costs linear time.
const MAX_ARGUMENTS: usize = 32;

/// Programs that change accounts, disks, boot or defences, or open connections for others, whatever their arguments.
const DRASTIC: [&str; 62] = [
    "sudo",
    "su",
    "doas",
    "runas",
    "mkfs",
    "fdisk",
    "parted",
    "wipefs",
    "shred",
    "srm",
    "shutdown",
    "reboot",
    "halt",
    "poweroff",
    "passwd",
    "chpasswd",
    "useradd",
    "userdel",
    "usermod",
    "adduser",
    "deluser",
    "groupadd",
    "visudo",
    "crontab",
    "chattr",
    "setfacl",
    "setenforce",
    "iptables",
    "ip6tables",
    "nft",
    "ufw",
    "firewall-cmd",
    "insmod",
    "modprobe",
    "rmmod",
    "mount",
    "umount",
    "nsenter",
    "chroot",
    "unshare",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "telnet",
    "nmap",
    "tcpdump",
    "strace",
    "gdb",
    "killall",
    "pkill",
    "swapoff",
    "diskpart",
    "bcdedit",
    "vssadmin",
    "wbadmin",
    "schtasks",
    "certutil",
    "mshta",
    "rundll32",
    "regsvr32",
    "wmic",
];
/// Programs that do harm with some arguments.
const OTHERS: [&str; 63] = [
    "aws",
    "az",
    "base64",
    "chgrp",
    "chmod",
    "chown",
    "clear-content",
    "cp",
    "curl",
    "dd",
    "del",
    "delete",
    "destroy",
    "docker",
    "erase",
    "eval",
    "find",
    "format",
    "format-volume",
    "ftp",
    "gcloud",
    "git",
    "gsutil",
    "history",
    "iex",
    "init",
    "install",
    "invoke-expression",
    "kill",
    "kubectl",
    "ln",
    "mv",
    "net",
    "podman",
    "powershell",
    "pulumi",
    "purge",
    "pwsh",
    "rd",
    "reg",
    "remove",
    "remove-item",
    "restart-computer",
    "rm",
    "rmdir",
    "rsync",
    "scp",
    "service",
    "set-executionpolicy",
    "sftp",
    "source",
    "ssh",
    "stop-computer",
    "systemctl",
    "tee",
    "telinit",
    "terraform",
    "truncate",
    "unlink",
    "unset",
    "wget",
    "wipe",
    "xxd",
];
/// Programs that run others, which come after their options.
const WRAPPERS: [&str; 12] = [
    "env", "nohup", "xargs", "time", "exec", "command", "builtin", "nice", "timeout", "stdbuf", "setsid",
    "busybox",
];
const SHELLS: [&str; 12] =
    ["sh", "bash", "zsh", "dash", "ksh", "fish", "python", "python3", "perl", "ruby", "node", "php"];
const FETCHERS: [&str; 5] = ["curl", "wget", "fetch", "invoke-webrequest", "iwr"];

/// Whether the text, as a whole or somewhere in it, is a command that destroys, escalates, opens a connection, hides or
/// runs what it just fetched.
pub(super) fn in_text(text: &str) -> bool {
    if fork_bomb(text) || ["/dev/tcp/", "/dev/udp/"].iter().any(|device| text.contains(device)) {
        return true;
    }
    lines(text)
        .iter()
        .any(|line| piped_into_a_shell(line) || fetched_and_run(line) || line.commands().any(dangerous))
}

fn fork_bomb(text: &str) -> bool {
    let dense: String = text.chars().filter(|char| !char.is_whitespace()).collect();
    dense.contains("(){:|:&}") || dense.contains("(){") && dense.contains("|") && dense.contains("&};")
}

/// What is fetched, decoded or written by one command and read by an interpreter.
fn piped_into_a_shell(line: &Line) -> bool {
    line.pipelines().any(|commands| {
        let name = |words: &[Word]| program(words).map(|(name, _)| name);
        let last = commands.iter().skip(1).any(|words| {
            name(words).is_some_and(|name| {
                SHELLS.contains(&name.as_str()) || name == "iex" || name == "invoke-expression"
            })
        });
        let out = commands.first().is_some_and(|words| words.iter().any(|word| path::protected(word)))
            && commands
                .iter()
                .skip(1)
                .any(|words| name(words).is_some_and(|name| FETCHERS.contains(&name.as_str())));
        last || out
    })
}

/// What is fetched in one command and made executable or started by a later one of the same line.
fn fetched_and_run(line: &Line) -> bool {
    let fetches = |words: &&[Word]| program(words).is_some_and(|(name, _)| FETCHERS.contains(&name.as_str()));
    line.commands().skip_while(|words| !fetches(words)).skip(1).any(|words| {
        let executable =
            || words.iter().any(|word| matches!(word.as_str(), "+x" | "a+x" | "u+x" | "755" | "0755"));
        words.first().is_some_and(|first| first.starts_with(['.', '/']) || SHELLS.contains(&first.as_str()))
            || (words.first().is_some_and(|first| first == "chmod") && executable())
    })
}

fn dangerous(words: &[Word]) -> bool {
    // The words of prose stand before the command: every place may be its start.
    let reading = |at: usize| if at == 0 { Reading::Command } else { Reading::Prose };
    (0..words.len()).any(|at| words.get(at..).is_some_and(|words| command(words, reading(at))))
}

/// The program's name in small letters without its folder, behind assignments and wrappers.
fn program(words: &[Word]) -> Option<(String, &[Word])> {
    let mut rest = words;
    loop {
        let (first, after) = rest.split_first()?;
        let name = first.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
        let name = name.strip_suffix(".exe").unwrap_or(&name).to_owned();
        let assignment = first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        let wrapper = WRAPPERS.contains(&name.as_str()) && !after.is_empty();
        let option_of_wrapper = first.starts_with('-') && rest.len() < words.len();
        if !(assignment || wrapper || option_of_wrapper) {
            return Some((name, after));
        }
        rest = after;
    }
}

/// Whether the name is one that [`command`] looks at; most words are not.
fn known(name: &str) -> bool {
    DRASTIC.contains(&name)
        || SHELLS.contains(&name)
        || OTHERS.contains(&name)
        || name.starts_with("mkfs.")
        || name.starts_with('$')
}

fn command(words: &[Word], reading: Reading) -> bool {
    let Some((name, arguments)) = program(words) else { return false };
    if !known(&name) {
        return false;
    }
    let plain: Vec<String> =
        arguments.iter().take(MAX_ARGUMENTS).map(|word| word.to_ascii_lowercase()).collect();
    let has = |known: &[&str]| plain.iter().any(|word| known.contains(&word.as_str()));
    let first = plain.first().map_or("", String::as_str);
    let flagged =
        |letters: &[char]| plain.iter().any(|word| flags(word).is_some_and(|flags| flags.contains(letters)));
    let alone = reading == Reading::Command;
    // In prose a program's name needs something that only a command line has.
    let lined = plain
        .iter()
        .take(3)
        .any(|word| word.starts_with(['-', '/', '~', '.', '*', '$']) || word.contains('/'));
    match name.as_str() {
        "rm" | "unlink" | "rmdir" => {
            flags(first).is_some_and(|flags| !flags.is_empty() && flags != "?")
                || first.starts_with("--")
                || (alone && (lined || arguments.len() == 1))
                || plain.iter().take(2).any(|word| word.starts_with(['/', '~', '*']))
        }
        "delete" | "remove" | "erase" | "wipe" | "destroy" | "purge" => {
            first.starts_with(['/', '~', '*']) || (first.len() > 2 && first.get(1..3) == Some(":\\"))
        }
        "dd" => plain.iter().any(|word| word.starts_with("of=")),
        "find" => has(&["-delete", "-exec", "-execdir", "-ok"]),
        "chmod" => {
            has(&["777", "0777", "666", "a+rwx", "+s", "u+s", "4755", "o+w", "a+w"])
                || flags(first).is_some_and(|flags| flags.contains(['R', 'r']))
        }
        "chown" | "chgrp" => flags(first).is_some() || plain.iter().any(|word| word.starts_with("root")),
        "kill" => flags(first).is_some() && 1 < plain.len(),
        "mv" | "cp" | "ln" | "tee" | "truncate" | "install" => {
            plain.iter().any(|word| word == "/dev/null" || path::protected(word))
                || (name == "truncate" && flagged(&['s']))
        }
        "git" => {
            (first == "push"
                && plain
                    .iter()
                    .any(|word| matches!(word.as_str(), "--force" | "-f" | "--mirror" | "--delete")))
                || (first == "reset" && has(&["--hard"]))
                || (first == "clean"
                    && plain.iter().any(|word| flags(word).is_some_and(|flags| flags.contains('f'))))
                || first == "filter-branch"
        }
        "systemctl" | "service" => has(&["stop", "disable", "mask", "kill", "poweroff", "reboot"]),
        "docker" | "podman" => {
            has(&["--privileged", "prune", "rm", "rmi", "kill"])
                || plain.iter().any(|word| word.starts_with("/:") || word.contains("docker.sock"))
        }
        "kubectl" => has(&["delete", "drain", "exec"]),
        "terraform" | "pulumi" => has(&["destroy"]),
        "aws" | "gcloud" | "az" | "gsutil" => {
            has(&["rm", "rb", "delete", "terminate-instances", "delete-bucket"])
                || plain.iter().any(|word| word.starts_with("delete-") || word.starts_with("terminate-"))
        }
        "history" => has(&["-c", "-w"]),
        "unset" => has(&["histfile"]),
        "eval" | "source" => {
            alone && lined || plain.iter().any(|word| word.contains("$(") || word.contains('`'))
        }
        "base64" | "xxd" => {
            alone && has(&["-d", "--decode", "-r"]) && words.iter().any(|word| word.contains('|'))
        }
        "del" => plain.iter().any(|word| matches!(word.as_str(), "/f" | "/s" | "/q" | "*.*" | "*")),
        "rd" => has(&["/s", "/q"]),
        "format" => plain.iter().any(|word| word.len() == 2 && word.ends_with(':')),
        "reg" => matches!(first, "delete" | "add"),
        "net" => matches!(first, "user" | "localgroup" | "stop"),
        "remove-item"
        | "clear-content"
        | "stop-computer"
        | "restart-computer"
        | "format-volume"
        | "set-executionpolicy" => alone || lined,
        "powershell" | "pwsh" => has(&["-enc", "-encodedcommand", "-e", "-ep", "bypass", "-w", "hidden"]),
        "iex" | "invoke-expression" => lined || !plain.is_empty() && alone,
        // Whatever the variable holds.
        name if name.starts_with('$') => {
            flags(first).is_some_and(|flags| flags.contains('r') && flags.contains('f'))
        }
        "init" | "telinit" => matches!(first, "0" | "6"),
        "curl" | "wget" => uploads(&plain),
        "scp" | "rsync" | "sftp" | "ftp" | "ssh" => {
            plain.iter().any(|word| word.contains('@') || path::protected(word)) && (alone || lined)
        }
        "ncat" | "nc" | "netcat" => {
            plain.iter().any(|word| word.starts_with('-')) || (alone && 1 < plain.len())
        }
        _ if name.starts_with("mkfs.") => true,
        "sudo" | "doas" => alone || lined || SUDOED.contains(&first),
        _ if DRASTIC.contains(&name.as_str()) => {
            (alone && (!plain.is_empty() && lined || words.len() <= 3)) || flags(first).is_some()
        }
        _ if SHELLS.contains(&name.as_str()) => {
            has(&["-i"]) || (has(&["-c", "-e", "-r"]) && arguments.iter().any(|word| in_text(word)))
        }
        _ => false,
    }
}

/// What is mostly run that way, so that it counts in prose too.
const SUDOED: [&str; 14] = [
    "rm",
    "su",
    "bash",
    "sh",
    "cat",
    "chmod",
    "chown",
    "dd",
    "reboot",
    "shutdown",
    "systemctl",
    "passwd",
    "visudo",
    "userdel",
];

fn uploads(arguments: &[String]) -> bool {
    arguments.iter().any(|word| {
        matches!(word.as_str(), "-t" | "--upload-file" | "--post-file" | "-f" | "--form")
            || word.starts_with("--post-file=")
            || word.starts_with('@')
            || word.contains("=@")
    })
}

/// The letters of a short option.
fn flags(word: &str) -> Option<&str> {
    word.strip_prefix('-').filter(|flags| {
        !flags.is_empty() && !flags.starts_with('-') && flags.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
