//! Redaction: what must not be stored is taken out before an event is encoded, hashed and stored.
//!
//! Rules are the host's: a place in the arguments of some tools, keys that name secrets, or what detectors know by its
//! shape. [`REDACTED`] stands where something was taken out. Of arguments the record then keeps the digest of what was
//! judged and executed, and the places that were touched ([`Request::ExecRedacted`]), so that a reader knows. A decision on
//! such a call cannot be made again: replay and simulation say so.
//!
//! A recorder without rules pays one look at a pointer for each event.

mod encode;

use std::borrow::Cow;

use agent_primitives::Digest;
pub use agent_primitives::detect::{Kind, KindSet};
use agent_primitives::json::canonical;
use agent_primitives::redact::{REDACTED, is_sensitive_key, redact_text};
use agent_primitives::{detect, text};
use agent_tool_registry::Arguments;
use globset::{GlobBuilder, GlobMatcher};
use serde_json::Value;

use super::{Body, Event, RecorderError, Request};

/// Most places that one [`Redaction`] names.
pub const MAX_PLACES: usize = 256;
/// Most places listed of one call; beyond it the arguments go as a whole.
pub const MAX_REDACTED: usize = 1024;

/// What must not be stored.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    places: Vec<Place>,
    secrets: bool,
    kinds: KindSet,
}

/// A place in the arguments of some tools.
#[derive(Clone, Debug)]
struct Place {
    tools: GlobMatcher,
    steps: Vec<String>,
}

/// Why a rule of redaction is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedactionError {
    /// The pattern of tools does not parse.
    #[error("`{0}` is no pattern of tools")]
    Tools(String),
    /// The place is no JSON pointer.
    #[error("`{0}` is no JSON pointer: it is empty or begins with `/`")]
    Pointer(String),
    /// There are too many.
    #[error("more than {MAX_PLACES} places are to be redacted")]
    TooMany,
}

impl RedactionError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tools(_) => "AK0850",
            Self::Pointer(_) => "AK0851",
            Self::TooMany => "AK0852",
        }
    }
}

impl Redaction {
    /// Takes out nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes out what stands at a place of the arguments of each tool that a glob matches. The place is a JSON pointer (RFC
    /// 6901); a step `*` is every key or item, and the empty pointer is all of the arguments.
    ///
    /// What goes wrong with a call of such a tool is recorded by its code alone: its text may quote the arguments.
    ///
    /// # Errors
    /// A glob or a pointer that is none, or more than [`MAX_PLACES`].
    pub fn argument(mut self, tools: &str, pointer: &str) -> Result<Self, RedactionError> {
        if MAX_PLACES <= self.places.len() {
            return Err(RedactionError::TooMany);
        }
        let glob = GlobBuilder::new(tools).literal_separator(false).build();
        let tools = glob.map_err(|_bad| RedactionError::Tools(tools.to_owned()))?.compile_matcher();
        let mut steps = pointer.split('/');
        if steps.next() != Some("") {
            return Err(RedactionError::Pointer(pointer.to_owned()));
        }
        let steps = steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        self.places.push(Place { tools, steps });
        Ok(self)
    }

    /// Takes out, in every event, what stands under a key that names a secret (`password`, `api_key`, `accessToken`), and the
    /// well-known shapes of credentials: see [`agent_primitives::redact`].
    #[must_use]
    pub fn secrets(mut self) -> Self {
        self.secrets = true;
        self
    }

    /// Takes out, in every event, what these detectors find: in the arguments of tools, in paths, and in the texts of errors,
    /// denials and the host. What shows only in another reading of a text takes that text with it.
    ///
    /// Names stay: of agents, tools, tenants, rules, labels and accounts. So do facts and policies, which decisions are made
    /// again from; a host puts no secret into these.
    #[must_use]
    pub fn detect(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.kinds = kinds.into_iter().fold(self.kinds, KindSet::with);
        self
    }

    /// Whether errors of this tool are not told, because they may quote what is redacted.
    pub(super) fn withholds(&self, tool: &str) -> bool {
        self.places.iter().any(|place| place.tools.is_match(tool))
    }

    /// The text without what must not be stored.
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut clean = if self.secrets { redact_text(text) } else { Cow::Borrowed(text) };
        if self.kinds.is_empty() {
            return clean;
        }
        if let Some(cut) = cut(&clean, self.kinds) {
            clean = Cow::Owned(cut);
        }
        // What hides behind an encoding has no place that could be cut; what was not looked at wholly may hide anything.
        match detect::find(&clean, self.kinds, &text::Limits::DEFAULT) {
            Ok(None) => clean,
            Ok(Some(_)) | Err(_) => Cow::Borrowed(REDACTED),
        }
    }

    /// Encodes an event without what must not be stored.
    pub(super) fn encode(&self, event: &Event<'_>, buffer: Vec<u8>) -> Result<Vec<u8>, RecorderError> {
        let encoding = |error: &dyn std::fmt::Display| RecorderError::Encoding(error.to_string());
        let mut event = event.clone();
        let taken = match asked(&mut event.body) {
            Some(Request::Exec { tool, arguments, .. }) => {
                self.arguments(tool, arguments).map_err(|error| encoding(&error))?
            }
            _ => None,
        };
        if let Some(taken) = &taken {
            mark(&mut event.body, taken);
        }
        let mut deeds = Vec::new();
        if let Body::Judged { past: Some(past), .. } = &event.body {
            for deed in past {
                deeds.push(self.deed(deed.object, deed.arguments).map_err(|error| encoding(&error))?);
            }
        }
        if let Body::Judged { past: Some(past), .. } = &mut event.body {
            for (deed, clean) in past.iter_mut().zip(&deeds) {
                deed.arguments = clean.as_deref().unwrap_or(deed.arguments);
            }
        }
        if let Body::Rejected { what, error, .. } = &mut event.body
            && self.withholds(what)
        {
            *error = REDACTED;
        }
        encode::encode(self, &event, buffer).map_err(|error| encoding(&error))
    }

    /// What the record keeps of the arguments of a call; `None` when that is all of them.
    fn arguments(&self, tool: &str, bytes: &[u8]) -> Result<Option<Taken>, String> {
        if !self.applies(tool) {
            return Ok(None);
        }
        let arguments = Arguments::parse(bytes).map_err(|error| error.to_string())?;
        let Some((value, places)) = self.clean(tool, arguments.value()) else { return Ok(None) };
        let kept = canonical(&value).map_err(|error| error.to_string())?;
        Ok(Some(Taken { kept, digest: arguments.digest(), places }))
    }

    /// What the record keeps of the arguments of something that an agent did elsewhere; `None` when that is all of them.
    fn deed(&self, tool: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        if bytes.is_empty() || !self.applies(tool) {
            return Ok(None);
        }
        let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let clean = self.clean(tool, &value);
        clean.map(|(value, _)| canonical(&value).map_err(|error| error.to_string())).transpose()
    }

    /// Whether something of this tool's calls may be taken out.
    pub(super) fn applies(&self, tool: &str) -> bool {
        self.secrets || !self.kinds.is_empty() || self.withholds(tool)
    }

    /// The arguments of a tool without what must not be stored, and where something was taken out; `None` if nowhere.
    fn clean(&self, tool: &str, value: &Value) -> Option<(Value, Vec<String>)> {
        let places = self.places.iter().filter(|place| place.tools.is_match(tool));
        let places: Vec<&[String]> = places.map(|place| &*place.steps).collect();
        let (mut value, mut found) = (value.clone(), Vec::new());
        self.walk(&mut value, &places, &mut String::new(), &mut found);
        if MAX_REDACTED < found.len() {
            (value, found) = (REDACTED.into(), vec![String::new()]);
        }
        found.sort_unstable();
        (!found.is_empty()).then_some((value, found))
    }

    /// Takes out what must not be stored at and below a value. Arguments are nested 64 deep at most.
    fn walk(&self, value: &mut Value, places: &[&[String]], at: &mut String, found: &mut Vec<String>) {
        if places.iter().any(|steps| steps.is_empty()) {
            *value = REDACTED.into();
            found.push(at.clone());
            return;
        }
        match value {
            Value::String(text) => {
                let clean = self.text(text).into_owned();
                if clean != *text {
                    *text = clean;
                    found.push(at.clone());
                }
            }
            Value::Array(items) => {
                for (number, item) in items.iter_mut().enumerate() {
                    self.step(item, &number.to_string(), places, at, found);
                }
            }
            Value::Object(fields) => {
                // A key cannot be cut without passing for another one.
                if fields.keys().any(|key| self.text(key) != **key) {
                    *value = REDACTED.into();
                    found.push(at.clone());
                    return;
                }
                for (key, value) in fields {
                    let holds_text = value.is_string() || value.is_array() || value.is_object();
                    if self.secrets && holds_text && is_sensitive_key(key) {
                        *value = REDACTED.into();
                        found.push(format!("{at}/{}", escaped(key)));
                    } else {
                        self.step(value, key, places, at, found);
                    }
                }
            }
            Value::Number(number) => {
                // A card number is one in either type.
                if self.text(&number.to_string()) != number.to_string() {
                    *value = REDACTED.into();
                    found.push(at.clone());
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn step(
        &self,
        value: &mut Value,
        key: &str,
        places: &[&[String]],
        at: &mut String,
        found: &mut Vec<String>,
    ) {
        let below: Vec<&[String]> = places
            .iter()
            .filter_map(|steps| steps.split_first())
            .filter(|(step, _)| *step == "*" || *step == key)
            .map(|(_, rest)| rest)
            .collect();
        let length = at.len();
        at.push('/');
        at.push_str(&escaped(key));
        self.walk(value, &below, at, found);
        at.truncate(length);
    }
}

/// What was kept of arguments, and what was not.
struct Taken {
    kept: Vec<u8>,
    digest: Digest,
    places: Vec<String>,
}

/// The call in an event, if there is one.
fn asked<'b, 'a>(body: &'b mut Body<'a>) -> Option<&'b mut Request<'a>> {
    match body {
        Body::Intent { request, .. }
        | Body::Refused { request, .. }
        | Body::Held { request, .. }
        | Body::Question { request, .. }
        | Body::Judged { request, .. } => Some(request),
        _ => None,
    }
}

/// Puts what was kept in the place of the arguments.
fn mark<'a>(body: &mut Body<'a>, taken: &'a Taken) {
    let whole = taken.places.iter().any(String::is_empty);
    match body {
        Body::Intent { decision, .. }
        | Body::Refused { decision, .. }
        | Body::Held { decision, .. }
        | Body::Question { decision, .. }
        | Body::Judged { decision, .. }
            if whole =>
        {
            // The names of arguments that are not kept are not kept either.
            decision.arguments.iter_mut().for_each(|(name, ..)| *name = REDACTED);
        }
        _ => {}
    }
    if let Some(request) = asked(body)
        && let Request::Exec { tool, contract, effects, deadline, .. } = *request
    {
        *request = Request::ExecRedacted {
            tool,
            contract,
            effects,
            arguments: &taken.kept,
            digest: taken.digest,
            redacted: taken.places.iter().map(String::as_str).collect(),
            deadline,
        };
    }
}

/// The text with what the detectors find cut out; `None` if that is nothing.
fn cut(text: &str, kinds: KindSet) -> Option<String> {
    let mut found: Vec<_> = detect::scan(text, kinds).map(|finding| finding.range).collect();
    if found.is_empty() {
        return None;
    }
    found.sort_unstable_by_key(|range| range.start);
    let (mut clean, mut kept_to) = (String::with_capacity(text.len()), 0);
    for range in found {
        // Kinds may overlap: what is cut already is not marked twice.
        if kept_to <= range.start {
            clean.push_str(text.get(kept_to..range.start).unwrap_or_default());
            clean.push_str(REDACTED);
        }
        kept_to = kept_to.max(range.end);
    }
    clean.push_str(text.get(kept_to..).unwrap_or_default());
    Some(clean)
}

/// A step of a JSON pointer.
fn escaped(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1").into() } else { key.into() }
}
