//! What the command line asks for.

use std::time::Duration;

use agent_os_benches::statistics::Effort;
use anyhow::bail;

pub(crate) const HELP: &str = "\
Measures the kernel's road beside its floors and its peers.

Usage: cargo bench -p agent-os-benches --bench road [-- [--quick] [--no-peers] [SECTION ...]]

Sections, all of them unless named: decision, governed, limits, approvals, reload, stop,
files, idle, durable, verify, peers
  --quick     a tenth of the samples
  --no-peers  leave out the peers, which are built by cargo first

Results go to standard output, progress to standard error.

Exit codes: 0 all measured, 1 something failed, a verdict of ours was wrong or the peers could not be run,
2 wrong arguments.";

/// The divisor of a run that only is to show that everything runs.
const SMOKE: usize = 1000;

/// One part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Decision,
    Governed,
    Limits,
    Approvals,
    Reload,
    Stop,
    Files,
    Idle,
    Durable,
    Verify,
    Peers,
}

impl Section {
    const ALL: [Self; 11] = [
        Self::Decision,
        Self::Governed,
        Self::Limits,
        Self::Approvals,
        Self::Reload,
        Self::Stop,
        Self::Files,
        Self::Idle,
        Self::Durable,
        Self::Verify,
        Self::Peers,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Governed => "governed",
            Self::Limits => "limits",
            Self::Approvals => "approvals",
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::Files => "files",
            Self::Idle => "idle",
            Self::Durable => "durable",
            Self::Verify => "verify",
            Self::Peers => "peers",
        }
    }
}

/// How much to measure of what.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    /// Every count of samples is divided by this.
    divisor: usize,
}

impl Options {
    /// Reads the arguments; `None` asks for the help text.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let (mut sections, mut quick, mut peers, mut bench) = (Vec::new(), false, true, false);
        for argument in arguments {
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => quick = true,
                "--no-peers" => peers = false,
                "--bench" => bench = true,
                name => match Section::ALL.into_iter().find(|section| section.name() == name) {
                    Some(section) => sections.push(section),
                    None => bail!("unexpected argument `{name}`"),
                },
            }
        }
        if sections.is_empty() {
            sections = Section::ALL.to_vec();
        }
        // `cargo test --benches` leaves `--bench` out. It wants to know that everything runs, not how fast.
        let divisor = match (bench, quick) {
            (false, _) => SMOKE,
            (true, true) => 10,
            (true, false) => 1,
        };
        if !peers || !bench {
            sections.retain(|section| *section != Section::Peers);
        }
        Ok(Some(Self { sections, divisor }))
    }

    /// `count` of them in a full run, and as many as this run is to make.
    pub(crate) fn scaled(&self, count: usize) -> usize {
        (count / self.divisor).max(1)
    }

    /// How many rules a large policy has: fewer where only is to be seen that everything runs.
    pub(crate) fn rules(&self, count: usize) -> usize {
        if self.divisor == SMOKE { count.min(100) } else { count }
    }

    /// How an operation in memory is measured.
    pub(crate) fn effort(&self) -> Effort {
        let scaled = |millis| Duration::from_millis(millis) / u32::try_from(self.divisor).unwrap_or(u32::MAX);
        Effort {
            warm_up: scaled(100),
            batch: scaled(2),
            batches: 21,
            repetitions: 7,
            samples: self.scaled(200_000),
            longest: scaled(2_000),
        }
    }
}
