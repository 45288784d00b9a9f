//! What an argument decides.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pointer;
use crate::schema::InputSchema;

/// What an argument decides. An argument that is not declared has neither role, and what that means is up to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentRole {
    /// It decides who, what, where or how much is affected: a recipient, an account, a path, an amount, a statement.
    Authority,
    /// It is payload: the text of a mail, the content of a file.
    Content,
    /// The contract does not say.
    Undeclared,
}

impl ArgumentRole {
    /// The word used in contracts and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Content => "content",
            Self::Undeclared => "undeclared",
        }
    }
}

impl fmt::Display for ArgumentRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The arguments that have a role, each list in ascending byte order.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Roles {
    authority: Vec<String>,
    content: Vec<String>,
}

impl Roles {
    /// Takes names and JSON pointers of arguments, which must be in the schema.
    pub(crate) fn of(authority: &[String], content: &[String], schema: &InputSchema) -> Result<Self, String> {
        let (authority, content) = (names(authority, schema)?, names(content, schema)?);
        match authority.intersection(&content).next() {
            Some(both) => Err(format!("the argument `{both}` cannot be both authority and content")),
            None => Ok(Self {
                authority: authority.into_iter().collect(),
                content: content.into_iter().collect(),
            }),
        }
    }

    pub(crate) fn authority(&self) -> &[String] {
        &self.authority
    }

    pub(crate) fn content(&self) -> &[String] {
        &self.content
    }

    pub(crate) fn of_argument(&self, name: &str) -> ArgumentRole {
        let among = |names: &[String]| names.binary_search_by(|own| own.as_str().cmp(name)).is_ok();
        if among(&self.authority) {
            ArgumentRole::Authority
        } else if among(&self.content) {
            ArgumentRole::Content
        } else {
            ArgumentRole::Undeclared
        }
    }
}

fn names(arguments: &[String], schema: &InputSchema) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    for argument in arguments {
        let name = argument.strip_prefix('/').map_or_else(|| argument.clone(), pointer::unescaped);
        let whole = !argument.strip_prefix('/').is_some_and(|pointer| pointer.contains('/'));
        if !whole || !schema.names(&name) {
            let shown: String = argument.chars().take(64).collect();
            return Err(format!("`{shown}` has a role but is no argument that the schema names at its root"));
        }
        names.insert(name);
    }
    Ok(names)
}
