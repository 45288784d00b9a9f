//! An index as a host uses it, over stores that fail where a test says so.

mod change;
pub(crate) mod fixture;
mod query;
mod race;
