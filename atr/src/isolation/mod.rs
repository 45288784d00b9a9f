//! How far a program is kept from the host: what is asked for, what a level gives, what a program is let have.

mod level;
mod limits;
mod permissions;

pub use level::{Guarantee, GuaranteeSet, Level, SandboxPolicy};
pub use limits::Limits;
pub(crate) use permissions::check_folder;
pub use permissions::{Access, FolderGrant, Permissions};
