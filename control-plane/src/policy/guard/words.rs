//! The closed lists of words in guards, for the schema of the document.

use agent_primitives::detect::Kind;

use super::compare::Comparison;
use super::hazard::Hazard;
use super::{sql, url};

pub(in crate::policy) use super::url::SCHEMES as URL_SCHEMES;

pub(in crate::policy) fn comparisons() -> impl Iterator<Item = &'static str> {
    Comparison::NAMES.into_iter().map(|(name, _)| name)
}

pub(in crate::policy) fn address_classes() -> impl Iterator<Item = &'static str> {
    url::address::Class::NAMES.into_iter().map(|(name, _)| name)
}

pub(in crate::policy) fn sql_dialects() -> impl Iterator<Item = &'static str> {
    sql::Grammar::NAMES.into_iter().map(|(name, _)| name)
}

pub(in crate::policy) fn sql_statements() -> impl Iterator<Item = &'static str> {
    sql::walk::Kind::NAMES.into_iter().map(|(name, _)| name)
}

pub(in crate::policy) fn hazards() -> impl Iterator<Item = &'static str> {
    Hazard::NAMES.into_iter().map(|(name, _)| name)
}

pub(in crate::policy) fn sensitive() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::name)
}
