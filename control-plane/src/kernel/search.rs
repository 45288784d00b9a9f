//! Search: a read of which policy is asked once as a whole, and once for each file that it would tell of.

use std::sync::{Arc, Mutex, PoisonError};

use agent_primitives::LabelSet;
use bytes::Bytes;
use serde::Serialize;

use super::Inner;
use super::running::Intent;
use super::table::Agent;
use crate::call::Reply;
use crate::error::CallError;
use crate::policy::permit::Permit;
use crate::policy::request::ReadFile;
use crate::vfs::{Found, PathError, Query, VfsError, VfsPath};

/// How much deeper a store is searched each time that policy has left fewer hits than were asked for, and how deep at most.
const DEEPER: usize = 4;
const DEEPEST: usize = 1000;

/// One search of a store, and what it found. Made of a permit, and in this module only.
#[derive(Debug)]
pub(crate) struct Dive {
    directory: VfsPath,
    query: Query,
    depth: usize,
    /// What was found, before policy was asked about each of it; and whether the store may have more.
    found: Mutex<(Vec<Found>, bool)>,
}

/// One line of what a search reads as.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    score: f64,
    text: &'a str,
}

impl Dive {
    fn new(directory: &VfsPath, query: &Query, depth: usize) -> Arc<Self> {
        let (directory, query) = (directory.clone(), query.clone());
        Arc::new(Self { directory, query, depth, found: Mutex::default() })
    }

    pub(super) fn directory(&self) -> &VfsPath {
        &self.directory
    }

    pub(super) fn text(&self) -> &str {
        self.query.text()
    }

    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn put(&self, found: Vec<Found>, more: bool) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = (found, more);
    }

    fn take(&self) -> (Vec<Found>, bool) {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    /// The best of what the agent may read. What it may not read takes no place in the answer: the store is searched deeper
    /// until enough is found, nothing more is there, or it has been searched to [`DEEPEST`].
    pub(super) async fn search(
        &self,
        agent: &Arc<Agent>,
        intent: &Arc<Intent>,
        permit: Permit<ReadFile>,
    ) -> Result<Reply, CallError> {
        let ReadFile { path, offset, length, query, .. } = permit.redeem();
        let Some(query) = query else { return Ok(Reply::Done) };
        let mut depth = query.limit();
        loop {
            let dive = Dive::new(&path, &query, depth);
            let service = {
                let dive = Arc::clone(&dive);
                |owner: Arc<Agent>| async move { owner.files.search(&dive).await }
            };
            self.on_files(agent, intent, service).await?;
            let (mut found, more) = dive.take();
            found.retain(|hit| self.lets_read(agent, &hit.path));
            if query.limit() <= found.len() || !more || DEEPEST <= depth {
                found.truncate(query.limit());
                return reply(&found, offset.unwrap_or(0), length);
            }
            depth = depth.saturating_mul(DEEPER).min(DEEPEST);
        }
    }
}

/// The hits as lines, with the labels of all of them; the part that was asked for.
///
/// # Errors
/// They carry more labels than a value can.
fn reply(found: &[Found], offset: u64, length: u64) -> Result<Reply, CallError> {
    let (mut text, mut labels) = (Vec::new(), LabelSet::EMPTY);
    for hit in found {
        labels = labels.join(&hit.labels)?;
        let line = Line { path: hit.path.as_str(), score: hit.score, text: &hit.text };
        let failed = |_error| PathError::at(&hit.path, VfsError::Backend);
        serde_json::to_writer(&mut text, &line).map_err(failed)?;
        text.push(b'\n');
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(text.len());
    Ok(Reply::Data { data: Bytes::from(text).slice(start..end), version: None, labels })
}
