//! Where a run took place.

use std::path::Path;
use std::process::Command;

/// One line about the machine: processor, cores, load, system, compiler. What cannot be told is `unknown`.
#[must_use]
pub fn line() -> String {
    let cores =
        std::thread::available_parallelism().map_or_else(|_| "unknown".to_owned(), |cores| cores.to_string());
    let processor = file("/proc/cpuinfo").lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let (processor, system) = (or_unknown(processor), or_unknown(Some(file("/proc/sys/kernel/osrelease"))));
    format!("{processor}, {cores} cores, load {}, {} {system}, {}", load(), std::env::consts::OS, compiler())
}

/// The load average of the last minute.
#[must_use]
pub fn load() -> String {
    or_unknown(file("/proc/loadavg").split_whitespace().next().map(str::to_owned))
}

/// Bytes of memory that this process has in use; `None` where the system does not tell.
#[must_use]
pub fn resident() -> Option<u64> {
    let status = file("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The type of the file system that holds `path`.
#[must_use]
pub fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    or_unknown(type_of(&file("/proc/self/mountinfo"), &path))
}

/// The type of the deepest mount above `path`; of two mounts on one point, the later hides the earlier.
fn type_of(mounts: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?.to_owned();
        path.starts_with(&point).then_some((point.len(), after.split(' ').next()?.to_owned()))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().ok();
    let version = output.and_then(|output| String::from_utf8(output.stdout).ok());
    or_unknown(version.and_then(|text| text.split(" (").next().map(str::to_owned)))
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn or_unknown(text: Option<String>) -> String {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_and_latest_mount_tells_the_type() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:25 / /tmp rw shared:1 - tmpfs tmpfs rw\n\
                      31 22 0:26 / /tmp rw shared:1 - xfs /dev/vdb rw\n";
        for (path, expected) in [("/tmp/x", Some("xfs")), ("/tmpx", Some("ext4")), ("relative", None)] {
            assert_eq!(type_of(mounts, Path::new(path)).as_deref(), expected, "{path}");
        }
    }
}
