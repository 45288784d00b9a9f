//! Recall: finding the episodes that matter now, and the failures not to repeat.

mod advice;
mod attempts;
mod decay;
mod error;
mod follow;
mod fusion;
mod index;
mod lexical;
mod mask;
mod odds;
mod postings;
mod query;
mod recaller;
mod table;
mod text;
mod top;
mod vectors;

pub use advice::{Advice, AntiPattern, MAX_COMPARED, MAX_EVIDENCE, MAX_PATTERNS, SAME_ATTEMPT};
pub use decay::{
    BASE_STABILITY_DAYS, MAX_STABILITY_DAYS, RECENCY_PER_HOUR, Retention, STABILITY_GROWTH, composite,
    recency, retention,
};
pub use error::RecallError;
pub use fusion::{MMR_LAMBDA, RRF_K, mmr, rrf};
pub use odds::{Level, Odds, wilson_low};
pub use query::{
    DensePart, Filter, Hit, LexicalPart, MAX_FILTER_NAMES, MAX_QUERY_BYTES, MAX_RECALL, Order, Parts, Query,
    SourceTrust,
};
pub use recaller::{Access, Precedents, Recall, RecallSize};

/// Most episodes in one index.
pub const MAX_EPISODES: usize = 1 << 24;
