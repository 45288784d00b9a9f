//! Real servers for tests: each test binary starts its own, on a socket or port of its own and a folder that goes with it.
//!
//! A test that finds no server fails, and says what to install. Nothing that this did not start is touched.

#[cfg(feature = "chroma")]
pub mod chroma;
#[cfg(feature = "postgres")]
pub mod postgres;
mod process;
#[cfg(feature = "redis")]
pub mod redis;

pub use process::Shared;
