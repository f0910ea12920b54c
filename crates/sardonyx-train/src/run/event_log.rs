//! TensorBoard's event files, written without TensorFlow.
//!
//! A file is a series of TFRecords (length, masked CRC-32C of it, data, masked CRC-32C of it), each
//! holding an `Event` protocol buffer (`tensorflow/core/util/event.proto`); the few fields that
//! scalars need are encoded by hand here.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Result, TrainError};

/// `SessionLog.START`: whatever was logged at this step or later before is void.
const SESSION_START: u64 = 1;

/// An event file of a run. A resumed run starts another, as TensorBoard expects.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
}

impl EventLog {
    /// Starts an event file in `folder`. `seconds` is the time of now since 1970. With `resume`,
    /// the first step that this file speaks of, TensorBoard forgets what earlier files of the run
    /// say about that step and later ones.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(folder: &Path, seconds: f64, resume: Option<u64>) -> Result<EventLog> {
        let whole = seconds.max(0.0) as u64;
        let mut number = 0u32;
        let (path, file) = loop {
            let path = folder.join(format!("events.out.tfevents.{whole:010}.sardonyx.{number}"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(TrainError::io("create", &path)(error)),
                Ok(file) => break (path, file),
            }
        };
        let mut log = EventLog { path, file };
        let mut version = event(seconds, 0);
        put_bytes(&mut version, 3, b"brain.Event:2");
        log.append(&version)?;
        if let Some(step) = resume {
            let mut session = Vec::new();
            put_varint(&mut session, 1, SESSION_START);
            let mut start = event(seconds, step);
            put_bytes(&mut start, 7, &session);
            log.append(&start)?;
        }
        Ok(log)
    }

    /// Logs numbers under their tags (`train/loss`) at a step; `seconds` as in
    /// [`EventLog::create`]. They are at the system's when this returns.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn scalars(&mut self, seconds: f64, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, tag.as_bytes());
            // Field 2, simple_value, four bytes.
            entry.push(2 << 3 | 5);
            entry.extend((*value as f32).to_le_bytes());
            put_bytes(&mut summary, 1, &entry);
        }
        let mut event = event(seconds, step);
        put_bytes(&mut event, 5, &summary);
        self.append(&event)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, event: &[u8]) -> Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(event);
        record.extend(masked_crc(event).to_le_bytes());
        self.file
            .write_all(&record)
            .map_err(TrainError::io("write", &self.path))
    }
}

/// The head of an event: field 1 wall_time, field 2 step.
fn event(seconds: f64, step: u64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(seconds.to_le_bytes());
    // As in every protocol buffer of version 3, zero is said by saying nothing.
    if step > 0 {
        put_varint(&mut event, 2, step);
    }
    event
}

fn put_varint(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// TFRecord's mask, without which the checksum of data that holds checksums would be weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that TensorFlow writes for these events (`tests/golden/events.py`).
    #[test]
    fn a_file_is_what_tensorflow_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = EventLog::create(folder.path(), 1_700_000_000.25, Some(300)).expect("made");
        log.scalars(1_700_000_001.5, 300, &[("train/loss", 0.25), ("lr", 1e-3)])
            .expect("written");
        log.scalars(1_700_000_002.0, u64::from(u32::MAX) + 1, &[])
            .expect("written");
        let bytes = std::fs::read(log.path()).expect("there");
        let expected: &[u8] = include_bytes!("../../tests/golden/events.tfevents");
        assert_eq!(bytes, expected);
        let again = EventLog::create(folder.path(), 1_700_000_000.9, None).expect("made");
        let name = again
            .path()
            .file_name()
            .expect("a name")
            .to_str()
            .expect("ascii");
        assert_eq!(
            name, "events.out.tfevents.1700000000.sardonyx.1",
            "none is overwritten"
        );
    }
}
