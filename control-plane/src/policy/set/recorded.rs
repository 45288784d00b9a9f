//! A set from the document that the record keeps of it.

use serde_json::Value;

use super::super::Policy;
use super::super::error::{Code, Mark, PolicyErrors, Report, quoted};
use super::{PolicySet, PolicySetBuilder};

impl PolicySet {
    /// Builds the set whose [`PolicySet::to_json`] this is. `source_name` stands in front of every error.
    ///
    /// A layer in another language needs that language's feature; one of a host's own engine cannot be built.
    ///
    /// # Errors
    /// As [`Policy::from_json`], for each layer, and for what is no document of a set.
    pub fn from_document(source_name: &str, document: &Value) -> Result<Self, PolicyErrors> {
        let Some(layers) = document.get("layers").and_then(Value::as_array) else {
            return policy(source_name, document).map(Self::from);
        };
        let (first, further) = match layers.split_first() {
            Some((first, further)) if word(first, "layer") == "organisation" => (first, further),
            _ => return refused(source_name, "the first layer is not the organisation's"),
        };
        let organisation = policy(source_name, first.get("policy").unwrap_or(&Value::Null))?;
        let add = |set, layer: &Value| add(source_name, set, layer);
        further.iter().try_fold(Self::builder(organisation), add)?.build()
    }
}

fn add(source_name: &str, set: PolicySetBuilder, layer: &Value) -> Result<PolicySetBuilder, PolicyErrors> {
    let (kind, of) = (word(layer, "layer"), word(layer, "of"));
    if let Some(document) = layer.get("policy") {
        let policy = policy(source_name, document)?;
        return match kind {
            "everybody" => Ok(set.everybody(policy)),
            "tenants" => Ok(set.tenants(of, policy)),
            "agents" => Ok(set.agents(of, policy)),
            other => refused(source_name, &format!("a layer for {}", quoted(other))),
        };
    }
    let text = word(layer, "text");
    match word(layer, "engine") {
        #[cfg(feature = "cedar")]
        "cedar" => {
            let engine = super::super::engine::CedarEngine::from_text(source_name, text)?;
            Ok(set.engine(std::sync::Arc::new(engine)))
        }
        #[cfg(feature = "rego")]
        "rego" => {
            let engine = super::super::engine::RegoEngine::from_text(source_name, text)?;
            Ok(set.engine(std::sync::Arc::new(engine)))
        }
        other => {
            let _unread = text;
            refused(source_name, &format!("no engine here is called {}", quoted(other)))
        }
    }
}

fn policy(source_name: &str, document: &Value) -> Result<Policy, PolicyErrors> {
    Policy::from_json(source_name, &document.to_string())
}

fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn refused<T>(source_name: &str, why: &str) -> Result<T, PolicyErrors> {
    let mut report = Report::new(&source_name.into());
    report.add(Code::Layer, Mark::NOWHERE, format!("this is no document of a policy set: {why}"));
    report.finish(None)
}
