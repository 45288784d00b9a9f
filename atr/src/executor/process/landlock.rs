//! What of the file system, the network and other programs a confined program reaches, by Landlock.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};

use crate::isolation::Access;

/// From this ABI on, programs outside are out of reach of signals and abstract sockets.
pub(crate) const SCOPED_ABI: u32 = 6;
/// The newest ABI whose rights are known here. An older kernel enforces those of them that it knows.
const NEWEST: ABI = ABI::V9;

/// What the kernel is told to allow. No TCP, and no signal and no abstract socket beyond the program itself.
#[derive(Debug)]
pub(super) struct Rules(RulesetCreated);

impl Rules {
    /// Rules that allow no file.
    ///
    /// # Errors
    /// The kernel does not enforce at least the fourth ABI, from which on TCP is denied too.
    pub(super) fn new() -> Result<Self, String> {
        let rules = || {
            Ruleset::default()
                .set_compatibility(CompatLevel::HardRequirement)
                .handle_access(AccessFs::from_all(ABI::V4))?
                .handle_access(AccessNet::from_all(ABI::V4))?
                .set_compatibility(CompatLevel::BestEffort)
                .handle_access(AccessFs::from_all(NEWEST))?
                .scope(Scope::from_all(NEWEST))?
                .create()
        };
        rules().map(Self).map_err(|error| error.to_string())
    }

    /// Allows `access` to a file, or to a folder and everything beneath it. It follows the file, not its path, and so
    /// holds wherever the file is mounted.
    pub(super) fn allow(self, file: impl AsFd, access: Access) -> Result<Self, String> {
        let rule = PathBeneath::new(file, rights(access));
        self.0.add_rule(rule).map(Self).map_err(|error| error.to_string())
    }

    /// The rules as the kernel holds them, for `landlock_restrict_self`.
    pub(super) fn into_fd(self) -> Result<OwnedFd, String> {
        Option::<OwnedFd>::from(self.0).ok_or_else(|| "the kernel holds no rules".to_owned())
    }
}

/// The rights of `access`, for `landlock_add_rule` on a folder that is there only once the program's mounts are, such as
/// `/scratch`. They are of the third ABI at most, so [`Rules`] always handle them.
pub(super) fn folder_rights(access: Access) -> u64 {
    rights(access).bits()
}

/// The kernel's ABI; `None` where Landlock is not there or not enabled.
///
/// It is found by confining a thread that has nothing else to do.
pub(crate) fn abi() -> Option<u32> {
    let probe = || {
        let rules = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
        rules.restrict_self()
    };
    match thread::spawn(probe).join().ok()?.ok()?.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            kernel_abi.map_or(Some(effective_abi as u32), |abi| u32::try_from(abi).ok())
        }
        _ => None,
    }
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    match access {
        Access::Read => read,
        Access::Execute => read | AccessFs::Execute,
        Access::Write => {
            read | AccessFs::WriteFile
                | AccessFs::Truncate
                | AccessFs::Refer
                | AccessFs::MakeReg
                | AccessFs::MakeDir
                | AccessFs::MakeSym
                | AccessFs::RemoveFile
                | AccessFs::RemoveDir
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;
    use std::path::Path;

    use super::*;

    /// What becomes of `attempt` in a thread that has only `access` to `folder`.
    fn confined<T: Send>(folder: &Path, access: Access, attempt: impl FnOnce() -> T + Send) -> T {
        let rules = Rules::new().unwrap().allow(File::open(folder).unwrap(), access).unwrap();
        thread::scope(|scope| {
            let confined = scope.spawn(|| {
                let status = rules.0.restrict_self().unwrap();
                assert!(status.no_new_privs);
                attempt()
            });
            confined.join().unwrap()
        })
    }

    fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn only_what_is_allowed_is_reached() {
        let denied = Some(io::ErrorKind::PermissionDenied);
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("f"), tempfile::NamedTempFile::new().unwrap());
        for access in [Access::Read, Access::Execute, Access::Write] {
            fs::write(&inside, "x").unwrap();
            let found = confined(folder.path(), access, || {
                let up = folder.path().join("../").join(outside.path().file_name().unwrap());
                [
                    kind(fs::read(&inside)),
                    kind(fs::read(outside.path())),
                    kind(fs::read(up)),
                    kind(fs::write(&inside, "y")),
                    kind(fs::remove_file(&inside)),
                    kind(std::net::TcpStream::connect("127.0.0.1:9")),
                ]
            });
            let write = if access == Access::Write { None } else { denied };
            assert_eq!(found, [None, denied, denied, write, write, denied], "{access:?}");
        }
    }

    #[test]
    fn nothing_that_can_be_written_can_be_executed() {
        for access in [Access::Read, Access::Execute, Access::Write] {
            let rights = rights(access);
            assert!(!(rights.contains(AccessFs::Execute) && rights.intersects(AccessFs::from_write(NEWEST))));
            assert!(AccessFs::from_all(ABI::V3).contains(rights), "{access:?}");
        }
    }

    #[test]
    fn a_rule_for_a_file_leaves_out_what_concerns_folders() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Rules::new().unwrap().allow(&file, Access::Write).unwrap().into_fd().is_ok());
    }

    #[test]
    fn the_abi_is_known_and_enough() {
        assert!((4..100).contains(&abi().unwrap()));
    }
}
