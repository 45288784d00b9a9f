//! Where programs run, and what runs there.
//!
//! | | child | process | wasm | container |
//! |---|---|---|---|---|
//! | computes for ever, ignores `SIGTERM`, is 16 at once | yes | yes | yes | yes |
//! | a tree that has lost its parents | yes | yes | no: a guest starts nothing, it is one thing that computes | yes |
//! | a tree in sessions of its own | no: it would get away | yes | no, as above | yes |
//! | a tool that answers a `SIGTERM` | yes | yes | no: a guest hears of it by the end of its input, which that of a tool has reached | yes |
//! | an agent that answers a `SIGTERM` | yes | yes | yes | yes |
//! | programs of the machine: the shell, Python | yes | yes | no | the shell, which is in the image |

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent_control_plane::atr::executor::{Held, Process};
use agent_control_plane::atr::{
    Access, Artefact, Command, Executors, Level, Limits, Permissions, SandboxPolicy,
};
use agent_control_plane::kernel::Hosted;

use crate::seen::{Eye, Mark};

/// On the machine, and in the image.
const SHELL: &str = "/usr/bin/busybox";
const SPIN: &str = "while :; do :; done";
/// What `count` counts to.
pub(crate) const COUNTED: u64 = 1_000_000;

/// Somewhere that programs run.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) level: Level,
    pub(crate) executors: Executors,
    pub(crate) sandbox: SandboxPolicy,
    pub(crate) permissions: Permissions,
    /// How a stop holds there.
    pub(crate) stopped: Held,
    /// Whether what programs use is measured there.
    pub(crate) measures: bool,
    pub(crate) eye: Eye,
    /// The image that containers are made of.
    pub(crate) image: Option<String>,
}

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Never ends.
    Spin,
    /// Counts to [`COUNTED`], without a pause.
    Count,
    /// Spins and ignores `SIGTERM`.
    Deaf,
    /// Spins until it answers a `SIGTERM` with 7.
    Polite,
    /// Leaves processes behind that spin, and spins.
    Family,
}

impl Does {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("spin", Self::Spin),
        ("count", Self::Count),
        ("deaf", Self::Deaf),
        ("polite", Self::Polite),
        ("family", Self::Family),
    ];
}

/// Every place there is. One that cannot run anything here fails its tests.
fn places() -> Vec<Place> {
    let child = Place {
        level: Level::Child,
        executors: Executors::host(),
        sandbox: SandboxPolicy::at_least(Level::Child),
        permissions: Permissions::none(),
        stopped: Held::Cooperative,
        measures: false,
        eye: Eye::Processes,
        image: None,
    };
    let process = Place {
        level: Level::Process,
        executors: Executors::none().with(Process::new()),
        sandbox: SandboxPolicy::CONFINED,
        permissions: Permissions::none().folder(SHELL, Access::Execute),
        stopped: Held::Hard,
        measures: true,
        ..child.clone()
    };
    vec![
        child,
        #[cfg(feature = "wasm")]
        crate::guests::place(&process),
        #[cfg(feature = "docker")]
        crate::container::place(&process),
        process,
    ]
}

impl Place {
    /// A place like another, where programs have nothing of the host.
    #[cfg(any(feature = "wasm", feature = "docker"))]
    pub(crate) fn elsewhere(like: &Self, level: Level, executors: Executors) -> Self {
        let sandbox = SandboxPolicy::at_least(level);
        Self { level, executors, sandbox, permissions: Permissions::none(), ..like.clone() }
    }

    #[cfg(feature = "docker")]
    pub(crate) fn of_image(self, image: String) -> Self {
        Self { image: Some(image), measures: false, ..self }
    }

    /// Whether nothing gets away from it, whatever it does.
    pub(crate) fn holds_all(&self) -> bool {
        self.level != Level::Child
    }

    /// Whether it runs the shell.
    pub(crate) fn has_shell(&self) -> bool {
        matches!(self.eye, Eye::Processes)
    }

    /// Whether it runs programs of the machine.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        self.has_shell() && self.image.is_none()
    }

    /// How many the family is.
    pub(crate) fn family(&self) -> usize {
        if self.has_shell() { 3 } else { 1 }
    }

    /// A program as a tool. `None`: there is no such program here.
    pub(crate) fn tool(&self, does: Does, mark: &Mark) -> Option<Artefact> {
        #[cfg(feature = "wasm")]
        if !self.has_shell() {
            return crate::guests::tool(does, mark);
        }
        Some(self.shell(&self.script(does, mark), mark))
    }

    /// A program as an agent, which says nothing.
    pub(crate) fn agent(&self, does: Does, mark: &Mark) -> Artefact {
        #[cfg(feature = "wasm")]
        if !self.has_shell() {
            return crate::guests::agent(does, mark);
        }
        self.shell(&self.script(does, mark), mark)
    }

    /// A program in the shell; the mark is what the host finds it by.
    pub(crate) fn shell(&self, script: &str, mark: &Mark) -> Artefact {
        let words = [SHELL, "sh", "-c", script, &mark.name];
        match &self.image {
            Some(image) => {
                let argv = words.map(str::to_owned).to_vec();
                Artefact::Image { reference: image.clone(), argv }
            }
            None => Self::command(script, mark),
        }
    }

    /// The same on the machine, wherever that leads.
    pub(crate) fn command(script: &str, mark: &Mark) -> Artefact {
        let args = ["sh", "-c", script, &mark.name].into_iter();
        Artefact::Command(args.fold(Command::new(SHELL), Command::arg))
    }

    fn script(&self, does: Does, mark: &Mark) -> String {
        match does {
            Does::Spin => SPIN.to_owned(),
            Does::Count => format!("i=0; while [ $i -lt {COUNTED} ]; do i=$((i+1)); done; echo $i"),
            Does::Deaf => format!("trap '' TERM; {SPIN}"),
            Does::Polite => format!("trap 'echo 7; exit' TERM; {SPIN}"),
            Does::Family => {
                // Where the place holds them even so, they leave their group and session.
                let child = if self.holds_all() {
                    format!("{SHELL} setsid {SHELL} sh -c '{SPIN}' {}", mark.name)
                } else {
                    format!("({SPIN})")
                };
                format!("({child} &); ({child} &); {SPIN}")
            }
        }
    }

    pub(crate) fn hosted(&self, artefact: Artefact) -> Hosted {
        Hosted::new(self.executors.clone(), [artefact])
            .sandbox(self.sandbox)
            .permissions(self.permissions.clone())
            .limits(LIMITS)
    }
}

/// What a program may use: more time than any of the tests takes.
pub(crate) const LIMITS: Limits = Limits { cpu: Duration::from_secs(300), ..Limits::DEFAULT };

/// Runs a test at every place.
pub(crate) fn everywhere<F: Future<Output = ()>>(test: impl Fn(Place) -> F) {
    at(places(), test);
}

/// Runs a test wherever there is the shell.
pub(crate) fn in_shells<F: Future<Output = ()>>(test: impl Fn(Place) -> F) {
    at(places().into_iter().filter(Place::has_shell), test);
}

/// Runs a test wherever programs of the machine run.
pub(crate) fn on_the_machine<F: Future<Output = ()>>(test: impl Fn(Place) -> F) {
    at(places().into_iter().filter(Place::is_of_the_machine), test);
}

fn at<F: Future<Output = ()>>(places: impl IntoIterator<Item = Place>, test: impl Fn(Place) -> F) {
    static RUNTIMES: AtomicU32 = AtomicU32::new(0);
    for mut place in places {
        let name = format!("at-{}", RUNTIMES.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(&name)
            .enable_all()
            .build()
            .unwrap();
        if let Eye::Guests { threads } = &mut place.eye {
            *threads = name;
        }
        runtime.block_on(test(place));
    }
}
