//! How far a program is kept from the host: what is asked for, what a level gives, what a program is let have.

mod level;
mod limits;
mod permissions;
mod report;

pub use level::{Guarantee, GuaranteeSet, Level, SandboxPolicy};
pub use limits::Limits;
pub(crate) use permissions::check_folder;
#[cfg(target_os = "linux")]
pub(crate) use permissions::is_system;
pub use permissions::{Access, FolderGrant, Permissions};
pub use report::{CgroupReport, IsolationReport, LevelReport};
