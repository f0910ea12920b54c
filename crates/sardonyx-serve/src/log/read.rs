//! Reading a request log back, oldest line first, full files included.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::entry::RequestEntry;
use super::write::rotated;
use crate::error::{Code, Result, ServeError};

/// Longest line that is read; a longer one is skipped.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Most full files that are looked for.
const MAX_FILES: usize = 10_000;

/// The entries of a request log.
///
/// What a server that was killed left of its last line is skipped, and counted.
#[derive(Debug)]
pub struct LogReader {
    files: VecDeque<PathBuf>,
    current: Option<(PathBuf, BufReader<File>)>,
    skipped: u64,
}

/// Reads the request log at `path`, with the full files beside it.
///
/// # Errors
/// When there is no such file. While it is read, when a file cannot be.
pub fn read_log(path: &Path) -> Result<LogReader> {
    let mut files = VecDeque::new();
    for index in 1..=MAX_FILES {
        let full = rotated(path, index);
        if !full.exists() {
            break;
        }
        files.push_front(full);
    }
    if path.exists() {
        files.push_back(path.to_owned());
    }
    if files.is_empty() {
        let message = format!("there is no request log {}", path.display());
        return Err(ServeError::new(Code::NotFound, message));
    }
    Ok(LogReader {
        files,
        current: None,
        skipped: 0,
    })
}

impl LogReader {
    /// How many lines were not entries so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next line of all files; `None` at the end.
    fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if self.current.is_none() {
                let Some(path) = self.files.pop_front() else {
                    return Ok(None);
                };
                let file = File::open(&path)?;
                self.current = Some((path, BufReader::new(file)));
            }
            if let Some((_, reader)) = &mut self.current {
                let mut line = Vec::new();
                reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
                if line.last() == Some(&b'\n') {
                    return Ok(Some(line));
                }
                if line.len() as u64 == MAX_LINE_BYTES {
                    reader.skip_until(b'\n')?;
                    self.skipped += 1;
                    continue;
                }
                // The file ends here, perhaps within a line.
                self.skipped += u64::from(!line.is_empty());
                self.current = None;
            }
        }
    }
}

impl Iterator for LogReader {
    type Item = Result<RequestEntry>;

    fn next(&mut self) -> Option<Result<RequestEntry>> {
        loop {
            match self.line() {
                Ok(None) => return None,
                Ok(Some(line)) => match serde_json::from_slice(&line) {
                    Ok(entry) => return Some(Ok(entry)),
                    Err(_) => self.skipped += 1,
                },
                Err(error) => {
                    let path = self.current.take().map(|(path, _)| path);
                    let path = path.unwrap_or_default();
                    let message = format!("cannot read {}: {error}", path.display());
                    return Some(Err(ServeError::new(Code::Internal, message)));
                }
            }
        }
    }
}
