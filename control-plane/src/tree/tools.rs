//! The contracts of the tools that an agent may call.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use agent_primitives::{AgentId, Digest, LabelSet, TenantId, ToolId};
use agent_tool_registry::ToolContract;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;

use super::Ancestor;
use crate::kernel::Footing;
use crate::kernel::catalogue::Catalogue;
use crate::question::Caller;
use crate::vfs::{
    Answer, Content, Entry, Listing, MemoryBackend, Page, RelPath, Stat, Version, VfsError, Write, Written,
};

/// All contracts, one a line, in ascending order of their names.
pub(crate) const ALL: &str = "all.jsonl";
/// What the file of a tool's contract ends in.
const ENDING: &str = ".json";

const VERSION_DOMAIN: &str = "agent-os tools version v1";

/// A directory of the contracts of those tools of which some call could be let through: see
/// [`Prospect`](crate::policy::Prospect). It is worked out whenever it is looked at, so it follows each reload.
///
/// The tool `ns/name` is the file `ns/name.json`.
pub(crate) struct Shelf {
    pub(crate) tools: Catalogue,
    pub(crate) footing: Arc<Footing>,
    pub(crate) agent: AgentId,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) facts: Arc<Map<String, Value>>,
    /// The agents it descends from.
    pub(crate) above: Box<[Ancestor]>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({})", self.agent)
    }
}

impl Shelf {
    /// The tools within reach, in ascending order of their names. All are judged by the same policy.
    fn shown(&self) -> Vec<Arc<ToolContract>> {
        self.judged(|lets| self.tools.callable().into_iter().filter(|contract| lets(contract)).collect())
    }

    /// Judges contracts, each by what lets it through.
    fn judged<T>(&self, judge: impl FnOnce(&dyn Fn(&ToolContract) -> bool) -> T) -> T {
        let caller = |agent, facts| Caller::new(agent, facts).of_tenant(self.tenant.as_ref());
        let above = self.above.iter().map(|(agent, facts)| caller(agent, facts).acting_through(&self.agent));
        let above: Vec<Caller<'_>> = above.collect();
        let caller = caller(&self.agent, &self.facts).below(&above);
        self.footing.with(|standing| judge(&|contract| standing.could_let_through(&caller, contract)))
    }

    fn find(&self, tool: &ToolId) -> Option<Arc<ToolContract>> {
        let contract = self.tools.get(tool)?;
        self.judged(|lets| lets(&contract)).then_some(contract)
    }

    fn content(&self, path: RelPath<'_>) -> Result<Bytes, VfsError> {
        if path.is_root() {
            return Err(VfsError::IsDirectory);
        }
        if path.as_str() == ALL {
            let mut lines = Vec::new();
            for contract in self.shown() {
                lines.extend(rendered(&contract)?);
            }
            return Ok(lines.into());
        }
        let tool = path.as_str().strip_suffix(ENDING).and_then(|tool| tool.parse().ok());
        if let Some(contract) = tool.and_then(|tool| self.find(&tool)) {
            return rendered(&contract).map(Bytes::from);
        }
        let mut segments = path.segments();
        let (Some(first), second) = (segments.next(), segments.next()) else {
            return Err(VfsError::NotFound);
        };
        Err(match (self.names_in("").get(first), second) {
            (Some(Named::File(_)), Some(_)) => VfsError::NotDirectory,
            (Some(Named::Namespace), None) => VfsError::IsDirectory,
            _ => VfsError::NotFound,
        })
    }

    /// What stands in the root, or in a namespace. Where a file and a namespace have one name, it is the file's.
    fn names_in(&self, namespace: &str) -> BTreeMap<String, Named> {
        let mut names = BTreeMap::new();
        for contract in self.shown() {
            match (contract.id().as_str().split_once('/'), namespace) {
                (None, "") => {
                    names.insert(
                        format!("{}{ENDING}", contract.id()),
                        Named::File(Some(Arc::clone(&contract))),
                    );
                }
                (Some((other, _)), "") => {
                    names.entry(other.to_owned()).or_insert(Named::Namespace);
                }
                (Some((of, name)), wanted) if of == wanted => {
                    names.insert(format!("{name}{ENDING}"), Named::File(Some(Arc::clone(&contract))));
                }
                _ => {}
            }
        }
        if namespace.is_empty() {
            names.insert(ALL.to_owned(), Named::File(None));
        }
        names
    }

    fn page(&self, path: RelPath<'_>, page: Page<'_>) -> Result<Listing, VfsError> {
        match self.content(path) {
            Ok(_) => return Err(VfsError::NotDirectory),
            Err(VfsError::IsDirectory) => {}
            Err(error) => return Err(error),
        }
        let names = self.names_in(path.as_str());
        let behind = (page.after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut rest = names.range::<str, _>(behind);
        let entries: Vec<Entry> = rest
            .by_ref()
            .take(page.limit)
            .map(|(name, named)| Ok(Entry::new(name.clone(), self.stat_of(named)?)))
            .collect::<Result<_, VfsError>>()?;
        let next = rest.next().and_then(|_| entries.last().map(|entry| entry.name.clone()));
        Ok(Listing::new(entries, next))
    }

    fn stat_of(&self, named: &Named) -> Result<Stat, VfsError> {
        match named {
            Named::Namespace => Ok(Stat::directory(LabelSet::EMPTY)),
            Named::File(Some(contract)) => Ok(stat(&rendered(contract)?)),
            Named::File(None) => Ok(stat(&self.content(RelPath::parse(ALL)?)?)),
        }
    }
}

/// What a name in the directory stands for: a contract, [`ALL`] of them, or a namespace.
enum Named {
    File(Option<Arc<ToolContract>>),
    Namespace,
}

fn rendered(contract: &ToolContract) -> Result<Vec<u8>, VfsError> {
    let mut line = serde_json::to_vec(contract).map_err(|_| VfsError::Backend)?;
    line.push(b'\n');
    Ok(line)
}

fn version(bytes: &[u8]) -> Version {
    Version::of_digest(Digest::of(VERSION_DOMAIN, bytes))
}

fn stat(bytes: &[u8]) -> Stat {
    Stat::file(bytes.len() as u64, version(bytes), LabelSet::EMPTY)
}

impl MemoryBackend for Shelf {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            let bytes = self.content(path)?;
            let version = version(&bytes);
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = start.saturating_add(length).min(bytes.len());
            Ok(Content::new(bytes.slice(start..end), version, LabelSet::EMPTY))
        })
    }

    fn write<'a>(&'a self, _: RelPath<'a>, _: Write) -> Answer<'a, Written> {
        Box::pin(async { Err(VfsError::ReadOnly) })
    }

    fn remove<'a>(&'a self, _: RelPath<'a>, _: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async { Err(VfsError::ReadOnly) })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move { self.page(path, page) })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move {
            match self.content(path) {
                Ok(bytes) => Ok(stat(&bytes)),
                Err(VfsError::IsDirectory) => Ok(Stat::directory(LabelSet::EMPTY)),
                Err(error) => Err(error),
            }
        })
    }
}
