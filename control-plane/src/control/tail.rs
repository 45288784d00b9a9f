//! Following the record.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::MAX_TAILS;
use super::connection::Connection;
use super::protocol::{Failure, Outcome};

/// A place among those who follow. Free again when this is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(tails: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(tails));
        (tails.fetch_add(1, Ordering::SeqCst) < MAX_TAILS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connection {
    /// Sends the events from `from` on, and with `follow` those that are added, until the kernel is down.
    pub(super) async fn tail(
        &mut self,
        id: u64,
        from: u64,
        agent: Option<&str>,
        follow: bool,
    ) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let Some(_place) = Place::take(&shared.tails) else {
            let failure = Failure::new("AK0957", format!("{MAX_TAILS} follow the record, as many as can"));
            return self.say(id, Outcome::Error(failure)).await;
        };
        let recorder = shared.kernel.recorder();
        let mut record = recorder.follow(from);
        // What is there now, for whoever does not follow: a kernel that is busy would have more and more.
        let end = recorder.head().count;
        let mut closed = false;
        loop {
            let stored = if !follow && end <= record.position() {
                None
            } else if closed || !follow {
                record.try_next()
            } else {
                tokio::select! {
                    biased;
                    stored = record.next() => stored,
                    () = shared.inner().closing_done() => {
                        // What the shutdown itself recorded is there by now, and is shown.
                        closed = true;
                        continue;
                    }
                }
            };
            let Some(stored) = stored else {
                return self.say(id, Outcome::Ok(json!({ "next": record.position() }))).await;
            };
            let event = match stored.and_then(|stored| stored.to_json()) {
                Ok(event) => event,
                Err(error) => return self.say(id, Outcome::Error(Failure::new(error.code(), &error))).await,
            };
            if agent.is_none_or(|agent| event.get("agent").is_some_and(|name| name == agent)) {
                self.say(id, Outcome::Event(event)).await?;
            }
        }
    }
}
