//! Secrets: given to tools that name them, and kept out of everything that comes back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use agent_primitives::json::Value;
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::CallChain;
use crate::executor::Pending;
use crate::{Output, ToolError};

/// Shortest secret, in bytes. A shorter one could not be taken out of texts without taking them apart.
pub const MIN_SECRET: usize = 8;
/// Longest secret, in bytes.
pub const MAX_SECRET: usize = 64 << 10;

/// What stands where a secret stood.
const REDACTED: &str = "[REDACTED]";

/// A secret text. It is overwritten when the last clone is dropped; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// A text that is too short or too long to be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret has {MIN_SECRET} to {MAX_SECRET} bytes")]
pub struct BadSecret;

impl Secret {
    /// Takes a text.
    ///
    /// # Errors
    /// [`BadSecret`] for fewer than [`MIN_SECRET`] bytes or more than [`MAX_SECRET`].
    pub fn new(text: impl Into<String>) -> Result<Self, BadSecret> {
        let text = Zeroizing::new(text.into());
        if (MIN_SECRET..=MAX_SECRET).contains(&text.len()) {
            Ok(Self(Arc::new(text)))
        } else {
            Err(BadSecret)
        }
    }

    /// The text. What is made of it is no secret to this crate any more, unless it is one of the forms that
    /// [`Invoker`](super::Invoker) looks for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where secrets come from.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The secret of this name for a call of these principals, which has been allowed. `None` when there is none for them.
    ///
    /// # Cancel safety
    /// The future is dropped with the call.
    fn resolve<'a>(&'a self, name: &'a str, chain: &'a CallChain) -> Pending<'a, Option<Secret>>;
}

/// The same secrets for everybody.
impl Secrets for BTreeMap<String, Secret> {
    fn resolve<'a>(&'a self, name: &'a str, _chain: &'a CallChain) -> Pending<'a, Option<Secret>> {
        Box::pin(std::future::ready(self.get(name).cloned()))
    }
}

/// The secrets of one call, and what they look like in a text.
#[derive(Default)]
pub(crate) struct SecretSet {
    secrets: BTreeMap<String, Secret>,
    forms: Option<AhoCorasick>,
}

impl SecretSet {
    pub(super) fn new(secrets: BTreeMap<String, Secret>) -> Result<Self, ToolError> {
        if secrets.is_empty() {
            return Ok(Self::default());
        }
        let forms: Vec<Zeroizing<String>> = secrets.values().flat_map(forms).collect();
        let forms = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms.iter().map(|form| form.as_bytes()))
            .map_err(|_error| ToolError::SecretUnavailable { name: "*".to_owned() })?;
        Ok(Self { secrets, forms: Some(forms) })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// The text without any form of any secret.
    pub(super) fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.forms {
            Some(forms) if forms.is_match(text) => {
                let mut clean = String::with_capacity(text.len());
                forms.replace_all_with(text, &mut clean, |_, _, into| {
                    into.push_str(REDACTED);
                    true
                });
                Cow::Owned(clean)
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// The result without any form of any secret, in texts and in keys.
    pub(super) fn clean_result(
        &self,
        result: Result<Output, ToolError>,
        max_bytes: usize,
    ) -> Result<Output, ToolError> {
        if self.forms.is_none() {
            return result;
        }
        match result {
            Ok(output) => {
                let mut value = output.value().clone();
                if !self.clean_value(&mut value) {
                    return Ok(output);
                }
                Output::of(value, max_bytes)
            }
            Err(error) => Err(error.map_texts(&|text| self.clean(text).into_owned())),
        }
    }

    /// Whether there was something to take out. No deeper than an output, which is bounded.
    fn clean_value(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => match self.clean(text) {
                Cow::Owned(clean) => {
                    *text = clean;
                    true
                }
                Cow::Borrowed(_) => false,
            },
            Value::Array(items) => items.iter_mut().fold(false, |any, item| self.clean_value(item) | any),
            Value::Object(entries) => {
                let mut any = entries.values_mut().fold(false, |any, value| self.clean_value(value) | any);
                let telling: Vec<String> =
                    entries.keys().filter(|key| matches!(self.clean(key), Cow::Owned(_))).cloned().collect();
                for key in telling {
                    if let Some(value) = entries.remove(&key) {
                        entries.insert(self.clean(&key).into_owned(), value);
                        any = true;
                    }
                }
                any
            }
            Value::Number(number) => {
                let text = number.to_string();
                match self.clean(&text) {
                    Cow::Owned(clean) => {
                        *value = Value::String(clean);
                        true
                    }
                    Cow::Borrowed(_) => false,
                }
            }
            Value::Null | Value::Bool(_) => false,
        }
    }
}

impl fmt::Debug for SecretSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.secrets.keys()).finish()
    }
}

/// A secret as it is, in base64 of either alphabet, in hexadecimal and percent-encoded.
///
/// Within base64 of a longer text a secret looks different by where it begins in a group of three bytes; of each of these
/// forms, the groups that hold nothing but the secret are looked for.
fn forms(secret: &Secret) -> Vec<Zeroizing<String>> {
    let text = secret.expose();
    let bytes = text.as_bytes();
    let mut forms = vec![text.to_owned()];
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(bytes));
        for lead in 0..3 {
            let skipped = (3 - lead) % 3;
            let inner = bytes.get(skipped..).unwrap_or_default();
            let whole = inner.get(..inner.len() / 3 * 3).unwrap_or_default();
            forms.push(engine.encode(whole));
        }
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex.to_uppercase());
    forms.push(hex);
    for lower in [false, true] {
        forms.push(percent(bytes, lower, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)));
        forms.push(percent(bytes, lower, |_| false));
    }
    forms.into_iter().filter(|form| !form.is_empty()).map(Zeroizing::new).collect()
}

fn percent(bytes: &[u8], lower: bool, kept: impl Fn(u8) -> bool) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            byte if kept(*byte) => text.push(char::from(*byte)),
            byte if lower => text.push_str(&format!("%{byte:02x}")),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
