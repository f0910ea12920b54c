//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{OnnxError, Result};
use crate::load::split;

/// Writes a file so that a kill at any moment leaves the old content or the new.
///
/// # Errors
/// When the system refuses; the old file is then untouched and nothing new is left.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)
        .map_err(|error| OnnxError::io("write", path, error))?;
    file.commit()
}

/// A file that is written under a temporary name in the folder of its target and takes the
/// target's place on [`AtomicFile::commit`]. Dropped before that, it is gone without a trace.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Opens a new temporary file for `target`.
    ///
    /// # Errors
    /// When the folder does not take a new file, or `target` is a directory.
    pub fn create(target: &Path) -> Result<AtomicFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (folder, _) = split(target)?;
        if target.is_dir() {
            return Err(OnnxError::NotAFile {
                path: target.to_owned(),
                found: "a directory",
            });
        }
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".sardonyx-{}-{number}.tmp", std::process::id());
            let temporary = folder.join(name);
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary)
            {
                Ok(file) => {
                    return Ok(AtomicFile {
                        file,
                        temporary,
                        target: target.to_owned(),
                        committed: false,
                    });
                }
                // Left by a killed process that had the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(OnnxError::io("create", target, error)),
            }
        }
    }

    /// Puts the file in its place, durably.
    ///
    /// # Errors
    /// When the system refuses; the old file is then untouched.
    pub fn commit(mut self) -> Result<()> {
        let (folder, _) = split(&self.target)?;
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.temporary, &self.target))
            .map_err(|error| OnnxError::io("write", &self.target, error))?;
        self.committed = true;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| OnnxError::io("sync", folder, error))
    }

    /// Chooses another target in the same folder, for a name that depends on the content.
    pub(crate) fn retarget(&mut self, target: PathBuf) {
        debug_assert_eq!(
            target.parent(),
            self.target.parent(),
            "a rename within one folder"
        );
        self.target = target;
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing can be done about a failure here, and the error that led here matters more.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
