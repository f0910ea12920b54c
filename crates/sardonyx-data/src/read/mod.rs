//! Finds out what a path holds and reads it.

mod class_names;
mod folder;
pub(crate) mod idx;
mod npz;
mod options;
pub(crate) mod picture;
pub(crate) mod source;
pub(crate) mod table;

use std::fs;
use std::path::{Path, PathBuf};

use crate::arrays::{self, Pair, Role};
use crate::dataset::Dataset;
use crate::error::{DataError, Result};
use crate::npy;

pub use options::{Color, CsvOptions, ImageOptions, Layout, ReadOptions, TargetKind};

use source::{Entry, Source};

const KINDS: &str = "a folder with the IDX files of MNIST, train.csv, x_train.npy or one folder of \
PNG/JPEG files for each class; or a file in the format CSV, NPZ, NPY or IDX, gzipped or not";

/// What [`read`] found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The training data, or the only data there is.
    pub train: Dataset,
    /// Validation data, when the source keeps it apart.
    pub validation: Option<Dataset>,
    /// Test data, when the source keeps it apart.
    pub test: Option<Dataset>,
    /// How the data was read.
    pub report: ReadReport,
}

/// What a reader noticed on the way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadReport {
    /// Name of the format: `IDX`, `NPY`, `NPZ`, `CSV`, `image folder`.
    pub format: &'static str,
    /// Missing cells of each column that has any.
    pub missing: Vec<(String, usize)>,
    /// Values of categorical columns outside the training data that the training data does not
    /// have; they are encoded as zeros.
    pub n_unknown_categories: usize,
    /// Files in folders of images that are neither PNG nor JPEG.
    pub n_skipped_files: usize,
    /// The first of them.
    pub first_skipped: Option<PathBuf>,
}

impl ReadReport {
    pub(crate) fn new(format: &'static str) -> ReadReport {
        ReadReport {
            format,
            ..ReadReport::default()
        }
    }
}

impl Loaded {
    /// Sorts parts into their fields. A single part is the training part, whatever it is called.
    pub(crate) fn from_parts(parts: Vec<(Role, Dataset)>, report: ReadReport) -> Result<Loaded> {
        let is_single = parts.len() == 1;
        let (mut train, mut validation, mut test) = (None, None, None);
        let mut first_source = String::new();
        for (role, dataset) in parts {
            if first_source.is_empty() {
                dataset.source().clone_into(&mut first_source);
            }
            let slot = match role {
                _ if is_single => &mut train,
                Role::Train => &mut train,
                Role::Validation => &mut validation,
                Role::Test => &mut test,
            };
            *slot = Some(dataset);
        }
        let train = train.ok_or_else(|| {
            DataError::shape(
                &first_source,
                "there are parts for validation and test, but none for training",
                "add the training part or name the single part to be read",
            )
        })?;
        Ok(Loaded {
            train,
            validation,
            test,
            report,
        })
    }
}

/// Reads what `path` holds: the format is found by the contents, not by options.
///
/// | path | read as |
/// |---|---|
/// | folder with `*images*idx*` and `*labels*idx*` files | IDX (MNIST, Fashion-MNIST, EMNIST) |
/// | folder with `x_train.npy` and `y_train.npy` (other names see the NPZ ones) | NPY |
/// | folder with one `.npz`, `train.csv` (and `val.csv`, `test.csv`) or a single CSV | that |
/// | folder of folders of PNG/JPEG files, or `train/`, `val/`, `test/` of such | images by class |
/// | file | CSV, NPZ, NPY or IDX, with its labels beside it where the format needs that |
///
/// Any file but an image or NPZ may be gzipped. NPZ members may be called `x`/`y`, `X`/`y`,
/// `images`/`labels`, `data`/`target`, `x_train`/`y_train` with `x_test`/`y_test` (Keras),
/// `train_images`/`train_labels` with `val_...` and `test_...` (MedMNIST), `arr_0`/`arr_1`.
///
/// # Errors
/// When nothing is recognised, a file is damaged or contradicts another, or a limit is passed: with
/// the file, the place, the problem and a hint.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Loaded> {
    let metadata = fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    if metadata.is_dir() {
        read_folder(path, options)
    } else {
        read_file(path, options)
    }
}

fn read_folder(folder: &Path, options: &ReadOptions) -> Result<Loaded> {
    let entries = source::list(folder, &options.limits)?;
    let pairs = idx::find_pairs(folder, &entries)?;
    if !pairs.is_empty() {
        return read_idx(folder, pairs, options);
    }
    let pairs = npy_pairs(&entries);
    if !pairs.is_empty() {
        return read_npy(folder, pairs, options);
    }
    let with_extension = |extension: &str| -> Vec<&Entry> {
        let is_one = |entry: &&Entry| {
            !entry.is_dir && entry.name.trim_end_matches(".gz").ends_with(extension)
        };
        entries.iter().filter(is_one).collect()
    };
    if let [npz] = with_extension(".npz")[..] {
        return npz::read(&npz.path, options);
    }
    let tables = [with_extension(".csv"), with_extension(".tsv")].concat();
    let has_folders = entries.iter().any(|entry| entry.is_dir);
    // A table beside folders is most likely about the images in them.
    if has_folders
        && tables
            .iter()
            .all(|entry| Role::from_name(&entry.name).is_none())
    {
        return folder::read(folder, &entries, options);
    }
    match tables[..] {
        [] => {}
        [single] => return table::read(&[(Role::Train, single.path.clone())], options),
        _ => return table::read(&table_roles(folder, &tables)?, options),
    }
    let problem = match entries.len() {
        0 => "the folder is empty".to_owned(),
        n => format!(
            "none of the {n} files here is a data set (`{}`, ...)",
            entries[0].name
        ),
    };
    Err(DataError::unrecognized(
        folder,
        problem,
        format!("expected {KINDS}"),
    ))
}

fn read_file(path: &Path, options: &ReadOptions) -> Result<Loaded> {
    let head = Source::head(path, &options.limits, 8)?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let beside = || {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        source::list(folder.unwrap_or(Path::new(".")), &options.limits)
    };
    if head.is_empty() {
        return Err(DataError::unrecognized(
            path,
            "the file is empty",
            format!("expected {KINDS}"),
        ));
    }
    if head.starts_with(b"PK") {
        return npz::read(path, options);
    }
    if head.starts_with(npy::MAGIC) {
        let (x, y) = npy_pair_of(path, &beside()?)?;
        return read_npy(path, vec![(Role::Train, x, y)], options);
    }
    if idx::is_idx(&head) {
        let (x, y) = idx::pair_of(path, &beside()?)?;
        return read_idx(path, vec![(Role::Train, x, y)], options);
    }
    if picture::is_picture(&head) {
        return Err(DataError::unrecognized(
            path,
            "a single image has no class",
            "give the folder that has one folder of images for each class",
        ));
    }
    let stem = name.trim_end_matches(".gz");
    if [".csv", ".tsv", ".txt", ".data"]
        .iter()
        .any(|extension| stem.ends_with(extension))
    {
        return table::read(&[(Role::Train, path.to_owned())], options);
    }
    Err(DataError::unrecognized(
        path,
        format!("the first bytes {head:02x?} are of no known format"),
        format!("expected {KINDS}"),
    ))
}

fn read_idx(
    path: &Path,
    files: Vec<(Role, PathBuf, PathBuf)>,
    options: &ReadOptions,
) -> Result<Loaded> {
    let names = class_names::find(path, options)?;
    let pairs = files
        .into_iter()
        .map(|(role, x, y)| idx::read_pair(role, x, &y, &options.limits))
        .collect::<Result<_>>()?;
    arrays::assemble(pairs, names, options, "IDX")
}

fn read_npy(
    path: &Path,
    files: Vec<(Role, PathBuf, PathBuf)>,
    options: &ReadOptions,
) -> Result<Loaded> {
    let names = class_names::find(path, options)?;
    let mut pairs = Vec::with_capacity(files.len());
    for (role, x, y) in files {
        pairs.push(Pair {
            role,
            x: npy::read(&x, &options.limits)?,
            y: npy::read(&y, &options.limits)?,
            y_name: y.display().to_string(),
            path: x,
        });
    }
    arrays::assemble(pairs, names, options, "NPY")
}

fn npy_file<'a>(entries: &'a [Entry], stem: &str) -> Option<&'a Entry> {
    entries
        .iter()
        .find(|entry| entry.name.trim_end_matches(".gz").strip_suffix(".npy") == Some(stem))
}

fn npy_pairs(entries: &[Entry]) -> Vec<(Role, PathBuf, PathBuf)> {
    let file = |stem: &str| npy_file(entries, stem);
    arrays::known_pairs(|stem| file(stem).is_some())
        .into_iter()
        .filter_map(|(role, x, y)| Some((role, file(x)?.path.clone(), file(y)?.path.clone())))
        .collect()
}

/// The pair that a single NPY file is the inputs of.
fn npy_pair_of(path: &Path, entries: &[Entry]) -> Result<(PathBuf, PathBuf)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.trim_end_matches(".gz").trim_end_matches(".npy");
    let targets: Vec<&str> = arrays::NAMES
        .iter()
        .filter(|(_, x, _)| *x == stem)
        .map(|(_, _, y)| *y)
        .collect();
    match targets.iter().find_map(|y| npy_file(entries, y)) {
        Some(y) => Ok((path.to_owned(), y.path.clone())),
        None => Err(DataError::unrecognized(
            path,
            "an NPY file holds one array, and there is none with its targets beside it",
            "call the files x.npy and y.npy or save both in one NPZ: \
             numpy.savez(path, x=..., y=...)",
        )),
    }
}

fn table_roles(folder: &Path, tables: &[&Entry]) -> Result<Vec<(Role, PathBuf)>> {
    let mut roles: Vec<(Role, PathBuf)> = Vec::new();
    for entry in tables {
        let Some(role) = Role::from_name(&entry.name) else {
            continue;
        };
        if roles.iter().any(|(known, _)| *known == role) {
            return Err(DataError::unrecognized(
                folder,
                format!("`{}` is not the only table of its kind", entry.name),
                "name the file instead of the folder",
            ));
        }
        roles.push((role, entry.path.clone()));
    }
    if roles.iter().all(|(role, _)| *role != Role::Train) {
        return Err(DataError::unrecognized(
            folder,
            format!("{} tables, and none is called train.csv", tables.len()),
            "name the file instead of the folder",
        ));
    }
    // The training table comes first: its columns and categories hold for the others.
    roles.sort_by_key(|(role, _)| *role);
    Ok(roles)
}
