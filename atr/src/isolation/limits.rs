//! How much one call may use.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// How much one call may use. Zero, or more than the maximum, is refused at registration.
///
/// A function of the host is held to `deadline` and `output_bytes` only; the rest is for programs, and each executor
/// says in its guarantees what it holds them to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Time from start to answer, in whole microseconds. Time for which the program was stopped does not count.
    #[serde(rename = "deadline_us", serialize_with = "micros")]
    pub deadline: Duration,
    /// Size of the answer, as sent by a process and as canonical JSON.
    pub output_bytes: usize,
    /// How much of a process's standard error is kept. What is beyond is read and forgotten.
    pub stderr_bytes: usize,
    /// Processor time of the program, in whole microseconds.
    #[serde(rename = "cpu_us", serialize_with = "micros")]
    pub cpu: Duration,
    /// Memory of the program.
    pub memory_bytes: u64,
    /// Files that a process may have open.
    pub open_files: u32,
    /// Processes and threads that the program may have.
    pub processes: u32,
    /// Size of `/scratch`, the only place that a confined program can write to without a grant.
    pub scratch_bytes: u64,
    /// Instructions that WebAssembly may execute, in wasmtime's fuel; not counted when absent. No other executor runs a
    /// program that has this limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl Limits {
    /// 30 s, 1 MiB of output, 64 KiB of standard error, 10 s of processor time, 256 MiB of memory, 64 open files, 32
    /// processes, 64 MiB of scratch space, fuel not counted.
    pub const DEFAULT: Self = Self {
        deadline: Duration::from_secs(30),
        output_bytes: 1 << 20,
        stderr_bytes: 64 << 10,
        cpu: Duration::from_secs(10),
        memory_bytes: 256 << 20,
        open_files: 64,
        processes: 32,
        scratch_bytes: 64 << 20,
        fuel: None,
    };
    /// One hour, 16 MiB of output, 1 MiB of standard error, one hour of processor time, 8 GiB of memory, 1024 open
    /// files, 1024 processes, 4 GiB of scratch space, any fuel.
    pub const MAX: Self = Self {
        deadline: Duration::from_secs(3600),
        output_bytes: 16 << 20,
        stderr_bytes: 1 << 20,
        cpu: Duration::from_secs(3600),
        memory_bytes: 8 << 30,
        open_files: 1024,
        processes: 1024,
        scratch_bytes: 4 << 30,
        fuel: Some(u64::MAX),
    };

    /// The name of the first limit that is zero or above its maximum.
    pub(crate) fn first_out_of_range(&self) -> Option<&'static str> {
        let time = |time: Duration, most| 0 < time.as_micros() && time <= most;
        let fits = [
            ("deadline", time(self.deadline, Self::MAX.deadline)),
            ("output_bytes", (1..=Self::MAX.output_bytes).contains(&self.output_bytes)),
            ("stderr_bytes", (1..=Self::MAX.stderr_bytes).contains(&self.stderr_bytes)),
            ("cpu", time(self.cpu, Self::MAX.cpu)),
            ("memory_bytes", (1..=Self::MAX.memory_bytes).contains(&self.memory_bytes)),
            ("open_files", (1..=Self::MAX.open_files).contains(&self.open_files)),
            ("processes", (1..=Self::MAX.processes).contains(&self.processes)),
            ("scratch_bytes", (1..=Self::MAX.scratch_bytes).contains(&self.scratch_bytes)),
            ("fuel", self.fuel != Some(0)),
        ];
        fits.into_iter().find(|(_, fits)| !fits).map(|(name, _)| name)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn micros<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_bounded() {
        let day = Duration::from_secs(86_400);
        let cases = [
            (Limits::DEFAULT, None),
            (Limits::MAX, None),
            (Limits { deadline: Duration::ZERO, ..Limits::DEFAULT }, Some("deadline")),
            (Limits { deadline: Duration::from_nanos(999), ..Limits::DEFAULT }, Some("deadline")),
            (Limits { deadline: day, ..Limits::DEFAULT }, Some("deadline")),
            (Limits { output_bytes: 0, ..Limits::DEFAULT }, Some("output_bytes")),
            (Limits { output_bytes: (16 << 20) + 1, ..Limits::DEFAULT }, Some("output_bytes")),
            (Limits { stderr_bytes: 0, ..Limits::DEFAULT }, Some("stderr_bytes")),
            (Limits { stderr_bytes: (1 << 20) + 1, ..Limits::DEFAULT }, Some("stderr_bytes")),
            (Limits { cpu: Duration::ZERO, ..Limits::DEFAULT }, Some("cpu")),
            (Limits { memory_bytes: (8 << 30) + 1, ..Limits::DEFAULT }, Some("memory_bytes")),
            (Limits { open_files: 0, ..Limits::DEFAULT }, Some("open_files")),
            (Limits { processes: 1025, ..Limits::DEFAULT }, Some("processes")),
            (Limits { scratch_bytes: 0, ..Limits::DEFAULT }, Some("scratch_bytes")),
            (Limits { fuel: Some(0), ..Limits::DEFAULT }, Some("fuel")),
        ];
        for (limits, expected) in cases {
            assert_eq!(limits.first_out_of_range(), expected, "{limits:?}");
        }
    }
}
