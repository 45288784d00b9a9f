//! Runnable hosts; each file beside this folder is one example. The project's README is tested here.

/// The README of the project, so that its example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
