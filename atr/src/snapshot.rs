//! What a registry holds at one moment.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use agent_primitives::{ToolId, suggest};
use arc_swap::ArcSwap;
use semver::VersionReq;

use crate::context::Stop;
use crate::error::{RegistryError, ToolError};
use crate::executor::{self, Prepare};
use crate::lifecycle::Status;
use crate::path::PathArgument;
use crate::registry::Invocation;
use crate::scan::Finding;
use crate::schema::SharedSchema;
use crate::search::Index;
use crate::{Arguments, ToolContract, text};

/// How many names are compared with an unknown one.
const SUGGEST_AMONG: usize = 1024;
/// How many of them are looked at until one is found that is not hidden.
const SUGGEST_TRIES: usize = 8;
/// Most namespaces that the answer to an ambiguous name lists.
pub(crate) const MAX_CANDIDATES: usize = 16;
/// Most namespaces in which an ambiguous name is looked for.
const MAX_NAMESAKES: usize = 256;

/// One registered version of a tool.
pub(crate) struct Entry {
    pub(crate) contract: Arc<ToolContract>,
    pub(crate) schema: Arc<SharedSchema>,
    pub(crate) output_schema: Option<Arc<SharedSchema>>,
    pub(crate) paths: Vec<PathArgument>,
    pub(crate) prepare: Prepare,
    /// What to look at before it is approved.
    pub(crate) findings: Box<[Finding]>,
    /// None once it was taken out of the registry. Shared by every snapshot and every call that is prepared.
    pub(crate) status: ArcSwap<Option<Status>>,
    /// Raised when it is revoked: ends what runs.
    pub(crate) revoked: Stop,
}

impl Entry {
    pub(crate) fn is_callable(&self) -> bool {
        self.status.load().as_ref().as_ref().is_some_and(Status::is_callable)
    }

    /// Lets a call pass, or says why the tool cannot be called now.
    pub(crate) fn admit(&self) -> Result<(), ToolError> {
        let id = || self.contract.id().clone();
        match &**self.status.load() {
            Some(Status::Approved | Status::Deprecated { .. }) => Ok(()),
            Some(Status::Proposed) => Err(ToolError::Proposed { id: id() }),
            Some(Status::Quarantined { reason }) => {
                Err(ToolError::Quarantined { id: id(), reason: reason.clone() })
            }
            Some(Status::Confusable { like }) => {
                Err(ToolError::NameConfusable { id: id(), like: like.clone() })
            }
            Some(Status::Changed { observed }) => Err(ToolError::DefinitionChanged {
                id: id(),
                approved: self.contract.digest(),
                observed: *observed,
            }),
            Some(Status::Revoked) => Err(ToolError::Revoked { id: id() }),
            None => Err(ToolError::NotFound { id: id(), suggestion: None }),
        }
    }
}

/// One version of a tool, as it was found in a registry. Its state is the one of now, wherever the handle came from.
#[derive(Clone)]
pub struct Tool(pub(crate) Arc<Entry>);

impl Tool {
    /// What the tool promises.
    #[must_use]
    pub fn contract(&self) -> &Arc<ToolContract> {
        &self.0.contract
    }

    /// Where it stands now; none once it was taken out of the registry.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        (**self.0.status.load()).clone()
    }

    /// What whoever approves it should look at. Empty for what did not have to be approved.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0.findings
    }

    /// Whether it can be called now.
    #[must_use]
    pub fn is_callable(&self) -> bool {
        self.0.is_callable()
    }

    /// First phase of a call of exactly this version; see [`Registry::prepare`](crate::Registry::prepare).
    ///
    /// # Errors
    /// As [`Registry::prepare`](crate::Registry::prepare).
    pub fn prepare(&self, arguments: Arguments) -> Result<Invocation, ToolError> {
        let entry = &self.0;
        entry.admit()?;
        entry.schema.validate(arguments.value()).map_err(|errors| ToolError::ArgsInvalid { errors })?;
        entry.paths.iter().try_for_each(|path| path.check(arguments.value()))?;
        let job = executor::contained(|| (entry.prepare)(&arguments))??;
        Ok(Invocation::new(Arc::clone(entry), arguments, job))
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tool({} {})", self.contract().id(), self.contract().version())
    }
}

/// What a registry held at one moment: which tools and versions there were. It does not change, except that each tool's
/// state is the one of now. Cloning is a reference count.
#[derive(Clone, Default)]
pub struct Snapshot(pub(crate) Arc<Tools>);

/// The versions of one tool, the newest first. Never empty.
pub(crate) type Versions = Arc<[Tool]>;

/// Most versions of all tools in one registry.
pub const MAX_TOOLS: usize = 1 << 18;
/// Most versions of one tool.
pub const MAX_VERSIONS: usize = 64;

#[derive(Default)]
pub(crate) struct Tools {
    pub(crate) by_id: HashMap<ToolId, Versions>,
    /// How many versions of all tools.
    pub(crate) count: usize,
    ordered: OnceLock<Vec<ToolId>>,
    /// The tools that have a namespace, by the rest of their names.
    unqualified: OnceLock<HashMap<Box<str>, Vec<ToolId>>>,
    index: OnceLock<Index>,
}

impl Tools {
    /// The same tools, to be changed.
    pub(crate) fn copied(&self) -> Self {
        Self { by_id: self.by_id.clone(), count: self.count, ..Self::default() }
    }

    /// Adds a version of a tool, unless the same is there already.
    pub(crate) fn insert(&mut self, entry: Entry) -> Result<(), RegistryError> {
        self.insert_tool(Tool(Arc::new(entry)))
    }

    /// Marks what is proposed here and can be taken for a tool that is there.
    pub(crate) fn tell_apart(&self, there: &Self) {
        let tools = || self.by_id.values().flat_map(|versions| versions.iter());
        let proposed: Vec<&Tool> =
            tools().filter(|tool| **tool.0.status.load() == Some(Status::Proposed)).collect();
        let known = there.by_id.values().filter_map(|versions| preferred(versions));
        let alike = text::confusable(&proposed, known);
        for tool in proposed {
            if let Some(like) = alike.get(tool.contract().id()) {
                tool.0.status.store(Arc::new(Some(Status::Confusable { like: like.clone() })));
            }
        }
    }

    pub(crate) fn merge(&mut self, others: Self) -> Result<(), RegistryError> {
        let mut versions = others.by_id.into_values();
        versions.try_for_each(|tools| tools.iter().cloned().try_for_each(|tool| self.insert_tool(tool)))
    }

    /// Leaves a tool with these versions, which it has.
    pub(crate) fn replace(&mut self, id: &ToolId, versions: Vec<Tool>) {
        self.count -= self.of(id).len() - versions.len();
        if versions.is_empty() {
            self.by_id.remove(id);
        } else {
            self.by_id.insert(id.clone(), versions.into());
        }
        self.forget();
    }

    /// Forgets what was worked out from tools that have changed.
    fn forget(&mut self) {
        (self.ordered, self.unqualified, self.index) = Default::default();
    }

    pub(crate) fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(self))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Tool> {
        self.ordered().iter().flat_map(|id| self.of(id))
    }

    fn insert_tool(&mut self, tool: Tool) -> Result<(), RegistryError> {
        let (id, version) = (tool.contract().id().clone(), tool.contract().version());
        let versions = self.of(&id);
        // Build metadata does not tell versions apart: no requirement could say which of two is meant.
        let place =
            versions.partition_point(|other| other.contract().version().cmp_precedence(version).is_gt());
        if let Some(existing) = versions.get(place)
            && existing.contract().version().cmp_precedence(version).is_eq()
        {
            let (existing, offered) = (existing.contract().digest(), tool.contract().digest());
            let same = existing == offered;
            let conflict =
                || RegistryError::Conflict { id, version: Box::new(version.clone()), existing, offered };
            return if same { Ok(()) } else { Err(conflict()) };
        }
        if versions.len() == MAX_VERSIONS {
            return Err(RegistryError::Full { limit: MAX_VERSIONS });
        }
        if self.count == MAX_TOOLS {
            return Err(RegistryError::Full { limit: MAX_TOOLS });
        }
        let mut all = versions.to_vec();
        all.insert(place, tool);
        self.by_id.insert(id, all.into());
        self.count += 1;
        self.forget();
        Ok(())
    }

    /// The ids in ascending order.
    pub(crate) fn ordered(&self) -> &[ToolId] {
        self.ordered.get_or_init(|| {
            let mut ids: Vec<ToolId> = self.by_id.keys().cloned().collect();
            ids.sort_unstable();
            ids
        })
    }

    fn of(&self, id: &ToolId) -> &[Tool] {
        self.by_id.get(id).map_or(&[], |versions| versions)
    }

    /// Any version of a tool is known under its id, whatever its state.
    pub(crate) fn versions(&self, id: &ToolId) -> Result<&[Tool], ToolError> {
        match self.of(id) {
            [] => Err(self.not_found(id)),
            versions => Ok(versions),
        }
    }

    pub(crate) fn get(&self, id: &ToolId) -> Result<&Tool, ToolError> {
        let versions = self.versions(id)?;
        let releases = || versions.iter().filter(|tool| is_release(tool));
        preferred(versions).ok_or_else(|| why_not(id, releases(), "a release"))
    }

    pub(crate) fn find(&self, id: &ToolId, wanted: &VersionReq) -> Result<&Tool, ToolError> {
        let versions = self.versions(id)?;
        let admitted = || versions.iter().filter(|tool| wanted.matches(tool.contract().version()));
        admitted().find(|tool| tool.is_callable()).ok_or_else(|| why_not(id, admitted(), wanted))
    }

    fn not_found(&self, id: &ToolId) -> ToolError {
        self.not_found_among(id, &|_| true)
    }

    /// The answer that there would be if only the tools were there that `seen` holds for.
    fn not_found_among(&self, id: &ToolId, seen: &dyn Fn(&ToolContract) -> bool) -> ToolError {
        let mut elsewhere = self.in_namespaces(id).filter(|(_, contract)| seen(contract)).map(|(id, _)| id);
        let candidates: Vec<ToolId> = elsewhere.by_ref().take(MAX_CANDIDATES).cloned().collect();
        if let [_, _, ..] = candidates.as_slice() {
            return ToolError::Ambiguous { name: id.clone(), candidates };
        }
        let suggestion = candidates.into_iter().next().or_else(|| self.nearest(id, seen));
        ToolError::NotFound { id: id.clone(), suggestion }
    }

    /// The callable tool that `seen` holds for and whose name is most like this one, if one is.
    fn nearest(&self, id: &ToolId, seen: &dyn Fn(&ToolContract) -> bool) -> Option<ToolId> {
        let callable = |id: &&ToolId| self.callable_of(id).is_some();
        let mut names: Vec<&ToolId> = self.ordered().iter().filter(callable).take(SUGGEST_AMONG).collect();
        // Only of what is alike is it asked whether it is hidden: that can cost more than all the rest.
        for _ in 0..SUGGEST_TRIES {
            let nearest = suggest::nearest(id.as_str(), names.iter().map(|name| name.as_str()))?;
            let place = names.iter().position(|name| name.as_str() == nearest)?;
            let nearest = names.remove(place);
            if self.callable_of(nearest).is_some_and(|tool| seen(tool.contract())) {
                return Some(nearest.clone());
            }
        }
        None
    }

    /// The version of a tool that stands for all of them: the one that is called, else the newest that can be, else the newest.
    fn shown(&self, id: &ToolId) -> Option<&Tool> {
        self.callable_of(id).or_else(|| self.of(id).first())
    }

    fn callable_of(&self, id: &ToolId) -> Option<&Tool> {
        let versions = self.of(id);
        preferred(versions).or_else(|| versions.iter().find(|tool| tool.is_callable()))
    }

    /// The callable tools that have this name within a namespace, in ascending order.
    fn in_namespaces(&self, name: &ToolId) -> impl Iterator<Item = (&ToolId, &ToolContract)> {
        let index = self.unqualified.get_or_init(|| {
            let mut index: HashMap<Box<str>, Vec<ToolId>> = HashMap::new();
            for id in self.ordered() {
                if let Some((_, name)) = id.as_str().split_once('/') {
                    index.entry(name.into()).or_default().push(id.clone());
                }
            }
            index
        });
        let named = index.get(name.as_str()).into_iter().flatten().take(MAX_NAMESAKES);
        named.filter_map(|id| Some((id, &**self.callable_of(id)?.contract())))
    }

    /// What a name stands for, without a word on other names.
    pub(crate) fn look_up(&self, id: &ToolId, wanted: Option<&VersionReq>) -> LookUp {
        if self.of(id).is_empty() {
            let namesakes = self.in_namespaces(id);
            return LookUp::Absent(namesakes.filter_map(|(id, _)| self.callable_of(id)).cloned().collect());
        }
        let found = match wanted {
            Some(wanted) => self.find(id, wanted),
            None => self.get(id),
        };
        match (found, self.shown(id)) {
            (Ok(tool), _) => LookUp::Found(tool.clone()),
            (Err(error), shown) => LookUp::Refused(error, shown.cloned()),
        }
    }
}

/// What a name stands for.
pub(crate) enum LookUp {
    /// A version that can be called.
    Found(Tool),
    /// Nothing that can be called, and why; with the version that stands for all there are.
    Refused(ToolError, Option<Tool>),
    /// Nothing. These have the name within their namespaces.
    Absent(Vec<Tool>),
}

impl Snapshot {
    /// Every version of every tool, whatever its state, ordered by id and then from the newest to the oldest.
    pub fn all(&self) -> impl Iterator<Item = &Tool> {
        self.0.all()
    }

    /// What [`Snapshot::get`] takes, of each tool of which some version can be called, ordered by id.
    pub fn callable(&self) -> impl Iterator<Item = &Tool> {
        self.ids().filter_map(|id| preferred(self.0.of(id)))
    }

    /// The ids of all tools, whatever their states, in ascending order.
    pub fn ids(&self) -> impl Iterator<Item = &ToolId> {
        self.0.ordered().iter()
    }

    /// All versions of a tool, whatever their states, from the newest to the oldest.
    #[must_use]
    pub fn versions(&self, id: &ToolId) -> &[Tool] {
        self.0.of(id)
    }

    /// The version of a tool that is called when nothing is said about the version: the highest approved release, or the
    /// highest deprecated one where none is approved.
    ///
    /// # Errors
    /// [`ToolError::NotFound`]; [`ToolError::Ambiguous`] if the name has no namespace and is found in several;
    /// [`ToolError::VersionUnsatisfied`] if there are only pre-releases; else why the newest release cannot be called,
    /// which is [`ToolError::DefinitionChanged`] if that holds of any.
    pub fn get(&self, id: &ToolId) -> Result<&Tool, ToolError> {
        self.0.get(id)
    }

    /// The highest version of a tool that a requirement admits and that can be called. A pre-release is admitted only by a
    /// requirement that names one of the same version.
    ///
    /// # Errors
    /// As [`Snapshot::get`]; [`ToolError::VersionUnsatisfied`] if there is no such version.
    pub fn find(&self, id: &ToolId, wanted: &VersionReq) -> Result<&Tool, ToolError> {
        self.0.find(id, wanted)
    }

    /// The refusal of a call of `id` for somebody who may not know of every tool. It is `error`, where `seen` holds for the
    /// tool; and otherwise what would be answered if neither it nor any other hidden tool were there. A tool that cannot be
    /// called is asked about by its newest version.
    #[must_use]
    pub fn refusal(&self, id: &ToolId, error: ToolError, seen: &dyn Fn(&ToolContract) -> bool) -> ToolError {
        let is_seen = |id: &ToolId| self.0.shown(id).is_some_and(|tool| seen(tool.contract()));
        match error {
            ToolError::NameConfusable { like, .. } if is_seen(id) && !is_seen(&like) => {
                ToolError::NameConfusable { id: id.clone(), like }.without_other()
            }
            error if is_seen(id) => error,
            _ => self.0.not_found_among(id, seen),
        }
    }

    /// How many versions of all tools there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.count
    }

    /// Whether there is no tool at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.by_id.is_empty()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

fn is_release(tool: &Tool) -> bool {
    tool.contract().version().pre.is_empty()
}

fn preferred(versions: &[Tool]) -> Option<&Tool> {
    let mut deprecated = None;
    for tool in versions.iter().filter(|tool| is_release(tool)) {
        match &**tool.0.status.load() {
            Some(Status::Approved) => return Some(tool),
            Some(Status::Deprecated { .. }) => deprecated = deprecated.or(Some(tool)),
            _ => {}
        }
    }
    deprecated
}

/// Why none of these versions, the newest first, can be called.
fn why_not<'t>(
    id: &ToolId,
    versions: impl Iterator<Item = &'t Tool>,
    wanted: impl fmt::Display,
) -> ToolError {
    let mut newest = None;
    for error in versions.filter_map(|tool| tool.0.admit().err()) {
        // What the source has changed must not look as if it had only been proposed.
        if matches!(error, ToolError::DefinitionChanged { .. }) {
            return error;
        }
        newest = newest.or(Some(error));
    }
    newest.unwrap_or_else(|| ToolError::VersionUnsatisfied { id: id.clone(), wanted: wanted.to_string() })
}
