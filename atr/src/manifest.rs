//! Tools described by files of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_primitives::json::{self, Value};
use agent_primitives::{Digest, ToolId};
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags, openat};
use serde::Deserialize;

use crate::builder::RegistryBuilder;
use crate::contract::{Effect, Provenance};
use crate::error::{RegistryError, one_line};
use crate::executor::program::Pin;
use crate::executor::{Artefact, Command};
use crate::isolation::{Limits, Permissions, SandboxPolicy};
use crate::registry::Registry;

/// Largest manifest.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;
/// Most manifests in one folder.
pub const MAX_MANIFESTS: usize = 10_000;
/// Most entries of any kind in such a folder.
const MAX_ENTRIES: usize = 100_000;
/// Largest file that a digest is taken of.
pub const MAX_ARTEFACT_BYTES: u64 = 64 << 20;

const ARTEFACT_DOMAIN: &str = "agent-os atr artefact v1";
const MANIFEST_DOMAIN: &str = "agent-os atr manifest v1";

/// Why a manifest was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The folder or the file cannot be read, or is a link or no file.
    #[error("it cannot be read: {source}")]
    #[non_exhaustive]
    Unreadable {
        /// What the operating system says.
        source: io::Error,
    },
    /// More than [`MAX_MANIFEST_BYTES`], or an artefact of more than [`MAX_ARTEFACT_BYTES`].
    #[error("it is larger than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More files than one folder may have. Nothing of it is loaded.
    #[error("the folder has more than {limit} files")]
    #[non_exhaustive]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// It is no JSON or TOML, lacks a field or has one that there is not, or names an effect that does not exist.
    #[error("it is no manifest: {reason}")]
    #[non_exhaustive]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// A file that it names has another digest.
    #[error("`{file}` has the digest {observed}, and the manifest says {declared}")]
    #[non_exhaustive]
    ArtefactChanged {
        /// The file, as the manifest names it.
        file: String,
        /// The digest in the manifest.
        declared: Digest,
        /// The digest of the file.
        observed: Digest,
    },
    /// It describes a tool that cannot be registered.
    #[error(transparent)]
    Refused(#[from] RegistryError),
}

impl ManifestError {
    /// Stable code: `AK0570` to `AK0574`, or that of the [`RegistryError`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "AK0570",
            Self::Malformed { .. } => "AK0571",
            Self::TooLarge { .. } => "AK0572",
            Self::TooMany { .. } => "AK0573",
            Self::ArtefactChanged { .. } => "AK0574",
            Self::Refused(error) => error.code(),
        }
    }
}

/// What became of the manifests of a folder.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// The tools that are registered now, in the order of their files' names.
    pub tools: Vec<ToolId>,
    /// The files that were not loaded, and why, in the order of their names.
    pub errors: Vec<(String, ManifestError)>,
}

/// A tool as a file describes it; unknown fields are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    version: String,
    description: String,
    #[serde(default)]
    tags: BTreeSet<String>,
    #[serde(default)]
    capabilities: BTreeSet<String>,
    #[serde(default)]
    effects: BTreeSet<Effect>,
    #[serde(default)]
    idempotent: bool,
    input_schema: Value,
    output_schema: Option<Value>,
    #[serde(default)]
    authority: Vec<String>,
    #[serde(default)]
    content: Vec<String>,
    #[serde(default)]
    output_labels: Vec<String>,
    #[serde(default)]
    field_labels: BTreeMap<String, Vec<String>>,
    isolation: Option<SandboxPolicy>,
    #[serde(default)]
    permissions: Permissions,
    #[serde(default)]
    limits: Bounds,
    command: Option<CommandForm>,
    module: Option<ModuleForm>,
    image: Option<ImageForm>,
}

/// A program of the machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandForm {
    /// An absolute path.
    program: PathBuf,
    digest: Digest,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    current_dir: Option<PathBuf>,
    /// Other files that decide what it does, such as a script, by absolute path.
    #[serde(default)]
    files: BTreeMap<PathBuf, Digest>,
}

/// WebAssembly in a file beside the manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModuleForm {
    file: String,
    digest: Digest,
}

/// An image of the container daemon.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageForm {
    reference: String,
    argv: Vec<String>,
}

/// Limits; what is left out is as in [`Limits::DEFAULT`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    deadline_ms: Option<u64>,
    output_bytes: Option<usize>,
    stderr_bytes: Option<usize>,
    cpu_ms: Option<u64>,
    memory_bytes: Option<u64>,
    open_files: Option<u32>,
    processes: Option<u32>,
    scratch_bytes: Option<u64>,
    fuel: Option<u64>,
}

impl Bounds {
    fn limits(&self) -> Limits {
        let usual = Limits::DEFAULT;
        Limits {
            deadline: self.deadline_ms.map_or(usual.deadline, Duration::from_millis),
            output_bytes: self.output_bytes.unwrap_or(usual.output_bytes),
            stderr_bytes: self.stderr_bytes.unwrap_or(usual.stderr_bytes),
            cpu: self.cpu_ms.map_or(usual.cpu, Duration::from_millis),
            memory_bytes: self.memory_bytes.unwrap_or(usual.memory_bytes),
            open_files: self.open_files.unwrap_or(usual.open_files),
            processes: self.processes.unwrap_or(usual.processes),
            scratch_bytes: self.scratch_bytes.unwrap_or(usual.scratch_bytes),
            fuel: self.fuel.or(usual.fuel),
        }
    }
}

/// A manifest whose files have the digests that it says.
struct Checked {
    manifest: Manifest,
    digest: Digest,
    artefacts: Vec<Artefact>,
    pins: Vec<Pin>,
}

impl Registry {
    /// Registers the tools that the files `*.tool.json` and `*.tool.toml` of a folder describe, as proposed. A file that is
    /// not loaded keeps none of the others from it. Blocks the thread while it reads.
    ///
    /// Manifests and modules are opened in the folder itself, and never by a link. A program's digest is compared when it is
    /// loaded and again before each call; between that and its start it can still be exchanged by whoever may write there,
    /// as it is started by its path. A module is kept in memory, and an image is named by its digest.
    ///
    #[doc = include_str!("docs/manifest.md")]
    ///
    /// # Errors
    /// [`ManifestError::Unreadable`] and [`ManifestError::TooMany`] of the folder; nothing is registered then.
    pub fn load_folder(&self, folder: impl AsRef<Path>) -> Result<Loaded, ManifestError> {
        let unreadable = |source| ManifestError::Unreadable { source };
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(unreadable)?;
        let mut loaded = Loaded::default();
        let mut checked = Vec::new();
        for file in manifests(&dir)? {
            match read_manifest(&dir, &file) {
                Ok(manifest) => checked.push((file, manifest)),
                Err(error) => loaded.errors.push((file, error)),
            }
        }
        for (file, manifest) in checked {
            let mut id = None;
            let registered = self.register(|tools| {
                id = Some(manifest.describe(tools)?);
                Ok(())
            });
            match registered {
                Ok(()) => loaded.tools.extend(id),
                Err(error) => loaded.errors.push((file, error.into())),
            }
        }
        loaded.errors.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(loaded)
    }
}

/// The digest that a manifest says of a file: of all its bytes, in the domain `agent-os atr artefact v1`.
///
/// # Errors
/// [`ManifestError::Unreadable`], [`ManifestError::TooLarge`].
pub fn artefact_digest(path: impl AsRef<Path>) -> Result<Digest, ManifestError> {
    let file = File::open(path).map_err(|source| ManifestError::Unreadable { source })?;
    Ok(Digest::of(ARTEFACT_DOMAIN, &read(file, MAX_ARTEFACT_BYTES)?))
}

/// The names of the manifests of a folder, in ascending order.
fn manifests(dir: &Dir) -> Result<Vec<String>, ManifestError> {
    let unreadable = |source| ManifestError::Unreadable { source };
    let mut names = Vec::new();
    for (count, entry) in dir.entries().map_err(unreadable)?.enumerate() {
        if count == MAX_ENTRIES {
            return Err(ManifestError::TooMany { limit: MAX_ENTRIES });
        }
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tool.json") || name.ends_with(".tool.toml") {
            names.push(name);
        }
        if MAX_MANIFESTS < names.len() {
            return Err(ManifestError::TooMany { limit: MAX_MANIFESTS });
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read_manifest(dir: &Dir, name: &str) -> Result<Checked, ManifestError> {
    let malformed =
        |reason: &dyn std::fmt::Display| ManifestError::Malformed { reason: one_line(reason, 512) };
    let bytes = read(open(dir, name)?, MAX_MANIFEST_BYTES as u64)?;
    let value: Value = if name.ends_with(".json") {
        json::parse(&bytes, &json::Limits::DEFAULT).map_err(|error| malformed(&error))?
    } else {
        let text = std::str::from_utf8(&bytes).map_err(|error| malformed(&error))?;
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            malformed(&format_args!("line {line}: {}", error.message()))
        })?
    };
    json::check(&value, &json::Limits::DEFAULT).map_err(|error| malformed(&error))?;
    let canonical = json::canonical(&value).map_err(|error| malformed(&error))?;
    let manifest = Manifest::deserialize(value).map_err(|error| malformed(&error))?;
    let (artefacts, pins) = manifest.artefacts(dir)?;
    Ok(Checked { manifest, digest: Digest::of(MANIFEST_DOMAIN, &canonical), artefacts, pins })
}

impl Manifest {
    /// Its programs, once their files were found to be what it says.
    fn artefacts(&self, dir: &Dir) -> Result<(Vec<Artefact>, Vec<Pin>), ManifestError> {
        let (mut artefacts, mut pins) = (Vec::new(), Vec::new());
        if let Some(form) = &self.command {
            let mut command = Command::new(&form.program);
            command.args.clone_from(&form.args);
            command.env.clone_from(&form.env);
            if let Some(current_dir) = &form.current_dir {
                command.current_dir.clone_from(current_dir);
            }
            let files = form.files.iter().map(|(path, digest)| (path, *digest));
            for (path, digest) in files.chain([(&form.program, form.digest)]) {
                if !path.is_absolute() {
                    let reason = format!("`{}` is not an absolute path", one_line(path.display(), 128));
                    return Err(ManifestError::Malformed { reason });
                }
                same(&path.display(), digest, artefact_digest(path)?)?;
                pins.push(Pin { path: path.clone(), digest });
            }
            artefacts.push(Artefact::Command(command));
        }
        if let Some(form) = &self.module {
            let bytes = read(open(dir, &form.file)?, MAX_ARTEFACT_BYTES)?;
            same(&form.file, form.digest, Digest::of(ARTEFACT_DOMAIN, &bytes))?;
            artefacts.push(Artefact::Module(Bytes::from(bytes)));
        }
        if let Some(form) = &self.image {
            let (reference, argv) = (form.reference.clone(), form.argv.clone());
            artefacts.push(Artefact::Image { reference, argv });
        }
        Ok((artefacts, pins))
    }
}

impl Checked {
    fn describe(self, tools: &mut RegistryBuilder) -> Result<ToolId, RegistryError> {
        let Self { manifest, digest, artefacts, pins } = self;
        let mut tool = tools
            .tool(&manifest.name)
            .version(&manifest.version)
            .description(&manifest.description)
            .tags(&manifest.tags)
            .capabilities(&manifest.capabilities)
            .effects(manifest.effects)
            .idempotent(manifest.idempotent)
            .authority(&manifest.authority)
            .content(&manifest.content)
            .output_labels(&manifest.output_labels)
            .permissions(manifest.permissions)
            .limits(manifest.limits.limits())
            .provenance(Provenance::Manifest(digest))
            .proposed()
            .pinned(pins);
        for (pattern, labels) in &manifest.field_labels {
            tool = tool.field_labels(pattern, labels);
        }
        if let Some(schema) = manifest.output_schema {
            tool = tool.output_schema(schema);
        }
        if let Some(policy) = manifest.isolation {
            tool = tool.isolation(policy);
        }
        tool.program(manifest.input_schema, artefacts)?;
        manifest.name.parse().map_err(|source| RegistryError::NameInvalid { name: manifest.name, source })
    }
}

fn same(file: &dyn std::fmt::Display, declared: Digest, observed: Digest) -> Result<(), ManifestError> {
    if declared == observed {
        return Ok(());
    }
    Err(ManifestError::ArtefactChanged { file: one_line(file, 128), declared, observed })
}

/// Opens a file that lies in the folder itself: no path, no link, and nothing that is not a file.
fn open(dir: &Dir, name: &str) -> Result<File, ManifestError> {
    let refuse = |reason: &str| ManifestError::Unreadable { source: io::Error::other(reason) };
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(refuse("it is not the name of a file in the folder"));
    }
    // A fifo would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat(dir, name, flags, Mode::empty());
    let file = File::from(opened.map_err(|errno| ManifestError::Unreadable { source: errno.into() })?);
    let kind = file.metadata().map_err(|source| ManifestError::Unreadable { source })?.file_type();
    if kind.is_file() { Ok(file) } else { Err(refuse("it is not a file")) }
}

fn read(file: File, limit: u64) -> Result<Vec<u8>, ManifestError> {
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| ManifestError::Unreadable { source })?;
    if limit < bytes.len() as u64 { Err(ManifestError::TooLarge { limit }) } else { Ok(bytes) }
}
