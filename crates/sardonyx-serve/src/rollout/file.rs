//! Rollouts on disk, so that a restart keeps what was decided while the server ran.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Rollout;
use crate::error::{Code, Result, ServeError};

/// The file that rollouts are kept in: a JSON object with one for each model.
#[derive(Debug)]
pub(crate) struct RolloutFile {
    path: PathBuf,
}

impl RolloutFile {
    pub(crate) fn new(path: PathBuf) -> RolloutFile {
        RolloutFile { path }
    }

    /// What was decided; nothing when the file is not there yet.
    ///
    /// # Errors
    /// When the file cannot be read or says what makes no sense.
    pub(crate) fn read(&self) -> Result<BTreeMap<String, Rollout>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.failed(&error)),
        };
        let rollouts: BTreeMap<String, Rollout> =
            serde_json::from_str(&text).map_err(|error| self.failed(&error))?;
        for rollout in rollouts.values() {
            rollout.check().map_err(|error| self.failed(&error))?;
        }
        Ok(rollouts)
    }

    /// Replaces the file as a whole.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there.
    pub(crate) fn write(&self, rollouts: &BTreeMap<String, Rollout>) -> Result<()> {
        let text = serde_json::to_string_pretty(rollouts).map_err(|error| self.failed(&error))?;
        let temporary = self.path.with_extension("json.tmp");
        write_through(&temporary, &text)
            .and_then(|()| fs::rename(&temporary, &self.path))
            .and_then(|()| sync_folder(&self.path))
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> ServeError {
        let message = format!("{}: {error}", self.path.display());
        ServeError::new(Code::FailedPrecondition, message)
    }
}

fn write_through(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
