//! Documents that are found by what they say.

mod index;
mod marks;

use std::fmt;
use std::sync::Arc;

use agent_primitives::search::tokenise;
use agent_primitives::truncate::within;

use super::{
    Answer, Content, Hit, Kind, Listing, MemoryBackend, Page, RelPath, Search, Stat, Version, VfsError,
    Write, Written,
};
use index::Index;
use marks::{Due, Marks};

pub use index::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS};

/// Most bytes of text of one hit.
const MAX_EXCERPT: usize = 2048;
/// Entries asked of the store at a time when all of it is read.
const PAGE: usize = 1024;

/// A store with search: what lies in another store is found by its words, scored by BM25.
///
/// Every operation but the search is the other store's own, so files keep what they have there: versions, labels, ends.
/// A hit is read from the store before it is answered: its text, its version and its labels are those of the file as it
/// is, and what is gone is not found. Of a document longer than 2 KiB, a hit has the paragraph that holds most of
/// the words.
///
/// The index is in memory. The first search reads the whole store, and each later one what was written since; writing
/// costs nothing for it. Only what is written through this value is noticed, so it has to be the only way to the store.
/// Files that are no UTF-8, longer than [`MAX_DOCUMENT_BYTES`], or beyond the first [`MAX_DOCUMENTS`] are kept and never
/// found.
///
/// Dropping a future is as safe as the other store makes it.
pub struct Semantic {
    store: Arc<dyn MemoryBackend>,
    marks: Marks,
    index: tokio::sync::Mutex<Index>,
}

impl Semantic {
    /// Search over what `store` holds, and will hold.
    #[must_use]
    pub fn new(store: Arc<dyn MemoryBackend>) -> Self {
        Self { store, marks: Marks::default(), index: tokio::sync::Mutex::default() }
    }

    async fn find(&self, path: RelPath<'_>, query: Search<'_>) -> Result<Vec<Hit>, VfsError> {
        if self.store.stat(path).await?.kind == Kind::File {
            return Err(VfsError::NotDirectory);
        }
        let words = tokenise(query.text);
        let mut index = self.index.lock().await;
        self.bring_up_to_date(&mut index).await?;
        let mut hits = Vec::new();
        for (found, score) in index.search(&words, path) {
            if hits.len() == query.limit {
                break;
            }
            let Some((content, text)) = self.document(RelPath::parse(&found)?).await? else { continue };
            // Changed since the index was brought up to date; the next search knows it.
            if index.version(&found) != Some(content.version) {
                continue;
            }
            let below = found.get(path.as_str().len()..).unwrap_or_default().trim_start_matches('/');
            let text = excerpt(&text, &words).into_owned();
            hits.push(Hit::new(below.to_owned(), score, text, content.labels));
        }
        Ok(hits)
    }

    async fn bring_up_to_date(&self, index: &mut Index) -> Result<(), VfsError> {
        if index.is_worn() {
            self.marks.mark_all();
        }
        while let Some(due) = self.marks.take() {
            match due.due() {
                Due::All => {
                    *index = Index::default();
                    self.read_all(index).await?;
                }
                Due::File(path) => self.read_one(index, path).await?,
            }
            due.done();
        }
        Ok(())
    }

    async fn read_all(&self, index: &mut Index) -> Result<(), VfsError> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let mut after: Option<String> = None;
            loop {
                let page = self.store.list(RelPath::parse(&folder)?, Page::new(after.as_deref(), PAGE)).await;
                let page = match page {
                    // Gone meanwhile.
                    Err(VfsError::NotFound | VfsError::NotDirectory) => break,
                    page => page?,
                };
                for entry in page.entries {
                    let path =
                        if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
                    match entry.stat.kind {
                        Kind::Directory => folders.push(path),
                        Kind::File => self.read_one(index, &path).await?,
                    }
                }
                match page.next {
                    Some(next) if after.as_ref().is_none_or(|after| *after < next) => after = Some(next),
                    Some(_) => return Err(VfsError::Backend),
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn read_one(&self, index: &mut Index, path: &str) -> Result<(), VfsError> {
        match self.document(RelPath::parse(path)?).await? {
            Some((content, text)) => index.put(path, content.version, &tokenise(&text)),
            None => index.forget(path),
        }
        Ok(())
    }

    /// The file at `path` with its text, if it is one that can be found.
    async fn document(&self, path: RelPath<'_>) -> Result<Option<(Content, String)>, VfsError> {
        match self.store.read(path, 0, MAX_DOCUMENT_BYTES + 1).await {
            Ok(content) if content.bytes.len() <= MAX_DOCUMENT_BYTES => {
                let text = std::str::from_utf8(&content.bytes).ok().map(str::to_owned);
                Ok(text.map(|text| (content, text)))
            }
            Ok(_) | Err(VfsError::NotFound | VfsError::IsDirectory | VfsError::NotDirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// `text`, or the paragraph of it that holds most of the words, the first of several.
fn excerpt<'t>(text: &'t str, words: &[String]) -> std::borrow::Cow<'t, str> {
    if text.len() <= MAX_EXCERPT {
        return text.into();
    }
    let mut best = (0, text);
    for paragraph in text.split("\n\n") {
        let tokens = tokenise(paragraph);
        let held = words.iter().filter(|word| tokens.contains(word)).count();
        if best.0 < held {
            best = (held, paragraph);
        }
    }
    within(best.1.trim(), MAX_EXCERPT)
}

impl MemoryBackend for Semantic {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        self.store.read(path, offset, length)
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(async move {
            // However the write ends, and if it is dropped, what is there afterwards is looked at.
            let _changing = self.marks.changing(path);
            self.store.write(path, write).await
        })
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move {
            let _changing = self.marks.changing(path);
            self.store.remove(path, expected).await
        })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        self.store.list(path, page)
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        self.store.stat(path)
    }

    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        Box::pin(self.find(path, query))
    }
}

impl fmt::Debug for Semantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semantic").field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_document_is_shown_by_its_best_paragraph() {
        let filler = "nothing of note here. ".repeat(100);
        let text = format!("{filler}\n\na whale\n\nthe blue whale sings\n\n{filler}");
        let words = tokenise("blue whale");
        assert_eq!(excerpt(&text, &words), "the blue whale sings");
        assert_eq!(excerpt("short", &words), "short");
        assert!(excerpt(&filler, &words).len() <= MAX_EXCERPT);
    }
}
