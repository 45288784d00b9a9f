//! Requests and answers as files in a folder, for whatever watches it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_primitives::TicketId;
use agent_primitives::ticket::{Principal, Scope, Terms};
use serde::{Deserialize, Serialize};

use super::approver::{Answer, Answering, Approver, Word};
use super::{MAX_TICKETS, Request, Unreachable};

/// How often the folder is looked at while a call waits.
pub const FILE_INTERVAL: Duration = Duration::from_secs(1);
/// Largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 16 << 10;
/// Most files that are looked at in one go.
const MAX_FILES: usize = 4 * MAX_TICKETS;
const REQUEST: &str = ".request.json";
const ANSWER: &str = ".answer.json";
const UNFINISHED: &str = ".unfinished";

/// Drops a file `<ticket>.request.json` into a folder for each request, and reads `<ticket>.<anything>.answer.json`:
///
/// ```json
/// { "by": "ann", "answer": "grant", "scope": "once" }
/// { "by": "bob", "answer": "refuse", "reason": "not this month" }
/// ```
///
/// An answer is removed once it was read, a request once its ticket waits no longer. Whoever can write to the folder can
/// answer in anybody's name: its permissions are what says who may approve. Answers should be written under another name
/// and renamed; one that is no answer is removed too.
#[derive(Clone, Debug)]
pub struct FileApprover {
    folder: PathBuf,
}

#[derive(Serialize)]
struct Shown<'a> {
    ticket: TicketId,
    agent: &'a str,
    what: &'a str,
    rules: &'a [String],
    tenant: Option<&'a str>,
    labels: &'a agent_primitives::LabelSet,
    terms: &'a Terms,
    asked: String,
    expires: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    by: Principal,
    answer: Yes,
    scope: Option<Scope>,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Yes {
    Grant,
    Refuse,
}

impl FileApprover {
    /// An approver that uses this folder, which must be there.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        runtime.spawn_blocking(work).await.ok()
    }
}

impl Approver for FileApprover {
    fn notify<'a>(&'a self, request: &'a Request) -> Answering<'a, Result<(), Unreachable>> {
        let shown = Shown {
            ticket: request.id(),
            agent: request.agent().as_str(),
            what: request.what(),
            rules: request.rules(),
            tenant: request.tenant().map(agent_primitives::TenantId::as_str),
            labels: request.labels(),
            terms: request.terms(),
            asked: request.asked().to_string(),
            expires: request.expires().to_string(),
        };
        let bytes = serde_json::to_vec_pretty(&shown);
        let path = self.folder.join(format!("{}{REQUEST}", request.id()));
        Box::pin(async move {
            let bytes = bytes.map_err(Unreachable::new)?;
            let written = Self::run(move || {
                let unfinished = path.with_extension("unfinished");
                std::fs::write(&unfinished, bytes)?;
                std::fs::rename(&unfinished, &path)
            });
            match written.await {
                Some(result) => result.map_err(Unreachable::new),
                None => Err(Unreachable::new("no thread to write with")),
            }
        })
    }

    fn collect<'a>(&'a self, pending: &'a [TicketId]) -> Answering<'a, Vec<Answer>> {
        let (folder, pending) = (self.folder.clone(), pending.to_vec());
        Box::pin(async move { Self::run(move || collect(&folder, &pending)).await.unwrap_or_default() })
    }

    fn interval(&self) -> Option<Duration> {
        Some(FILE_INTERVAL)
    }
}

fn collect(folder: &Path, pending: &[TicketId]) -> Vec<Answer> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut answers = Vec::new();
    for entry in entries.take(MAX_FILES).flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.ends_with(UNFINISHED)) else { continue };
        let Some(ticket) = name.get(..32).and_then(|id| id.parse::<TicketId>().ok()) else { continue };
        let path = entry.path();
        if name.ends_with(REQUEST) {
            if !pending.contains(&ticket) {
                let _gone_already = std::fs::remove_file(&path);
            }
        } else if name.ends_with(ANSWER) {
            answers.extend(read(&path, ticket));
            // An answer that cannot be removed is read again, and adds nothing then.
            let _gone_already = std::fs::remove_file(&path);
        }
    }
    answers
}

fn read(path: &Path, ticket: TicketId) -> Option<Answer> {
    let kind = std::fs::symlink_metadata(path).ok()?;
    if !kind.is_file() || MAX_ANSWER < kind.len() {
        return None;
    }
    let Written { by, answer, scope, reason } = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let word = match answer {
        Yes::Grant => Word::Grant(scope.unwrap_or(Scope::Once)),
        Yes::Refuse => Word::Refuse(reason),
    };
    Some(Answer { ticket, by, word })
}
