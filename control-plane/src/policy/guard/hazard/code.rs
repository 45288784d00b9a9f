//! Program text that reaches for the machine: processes, files to delete, the interpreter itself, templates that run.

/// Calls and names, blanks left out, in small letters.
const REACHES: [&str; 66] = [
    "os.system(",
    "os.popen(",
    "os.remove(",
    "os.unlink(",
    "os.rmdir(",
    "os.exec",
    "os.spawn",
    "os.kill(",
    "os.environ",
    "os.setuid(",
    "os.fork(",
    "subprocess.",
    "importsubprocess",
    "shutil.rmtree(",
    "pty.spawn(",
    "__import__(",
    "__subclasses__",
    "__builtins__",
    "__globals__",
    "__class__",
    "importlib.",
    "ctypes.",
    "pickle.loads(",
    "marshal.loads(",
    "yaml.unsafe_load(",
    "sys.modules",
    "child_process",
    "process.env",
    "process.kill(",
    "process.exit(",
    "fs.unlink",
    "fs.rm(",
    "fs.rmdir",
    "fs.rmsync(",
    "rimraf",
    "eval(base64",
    "eval(atob",
    "exec(base64",
    "runtime.getruntime(",
    "processbuilder(",
    "file.delete(",
    "directory.delete(",
    "shell_exec(",
    "passthru(",
    "proc_open(",
    "<?php",
    "<script",
    "onerror=",
    "document.cookie",
    "${jndi:",
    "{{config",
    "{{self",
    "{%import",
    "#{`",
    "db.dropdatabase(",
    ".deletemany({})",
    ".drop()",
    "flushall",
    "flushdb",
    "socket.socket(",
    "setuid(0",
    "open3.",
    "std::process::command",
    "net.createconnection",
    "system.exit(",
    "/bin/sh",
];
/// Functions that run text; counted only where the name is not part of a longer one.
const RUNNERS: [&str; 6] = ["eval(", "exec(", "system(", "popen(", "execfile(", "compile("];

pub(super) fn in_text(text: &str) -> bool {
    let dense: String =
        text.chars().filter(|char| !char.is_whitespace()).flat_map(char::to_lowercase).collect();
    REACHES.iter().any(|reach| dense.contains(reach))
        || RUNNERS.iter().any(|name| runs(text, name))
        || substitutes(text)
}

/// Whether `name(` stands in the text and neither a letter nor a blank comes before the bracket's name.
fn runs(text: &str, name: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.match_indices(name).any(|(at, _)| {
        let before = lower.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|char| !char.is_alphanumeric() && !matches!(char, '_' | '.'))
    })
}

/// A command in `$(…)`: what it prints would take its place.
fn substitutes(text: &str) -> bool {
    text.match_indices("$(").any(|(at, _)| {
        let inner = text.get(at + 2..).unwrap_or_default();
        inner.starts_with(|first: char| first.is_ascii_lowercase()) && inner.contains(')')
    })
}
