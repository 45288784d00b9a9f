//! Runnable hosts; each file beside this folder is one example. The project's README is tested here.

#![forbid(unsafe_code)]

/// The README of the project, so that its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

use agent_control_plane::FlightRecorder;

/// Where an example records: in the folder after `--record` on its command line, otherwise in memory.
///
/// # Errors
/// `--record` without a folder, or a folder that cannot be recorded in.
pub fn recorder() -> Result<FlightRecorder, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--record" {
            let folder = arguments.next().ok_or("--record takes a folder")?;
            return Ok(FlightRecorder::open(folder)?);
        }
    }
    Ok(FlightRecorder::memory()?)
}
