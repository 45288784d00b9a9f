//! Inspection of what came back, before the agent sees it.
//!
//! What the reply weighs, what its digest is and what it carries, so that the outcome can be recorded.

use agent_primitives::{Digest, LabelSet};

use crate::call::Reply;
use crate::error::CallError;
use crate::policy::request::CONTENT_DOMAIN;

/// A result and what the record says of it.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) result: Result<Reply, CallError>,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) labels: LabelSet,
}

/// Weighs a result.
pub(crate) fn reply(result: Result<Reply, CallError>) -> Inspected {
    let (digest, bytes) = match &result {
        Ok(Reply::Data { data, .. }) => (Digest::of(CONTENT_DOMAIN, data), data.len() as u64),
        Ok(Reply::Output { output, .. }) => (output.digest(), output.canonical().len() as u64),
        Ok(Reply::Written { bytes, .. }) => (Digest::ZERO, *bytes),
        Ok(Reply::Signal(notice)) => {
            (Digest::of(CONTENT_DOMAIN, notice.reason.as_bytes()), notice.reason.len() as u64)
        }
        Ok(Reply::Opened(_) | Reply::Decision(_) | Reply::Done) | Err(_) => (Digest::ZERO, 0),
    };
    let labels = match &result {
        Ok(Reply::Output { labels, .. } | Reply::Data { labels, .. }) => labels.clone(),
        Ok(Reply::Signal(notice)) => notice.labels.clone(),
        _ => LabelSet::EMPTY,
    };
    Inspected { result, digest, bytes, labels }
}
