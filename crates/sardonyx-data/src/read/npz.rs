use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use sardonyx_tensor::Tensor;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::arrays::{self, Pair};
use crate::error::{DataError, Result};
use crate::npy::{self, Place};

use super::source::{Source, check, plausible_bytes};
use super::{Loaded, ReadOptions, class_names};

type Archive = ZipArchive<BufReader<File>>;

/// Reads the arrays of an NPZ file that have known names.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Loaded> {
    // Opening as a source checks that it is a regular file within the limits.
    drop(Source::open(path, &options.limits)?);
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| zip_error(path, "archive", error))?;
    let max = options.limits.files as u64;
    check(
        "the number of arrays",
        "files",
        path,
        archive.len() as u64,
        max,
    )?;
    let mut names = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive
            .by_index(index)
            .map_err(|error| zip_error(path, "directory", error))?;
        names.push(String::from_utf8_lossy(entry.name_raw()).into_owned());
    }
    let has = |name: &str| names.iter().any(|n| n.strip_suffix(".npy") == Some(name));
    let known = arrays::known_pairs(has);
    if known.is_empty() {
        let shown: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
        return Err(DataError::unrecognized(
            path,
            format!(
                "no two of the arrays ({}) are known inputs and targets",
                shown.join(", ")
            ),
            "call them x and y, or x_train, y_train, x_test and y_test: \
             numpy.savez(path, x=..., y=...)",
        ));
    }
    let mut pairs = Vec::with_capacity(known.len());
    for (role, x, y) in known {
        pairs.push(Pair {
            role,
            x: read_member(&mut archive, path, x, options)?,
            y: read_member(&mut archive, path, y, options)?,
            y_name: format!("{}: {y}", path.display()),
            path: path.to_owned(),
        });
    }
    let names = class_names::find(path, options)?;
    arrays::assemble(pairs, names, options, "NPZ")
}

fn read_member(
    archive: &mut Archive,
    path: &Path,
    name: &str,
    options: &ReadOptions,
) -> Result<Tensor> {
    let member = format!("{name}.npy");
    let mut entry = archive
        .by_name(&member)
        .map_err(|error| zip_error(path, &member, error))?;
    let place = Place {
        path,
        name: &member,
        plausible: entry.size().min(plausible_bytes(entry.compressed_size())),
    };
    npy::read_from(&mut entry, &place, &options.limits)
}

fn zip_error(path: &Path, at: &str, error: ZipError) -> DataError {
    match error {
        ZipError::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            DataError::io(path, error)
        }
        error => DataError::corrupt(
            path,
            at,
            format!("not a readable ZIP: {error}"),
            "write it with numpy.savez or numpy.savez_compressed",
        ),
    }
}
