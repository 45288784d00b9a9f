//! Reads a set from disk.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::super::Policy;
use super::super::error::{Code, Mark, PolicyErrors, Report, quoted};
use super::super::source::Format;
use super::{MAX_LAYERS, PolicySet, PolicySetBuilder};

impl PolicySet {
    /// Reads a set. A file is the organisation's policy. A folder holds one file `organisation` and, in `tenants` and
    /// `agents`, a file for each layer, whose name before `.yaml`, `.yml`, `.json` or `.toml` is a name or a pattern:
    ///
    /// ```text
    /// policies/organisation.yaml
    /// policies/tenants/acme.json
    /// policies/agents/reviewer-*.yaml
    /// ```
    ///
    /// Whatever else lies there is an error, names that start with a dot excepted. Blocks the thread.
    ///
    /// # Errors
    /// As [`Policy::load`], of all files together; `AK0136` for a file that is no layer.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PolicyErrors> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Policy::load(path).map(Self::from);
        }
        let mut found = Found::default();
        found.folder(path);
        let organisation = found.organisation.take().unwrap_or_else(|| path.join("organisation.yaml"));
        let organisation = Policy::load(organisation);
        let failed = |policy: &Result<Policy, PolicyErrors>| policy.as_ref().err().cloned();
        let layers: Vec<_> =
            found.layers.iter().map(|(scope, name, file)| (*scope, name, Policy::load(file))).collect();
        let errors = layers.iter().filter_map(|(_, _, policy)| failed(policy)).map(Err);
        PolicyErrors::all(
            failed(&organisation).map(Err).into_iter().chain(errors).chain(found.errors.into_iter().map(Err)),
        )?;
        let mut set = Self::builder(organisation?);
        for (add, name, policy) in layers {
            set = add(set, name, policy?);
        }
        set.build()
    }
}

/// Adds a layer to a set.
type Add = fn(PolicySetBuilder, &str, Policy) -> PolicySetBuilder;

#[derive(Default)]
struct Found {
    organisation: Option<PathBuf>,
    layers: Vec<(Add, String, PathBuf)>,
    errors: Vec<PolicyErrors>,
}

/// What a file of that name is for: the name without what says what it is written in.
fn layer_of(file: &str) -> Option<&str> {
    Format::of(Path::new(file))?;
    file.rsplit_once('.').map(|(name, _)| name)
}

impl Found {
    fn folder(&mut self, path: &Path) {
        for entry in self.entries(path) {
            let (path, name) = (entry.path(), entry.file_name());
            match name.to_str() {
                Some(name) if layer_of(name) == Some("organisation") => {
                    if self.organisation.is_some() {
                        self.stranger(&path, "there is an organisation's policy already");
                    }
                    self.organisation = Some(path);
                }
                Some("tenants") if path.is_dir() => self.layers(&path, PolicySetBuilder::tenants),
                Some("agents") if path.is_dir() => self.layers(&path, PolicySetBuilder::agents),
                _ => self.stranger(
                    &path,
                    "a folder of policies holds a file `organisation`, as in `organisation.yaml`, `tenants` and `agents`",
                ),
            }
        }
    }

    fn layers(&mut self, path: &Path, add: Add) {
        let mut taken = BTreeSet::new();
        for entry in self.entries(path) {
            let path = entry.path();
            let name = entry.file_name().to_str().and_then(layer_of).map(str::to_owned);
            match name {
                Some(name) if !taken.insert(name.clone()) => {
                    self.stranger(&path, "another file is the layer of that name already");
                }
                Some(name) => self.layers.push((add, name, path)),
                None => {
                    self.stranger(&path, "the name of a layer's file ends in .yaml, .yml, .json or .toml");
                }
            }
        }
    }

    /// What lies in a folder, by name, so that every reading of it gives the same set.
    fn entries(&mut self, path: &Path) -> Vec<DirEntry> {
        let listed = std::fs::read_dir(path)
            .and_then(|entries| entries.take(MAX_LAYERS + 1).collect::<std::io::Result<Vec<_>>>());
        let mut entries = match listed {
            Ok(entries) if entries.len() <= MAX_LAYERS => entries,
            Ok(_) => {
                self.error(path, Code::Limit, format!("more than {MAX_LAYERS} files"), None);
                Vec::new()
            }
            Err(error) => {
                self.error(path, Code::Unreadable, format!("cannot list the folder: {error}"), None);
                Vec::new()
            }
        };
        entries.retain(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        entries.sort_by_key(DirEntry::file_name);
        entries
    }

    fn stranger(&mut self, path: &Path, help: &str) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.error(path, Code::Layer, format!("{} is no layer", quoted(&name)), Some(help));
    }

    fn error(&mut self, path: &Path, code: Code, message: String, help: Option<&str>) {
        let mut report = Report::new(&path.display().to_string().into());
        match help {
            Some(help) => report.add_help(code, Mark::NOWHERE, message, help),
            None => report.add(code, Mark::NOWHERE, message),
        }
        self.errors.extend(report.finish::<()>(None).err());
    }
}
