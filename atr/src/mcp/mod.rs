//! Tools of servers that speak MCP, the Model Context Protocol (feature `mcp`).
//!
//! What a server says of its tools is not to be trusted: it may say something else after somebody has agreed to it. So a
//! tool arrives proposed, is approved by the digest of everything that is said of it and of the server that says it, and is
//! callable for as long as the server says exactly that. The first difference ends it, until somebody has looked again.

mod answer;
mod call;
mod catalogue;
mod connection;
mod definition;
mod error;
mod launch;
mod listing;
mod pins;
mod policy;
mod server;
mod settings;
mod wire;

pub use definition::{Definition, Difference, Hints, MAX_DIFFERENCES, Part};
pub use error::{Lost, McpError};
pub use launch::Program;
pub use listing::{MAX_LISTING, MAX_PAGES, MAX_SERVER_TOOLS};
pub use pins::{MAX_PINS, MAX_PINS_BYTES, Pin, Pins};
pub use policy::{Changed, Flagged, ImportPolicy, Refusal, Report, ToolTerms};
pub use server::Server;
pub use settings::{Recheck, Settings};
pub use wire::MAX_LINE;
