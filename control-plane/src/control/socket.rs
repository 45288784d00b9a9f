//! The socket's place in the file system.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::ControlError;

/// A listening socket, and what keeps its place.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    /// Taken once it is served.
    listener: Option<UnixListener>,
    /// Device and number of the file, so that only this one is ever removed.
    identity: (u64, u64),
    /// Held for as long as the kernel serves the socket.
    _lock: File,
}

impl Socket {
    pub(super) fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Io { path: path.to_owned(), source };
        let lock = lock(path)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(there) if !there.file_type().is_socket() => {
                return Err(ControlError::NotASocket { path: path.to_owned() });
            }
            // Whoever holds no lock but answers is no kernel of ours, and is alive all the same.
            Ok(_socket) if UnixStream::connect(path).is_ok() => {
                return Err(ControlError::InUse { path: path.to_owned() });
            }
            Ok(_stale) => {}
        }
        let (listener, identity) = bind_closed(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener: Some(listener), identity, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn take_listener(&mut self) -> io::Result<UnixListener> {
        let taken = self.listener.take();
        taken.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the socket is served already"))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let own = fs::symlink_metadata(&self.path).is_ok_and(|there| identity(&there) == self.identity);
        if own {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Says that a kernel is alive behind this path. The system takes the lock away when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, ControlError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |source| ControlError::Io { path: path.to_owned(), source };
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(ControlError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Binds in a folder that nobody else can enter, narrows the socket's mode there, and moves it to its place: it is never
/// there with another mode.
fn bind_closed(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fresh_folder(parent)?;
    let made = folder.join("s");
    let bound = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let identity = identity(&fs::symlink_metadata(&made)?);
        fs::rename(&made, path)?;
        Ok((listener, identity))
    });
    if bound.is_err() {
        let _never_made = fs::remove_file(&made);
    }
    fs::remove_dir(&folder)?;
    bound
}

fn fresh_folder(parent: &Path) -> io::Result<PathBuf> {
    /// Folders that a process which was killed here may have left behind.
    const ATTEMPTS: u32 = 64;
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for attempt in 0..ATTEMPTS {
        let folder = parent.join(format!(".aos{:x}.{attempt:x}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}
