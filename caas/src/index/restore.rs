//! An index that is filled from what was kept of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Index, IndexError};
use crate::ingest::Known;
use crate::model::ChunkId;
use crate::shelf::{Kept, Making, Shelf, ShelfError};
use crate::vector::{DocumentVectors, VectorError};

/// Documents that are taken from a shelf at a time.
const PAGE: usize = 64;

impl Index {
    /// With a shelf that keeps what it takes in, filled with what is there: nothing is read, cut or embedded again. `shelf` is the
    /// index's own. It comes last, after the vectors.
    ///
    /// From then on a change is on the shelf when it has returned, or has not happened. Each one blocks its thread, and the
    /// searches that come meanwhile, for as long as the shelf takes; put many documents in one. Whatever the shelf does, searches
    /// are answered from memory.
    ///
    /// # Errors
    /// `Shelf` where it cannot be read, or its documents were cut by other settings or have vectors where this index has none;
    /// `Vector` with `EmbedderMismatch` where its vectors are of another model; `BadOptions` where the index is not empty.
    pub async fn with_shelf(mut self, shelf: Arc<dyn Shelf>) -> Result<Self, IndexError> {
        if self.shelf.is_some() || 0 < self.catalogue.get_mut().documents() {
            return Err(IndexError::BadOptions("its one shelf before its first document"));
        }
        let model = self.dense.as_ref().map(|dense| &dense.embedder);
        let making = Making {
            chunker: self.chunker.settings(),
            model: model.map(|model| (model.model().to_owned(), model.dimensions())),
        };
        agree(shelf.bind(&making)?, making)?;
        let mut last = None;
        loop {
            let page = shelf.page(last.as_ref(), PAGE)?;
            let Some(end) = page.last() else { break };
            last = Some(end.id.clone());
            self.restore(page).await?;
        }
        self.shelf = Some(shelf);
        Ok(self)
    }

    /// Writes the shelf anew, so that nothing is left in it of documents that were forgotten or replaced. Nothing where there is no
    /// shelf. Blocks its thread for as long as writing all documents takes; changes wait, searches do not.
    ///
    /// # Errors
    /// `Shelf`; what is kept is kept.
    pub async fn compact(&self) -> Result<(), IndexError> {
        let _changing = self.changing.lock().await;
        Ok(self.shelf.as_ref().map_or(Ok(()), |shelf| shelf.compact())?)
    }

    /// What the shelf knows of the files of a folder whose documents are here.
    pub(crate) async fn known(&self, folder: &str) -> Result<Known, IndexError> {
        let shelf =
            self.shelf.as_ref().ok_or(IndexError::BadOptions("a shelf to keep what is known of a folder"))?;
        let mut known = shelf.stamps(folder)?;
        let catalogue = self.catalogue.read().await;
        known.retain(|document, _| catalogue.get(document).is_some());
        Ok(known)
    }

    /// Nobody else has the index yet, so nothing is seen half done.
    async fn restore(&mut self, page: Vec<Kept>) -> Result<(), IndexError> {
        self.replace_words(page.iter().map(|kept| (&kept.id, &kept.held)))?;
        for Kept { id, held, vectors } in page {
            if let Some(dense) = &self.dense {
                let chunks: BTreeSet<ChunkId> = held.chunks.iter().map(|chunk| chunk.id).collect();
                if vectors.len() != chunks.len() || !vectors.iter().all(|(chunk, _)| chunks.contains(chunk)) {
                    return Err(ShelfError::Damaged(format!(
                        "document `{id}` has other vectors than chunks"
                    ))
                    .into());
                }
                dense.vectors.replace(&id, DocumentVectors { kept: Vec::new(), new: vectors }).await?;
            }
            self.catalogue.get_mut().insert(id, held);
        }
        Ok(())
    }
}

/// Whether documents that were made in one way can stand beside those that are made in another.
fn agree(held: Making, asked: Making) -> Result<(), IndexError> {
    let mismatch = |what, held, asked| Err(ShelfError::Mismatch { what, held, asked }.into());
    if held.chunker != asked.chunker {
        return mismatch("chunker", held.chunker, asked.chunker);
    }
    match (held.model, asked.model) {
        (held, asked) if held == asked => Ok(()),
        (Some((held, held_dimensions)), Some((asked, dimensions))) => {
            Err(VectorError::EmbedderMismatch { held, held_dimensions, asked, dimensions }.into())
        }
        (held, asked) => {
            let name =
                |model: Option<(String, usize)>| model.map_or_else(|| "none".to_owned(), |(name, _)| name);
            mismatch("embedder", name(held), name(asked))
        }
    }
}
