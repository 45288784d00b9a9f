//! Random operations on a backend and on the simplest thing that could be one.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;

use agent_control_plane::vfs::{
    Directory, Memory, MemoryBackend, Page, Quota, RelPath, Usage, Version, VfsError, Write, WriteMode,
};
use agent_primitives::LabelSet;
use bytes::Bytes;
use proptest::prelude::*;

const QUOTA: Quota = Quota { bytes: 24, files: 4 };

#[derive(Clone, Debug)]
enum Step {
    Write { path: String, mode: WriteMode, data: Vec<u8>, labels: LabelSet, expected: Expected },
    Remove { path: String, expected: Expected },
    Read { path: String, offset: u64, length: usize },
    List { path: String, after: Option<String>, limit: usize },
}

/// Which version a step expects.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Any,
    Current,
    Stale,
}

/// Files by path.
#[derive(Default)]
struct Model(BTreeMap<String, File>);

/// A whole file, with the version the backend gave it.
struct File {
    data: Vec<u8>,
    labels: LabelSet,
    version: Version,
}

fn union(one: &LabelSet, other: &LabelSet) -> LabelSet {
    LabelSet::new(one.iter().chain(other).cloned()).unwrap()
}

impl Model {
    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.0.keys().any(|file| file.starts_with(&format!("{path}/")))
    }

    /// What is at `path`: a file, or why there is none.
    fn file(&self, path: &str) -> Result<&File, VfsError> {
        if self.is_directory(path) {
            return Err(VfsError::IsDirectory);
        }
        let under_a_file = self.0.keys().any(|file| path.starts_with(&format!("{file}/")));
        self.0.get(path).ok_or(if under_a_file { VfsError::NotDirectory } else { VfsError::NotFound })
    }

    fn usage(&self) -> Usage {
        Usage { bytes: self.0.values().map(|file| file.data.len() as u64).sum(), files: self.0.len() as u64 }
    }

    fn write(&self, path: &str, write: &Write) -> Result<(Vec<u8>, LabelSet), VfsError> {
        let old = match self.file(path) {
            Err(VfsError::NotFound) => None,
            file => Some(file?),
        };
        if old.is_some() && write.mode == WriteMode::CreateNew {
            return Err(VfsError::Exists);
        }
        if write.expected.is_some() && write.expected != old.map(|file| file.version) {
            return Err(VfsError::Conflict);
        }
        let (mut data, labels) = match (write.mode, old) {
            (WriteMode::Append, Some(file)) => (file.data.clone(), union(&file.labels, &write.labels)),
            _ => (Vec::new(), write.labels.clone()),
        };
        data.extend_from_slice(&write.data);
        let mut after = Usage { files: self.usage().files + u64::from(old.is_none()), ..self.usage() };
        after.bytes = after.bytes + data.len() as u64 - old.map_or(0, |file| file.data.len() as u64);
        let full = QUOTA.bytes < after.bytes || QUOTA.files < after.files;
        if full { Err(VfsError::Quota) } else { Ok((data, labels)) }
    }

    fn names(&self, path: &str) -> Result<Vec<String>, VfsError> {
        match self.file(path) {
            Ok(_) => return Err(VfsError::NotDirectory),
            Err(VfsError::IsDirectory) => {}
            Err(error) => return Err(error),
        }
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.0.keys().filter_map(|file| file.strip_prefix(&prefix));
        let mut names: Vec<String> = below.map(|rest| rest.split('/').next().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

fn paths() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "a-", "c.txt"]);
    prop::collection::vec(segment, 0..4).prop_map(|segments| segments.join("/"))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop::sample::select(vec![WriteMode::Replace, WriteMode::Append, WriteMode::CreateNew]);
    let expected =
        prop::sample::select(vec![Expected::Any, Expected::Any, Expected::Current, Expected::Stale]);
    let data = prop::collection::vec(any::<u8>(), 0..10);
    let after = prop::option::of(prop::sample::select(vec!["a", "a-", "b", "zz"]).prop_map(str::to_owned));
    let labels = prop::collection::vec(prop::sample::select(vec!["untrusted", "pii", "tool:a"]), 0..3)
        .prop_map(|labels| LabelSet::new(labels.into_iter().map(|label| label.parse().unwrap())).unwrap());
    let step = prop_oneof![
        4 => (paths(), mode, data, labels, expected.clone())
            .prop_map(|(path, mode, data, labels, expected)| Step::Write { path, mode, data, labels, expected }),
        2 => (paths(), expected).prop_map(|(path, expected)| Step::Remove { path, expected }),
        2 => (paths(), 0..12_u64, 0..12_usize).prop_map(|(path, offset, length)| Step::Read { path, offset, length }),
        1 => (paths(), after, 1..4_usize).prop_map(|(path, after, limit)| Step::List { path, after, limit }),
    ];
    prop::collection::vec(step, 1..60)
}

/// Takes every step on both and compares the answers, and at the end all there is.
async fn agrees(store: &dyn MemoryBackend, steps: Vec<Step>) -> Result<Usage, TestCaseError> {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Write { path, mode, data, labels, expected } => {
                let write = Write::new(mode, Bytes::from(data), labels, QUOTA)
                    .expecting(version(&model, &path, expected));
                let answer = store.write(RelPath::parse(&path).unwrap(), write.clone()).await;
                let foreseen = model.write(&path, &write);
                prop_assert_eq!(
                    answer.clone().map(|written| (written.size, written.labels)),
                    foreseen.clone().map(|(data, labels)| (data.len() as u64, labels))
                );
                if let (Ok(written), Ok((data, labels))) = (answer, foreseen) {
                    model.0.insert(path, File { data, labels, version: written.version });
                }
            }
            Step::Remove { path, expected } => {
                let expected = version(&model, &path, expected);
                let foreseen = model.file(&path).and_then(|file| {
                    if expected.is_none_or(|expected| expected == file.version) {
                        Ok(())
                    } else {
                        Err(VfsError::Conflict)
                    }
                });
                prop_assert_eq!(store.remove(RelPath::parse(&path).unwrap(), expected).await, foreseen);
                if foreseen.is_ok() {
                    model.0.remove(&path);
                }
            }
            Step::Read { path, offset, length } => {
                let answer = store.read(RelPath::parse(&path).unwrap(), offset, length).await;
                let part = |data: &[u8]| {
                    data.iter().skip(offset as usize).take(length).copied().collect::<Vec<u8>>()
                };
                let foreseen =
                    model.file(&path).map(|file| (part(&file.data), file.version, file.labels.clone()));
                let answer = answer.map(|content| (content.bytes.to_vec(), content.version, content.labels));
                prop_assert_eq!(answer, foreseen);
            }
            Step::List { path, after, limit } => {
                let page = Page::new(after.as_deref(), limit);
                let answer = store.list(RelPath::parse(&path).unwrap(), page).await;
                let names =
                    answer.map(|page| page.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>());
                let foreseen = model.names(&path).map(|names| {
                    let rest =
                        names.into_iter().filter(|name| after.as_ref().is_none_or(|after| after < name));
                    rest.take(limit).collect::<Vec<_>>()
                });
                prop_assert_eq!(names, foreseen);
            }
        }
    }
    for (path, file) in &model.0 {
        let content = store.read(RelPath::parse(path).unwrap(), 0, 100).await.unwrap();
        prop_assert_eq!((content.bytes.as_ref(), content.version), (file.data.as_slice(), file.version));
        prop_assert_eq!(&content.labels, &file.labels);
        let stat = store.stat(RelPath::parse(path).unwrap()).await.unwrap();
        prop_assert_eq!((stat.size, &stat.labels), (file.data.len() as u64, &file.labels));
    }
    Ok(model.usage())
}

fn version(model: &Model, path: &str, expected: Expected) -> Option<Version> {
    match expected {
        Expected::Any => None,
        Expected::Current => model.0.get(path).map(|file| file.version),
        Expected::Stale => Some(Version::from_u128(u128::MAX)),
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn memory_does_what_the_model_does(steps in steps()) {
        let store = Memory::new();
        let usage = run(agrees(&store, steps))?;
        prop_assert_eq!(store.usage(), usage);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn directory_does_what_the_model_does_and_counts_it_again_when_reopened(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::open(folder.path()).unwrap();
        let usage = run(agrees(&store, steps))?;
        prop_assert_eq!(store.usage(), usage);
        drop(store);
        prop_assert_eq!(Directory::open(folder.path()).unwrap().usage(), usage);
    }
}
