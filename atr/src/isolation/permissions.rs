//! What a program is let have. Nothing unless said; an executor grants exactly this, so a tool cannot exceed it.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Most folders that one tool may be granted.
const MAX_FOLDERS: usize = 64;
/// Where the system keeps the programs and libraries that a dynamically linked program needs.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/alternatives"];
/// Places of the host that no program is ever granted, nor anything that holds them.
const NEVER: [&str; 9] = ["/", "/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/root", "/home"];

/// What a program may do with a folder. Nothing is ever executed from a folder that can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Access {
    /// Read files and list folders.
    Read,
    /// Read, and execute what lies there.
    Execute,
    /// Read, create, change and remove.
    Write,
}

/// A folder or file of the host that a program sees, at the same path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderGrant {
    /// The folder or file, as an absolute path without `.` and `..`.
    pub path: PathBuf,
    /// What may be done there.
    pub access: Access,
}

/// What a program is let have of the host. The default is nothing.
///
/// There is no grant of network yet: a program that must have it cannot be confined by this crate, and is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Folders and files of the host.
    #[serde(default)]
    pub folders: Vec<FolderGrant>,
    /// Whether a `/proc` of its own processes is there. Some language runtimes look for it.
    #[serde(default)]
    pub proc: bool,
}

impl Permissions {
    /// Nothing at all. Enough for a statically linked program.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The programs and libraries of the system, to read and execute: `/usr`, `/bin`, `/sbin`, `/lib`, `/lib64`, `/lib32`,
    /// and the links among them in `/etc/alternatives`, as far as they are there. They are no secret, and dynamically linked
    /// programs do not start without them.
    #[must_use]
    pub fn system() -> Self {
        let there = SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists());
        Self {
            folders: there.map(|path| FolderGrant { path, access: Access::Execute }).collect(),
            proc: false,
        }
    }

    /// The same and one folder or file more. A path that leads through a symbolic link is refused when the tool is
    /// called, and so is a folder to write to that is also one to execute from, under another name.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>, access: Access) -> Self {
        self.folders.push(FolderGrant { path: path.into(), access });
        self
    }

    /// The same, with a `/proc` that shows the program its own processes.
    #[must_use]
    pub fn with_proc(mut self) -> Self {
        self.proc = true;
        self
    }

    /// The rule that is broken, if one is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if MAX_FOLDERS < self.folders.len() {
            return Err(format!("more than {MAX_FOLDERS} folders are granted"));
        }
        self.folders.iter().try_for_each(|grant| check_folder(&grant.path))
    }
}

/// Whether this is one of the places of [`Permissions::system`], which may be links to each other.
#[cfg(target_os = "linux")]
pub(crate) fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|system| Path::new(system) == path)
}

/// Why a folder or file can never be granted, if it cannot.
pub(crate) fn check_folder(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let normal = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !normal {
        return Err(format!("the granted folder `{shown}` is not an absolute path without `.` and `..`"));
    }
    // A file beneath `/etc` can be granted by its own path; the folder, and what would hold it, cannot.
    if NEVER.iter().any(|never| Path::new(never).starts_with(path)) {
        return Err(format!("`{shown}` can never be granted"));
    }
    for never in ["/proc", "/sys", "/dev", "/run", "/var/run"] {
        if path.starts_with(never) {
            return Err(format!("nothing beneath `{never}` can be granted"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_the_host_is_never_granted() {
        let refused =
            ["/", "/proc", "/proc/1", "/var/run/docker.sock", "/run/x", "/dev/sda", "/etc", "/var/", "/home"];
        for path in refused.into_iter().chain(["etc", "/usr/../etc/shadow", "", "/root"]) {
            let permissions = Permissions::none().folder(path, Access::Read);
            // `/var` holds `/var/run`.
            assert!(permissions.check().is_err(), "{path}");
        }
        for path in ["/usr", "/etc/ssl/certs", "/home/ada/project", "/srv/data"] {
            assert_eq!(Permissions::none().folder(path, Access::Read).check(), Ok(()), "{path}");
        }
    }
}
