//! Inspection of what came back, before the agent sees it.
//!
//! Now: what the reply weighs and what its digest is, so that the outcome can be recorded. Labels and output rules
//! join here when information flow is built.

use agent_primitives::Digest;

use crate::call::Reply;
use crate::error::CallError;
use crate::policy::request::CONTENT_DOMAIN;

/// A result and what the record says of it.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) result: Result<Reply, CallError>,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

/// Weighs a result.
pub(crate) fn reply(result: Result<Reply, CallError>) -> Inspected {
    let (digest, bytes) = match &result {
        Ok(Reply::Data { data, .. }) => (Digest::of(CONTENT_DOMAIN, data), data.len() as u64),
        Ok(Reply::Output(output)) => (output.digest(), output.canonical().len() as u64),
        Ok(Reply::Written { bytes, .. }) => (Digest::ZERO, *bytes),
        Ok(Reply::Opened(_) | Reply::Signal(_) | Reply::Decision(_) | Reply::Done) | Err(_) => {
            (Digest::ZERO, 0)
        }
    };
    Inspected { result, digest, bytes }
}
