//! The kernel, through its public API.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail loudly"
)]

mod approval;
mod checkpoint;
mod children;
mod declassify;
mod flow;
mod host;
mod interplay;
mod ipc;
mod judge;
mod limits;
mod live;
mod loops;
mod recording;
mod reload;
mod road;
mod shadow;
mod signal_delivery;
mod signal_handlers;
mod signals;
mod states;
mod storm;
mod tree;
