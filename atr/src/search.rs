//! Finding tools without knowing their names.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use agent_primitives::search::{Bm25, Parameters, tokenise};
use agent_primitives::{AgentId, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{Effect, EffectSet};
use crate::error::{RegistryError, ToolError};
use crate::registry::Registry;
use crate::snapshot::{Snapshot, Tool, Tools};
use crate::{Status, ToolContract};

/// Most tools that one search finds.
pub const MAX_FOUND: usize = 50;
/// Longest text that is searched for, in characters; the rest is not looked at.
pub const MAX_SEARCHED: usize = 1024;
/// The name of the tool that [`Registry::register_search`] registers.
pub const SEARCH_TOOLS: &str = "search_tools";

/// `k1` and `b` as in most engines, and as in the papers.
const PARAMETERS: Parameters = Parameters { k1: 1.2, b: 0.75 };
/// How often the words of a field are counted, which is how much more they weigh.
const NAME_WEIGHT: usize = 3;
const TAG_WEIGHT: usize = 2;

/// Which tools are wanted. The default is all that are approved.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// All of these tags.
    pub tags: BTreeSet<String>,
    /// All of these capabilities.
    pub capabilities: BTreeSet<String>,
    /// No other effects than these. A tool that declares none says nothing, and is left out.
    pub effects_at_most: Option<EffectSet>,
    /// No more than this of each of these resources; of others any amount.
    pub cost_at_most: BTreeMap<Resource, u64>,
    /// Those that are deprecated too.
    pub deprecated: bool,
}

impl Filter {
    fn takes(&self, tool: &Tool) -> bool {
        let contract = tool.contract();
        let state = match tool.status() {
            Some(Status::Approved) => true,
            Some(Status::Deprecated { .. }) => self.deprecated,
            _ => false,
        };
        let effects = || contract.effects().iter().copied().collect::<EffectSet>();
        state
            && self.tags.is_subset(contract.tags())
            && self.capabilities.is_subset(contract.capabilities())
            && self.effects_at_most.is_none_or(|most| !effects().is_empty() && effects().within(most))
            && self
                .cost_at_most
                .iter()
                .all(|(resource, most)| contract.cost().get(resource).is_none_or(|cost| cost <= most))
    }
}

/// The words of every version of every tool, in the order of [`Snapshot::all`].
pub(crate) struct Index {
    words: Option<Bm25>,
    /// Which version stands at each place.
    tools: Vec<Tool>,
    /// The places of the tools that have these words for a name, with their namespace or without, ascending.
    exact: HashMap<Vec<String>, Vec<usize>>,
}

impl Index {
    pub(crate) fn of(all: &Tools) -> Self {
        // The constants are in range, and a contract has fewer words than a document may.
        let mut words = Bm25::new(PARAMETERS).ok();
        let mut tools = Vec::with_capacity(all.count);
        let mut exact: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
        for tool in all.all() {
            if words.as_mut().is_some_and(|words| words.push(&document(tool.contract())).is_ok()) {
                let id = tool.contract().id().as_str();
                let name = id.split_once('/').map(|(_, name)| name);
                for spelt in [id].into_iter().chain(name) {
                    exact.entry(tokenise(&spaced(spelt))).or_default().push(tools.len());
                }
                tools.push(tool.clone());
            }
        }
        Self { words, tools, exact }
    }
}

fn document(contract: &ToolContract) -> Vec<String> {
    let name = tokenise(&spaced(contract.id().as_str()));
    let marks = contract.tags().iter().chain(contract.capabilities());
    let marks: Vec<String> = marks.flat_map(|mark| tokenise(&spaced(mark))).collect();
    let mut all = tokenise(&spaced(contract.description()));
    all.extend(std::iter::repeat_n(name, NAME_WEIGHT).flatten());
    all.extend(std::iter::repeat_n(marks, TAG_WEIGHT).flatten());
    all
}

/// `getHTTPStatus`, `get_http_status` and `get.http-status` as the words they are made of.
fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + 8);
    let mut symbols = text.chars().peekable();
    let mut before = ' ';
    while let Some(symbol) = symbols.next() {
        let next_is_lower = symbols.peek().is_some_and(|next| next.is_lowercase());
        let starts_word = symbol.is_uppercase()
            && (before.is_lowercase() || before.is_numeric() || (before.is_uppercase() && next_is_lower));
        if starts_word {
            spaced.push(' ');
        }
        spaced.push(if symbol == '_' { ' ' } else { symbol });
        before = symbol;
    }
    spaced
}

/// One tool that may be an answer: the best first, and of equals the one that comes first.
#[derive(PartialEq)]
struct Candidate {
    exact: bool,
    score: f64,
    place: Reverse<usize>,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let of =
            |one: &Self, other: &Self| one.exact.cmp(&other.exact).then(one.score.total_cmp(&other.score));
        of(self, other).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Snapshot {
    /// The tools that a filter takes and `allow` lets the caller know of, ordered by id: of each the version that is called
    /// when nothing is said about the version.
    pub fn query(&self, filter: &Filter, allow: &dyn Fn(&ToolContract) -> bool) -> Vec<Tool> {
        self.callable().filter(|tool| filter.takes(tool) && allow(tool.contract())).cloned().collect()
    }

    /// The `k` tools, at most [`MAX_FOUND`], that say best what is asked for and that `allow` lets the caller know of. Only
    /// what is called when nothing is said about the version is found, and nothing deprecated.
    ///
    /// BM25 over name, tags with capabilities, and description, which weigh 3 to 2 to 1; a tool whose name is asked for in
    /// so many words comes first; equals are ordered by id. How rare a word is counts over all tools, so that what is hidden
    /// can move what is shown, and nothing more is told of it.
    ///
    /// The first search of a snapshot reads all of its tools, and other searches of it wait meanwhile.
    pub fn search(&self, text: &str, k: usize, allow: &dyn Fn(&ToolContract) -> bool) -> Vec<Tool> {
        let text: String = text.chars().take(MAX_SEARCHED).collect();
        let asked = tokenise(&spaced(&text));
        let index = self.0.index();
        let exact = index.exact.get(&asked).map_or(&[] as &[usize], Vec::as_slice);
        let scores = index.words.as_ref().map(|words| words.scores(&asked)).into_iter().flatten();
        let candidates = scores.enumerate().filter(|(_, score)| 0.0 < *score).map(|(place, score)| {
            Candidate { exact: exact.binary_search(&place).is_ok(), score, place: Reverse(place) }
        });
        let mut best: BinaryHeap<Candidate> = candidates.collect();
        let mut found = Vec::new();
        while found.len() < k.min(MAX_FOUND)
            && let Some(Candidate { place: Reverse(place), .. }) = best.pop()
        {
            let Some(tool) = index.tools.get(place) else { continue };
            let current = self.get(tool.contract().id()).is_ok_and(|taken| Arc::ptr_eq(&taken.0, &tool.0));
            if current && tool.status() == Some(Status::Approved) && allow(tool.contract()) {
                found.push(tool.clone());
            }
        }
        found
    }
}

/// What is looked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// What the tool should do, in a few words.
    #[schemars(length(min = 1, max = MAX_SEARCHED))]
    query: String,
    /// How many tools to answer with.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = MAX_FOUND))]
    limit: usize,
}

const fn five() -> usize {
    5
}

#[derive(Serialize)]
struct Found {
    name: String,
    description: String,
    effects: BTreeSet<Effect>,
    input_schema: Value,
}

impl Registry {
    /// As [`Snapshot::query`].
    pub fn query(&self, filter: &Filter, allow: &dyn Fn(&ToolContract) -> bool) -> Vec<Tool> {
        self.snapshot().query(filter, allow)
    }

    /// As [`Snapshot::search`].
    pub fn search(&self, text: &str, k: usize, allow: &dyn Fn(&ToolContract) -> bool) -> Vec<Tool> {
        self.snapshot().search(text, k, allow)
    }

    /// Registers the tool [`SEARCH_TOOLS`], by which a model finds the others without a list of all. `visible` says which of
    /// them an agent may know of; it should know of those that it could call.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub fn register_search<F>(&self, visible: F) -> Result<(), RegistryError>
    where
        F: Fn(&AgentId, &ToolContract) -> bool + Send + Sync + 'static,
    {
        // Itself among what it holds would keep it for ever.
        let (registry, visible) = (self.downgrade(), Arc::new(visible));
        self.register(|tools| {
            tools
                .tool(SEARCH_TOOLS)
                .description(
                    "Finds the tools that can do something. Describe in a few words what you want done; each tool is answered \
                     with its name, what it does and the schema of its arguments.",
                )
                .tags(["discovery"])
                .effects([Effect::Read])
                .idempotent(true)
                .run(move |cx, asked: Asked| {
                    let (registry, visible) = (registry.upgrade(), Arc::clone(&visible));
                    async move {
                        let registry = registry.ok_or_else(|| ToolError::failed("there are no tools any more"))?;
                        let allow = |contract: &ToolContract| {
                            contract.id().as_str() != SEARCH_TOOLS && visible(cx.agent(), contract)
                        };
                        Ok(registry.search(&asked.query, asked.limit, &allow).iter().map(found).collect::<Vec<_>>())
                    }
                })
        })
    }
}

fn found(tool: &Tool) -> Found {
    let contract = tool.contract();
    Found {
        name: contract.id().to_string(),
        description: contract.description().to_owned(),
        effects: contract.effects().clone(),
        input_schema: contract.input_schema(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_where_their_words_meet() {
        let cases = [
            ("getHTTPStatus", "get HTTP Status"),
            ("get_http_status", "get http status"),
            ("mcp.git-hub/createIssue", "mcp.git-hub/create Issue"),
            ("s3Upload", "s3 Upload"),
            ("HTML2PDF", "HTML2 PDF"),
        ];
        for (name, expected) in cases {
            assert_eq!(spaced(name), expected);
        }
    }
}
