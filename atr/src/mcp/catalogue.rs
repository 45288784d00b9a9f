//! What a server was seen to offer, held against what has been approved.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use agent_primitives::{Digest, Monotonic, Timestamp, ToolId};
use semver::Version;

use super::call;
use super::definition::{Definition, Difference, Part, differences};
use super::error::McpError;
use super::listing::MAX_SERVER_TOOLS;
use super::pins::{Pin, Pins};
use super::policy::{Changed, Flagged, ImportPolicy, Refusal, Report};
use super::server::Inner;
use crate::builder::RegistryBuilder;
use crate::contract::{Endpoint, Provenance};
use crate::error::{RegistryError, ToolError, one_line};
use crate::registry::Registry;
use crate::snapshot::Tool;

/// Most definitions of one tool that are registered beside each other. A server that shows more is not followed further,
/// and no version of that tool can be called.
const MAX_OFFERS: usize = 16;
/// Most definitions of all tools of one server.
const MAX_ALL_OFFERS: usize = 2 * MAX_SERVER_TOOLS;

/// The tools of one server in one registry.
pub(super) struct Catalogue {
    pub(super) registry: Registry,
    policy: ImportPolicy,
    pins: Arc<Pins>,
    server: Weak<Inner>,
    /// `mcp.<server>`, which is also who acts.
    namespace: String,
    /// Which server the tools are registered for.
    endpoint: Digest,
    tools: BTreeMap<String, Known>,
    /// Over which connection, and when, the tools were last read as a whole.
    pub(super) read: Option<(u64, Monotonic)>,
    /// The turn in which that was begun.
    pub(super) turn: u64,
}

/// A name that the server shows.
struct Known {
    id: ToolId,
    /// Fingerprint of the definition that it shows.
    shown: Digest,
    offers: Vec<Offer>,
    refusal: Option<String>,
    /// How what is shown differs from what was seen before it, until somebody approves it.
    changed: Option<Changed>,
}

/// A definition that is registered as a version.
struct Offer {
    version: u64,
    definition: Arc<Definition>,
    fingerprint: Digest,
    /// Digest of the contract it makes.
    contract: Digest,
}

/// A definition that can be a tool.
struct Listed {
    id: ToolId,
    definition: Arc<Definition>,
    fingerprint: Digest,
}

/// A definition that is about to be registered.
struct Draft {
    id: ToolId,
    version: u64,
    definition: Arc<Definition>,
    fingerprint: Digest,
    refusal: Option<String>,
}

impl Known {
    fn offered(&self) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.fingerprint == self.shown)
    }
}

impl Catalogue {
    pub(super) fn new(
        registry: Registry,
        policy: ImportPolicy,
        pins: Arc<Pins>,
        server: Weak<Inner>,
        namespace: String,
        endpoint: Digest,
    ) -> Self {
        let tools = BTreeMap::new();
        Self { registry, policy, pins, server, namespace, endpoint, tools, read: None, turn: 0 }
    }

    /// Why the definition with this fingerprint must not be called, if it must not.
    pub(super) fn admit(&self, id: &ToolId, name: &str, fingerprint: Digest) -> Result<(), ToolError> {
        let known =
            self.tools.get(name).ok_or_else(|| ToolError::NotFound { id: id.clone(), suggestion: None })?;
        if known.shown == fingerprint {
            return Ok(());
        }
        let contract = |wanted: Digest| {
            let offer = known.offers.iter().find(|offer| offer.fingerprint == wanted);
            offer.map_or(wanted, |offer| offer.contract)
        };
        let (approved, observed) = (contract(fingerprint), contract(known.shown));
        Err(ToolError::DefinitionChanged { id: id.clone(), approved, observed })
    }

    /// How tools differ from what they were, as far as nobody has approved that yet.
    pub(super) fn changes(&self) -> Vec<Changed> {
        self.tools.values().filter_map(|known| known.changed.clone()).collect()
    }

    /// Takes all tools out of the registry.
    pub(super) fn withdraw(&mut self) {
        for known in std::mem::take(&mut self.tools).into_values() {
            // Somebody else may have done so already.
            let _ = self.registry.unregister(&known.id, &self.namespace);
        }
    }

    /// Approves what the server shows of a tool, and keeps that.
    pub(super) fn approve(
        &mut self,
        id: &ToolId,
        digest: Digest,
        by: &str,
        at: Timestamp,
    ) -> Result<(), McpError> {
        let known = self.tools.values_mut().find(|known| known.id == *id);
        let shown = known.as_ref().and_then(|known| known.offered());
        let Some(offer) = shown.filter(|offer| offer.contract == digest) else {
            let observed = shown.map(|offer| offer.contract);
            return Err(McpError::NotShown { id: id.clone(), wanted: digest, observed });
        };
        self.pins.keep(Pin {
            endpoint: self.endpoint,
            tool: id.clone(),
            version: offer.version,
            digest,
            definition: (*offer.definition).clone(),
            by: one_line(by, 256),
            at,
            suspended: false,
        })?;
        if let Err(error) = self.registry.approve(id, digest, by) {
            self.pins.suspend(self.endpoint, std::slice::from_ref(id))?;
            return Err(McpError::NotApproved(error));
        }
        if let Some(known) = known {
            known.changed = None;
        }
        Ok(())
    }

    /// Holds what the server shows against what is known, and acts on the difference.
    pub(super) fn reconcile(
        &mut self,
        endpoint: Digest,
        listing: Vec<Definition>,
    ) -> Result<Report, McpError> {
        let mut report = Report::default();
        if endpoint != self.endpoint {
            self.move_to(endpoint, &mut report);
        }
        let mut suspended = Vec::new();
        let listing = self.sort(listing, &mut report, &mut suspended);
        self.forget_vanished(&listing, &mut report);
        let mut drafts = Vec::new();
        for (name, listed) in &listing {
            self.draft(name, listed, &mut drafts, &mut suspended);
        }
        let failed = self.register(&mut drafts);
        if let Err(error) = self.pins.suspend(self.endpoint, &suspended) {
            report.unwritten = Some(error.to_string());
        }
        let mut drafted: BTreeMap<ToolId, Vec<Draft>> = BTreeMap::new();
        for draft in drafts {
            drafted.entry(draft.id.clone()).or_default().push(draft);
        }
        for (name, listed) in listing {
            let drafts = drafted.remove(&listed.id).unwrap_or_default();
            self.settle(name, listed, drafts, &mut report);
        }
        failed.map_or(Ok(report), |error| Err(error.into()))
    }

    /// The server is another one: nothing that was approved counts for it.
    fn move_to(&mut self, endpoint: Digest, report: &mut Report) {
        let ids: Vec<ToolId> = self.tools.values().map(|known| known.id.clone()).collect();
        if let Err(error) = self.pins.suspend(self.endpoint, &ids) {
            report.unwritten = Some(error.to_string());
        }
        for known in self.tools.values() {
            let Some(offer) = known.offered() else { continue };
            let differences = vec![Difference::whole(Part::Endpoint)];
            let (id, before) = (known.id.clone(), offer.contract);
            report.changed.push(Changed { id, before, observed: None, differences });
        }
        self.withdraw();
        self.endpoint = endpoint;
    }

    /// The definitions by name, without those that can be no tool. What was approved under the name of one of these is no
    /// longer what the server shows, also when it changes back.
    fn sort(
        &self,
        listing: Vec<Definition>,
        report: &mut Report,
        suspended: &mut Vec<ToolId>,
    ) -> BTreeMap<String, Listed> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        listing.iter().for_each(|definition| *counts.entry(definition.name.clone()).or_default() += 1);
        let mut sorted = BTreeMap::new();
        for definition in listing {
            let name = definition.name.clone();
            let listed = if counts.get(&name) == Some(&1) {
                self.listed(definition)
            } else {
                Err("the server lists the name more than once".to_owned())
            };
            match listed {
                Ok(listed) => drop(sorted.insert(name, listed)),
                Err(reason) => {
                    suspended.extend(self.id_of(&name).ok());
                    report.refuse(&name, &reason);
                }
            }
        }
        sorted
    }

    fn id_of(&self, name: &str) -> Result<ToolId, String> {
        let id = format!("{}/{name}", self.namespace);
        id.parse().map_err(|error| format!("the name is no tool's: {error}"))
    }

    fn listed(&self, definition: Definition) -> Result<Listed, String> {
        let id = self.id_of(&definition.name)?;
        let fingerprint = definition.digest(self.endpoint)?;
        Ok(Listed { id, definition: Arc::new(definition), fingerprint })
    }

    fn forget_vanished(&mut self, listing: &BTreeMap<String, Listed>, report: &mut Report) {
        let (registry, namespace) = (&self.registry, &self.namespace);
        self.tools.retain(|name, known| {
            let stays = listing.contains_key(name);
            if !stays {
                let _ = registry.unregister(&known.id, namespace);
                report.vanished.push(known.id.clone());
            }
            stays
        });
    }

    /// Adds what has to be registered of a tool that is new or has changed.
    fn draft(&self, name: &str, listed: &Listed, drafts: &mut Vec<Draft>, suspended: &mut Vec<ToolId>) {
        let known = self.tools.get(name);
        if known.is_some_and(|known| known.shown == listed.fingerprint) {
            return;
        }
        let pin = self.pins.get(self.endpoint, &listed.id);
        let make = |definition: &Arc<Definition>, fingerprint, version| Draft {
            id: listed.id.clone(),
            version,
            definition: Arc::clone(definition),
            fingerprint,
            refusal: None,
        };
        let mut next = self.next_version(&listed.id, pin.as_ref());
        if let Some(known) = known {
            suspended.push(listed.id.clone());
            if known.offers.iter().any(|offer| offer.fingerprint == listed.fingerprint) {
                return;
            }
        } else if let Some(pin) = pin.filter(|pin| !self.has_version(&listed.id, pin.version)) {
            let earlier = Arc::new(pin.definition);
            if *earlier == *listed.definition {
                next = pin.version;
            } else if let Ok(fingerprint) = earlier.digest(self.endpoint) {
                // What was approved is registered too, so that a call of it is told that it has changed.
                suspended.push(listed.id.clone());
                drafts.push(make(&earlier, fingerprint, pin.version));
            }
        }
        let mut draft = make(&listed.definition, listed.fingerprint, next);
        let all: usize = self.tools.values().map(|known| known.offers.len()).sum();
        if known.is_some_and(|known| MAX_OFFERS <= known.offers.len()) || MAX_ALL_OFFERS <= all + drafts.len()
        {
            draft.refusal = Some("the server has changed its tools too often".to_owned());
        }
        drafts.push(draft);
    }

    /// Whether a version is there already: one that was revoked stays when the others are taken out.
    fn has_version(&self, id: &ToolId, version: u64) -> bool {
        self.registry.status(id, &Version::new(version, 0, 0)).is_some()
    }

    /// A number that no definition of the tool has had, as far as it is known.
    fn next_version(&self, id: &ToolId, pin: Option<&Pin>) -> u64 {
        let snapshot = self.registry.snapshot();
        let registered = snapshot.versions(id).iter().map(|tool| tool.contract().version().major).max();
        registered.max(pin.map(|pin| pin.version)).unwrap_or_default().saturating_add(1)
    }

    /// Registers all drafts that are well specified, at once.
    fn register(&self, drafts: &mut [Draft]) -> Option<RegistryError> {
        if drafts.is_empty() {
            return None;
        }
        let registered = self.registry.register(|tools| {
            for draft in drafts.iter_mut().filter(|draft| draft.refusal.is_none()) {
                draft.refusal = self.describe(tools, draft).err().map(|error| error.to_string());
            }
            Ok(())
        });
        let error = registered.err()?;
        for draft in drafts {
            draft.refusal.get_or_insert_with(|| error.to_string());
        }
        Some(error)
    }

    fn describe(&self, tools: &mut RegistryBuilder, draft: &Draft) -> Result<(), RegistryError> {
        let (definition, policy) = (&draft.definition, &self.policy);
        let terms = policy.tools.get(&definition.name).cloned().unwrap_or_default();
        let labels = policy.labels.iter().cloned().chain([self.namespace.replacen("mcp.", "mcp:", 1)]);
        let claims = definition.hints.read_only == Some(true);
        let mut tool = tools
            .tool(draft.id.as_str())
            .version(&Version::new(draft.version, 0, 0).to_string())
            .description(definition.description.as_deref().unwrap_or_default())
            .tags(["mcp"].into_iter().chain(claims.then_some("claims-read-only")))
            .effects(policy.effects_of(&definition.name, &definition.hints))
            .idempotent(terms.idempotent)
            .limits(policy.limits)
            .authority(&terms.authority)
            .content(&terms.content)
            .output_labels(labels)
            .proposed()
            .provenance(Provenance::Mcp(draft.fingerprint));
        if let Some(schema) = &definition.output_schema {
            tool = tool.output_schema(schema.clone());
        }
        for (pointer, title) in [("/title", &definition.title), ("/hints/title", &definition.hints.title)] {
            tool = title.iter().fold(tool, |tool, title| tool.said(pointer, title));
        }
        let callee = call::Callee {
            server: Weak::clone(&self.server),
            id: draft.id.clone(),
            name: definition.name.clone(),
            fingerprint: draft.fingerprint,
            has_schema: definition.output_schema.is_some(),
        };
        let callee = Arc::new(callee);
        let call = move |cx, arguments| call::run(Arc::clone(&callee), cx, arguments);
        tool.remote(definition.input_schema.clone(), Endpoint::Remote(self.endpoint), call)
    }

    /// Takes note of what the server shows of one tool, after what is new of it has been registered.
    fn settle(&mut self, name: String, listed: Listed, drafts: Vec<Draft>, report: &mut Report) {
        let is_new = !self.tools.contains_key(&name);
        let pin = self.pins.get(self.endpoint, &listed.id).filter(|_| is_new);
        let known = self.tools.entry(name.clone()).or_insert_with(|| Known {
            id: listed.id.clone(),
            shown: listed.fingerprint,
            offers: Vec::new(),
            refusal: None,
            changed: None,
        });
        if !is_new && known.shown == listed.fingerprint {
            match &known.refusal {
                Some(reason) => report.refuse(&name, reason),
                None => report.unchanged.push(listed.id),
            }
            return;
        }
        let before = known.offered().map(|offer| (offer.contract, Arc::clone(&offer.definition)));
        (known.shown, known.refusal) = (listed.fingerprint, None);
        for draft in drafts {
            let shown = draft.fingerprint == listed.fingerprint;
            match offer(&self.registry, draft) {
                Ok(offer) => known.offers.push(offer),
                Err(reason) if shown => known.refusal = Some(reason),
                Err(_) => {}
            }
        }
        let observed = known.offered().map(|offer| offer.contract);
        report.flagged.extend(observed.and_then(|digest| flagged(&self.registry, &known.id, digest)));
        for offer in known.offers.iter().filter(|offer| offer.fingerprint != listed.fingerprint) {
            // It fails for what has been revoked, which cannot be called anyway.
            let now = observed.unwrap_or(listed.fingerprint);
            let _ = self.registry.changed(&known.id, offer.contract, now, &self.namespace);
        }
        if let Some(reason) = &known.refusal {
            report.refuse(&name, reason);
        }
        let earlier = pin.as_ref().filter(|pin| pin.definition != *listed.definition);
        let before = before.or_else(|| earlier.map(|pin| (pin.digest, Arc::new(pin.definition.clone()))));
        if let Some((before, definition)) = before {
            let differences = differences(&definition, &listed.definition);
            let changed = Changed { id: listed.id, before, observed, differences };
            known.changed = Some(changed.clone());
            report.changed.push(changed);
        } else if let Some(digest) = observed
            && is_new
        {
            match pin.map(|pin| again(&self.registry, &pin, digest)) {
                Some(true) => report.approved.push(listed.id),
                _ => report.added.push(listed.id),
            }
        }
    }
}

/// What has become of a draft.
fn offer(registry: &Registry, draft: Draft) -> Result<Offer, String> {
    let Draft { id, version, definition, fingerprint, refusal } = draft;
    if let Some(reason) = refusal {
        return Err(reason);
    }
    let wanted = Version::new(version, 0, 0);
    let snapshot = registry.snapshot();
    let tool = snapshot.versions(&id).iter().find(|tool| *tool.contract().version() == wanted);
    let contract = tool.map(Tool::contract);
    let ours = contract.filter(|contract| contract.provenance() == Provenance::Mcp(fingerprint));
    let contract = ours.ok_or("it was taken out of the registry")?.digest();
    Ok(Offer { version, definition, fingerprint, contract })
}

/// What was found in the texts of a contract, if anything was.
fn flagged(registry: &Registry, id: &ToolId, digest: Digest) -> Option<Flagged> {
    let snapshot = registry.snapshot();
    let tool = snapshot.versions(id).iter().find(|tool| tool.contract().digest() == digest)?;
    let findings = tool.findings().to_vec();
    (!findings.is_empty()).then(|| Flagged { id: id.clone(), digest, findings })
}

/// Approves again what was approved before: the same contract of the same server, of which nothing else was seen since.
fn again(registry: &Registry, pin: &Pin, digest: Digest) -> bool {
    if pin.digest != digest {
        return false;
    }
    if pin.suspended {
        let reason = "the server has shown another definition since it was approved";
        let _ = registry.quarantine(&pin.tool, digest, reason, "pins");
        return false;
    }
    registry.approve(&pin.tool, digest, &pin.by).is_ok()
}

impl Report {
    fn refuse(&mut self, name: &str, reason: &str) {
        self.refused.push(Refusal { name: one_line(name, 128), reason: one_line(reason, 512) });
    }
}
