//! Where versions are found: a file, or a folder with a subfolder for each version.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Result, ServeError};

/// Which versions of a model are to be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VersionPolicy {
    /// The newest ones, so many of them.
    Latest(usize),
    /// Every version that is there.
    All,
    /// These.
    Specific(Vec<u64>),
}

impl Default for VersionPolicy {
    fn default() -> VersionPolicy {
        VersionPolicy::Latest(1)
    }
}

impl VersionPolicy {
    /// The versions to serve of those that are `there`.
    pub(super) fn choose(&self, there: &BTreeMap<u64, PathBuf>) -> Vec<u64> {
        match self {
            VersionPolicy::Latest(count) => there.keys().rev().take(*count).copied().collect(),
            VersionPolicy::All => there.keys().copied().collect(),
            VersionPolicy::Specific(wanted) => {
                let is_there = |version: &&u64| there.contains_key(version);
                wanted.iter().filter(is_there).copied().collect()
            }
        }
    }
}

/// The versions that are at `base`: version 1 for a file; for a folder each subfolder whose name
/// is a number and that has a model.
///
/// # Errors
/// When `base` cannot be read.
pub(super) fn versions_at(base: &Path) -> Result<BTreeMap<u64, PathBuf>> {
    let failed = |error: std::io::Error| {
        ServeError::new(
            Code::NotFound,
            format!(
                "{}: {error}; hint: give a model file, or a folder of versions",
                base.display()
            ),
        )
    };
    if fs::metadata(base).map_err(failed)?.is_file() {
        return Ok(BTreeMap::from([(1, base.to_owned())]));
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(base).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        let number = folder
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let (Some(number), Some(file)) = (number, model_file(&folder)) {
            found.insert(number, file);
        }
    }
    Ok(found)
}

/// The model in a version's folder: `model.onnx`, or the only `.onnx` file.
fn model_file(folder: &Path) -> Option<PathBuf> {
    let usual = folder.join("model.onnx");
    if usual.is_file() {
        return Some(usual);
    }
    let is_model = |path: &PathBuf| path.extension().is_some_and(|name| name == "onnx");
    let files = fs::read_dir(folder).ok()?;
    let mut models = files.flatten().map(|entry| entry.path()).filter(is_model);
    let first = models.next()?;
    models.next().is_none().then_some(first)
}

/// The folders below `root` that hold versions of a model, by name.
///
/// # Errors
/// When `root` cannot be read.
pub(super) fn models_at(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let failed = |error: std::io::Error| {
        let message = format!(
            "{}: {error}; hint: give a folder of models, each NAME/VERSION/model.onnx",
            root.display()
        );
        ServeError::new(Code::NotFound, message)
    };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if path.is_dir() && !versions_at(&path)?.is_empty() {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}

/// What tells whether a file has changed since it failed to load.
pub(super) fn fingerprint(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
