//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Result, TrainError};

/// Writes a file so that a kill at any moment leaves the old content or the new.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes).map_err(TrainError::io("write", path))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (mut file, temporary) = create_temporary(folder)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The error that led here matters more than one in the cleaning up.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn create_temporary(folder: &Path) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".sardonyx-{}-{number}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            // Left by a killed process that had the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("file");
        write_atomic(&target, b"one").expect("written");
        write_atomic(&target, b"two").expect("replaced");
        assert_eq!(fs::read(&target).expect("there"), b"two");
        let directory = folder.path().join("directory");
        fs::create_dir(&directory).expect("created");
        assert!(
            write_atomic(&directory, b"x").is_err(),
            "a directory is not replaced"
        );
        assert!(write_atomic(&folder.path().join("no/such"), b"x").is_err());
        let names = fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(names, 2, "no temporary file stays");
    }
}
