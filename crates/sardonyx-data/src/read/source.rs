use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{DataError, Result};
use crate::limits::Limits;

/// Most bytes that one byte of a deflate stream can stand for (RFC 1951: a match of 258 bytes
/// takes two bits at least).
const DEFLATE_RATIO: u64 = 1_032;

/// Bytes read at a time into a growing buffer.
const CHUNK_BYTES: u64 = 1 << 20;

const MENDED_BY_COPY: &str = "the file seems incomplete or damaged: fetch or write it again";

/// An open file, gunzipped on the way if its first bytes say so, whatever its name.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) reader: Box<dyn BufRead>,
    is_gzip: bool,
    file_bytes: u64,
}

/// The size that a header claims for what follows it.
pub(crate) struct Claim<'a> {
    pub(crate) path: &'a Path,
    /// What follows, for messages.
    pub(crate) what: &'a str,
    /// Its bytes, if the header is true.
    pub(crate) bytes: u64,
    /// Most bytes that can follow, judged by the size of the file.
    pub(crate) plausible: u64,
}

impl Source {
    /// Opens a regular file within the limits.
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Source> {
        let (file, file_bytes) = open_file(path)?;
        check(
            "the size in bytes",
            "file_bytes",
            path,
            file_bytes,
            limits.file_bytes,
        )?;
        let mut raw = BufReader::with_capacity(1 << 16, file);
        let start = raw.fill_buf().map_err(|error| DataError::io(path, error))?;
        let is_gzip = start.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> = if is_gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Source {
            path: path.to_owned(),
            reader,
            is_gzip,
            file_bytes,
        })
    }

    /// Most bytes that the file can hold once decoded.
    pub(crate) fn plausible_bytes(&self) -> u64 {
        if self.is_gzip {
            plausible_bytes(self.file_bytes)
        } else {
            self.file_bytes
        }
    }

    /// Reads `count` bytes of a header; `count` is small.
    pub(crate) fn header(&mut self, count: usize, what: &str) -> Result<Vec<u8>> {
        read_exact(&mut self.reader, count, what, &self.path)
    }

    /// Reads what a header claims and makes sure that nothing follows it.
    pub(crate) fn payload(&mut self, bytes: u64, what: &str, limits: &Limits) -> Result<Vec<u8>> {
        let claim = Claim {
            path: &self.path,
            what,
            bytes,
            plausible: self.plausible_bytes(),
        };
        read_payload(&mut self.reader, &claim, limits)
    }

    /// The first bytes of the decoded file, fewer if it is shorter.
    pub(crate) fn head(path: &Path, limits: &Limits, count: u64) -> Result<Vec<u8>> {
        let source = Source::open(path, limits)?;
        let mut head = Vec::new();
        source
            .reader
            .take(count)
            .read_to_end(&mut head)
            .map_err(|error| read_error(path, "the first bytes", error))?;
        Ok(head)
    }
}

/// Opens a regular file and tells its length. Devices and pipes, which may never end, are refused.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64)> {
    let metadata = fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() {
            "a folder"
        } else {
            "neither file nor folder"
        };
        return Err(DataError::unrecognized(
            path,
            format!("expected a file, found {found}"),
            "name the file itself",
        ));
    }
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    Ok((file, metadata.len()))
}

/// Most bytes that a deflate stream of `compressed` bytes can decode to.
pub(crate) fn plausible_bytes(compressed: u64) -> u64 {
    compressed.saturating_mul(DEFLATE_RATIO)
}

/// Reads exactly `count` bytes.
pub(crate) fn read_exact(
    reader: &mut dyn Read,
    count: usize,
    what: &str,
    path: &Path,
) -> Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    reader
        .read_exact(&mut bytes)
        .map_err(|error| read_error(path, what, error))?;
    Ok(bytes)
}

/// Reads a claimed payload to its end. Refuses before it allocates when the claim passes a limit
/// or cannot be true; the buffer grows with the bytes that really come.
pub(crate) fn read_payload(
    reader: &mut dyn Read,
    claim: &Claim<'_>,
    limits: &Limits,
) -> Result<Vec<u8>> {
    let Claim {
        path, what, bytes, ..
    } = *claim;
    check(
        "the claimed size in bytes",
        "decoded_bytes",
        path,
        bytes,
        limits.decoded_bytes,
    )?;
    if bytes > claim.plausible {
        return Err(DataError::corrupt(
            path,
            what,
            format!(
                "the header claims {bytes} bytes, the file can hold {}",
                claim.plausible
            ),
            MENDED_BY_COPY,
        ));
    }
    let mut payload = Vec::new();
    while (payload.len() as u64) < bytes {
        let missing = (bytes - payload.len() as u64).min(CHUNK_BYTES);
        reserve_up_to(&mut payload, missing as usize, bytes as usize, path)?;
        let n_read = reader
            .take(missing)
            .read_to_end(&mut payload)
            .map_err(|error| read_error(path, what, error))?;
        if n_read == 0 {
            return Err(DataError::corrupt(
                path,
                what,
                format!("ends after {} of {bytes} bytes", payload.len()),
                MENDED_BY_COPY,
            ));
        }
    }
    let mut extra = [0];
    match reader.read(&mut extra) {
        Ok(0) => Ok(payload),
        Ok(_) => Err(DataError::corrupt(
            path,
            what,
            format!("more follows than the {bytes} bytes that the header claims"),
            MENDED_BY_COPY,
        )),
        Err(error) => Err(read_error(path, what, error)),
    }
}

/// Grows a buffer by doubling, but not past its final length.
fn reserve_up_to(buffer: &mut Vec<u8>, more: usize, end: usize, path: &Path) -> Result<()> {
    if buffer.capacity() - buffer.len() >= more {
        return Ok(());
    }
    let doubled = (buffer.capacity() * 2).clamp(buffer.len() + more, end.max(more));
    buffer
        .try_reserve_exact(doubled - buffer.len())
        .map_err(|_| out_of_memory(path, doubled as u64))
}

/// An empty vector with room for `count` elements, or an error where memory ends.
pub(crate) fn with_room<T>(count: usize, path: &Path) -> Result<Vec<T>> {
    let mut out = Vec::new();
    out.try_reserve_exact(count)
        .map_err(|_| out_of_memory(path, count as u64 * size_of::<T>() as u64))?;
    Ok(out)
}

fn out_of_memory(path: &Path, bytes: u64) -> DataError {
    DataError::Io {
        path: path.to_owned(),
        error: io::Error::new(
            ErrorKind::OutOfMemory,
            format!("no memory for {bytes} bytes"),
        ),
        hint: "use a part of the data or a machine with more memory",
    }
}

/// Checks a number against the limit of this name.
pub(crate) fn check(
    what: &'static str,
    name: &'static str,
    path: &Path,
    found: u64,
    max: u64,
) -> Result<()> {
    if found <= max {
        return Ok(());
    }
    Err(DataError::Limit {
        path: path.to_owned(),
        what,
        name,
        found,
        max,
    })
}

/// Tells damaged contents from a failing disk.
pub(crate) fn read_error(path: &Path, what: &str, error: io::Error) -> DataError {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            DataError::corrupt(path, what, "the file ends too early", MENDED_BY_COPY)
        }
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            let problem = format!("cannot be decompressed: {error}");
            DataError::corrupt(path, what, problem, MENDED_BY_COPY)
        }
        _ => DataError::io(path, error),
    }
}

/// A file or folder inside a folder.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_dir: bool,
}

/// What a folder holds, by name in ascending order; names that start with a dot are left out.
pub(crate) fn list(folder: &Path, limits: &Limits) -> Result<Vec<Entry>> {
    let io = |error| DataError::io(folder, error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        check(
            "the number of files",
            "files",
            folder,
            entries.len() as u64 + 1,
            limits.files as u64,
        )?;
        let path = entry.path();
        // A link that leads nowhere is listed as a file: the error then comes from reading it.
        let is_dir = fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        entries.push(Entry { name, path, is_dir });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
