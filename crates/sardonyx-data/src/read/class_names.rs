use std::fs;
use std::io::Read;
use std::path::Path;

use crate::error::{DataError, Result};

use super::ReadOptions;
use super::source::{Source, check, read_error};

const FILE: &str = "classes.txt";
const BYTES_MAX: u64 = 1 << 20;

/// Class names from the options, else from `classes.txt` (one a line) in the folder of `path`.
pub(super) fn find(path: &Path, options: &ReadOptions) -> Result<Option<Vec<String>>> {
    if options.class_names.is_some() {
        return Ok(options.class_names.clone());
    }
    let folder = if path.is_dir() {
        Some(path)
    } else {
        path.parent()
    };
    let Some(file) = folder
        .map(|folder| folder.join(FILE))
        .filter(|file| file.is_file())
    else {
        return Ok(None);
    };
    let metadata = fs::metadata(&file).map_err(|error| DataError::io(&file, error))?;
    if metadata.len() > BYTES_MAX {
        return Err(DataError::corrupt(
            &file,
            "the whole file",
            format!("{} bytes of class names", metadata.len()),
            "write one name a line",
        ));
    }
    let mut text = String::new();
    let source = Source::open(&file, &options.limits)?;
    source
        .reader
        .take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| read_error(&file, "the names", error))?;
    let names: Vec<String> = text
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let max = options.limits.classes as u64;
    check(
        "the number of classes",
        "classes",
        &file,
        names.len() as u64,
        max,
    )?;
    Ok(Some(names))
}
