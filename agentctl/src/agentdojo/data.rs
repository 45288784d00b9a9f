//! The data set, as it lies on disk.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Largest file of the set that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// One suite: an environment with its tools, its users' tasks and its attackers' tasks.
#[derive(Clone)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) tools: BTreeMap<String, Tool>,
    pub(crate) user_tasks: Vec<UserTask>,
    pub(crate) injection_tasks: Vec<InjectionTask>,
}

impl Suite {
    /// Whether a call of this tool does more than read.
    pub(crate) fn is_harmful(&self, tool: &str) -> bool {
        self.tools.get(tool).is_none_or(|tool| tool.effect != "read")
    }
}

/// A tool and what a host would declare of it.
#[derive(Clone, Deserialize)]
pub(crate) struct Tool {
    suite: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) parameters: Value,
    pub(crate) effect: String,
    /// Arguments that decide who, what, where or how much.
    #[serde(default)]
    pub(crate) authority_args: Vec<String>,
    /// Arguments that are payload.
    #[serde(default)]
    pub(crate) content_args: Vec<String>,
    /// Who has a say in the output.
    pub(crate) output_trust: Trust,
}

/// Who has a say in what a tool answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trust {
    /// The user and the host alone.
    Trusted,
    /// Whoever runs the service.
    Service,
    /// Anybody.
    ThirdParty,
}

#[derive(Clone, Deserialize)]
pub(crate) struct UserTask {
    suite: String,
    #[serde(default)]
    pub(crate) prompt: String,
    pub(crate) first_exposure_call: Option<usize>,
    pub(crate) calls: Vec<Call>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct InjectionTask {
    suite: String,
    pub(crate) text_only: bool,
    pub(crate) calls: Vec<Call>,
}

/// A call with the answer it got when it was recorded.
#[derive(Clone, Deserialize)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) args: Value,
    #[serde(default)]
    pub(crate) output: Value,
    /// Through which of its places an attacker speaks in the output.
    #[serde(default)]
    pub(crate) exposes_vectors: Vec<String>,
    /// Where each part of the arguments came from.
    #[serde(default)]
    pub(crate) arg_provenance: BTreeMap<String, Provenance>,
    /// The earlier calls whose output a part of the arguments was made from.
    #[serde(default)]
    pub(crate) arg_from_outputs: BTreeMap<String, Vec<usize>>,
}

/// Where a part of the arguments came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Provenance {
    /// The user's words, or something worked out from them.
    Prompt,
    DerivedPrompt,
    /// The assistant's own choice.
    Planner,
    /// The output of earlier calls, or something worked out from it.
    Output,
    DerivedOutput,
}

pub(crate) fn load(folder: &Path) -> anyhow::Result<Vec<Suite>> {
    let mut suites: BTreeMap<String, Suite> = BTreeMap::new();
    for tool in lines::<Tool>(&folder.join("tools.jsonl"))? {
        let suite = suites.entry(tool.suite.clone()).or_insert_with(|| Suite {
            name: tool.suite.clone(),
            tools: BTreeMap::new(),
            user_tasks: Vec::new(),
            injection_tasks: Vec::new(),
        });
        suite.tools.insert(tool.name.clone(), tool);
    }
    let unknown = |suite: &str| format!("a task belongs to suite `{suite}`, which has no tools");
    for task in lines::<UserTask>(&folder.join("user_tasks.jsonl"))? {
        suites.get_mut(&task.suite).with_context(|| unknown(&task.suite))?.user_tasks.push(task);
    }
    for task in lines::<InjectionTask>(&folder.join("injection_tasks.jsonl"))? {
        suites.get_mut(&task.suite).with_context(|| unknown(&task.suite))?.injection_tasks.push(task);
    }
    Ok(suites.into_values().collect())
}

fn lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let size = path.metadata().with_context(|| format!("`{}` cannot be read", path.display()))?.len();
    anyhow::ensure!(size <= MAX_FILE_BYTES, "`{}` is larger than {MAX_FILE_BYTES} bytes", path.display());
    let text = std::fs::read_to_string(path)?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), number + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}
