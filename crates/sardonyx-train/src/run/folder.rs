use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Result, TrainError};

/// Longest name of a run, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Highest number that is added to a name.
const MAX_NUMBER: u32 = 9_999;

/// How a new run is to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunName<'a> {
    /// So and not otherwise.
    Exact(&'a str),
    /// So, or with the next free number after it: `name-002`, `name-003`, ...
    Numbered(&'a str),
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// The exact configuration.
    pub const CONFIG: &'static str = "sardonyx.toml";
    /// The best model.
    pub const MODEL: &'static str = "model.onnx";
    /// The latest state, for a resume.
    pub const CHECKPOINT: &'static str = "last.safetensors";
    /// One JSON object per line.
    pub const METRICS: &'static str = "metrics.jsonl";
    /// The report to look at.
    pub const REPORT: &'static str = "report.html";
    /// The report to compute with.
    pub const EVALUATION: &'static str = "evaluation.json";
    /// What the run was made on.
    pub const ENVIRONMENT: &'static str = "environment.json";

    /// Makes the folder of a new run under `root`, which is made too where it is missing. An
    /// existing folder is never taken, not even when two processes ask at once.
    ///
    /// # Errors
    /// When the name cannot be a folder's name, an exact name is taken, or the system refuses.
    pub fn create(root: &Path, name: RunName<'_>) -> Result<RunFolder> {
        let (RunName::Exact(text) | RunName::Numbered(text)) = name;
        check_name(text)?;
        fs::create_dir_all(root).map_err(TrainError::io("create", root))?;
        for number in 1..=MAX_NUMBER {
            let path = match number {
                1 => root.join(text),
                _ => root.join(format!("{text}-{number:03}")),
            };
            match fs::create_dir(&path) {
                Ok(()) => return Ok(RunFolder { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if matches!(name, RunName::Exact(_)) {
                        return Err(TrainError::RunExists { path });
                    }
                }
                Err(error) => return Err(TrainError::io("create", &path)(error)),
            }
        }
        Err(TrainError::RunExists {
            path: root.join(text),
        })
    }

    /// The folder of a run that is there.
    ///
    /// # Errors
    /// When it is not there or not a folder.
    pub fn open(path: &Path) -> Result<RunFolder> {
        // Reading a file in place of a folder fails with a reason of the system's own.
        fs::read_dir(path).map_err(TrainError::io("open the run", path))?;
        Ok(RunFolder {
            path: path.to_owned(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of the run is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of the run whole.
    ///
    /// # Errors
    /// When the system refuses; an old file of that name is then untouched.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(sardonyx_onnx::write_atomic(&self.file(name), bytes)?)
    }

    /// Writes a value as an indented JSON file of the run.
    ///
    /// # Errors
    /// As [`RunFolder::write`], or when the value cannot be JSON.
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value).map_err(|source| TrainError::Json {
            what: "a file of the run",
            source,
        })?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }
}

fn check_name(name: &str) -> Result<()> {
    let wrong = |reason: &'static str| TrainError::RunName {
        name: name.chars().take(MAX_NAME_BYTES).collect(),
        reason,
    };
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        return Err(wrong("it is empty"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(wrong("it is too long"));
    }
    if !name.chars().all(usable) {
        return Err(wrong("it has other characters than a folder's name should"));
    }
    if name.starts_with(['.', '-']) || name.ends_with('.') {
        return Err(wrong("it starts with `.` or `-`, or ends with `.`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_never_overwritten() {
        let root = tempfile::tempdir().expect("a folder");
        let runs = root.path().join("runs");
        let create = |name| RunFolder::create(&runs, name).map(|run| run.path().to_owned());
        let numbered = || create(RunName::Numbered("digits")).expect("created");
        assert_eq!(numbered(), runs.join("digits"));
        assert_eq!(numbered(), runs.join("digits-002"));
        assert_eq!(numbered(), runs.join("digits-003"));
        let error = create(RunName::Exact("digits")).expect_err("taken");
        assert!(matches!(error, TrainError::RunExists { .. }), "{error}");
        assert!(create(RunName::Exact("other")).is_ok());
        fs::write(runs.join("file"), b"x").expect("written");
        assert_eq!(
            create(RunName::Numbered("file")).expect("created"),
            runs.join("file-002")
        );
        assert!(RunFolder::open(&runs.join("digits-002")).is_ok());
        assert!(RunFolder::open(&runs.join("file")).is_err());
        assert!(RunFolder::open(&runs.join("none")).is_err());
    }

    #[test]
    fn names_stay_within_the_root() {
        let root = tempfile::tempdir().expect("a folder");
        let long = "x".repeat(101);
        for name in [
            "", ".", "..", "a/b", "../a", "a\\b", "/a", "-rf", ".git", "a\0", "é", &long,
        ] {
            let error = RunFolder::create(root.path(), RunName::Exact(name)).expect_err("refused");
            assert!(
                matches!(error, TrainError::RunName { .. }),
                "{name}: {error}"
            );
        }
        assert!(RunFolder::create(root.path(), RunName::Exact("a-1_b.2")).is_ok());
    }

    #[test]
    fn files_are_written_whole() {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunFolder::create(root.path(), RunName::Exact("a")).expect("created");
        run.write_json(
            RunFolder::ENVIRONMENT,
            &super::super::Environment::default(),
        )
        .expect("written");
        let text = fs::read_to_string(run.file("environment.json")).expect("there");
        assert!(
            text.starts_with("{\n  \"version\": \"\"") && text.ends_with("}\n"),
            "{text}"
        );
    }
}
