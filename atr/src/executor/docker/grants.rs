//! Folders of the host that a container is let see.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use bollard::models::{Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType};
use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::isolation::{Access, FolderGrant, Permissions};

/// Where the container has something of its own.
const OURS: [&str; 4] = ["/scratch", "/sbin/docker-init", "/etc/hosts", "/etc/resolv.conf"];
/// Most entries of a folder that are looked at before it is refused.
const MAX_ENTRIES: usize = 10_000;

/// The mounts that grant exactly this, or the rule that is broken. `root` is where the daemon has its files.
pub(super) fn mounts(permissions: &Permissions, root: &str) -> Result<Vec<Mount>, String> {
    permissions.folders.iter().map(|grant| mount(grant, root)).collect()
}

fn mount(grant: &FolderGrant, root: &str) -> Result<Mount, String> {
    let shown = grant.path.display();
    let source =
        fs::canonicalize(&grant.path).map_err(|error| format!("`{shown}` cannot be granted: {error}"))?;
    // A link must not lead to where no grant leads.
    let real = FolderGrant { path: source.clone(), access: grant.access };
    Permissions { folders: vec![grant.clone(), real], proc: false }.check()?;
    let overlap = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    if OURS.iter().any(|ours| overlap(Path::new(ours), &grant.path)) {
        return Err(format!("`{shown}` would hide what the container itself needs"));
    }
    if !root.is_empty() && overlap(Path::new(root), &source) {
        return Err(format!("`{shown}` holds files of the daemon"));
    }
    harmless(&source).map_err(|reason| format!("`{shown}` cannot be granted: {reason}"))?;
    if grant.access != Access::Execute && !is_noexec(&source)? {
        return Err(format!("docker cannot keep what lies in `{shown}` from being executed"));
    }
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a granted path is not UTF-8");
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(text(&source)?),
        target: Some(text(&grant.path)?),
        read_only: Some(grant.access != Access::Write),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            // What is mounted beneath would stay writable on some daemons.
            non_recursive: Some(true),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

/// Whether it is a file or a folder, and has no socket or device at its top: whoever reaches the socket of a daemon has
/// what the daemon has.
fn harmless(source: &Path) -> Result<(), String> {
    let plain = |kind: fs::FileType| {
        !(kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device())
    };
    let kind = fs::metadata(source).map_err(|error| error.to_string())?.file_type();
    if !plain(kind) {
        return Err("it is a socket, a pipe or a device".to_owned());
    }
    if !kind.is_dir() {
        return Ok(());
    }
    for (index, entry) in fs::read_dir(source).map_err(|error| error.to_string())?.enumerate() {
        let kind = entry.and_then(|entry| entry.file_type()).map_err(|error| error.to_string())?;
        if !plain(kind) || MAX_ENTRIES <= index {
            return Err("it holds a socket, a pipe or a device, or too much to tell".to_owned());
        }
    }
    Ok(())
}

fn is_noexec(source: &Path) -> Result<bool, String> {
    let mounted = statvfs(source).map_err(|error| error.to_string())?;
    Ok(mounted.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_leads_out_or_cannot_be_kept_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().canonicalize().unwrap().join(name);
        for name in ["plain", "socket", "daemon", "daemon/data"] {
            fs::create_dir(path(name)).unwrap();
        }
        symlink("/etc", path("etc")).unwrap();
        symlink(path("plain"), path("link")).unwrap();
        let listener = UnixListener::bind(path("socket/s")).unwrap();
        let root = path("daemon/data").display().to_string();
        let granted = |path: &Path, access| mounts(&Permissions::none().folder(path, access), &root);

        for name in ["plain", "link"] {
            let mounts = granted(&path(name), Access::Execute).unwrap();
            assert_eq!(mounts[0].source.as_deref(), path("plain").to_str(), "{name}");
            assert_eq!(mounts[0].target.as_deref(), path(name).to_str(), "{name}");
            assert_eq!(mounts[0].read_only, Some(true));
        }
        for name in ["etc", "socket", "socket/s", "daemon", "daemon/data", "absent"] {
            assert!(granted(&path(name), Access::Execute).is_err(), "{name}");
        }
        for ours in ["/sbin", "/scratch"] {
            assert!(granted(Path::new(ours), Access::Execute).is_err(), "{ours}");
        }
        assert!(!is_noexec(dir.path()).unwrap(), "the rest of this test shows nothing here");
        for access in [Access::Read, Access::Write] {
            assert!(granted(&path("plain"), access).is_err(), "{access:?}");
        }
        drop(listener);
    }
}
