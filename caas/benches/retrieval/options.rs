//! What the bench was asked to do.

use std::path::{Path, PathBuf};

pub(crate) const HELP: &str = "\
cargo bench -p caas-core --bench retrieval [--features candle,code] -- DIR [--programs] [--model FOLDER]

DIR   a set (corpus.jsonl, queries.jsonl, qrels.jsonl and, of programs, documents.jsonl), or a folder of sets;
      with `--programs` a folder of programs, whose comments are the questions
FOLDER   a sentence embedder, as `.ci/model` makes one; `AGENT_OS_MODEL` where it is not given. Without one, search by meaning is not measured";

#[derive(Debug)]
pub(crate) struct Options {
    folder: PathBuf,
    /// Whether it holds programs, and no set.
    pub(crate) programs: bool,
    model: Option<PathBuf>,
}

impl Options {
    /// `None` where there is nothing to do.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let (mut folder, mut programs, mut model) = (None, false, None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // What cargo adds by itself.
                "--bench" | "--test" => {}
                "--model" => {
                    let named =
                        arguments.next().ok_or_else(|| anyhow::anyhow!("`--model` of what?\n{HELP}"))?;
                    model = Some(PathBuf::from(named));
                }
                "--programs" => programs = true,
                "--help" => return Ok(None),
                option if option.starts_with('-') => anyhow::bail!("unknown option `{option}`\n{HELP}"),
                _ if folder.is_some() => anyhow::bail!("one folder only\n{HELP}"),
                _ => folder = Some(PathBuf::from(argument)),
            }
        }
        Ok(folder.map(|folder| Self { folder, programs, model }))
    }

    /// The folder of the sentence embedder, with its `tokenizer.json`.
    #[cfg(feature = "tokenizers")]
    pub(crate) fn model(&self) -> Option<PathBuf> {
        self.model.clone().or_else(|| std::env::var_os("AGENT_OS_MODEL").map(PathBuf::from))
    }

    #[cfg(not(feature = "tokenizers"))]
    pub(crate) fn asks_for_model(&self) -> bool {
        self.model.is_some()
    }

    /// The folder itself where it is a set, or else those in it that are, by name.
    pub(crate) fn sets(&self) -> anyhow::Result<Vec<PathBuf>> {
        if self.programs || is_set(&self.folder) {
            return Ok(vec![self.folder.clone()]);
        }
        let entries = std::fs::read_dir(&self.folder)
            .map_err(|error| anyhow::anyhow!("`{}`: {error}", self.folder.display()))?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut sets: Vec<PathBuf> = paths?.into_iter().filter(|path| is_set(path)).collect();
        sets.sort();
        anyhow::ensure!(!sets.is_empty(), "`{}` has no sets", self.folder.display());
        Ok(sets)
    }
}

fn is_set(folder: &Path) -> bool {
    folder.join("qrels.jsonl").is_file()
}
