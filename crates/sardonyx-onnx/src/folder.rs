//! Files of one folder, opened in a way that cannot leave it.
//!
//! The folder is opened once and every file is looked up from that handle, so that neither `..` nor
//! links, nor someone who moves things between a check and the opening, leads elsewhere. The kernel
//! enforces this (`openat2`) where it can; otherwise each component is opened without following
//! links.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use prost::bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use sardonyx_tensor::spread;

use crate::error::{ExternalError, OnnxError, Result, shortened};

/// Opening a pipe must not wait for its other end, nor a terminal become ours.
const FILE_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::DIRECTORY);

/// Bytes from which on a file gets memory of large pages.
const LARGE_BYTES: usize = 4 << 20;

/// Bytes that a thread reads at a time.
const PIECE_BYTES: usize = 2 << 20;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    /// Size when it was opened.
    pub(crate) size: u64,
    /// Number of hard links.
    pub(crate) links: u64,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Folder> {
        let handle = rustix::fs::open(path, FOLDER_FLAGS, Mode::empty())
            .map_err(|errno| OnnxError::io("open", path, errno))?;
        Ok(Folder {
            handle,
            path: path.to_owned(),
        })
    }

    /// Opens the file that the user named; links are the user's own business.
    pub(crate) fn open_named(&self, name: &OsStr) -> Result<OpenFile> {
        let path = self.path.join(name);
        let handle = openat(&self.handle, name, FILE_FLAGS, Mode::empty())
            .map_err(|errno| OnnxError::io("open", &path, errno))?;
        match regular(handle).map_err(|errno| OnnxError::io("inspect", &path, errno))? {
            Ok(open) => Ok(open),
            Err(found) => Err(OnnxError::NotAFile { path, found }),
        }
    }

    /// Opens the file that a model named, which must be in this folder or in a folder inside it,
    /// with no symbolic link on the way.
    pub(crate) fn open_beneath(&self, location: &str) -> Result<OpenFile> {
        let components = components(location)?;
        let handle = self
            .handle_beneath(&components)
            .map_err(|errno| self.failed(errno, location))?;
        let path = self.path.join(shortened(location));
        match regular(handle).map_err(|error| OnnxError::io("inspect", &path, error))? {
            Ok(open) => Ok(open),
            Err(found) => Err(ExternalError::NotAFile {
                location: shortened(location),
                found,
            }
            .into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn handle_beneath(&self, components: &[&OsStr]) -> rustix::io::Result<OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};

        const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
            .union(ResolveFlags::NO_SYMLINKS)
            .union(ResolveFlags::NO_MAGICLINKS);
        const ATTEMPTS: usize = 16;
        let path: PathBuf = components.iter().collect();
        for _ in 0..ATTEMPTS {
            match openat2(&self.handle, &path, FILE_FLAGS, Mode::empty(), RESOLVE) {
                // Something was renamed meanwhile; the kernel asks to try again.
                Err(Errno::AGAIN) => {}
                // Old kernels lack the call and some sandboxes forbid it.
                Err(Errno::NOSYS | Errno::PERM) => return self.handle_stepwise(components),
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    #[cfg(not(target_os = "linux"))]
    fn handle_beneath(&self, components: &[&OsStr]) -> rustix::io::Result<OwnedFd> {
        self.handle_stepwise(components)
    }

    /// The same, one component at a time. `components` holds plain names only.
    fn handle_stepwise(&self, components: &[&OsStr]) -> rustix::io::Result<OwnedFd> {
        let Some((name, folders)) = components.split_last() else {
            return Err(Errno::NOENT);
        };
        let mut inner: Option<OwnedFd> = None;
        for folder in folders {
            let parent = inner.as_ref().unwrap_or(&self.handle);
            let flags = FOLDER_FLAGS | OFlags::NOFOLLOW;
            inner = Some(match openat(parent, *folder, flags, Mode::empty()) {
                // A link to a folder is not a folder here: tell it from a plain file.
                Err(Errno::NOTDIR) if is_link(parent, folder) => return Err(Errno::LOOP),
                result => result?,
            });
        }
        let parent = inner.as_ref().unwrap_or(&self.handle);
        openat(parent, *name, FILE_FLAGS | OFlags::NOFOLLOW, Mode::empty())
    }

    fn failed(&self, errno: Errno, location: &str) -> OnnxError {
        let location = shortened(location);
        match errno {
            Errno::LOOP => ExternalError::Symlink(location).into(),
            Errno::XDEV => ExternalError::Escapes(location).into(),
            errno => OnnxError::io("open", &self.path.join(location), errno),
        }
    }
}

impl OpenFile {
    /// Reads the whole file.
    ///
    /// # Errors
    /// When the file is empty, or has more than `max` bytes.
    pub(crate) fn read_all(self, path: &Path, max: u64) -> Result<Bytes> {
        let too_large = |bytes| OnnxError::TooLarge {
            what: path.display().to_string(),
            bytes,
            max,
            hint: "; hint: raise max_file_bytes, or keep the weights as external data",
        };
        if self.size > max {
            return Err(too_large(self.size));
        }
        if let Some(bytes) = self.read_large() {
            return bytes.map_err(|source| OnnxError::io("read", path, source));
        }
        // One byte more than allowed tells a file that grew since it was opened.
        let bytes = read_up_to(&self.file, self.size, max.saturating_add(1))
            .map_err(|source| OnnxError::io("read", path, source))?;
        if bytes.len() as u64 > max {
            return Err(too_large(bytes.len() as u64));
        }
        if bytes.is_empty() {
            let path = path.to_owned();
            return Err(OnnxError::EmptyFile { path });
        }
        Ok(Bytes::from(bytes))
    }

    /// Reads a large file as long as it was when it was opened, on several threads and to memory
    /// of large pages: small ones cost several times as much to touch as to fill. `None` for a
    /// small file, and where there is no such memory.
    fn read_large(&self) -> Option<std::io::Result<Bytes>> {
        let size = usize::try_from(self.size).ok()?;
        if size < LARGE_BYTES {
            return None;
        }
        let mut map = memmap2::MmapMut::map_anon(size).ok()?;
        #[cfg(target_os = "linux")]
        let _advice_is_optional = map.advise(memmap2::Advice::HugePage);
        let pieces = map.chunks_mut(PIECE_BYTES).map(Mutex::new);
        let pieces: Vec<(usize, Mutex<&mut [u8]>)> = pieces.enumerate().collect();
        let read = |(index, piece): &(usize, Mutex<&mut [u8]>)| {
            let mut piece = piece.lock().unwrap_or_else(PoisonError::into_inner);
            let offset = (index * PIECE_BYTES) as u64;
            self.file.read_exact_at(&mut piece, offset)
        };
        let read = spread(&pieces, |_| PIECE_BYTES, read);
        let read: std::io::Result<()> = read.into_iter().collect();
        drop(pieces);
        Some(read.map(|()| Bytes::from_owner(map)))
    }
}

/// Reads on from where the file is, to its end but at most `max` bytes.
pub(crate) fn read_up_to(file: &File, expected: u64, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let capacity = usize::try_from(expected.min(max)).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(capacity)?;
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file behind a handle, or what it is instead.
fn regular(handle: OwnedFd) -> std::io::Result<Result<OpenFile, &'static str>> {
    let file = File::from(handle);
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    Ok(if kind.is_file() {
        Ok(OpenFile {
            file,
            size: metadata.len(),
            links: metadata.nlink(),
        })
    } else if kind.is_dir() {
        Err("a directory")
    } else if kind.is_fifo() {
        Err("a pipe")
    } else if kind.is_socket() {
        Err("a socket")
    } else {
        Err("a device")
    })
}

fn is_link(parent: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// The plain names of a location.
///
/// # Errors
/// When it is empty, absolute, has a `..`, or stands for memory. This is for a clear message: the
/// kernel's own check does not depend on it, the stepwise one does.
pub(crate) fn components(location: &str) -> Result<Vec<&OsStr>, ExternalError> {
    if location.contains("_MEM_ADDR_") {
        return Err(ExternalError::MemoryAddress(shortened(location)));
    }
    if location.contains('\0') {
        return Err(ExternalError::BadValue {
            key: "location",
            value: shortened(location),
            expected: "a path",
        });
    }
    let mut names = Vec::new();
    for component in Path::new(location).components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(ExternalError::Escapes(shortened(location)));
            }
        }
    }
    if names.is_empty() {
        return Err(ExternalError::NoLocation);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn playground(name: &str) -> PathBuf {
        let unique = format!("sardonyx-onnx-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(unique);
        fs::create_dir_all(root.join("model/sub")).unwrap();
        fs::write(root.join("secret"), b"secret").unwrap();
        fs::write(root.join("model/w"), b"weights").unwrap();
        fs::write(root.join("model/sub/w"), b"weights").unwrap();
        symlink("../secret", root.join("model/link")).unwrap();
        symlink("..", root.join("model/up")).unwrap();
        symlink("sub", root.join("model/inside")).unwrap();
        root
    }

    /// Without `openat2` the same paths must open and the same must not.
    #[test]
    fn both_ways_of_opening_agree() {
        let root = playground("folder");
        let folder = Folder::open(&root.join("model")).unwrap();
        let names = |path: &'static str| -> Vec<&OsStr> {
            Path::new(path)
                .components()
                .map(Component::as_os_str)
                .collect()
        };
        for (path, expected) in [
            ("w", None),
            ("sub/w", None),
            ("link", Some(Errno::LOOP)),
            ("up/secret", Some(Errno::LOOP)),
            ("inside/w", Some(Errno::LOOP)),
            ("none", Some(Errno::NOENT)),
            ("w/w", Some(Errno::NOTDIR)),
        ] {
            let stepwise = folder.handle_stepwise(&names(path)).err();
            let at_once = folder.handle_beneath(&names(path)).err();
            assert_eq!((stepwise, at_once), (expected, expected), "{path}");
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn locations_are_plain_relative_paths() {
        for bad in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../w",
            "a/../../w",
            "a/../w",
            "a\0b",
        ] {
            assert!(components(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(
            components("*/_ORT_MEM_ADDR_/*"),
            Err(ExternalError::MemoryAddress(_))
        ));
        assert_eq!(components("./a//b/./c").unwrap(), ["a", "b", "c"]);
        assert_eq!(components("...").unwrap(), ["..."]);
    }
}
