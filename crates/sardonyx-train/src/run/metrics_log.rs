use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Result, TrainError};

/// Longest line of a metrics file, in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What was measured at one point of a run: in the file a flat JSON object of `step`, `epoch` and
/// the values under their names. A value that is not finite becomes null, and NaN when read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricsLine {
    /// Steps done.
    pub step: u64,
    /// Epochs begun.
    pub epoch: u64,
    /// Values by name: `train.loss`, `val.accuracy`, `lr`.
    pub values: BTreeMap<String, f64>,
}

/// The file `metrics.jsonl` of a run: one line per point, each written out at once.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Starts a new file.
    ///
    /// # Errors
    /// When there is one already, or the system refuses.
    pub fn create(path: &Path) -> Result<MetricsLog> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(TrainError::io("create", path))?;
        Ok(MetricsLog {
            path: path.to_owned(),
            file,
        })
    }

    /// Continues the file of a run that resumes after `step` steps: lines of later steps, and a
    /// line that a kill cut short, are cut off, so that the file becomes what it would have been
    /// without the interruption. (So lines of a step are written before its checkpoint.) A missing
    /// file is started.
    ///
    /// # Errors
    /// When a line is not what [`MetricsLog::append`] writes, or the system refuses.
    pub fn resume(path: &Path, step: u64) -> Result<MetricsLog> {
        let io = TrainError::io;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(io("open", path))?;
        let mut kept_bytes = 0;
        for_each_line(&file, path, |line, bytes| {
            let keep = line.step <= step;
            kept_bytes += if keep { bytes } else { 0 };
            keep
        })?;
        file.set_len(kept_bytes)
            .and_then(|()| file.sync_all())
            .map_err(io("truncate", path))?;
        Ok(MetricsLog {
            path: path.to_owned(),
            file,
        })
    }

    /// Appends a line and hands it to the system.
    ///
    /// # Errors
    /// When a value is named `step` or `epoch`, or the system refuses.
    pub fn append(&mut self, line: &MetricsLine) -> Result<()> {
        let mut object = Map::new();
        for (name, &value) in &line.values {
            if name == "step" || name == "epoch" {
                return Err(TrainError::config(name, "no metric can have this name"));
            }
            // Value::from makes null of what is not finite.
            object.insert(name.clone(), Value::from(value));
        }
        object.insert("step".to_owned(), Value::from(line.step));
        object.insert("epoch".to_owned(), Value::from(line.epoch));
        let text = format!("{}\n", Value::Object(object));
        // One call of write, so that readers and kills see whole lines.
        self.file
            .write_all(text.as_bytes())
            .map_err(TrainError::io("write", &self.path))
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(TrainError::io("sync", &self.path))
    }

    /// All lines of a file; a last line that was cut short is left out.
    ///
    /// # Errors
    /// When a line is not what [`MetricsLog::append`] writes, or the system refuses.
    pub fn read(path: &Path) -> Result<Vec<MetricsLine>> {
        let file = File::open(path).map_err(TrainError::io("read", path))?;
        let mut lines = Vec::new();
        for_each_line(&file, path, |line, _| {
            lines.push(line);
            true
        })?;
        Ok(lines)
    }
}

/// Calls `visit` with each whole line and its length in bytes until it returns false.
fn for_each_line(
    file: &File,
    path: &Path,
    mut visit: impl FnMut(MetricsLine, u64) -> bool,
) -> Result<()> {
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let n_bytes = reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut text)
            .map_err(TrainError::io("read", path))? as u64;
        let wrong = |reason: String| TrainError::MetricsLine {
            path: path.to_owned(),
            line: number,
            reason,
        };
        if text.last() != Some(&b'\n') {
            if n_bytes == MAX_LINE_BYTES {
                return Err(wrong(format!("it is longer than {MAX_LINE_BYTES} bytes")));
            }
            return Ok(());
        }
        if !visit(parse(&text).map_err(wrong)?, n_bytes) {
            return Ok(());
        }
    }
    Ok(())
}

fn parse(text: &[u8]) -> Result<MetricsLine, String> {
    let object: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let count = |name: &str| {
        let value = object.get(name).and_then(Value::as_u64);
        value.ok_or_else(|| format!("`{name}` is missing or no count"))
    };
    let (step, epoch) = (count("step")?, count("epoch")?);
    let mut values = BTreeMap::new();
    for (name, value) in &object {
        if name == "step" || name == "epoch" {
            continue;
        }
        let number = match value {
            Value::Null => Some(f64::NAN),
            value => value.as_f64(),
        };
        let number = number.ok_or_else(|| format!("`{name}` is not a number"))?;
        values.insert(name.clone(), number);
    }
    Ok(MetricsLine {
        step,
        epoch,
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, loss: f64) -> MetricsLine {
        let values = BTreeMap::from([("train.loss".to_owned(), loss), ("lr".to_owned(), 0.1)]);
        MetricsLine {
            step,
            epoch: step / 10,
            values,
        }
    }

    #[test]
    fn a_resumed_file_is_that_of_an_undisturbed_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        let mut log = MetricsLog::create(&whole).expect("created");
        for step in 0..30 {
            log.append(&line(step, 1.0 / (step as f64 + 3.0)))
                .expect("written");
        }
        log.sync().expect("synced");
        let expected = std::fs::read(&whole).expect("there");
        // Killed after 25 whole lines and part of another, with a checkpoint at step 20.
        for torn in [&b""[..], b"{", b"{\"epoch\":2,\"st"] {
            let lines = expected.split_inclusive(|&byte| byte == b'\n').take(25);
            let mut bytes: Vec<u8> = lines.flatten().copied().collect();
            bytes.extend(torn);
            std::fs::write(&broken, bytes).expect("written");
            let mut log = MetricsLog::resume(&broken, 20).expect("resumed");
            for step in 21..30 {
                log.append(&line(step, 1.0 / (step as f64 + 3.0)))
                    .expect("written");
            }
            assert_eq!(std::fs::read(&broken).expect("there"), expected);
        }
        assert!(MetricsLog::create(&whole).is_err(), "never overwritten");
    }

    #[test]
    fn lines_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::resume(&path, 0).expect("a missing file is started");
        log.append(&line(1, 0.1 + 0.2)).expect("written");
        log.append(&line(2, f64::NAN)).expect("written");
        let lines = MetricsLog::read(&path).expect("read");
        assert_eq!(lines[0], line(1, 0.1 + 0.2));
        assert!(lines[1].values["train.loss"].is_nan());
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(
            text.ends_with("{\"epoch\":0,\"lr\":0.1,\"step\":2,\"train.loss\":null}\n"),
            "{text}"
        );
        let clash = BTreeMap::from([("step".to_owned(), 1.0)]);
        assert!(
            log.append(&MetricsLine {
                values: clash,
                ..line(3, 0.0)
            })
            .is_err()
        );
    }

    #[test]
    fn foreign_lines_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        let long = format!("\"{}\"\n", "x".repeat(2 << 20));
        for (text, expect) in [
            (
                "{\"step\":1,\"epoch\":0}\nhello\n",
                "line 2: expected value",
            ),
            ("{\"epoch\":0}\n", "line 1: `step` is missing"),
            (
                "{\"step\":-1,\"epoch\":0}\n",
                "line 1: `step` is missing or no count",
            ),
            (
                "{\"step\":1,\"epoch\":0,\"loss\":\"low\"}\n",
                "`loss` is not a number",
            ),
            ("[]\n", "line 1"),
            (&long, "longer than"),
        ] {
            std::fs::write(&path, text).expect("written");
            for result in [
                MetricsLog::read(&path).map(drop),
                MetricsLog::resume(&path, 9).map(drop),
            ] {
                let message = result.expect_err("refused").to_string();
                assert!(message.contains(expect), "{message}");
            }
            assert_eq!(
                std::fs::read_to_string(&path).expect("there"),
                text,
                "and left alone"
            );
        }
    }
}
