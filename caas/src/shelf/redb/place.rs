//! The file of a shelf: made whole or not at all, and known again.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::shelf::ShelfError;

/// A file, by its name and by what is under it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from another one of the same name.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Where an open file cannot be deleted nor replaced, its name is enough.
#[cfg(not(unix))]
const fn identity(_: &Metadata) -> Identity {
    (0, 0)
}

impl Place {
    /// Opens the file at `path`, which `make` fills first if there is none.
    pub(super) fn open(
        path: &Path,
        make: impl FnOnce(File) -> Result<(), ShelfError>,
    ) -> Result<(Self, File), ShelfError> {
        if !path.try_exists().map_err(ShelfError::Io)? {
            create(path, make)?;
        }
        let path = fs::canonicalize(path).map_err(ShelfError::Io)?;
        // A pipe would wait for somebody at its other end.
        if !fs::metadata(&path).map_err(ShelfError::Io)?.is_file() {
            return Err(ShelfError::Damaged("it is no plain file".to_owned()));
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(ShelfError::Io)?;
        let metadata = file.metadata().map_err(ShelfError::Io)?;
        if metadata.len() == 0 {
            // The engine would make a new database of it.
            return Err(ShelfError::Damaged("the file is empty".to_owned()));
        }
        Ok((Self { path, identity: identity(&metadata) }, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is open is still what the name stands for.
    pub(super) fn check(&self) -> Result<(), ShelfError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if identity(&metadata) == self.identity => Ok(()),
            Ok(_) => Err(ShelfError::Gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ShelfError::Gone),
            Err(error) => Err(ShelfError::Io(error)),
        }
    }

    /// An empty file beside this one, with its rights. One that is left of an earlier time is deleted.
    pub(super) fn beside(&self) -> Result<(PathBuf, File), ShelfError> {
        self.tidy()?;
        let path = self.unfinished();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        private(&mut options);
        let file = options.open(&path).map_err(ShelfError::Io)?;
        let rights =
            fs::metadata(&self.path).and_then(|metadata| file.set_permissions(metadata.permissions()));
        rights.map_err(ShelfError::Io)?;
        Ok((path, file))
    }

    /// Puts a file that [`Place::beside`] made in the place of this one.
    pub(super) fn replace(&self, new: &Path) -> Result<Self, ShelfError> {
        let metadata = fs::metadata(new).map_err(ShelfError::Io)?;
        fs::rename(new, &self.path).map_err(ShelfError::Io)?;
        Ok(Self { path: self.path.clone(), identity: identity(&metadata) })
    }

    /// Deletes what a process that ended in its middle has left beside the file.
    pub(super) fn tidy(&self) -> Result<(), ShelfError> {
        match fs::remove_file(self.unfinished()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ShelfError::Io(error)),
            _ => Ok(()),
        }
    }

    /// Has the disk know of the file's name.
    pub(super) fn sync(&self) -> Result<(), ShelfError> {
        sync_folder(&self.path)
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(".compact");
        name.into()
    }
}

/// Makes the file under another name first, so that under its own it is whole. Of two that make it at once, one does.
fn create(path: &Path, make: impl FnOnce(File) -> Result<(), ShelfError>) -> Result<(), ShelfError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".shelf-").tempfile_in(folder).map_err(ShelfError::Io)?;
    make(file.as_file().try_clone().map_err(ShelfError::Io)?)?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_folder(path),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(ShelfError::Io(error.error)),
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> Result<(), ShelfError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ShelfError::Io)
}

/// Folders cannot be opened there, and names are on the disk with their files.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<(), ShelfError> {
    Ok(())
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}
