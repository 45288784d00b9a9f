//! Tantivy by itself: one field for the title and one for the text, its own tokenizer, query parser and BM25.

use std::path::{Path, PathBuf};

use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{Field, STRING, Schema, TEXT};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument};

use crate::texts::Document;
use crate::{Asked, Engine, HITS};

pub(crate) struct Peer {
    folder: PathBuf,
    name: Field,
    title: Field,
    text: Field,
    writer: IndexWriter<TantivyDocument>,
    reader: IndexReader,
    parser: QueryParser,
}

impl Peer {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let mut schema = Schema::builder();
        let name = schema.add_text_field("name", STRING);
        let [title, text] = ["title", "text"].map(|field| schema.add_text_field(field, TEXT));
        let index = Index::create_in_dir(folder, schema.build())?;
        Ok(Self {
            folder: folder.to_owned(),
            name,
            title,
            text,
            writer: index.writer_with_num_threads(1, 50_000_000)?,
            reader: index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?,
            parser: QueryParser::for_index(&index, vec![title, text]),
        })
    }
}

impl Engine for Peer {
    fn name(&self) -> String {
        "tantivy by itself".to_owned()
    }

    fn put(&mut self, documents: &[Document]) -> anyhow::Result<()> {
        for document in documents {
            for chunk in &document.chunks {
                let mut row = TantivyDocument::new();
                row.add_text(self.name, document.number.to_string());
                row.add_text(self.title, &document.title);
                row.add_text(self.text, chunk);
                self.writer.add_document(row)?;
            }
        }
        self.writer.commit()?;
        Ok(self.reader.reload()?)
    }

    fn ask(&self, question: &str) -> anyhow::Result<usize> {
        let query = self.parser.parse_query(question)?;
        Ok(self.reader.searcher().search(&query, &TopDocs::with_limit(HITS).order_by_score())?.len())
    }

    fn bytes(&self) -> anyhow::Result<(usize, &'static str)> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.folder)? {
            bytes += entry?.metadata()?.len();
        }
        Ok((usize::try_from(bytes)?, "disk"))
    }
}

impl Asked for Peer {}
