//! The thread that writes: one sync for everything that has gathered.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::Durability;
use super::shared::{Shared, Work};
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
        let written = write(store.as_mut(), &work, sync);
        match written {
            Ok(()) => {
                let erase = shared.committed(work);
                for erasure in erase {
                    shared.erased(&erasure, store.erase(&erasure.seqs));
                }
                if let Err(error) = shared.seal_if_due() {
                    return shared.fail(&error);
                }
            }
            Err(error) => return shared.fail(&error),
        }
    }
}

fn write(store: &mut dyn LedgerStore, work: &Work, sync: bool) -> Result<(), LedgerError> {
    if work.run.count != 0 {
        store.append(&Batch::new(work.run.first_seq, &work.run.frames, work.head))?;
    }
    // The mark that says why bodies are gone must not be lost in a power cut that they do not survive either.
    let is_behind = if sync { work.run.count != 0 } else { !work.erase.is_empty() };
    if is_behind { store.sync() } else { Ok(()) }
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
