//! The thread that writes: one sync for everything that has gathered.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::Durability;
use super::shared::Shared;
use crate::LedgerError;
use crate::store::{Batch, LedgerStore};

/// Starts the thread. It ends when the ledger is closed or poisoned, and the store with it.
pub(super) fn spawn(shared: Arc<Shared>, store: Box<dyn LedgerStore>) -> Result<JoinHandle<()>, LedgerError> {
    std::thread::Builder::new()
        .name("emk-committer".to_owned())
        .spawn(move || {
            let _guard = PoisonOnPanic(Arc::clone(&shared));
            commit_until_closed(&shared, store);
        })
        .map_err(|error| LedgerError::io("start", Path::new("emk-committer"), error))
}

fn commit_until_closed(shared: &Shared, mut store: Box<dyn LedgerStore>) {
    let sync = shared.durability() != Durability::Os;
    while let Some(work) = shared.next_work().or_else(|| shared.last_seal()) {
        let batch = Batch::new(work.run.first_seq, &work.run.frames, work.head);
        let written = store.append(&batch).and_then(|()| if sync { store.sync() } else { Ok(()) });
        match written {
            Ok(()) => {
                shared.committed(work);
                if let Err(error) = shared.seal_if_due() {
                    return shared.fail(&error);
                }
            }
            Err(error) => return shared.fail(&error),
        }
    }
}

/// Poisons the ledger if the thread panics, so that nobody waits for a thread that is gone.
struct PoisonOnPanic(Arc<Shared>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(&LedgerError::Stopped);
        }
    }
}
