//! Who may publish what, and why something signed is not believed.

use std::collections::{BTreeMap, BTreeSet};

use agent_primitives::{BadId, ToolId};
use emk::PublicKey;

/// Most keys that one host trusts.
pub const MAX_PUBLISHERS: usize = 4096;
/// Most namespaces of one key.
const MAX_NAMESPACES: usize = 256;

/// Why something signed, or the lack of it, is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody who may publish in this namespace has signed it: no signature, an unknown key, or a key of other namespaces.
    #[error("`{id}` is not signed by a publisher that is trusted with its namespace")]
    #[non_exhaustive]
    UntrustedPublisher {
        /// The tool.
        id: ToolId,
    },
    /// The signature is not that key's over exactly this.
    #[error("the signature is not valid")]
    SignatureInvalid,
    /// It was signed for a time that is over.
    #[error("what was signed has expired")]
    Expired,
    /// A publisher has taken it back.
    #[error("`{id}` was revoked")]
    #[non_exhaustive]
    Revoked {
        /// The tool.
        id: ToolId,
    },
    /// A publisher has signed two different contracts as one version of one tool.
    #[error("`{id}` was signed twice with different contents")]
    #[non_exhaustive]
    Equivocation {
        /// The tool.
        id: ToolId,
    },
    /// It is no record and no revocation.
    #[error("what was sent is no signed record: {reason}")]
    #[non_exhaustive]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// It is larger than there is room for.
    #[error("what was sent is larger than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// There is no room for more.
    #[error("there is room for {limit} and no more")]
    #[non_exhaustive]
    Full {
        /// The limit that is reached.
        limit: usize,
    },
    /// The peer has sent too much that is not valid, and is not listened to for a while.
    #[error("the peer is not listened to for a while")]
    Muted,
    /// A namespace that is none.
    #[error("`{namespace}` is no namespace: {source}")]
    #[non_exhaustive]
    BadNamespace {
        /// As given.
        namespace: String,
        /// What is wrong with it.
        source: BadId,
    },
}

impl TrustError {
    /// Stable code, `AK0600` to `AK0609`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UntrustedPublisher { .. } => "AK0600",
            Self::SignatureInvalid => "AK0601",
            Self::Expired => "AK0602",
            Self::Revoked { .. } => "AK0603",
            Self::Equivocation { .. } => "AK0604",
            Self::Malformed { .. } => "AK0605",
            Self::TooLarge { .. } => "AK0606",
            Self::Full { .. } => "AK0607",
            Self::Muted => "AK0608",
            Self::BadNamespace { .. } => "AK0609",
        }
    }

    /// Whether somebody tried to pass off what is not genuine.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::SignatureInvalid | Self::Equivocation { .. })
    }
}

/// The keys that a host trusts, with what each may publish. Empty, it trusts nobody.
#[derive(Clone, Debug, Default)]
pub struct Publishers {
    keys: BTreeMap<[u8; 32], BTreeSet<String>>,
    revoked: BTreeSet<[u8; 32]>,
    thresholds: BTreeMap<String, usize>,
}

impl Publishers {
    /// Trusts a key with these namespaces, besides those it has. A namespace is matched whole: `com.example` is not
    /// `com.example.sub`. The tools without a namespace are nobody's and never signed for.
    ///
    /// # Errors
    /// [`TrustError::BadNamespace`], [`TrustError::Full`]; nothing is changed then.
    pub fn trust<'n>(
        &mut self,
        key: PublicKey,
        namespaces: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), TrustError> {
        let names: Vec<&str> = namespaces.into_iter().collect();
        names.iter().try_for_each(|name| check(name))?;
        let full = |limit| Err(TrustError::Full { limit });
        if MAX_PUBLISHERS <= self.keys.len() && !self.keys.contains_key(&key.to_bytes()) {
            return full(MAX_PUBLISHERS);
        }
        let known = self.keys.entry(key.to_bytes()).or_default();
        if MAX_NAMESPACES < known.len() + names.len() {
            return full(MAX_NAMESPACES);
        }
        known.extend(names.into_iter().map(str::to_owned));
        Ok(())
    }

    /// How many different keys have to sign a tool of this namespace. One unless said; zero counts as one.
    ///
    /// # Errors
    /// [`TrustError::BadNamespace`].
    pub fn require(&mut self, namespace: &str, keys: usize) -> Result<(), TrustError> {
        check(namespace)?;
        self.thresholds.insert(namespace.to_owned(), keys.max(1));
        Ok(())
    }

    /// Never believes this key again, whatever it signed and when.
    pub fn revoke(&mut self, key: PublicKey) {
        self.revoked.insert(key.to_bytes());
    }

    pub(super) fn may_publish(&self, key: &[u8; 32], tool: &ToolId) -> bool {
        let namespace = namespace(tool);
        !self.revoked.contains(key)
            && namespace.is_some_and(|name| self.keys.get(key).is_some_and(|known| known.contains(name)))
    }

    pub(super) fn threshold(&self, tool: &ToolId) -> usize {
        namespace(tool).and_then(|name| self.thresholds.get(name)).copied().unwrap_or(1)
    }
}

fn namespace(tool: &ToolId) -> Option<&str> {
    tool.as_str().split_once('/').map(|(namespace, _)| namespace)
}

fn check(namespace: &str) -> Result<(), TrustError> {
    let parsed: Result<ToolId, BadId> = format!("{namespace}/x").parse();
    match parsed {
        Ok(_) if !namespace.contains('/') => Ok(()),
        Ok(_) => Err(TrustError::BadNamespace {
            namespace: crate::error::one_line(namespace, 64),
            source: BadId::BadChar { index: namespace.find('/').unwrap_or(0) },
        }),
        Err(source) => {
            Err(TrustError::BadNamespace { namespace: crate::error::one_line(namespace, 64), source })
        }
    }
}
