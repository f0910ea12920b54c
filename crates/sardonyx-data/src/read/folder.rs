//! A folder of images by class: `root/class/*.png`, or `root/train/class/*` with `val` and `test`.

use std::fs;
use std::path::{Path, PathBuf};

use sardonyx_tensor::Tensor;

use crate::arrays::Role;
use crate::dataset::{Dataset, DatasetParts, Target};
use crate::error::{DataError, Result, nearest_hint};

use super::picture::{self, PictureForm, PictureHeader};
use super::source::{self, Entry, check};
use super::{Color, Loaded, ReadOptions, ReadReport};

/// Folders within a class folder that are looked into.
const DEPTH_MAX: usize = 8;

/// Image files of one part, each with its class id.
struct Part {
    role: Role,
    path: PathBuf,
    files: Vec<(PathBuf, u32)>,
}

/// Reads the folder `root`, which holds `entries`.
pub(super) fn read(root: &Path, entries: &[Entry], options: &ReadOptions) -> Result<Loaded> {
    let mut report = ReadReport::new("image folder");
    let mut roles: Vec<(Role, &Entry)> = entries
        .iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| Some((role_of(&entry.name)?, entry)))
        .collect();
    roles.sort_by_key(|(role, _)| *role);
    let n_folders = entries.iter().filter(|entry| entry.is_dir).count();
    let is_divided = matches!(roles.first(), Some((Role::Train, _))) || roles.len() == n_folders;
    let mut parts = Vec::new();
    let class_names;
    if let (true, Some((_, first))) = (is_divided, roles.first()) {
        let first_entries = source::list(&first.path, &options.limits)?;
        class_names = classes(&first.path, &first_entries)?;
        for (index, (role, entry)) in roles.iter().enumerate() {
            if index > 0 && roles[index - 1].0 == *role {
                return Err(DataError::unrecognized(
                    root,
                    format!(
                        "`{}` and `{}` are the same part",
                        roles[index - 1].1.name,
                        entry.name
                    ),
                    "keep one of the folders",
                ));
            }
            let entries = source::list(&entry.path, &options.limits)?;
            parts.push(collect(
                *role,
                &entry.path,
                &entries,
                &class_names,
                options,
                &mut report,
            )?);
        }
    } else {
        class_names = classes(root, entries)?;
        parts.push(collect(
            Role::Train,
            root,
            entries,
            &class_names,
            options,
            &mut report,
        )?);
    }
    let form = common_form(&parts, options)?;
    let parts = parts
        .into_iter()
        .map(|part| Ok((part.role, decode(&part, form, &class_names, options)?)))
        .collect::<Result<_>>()?;
    Loaded::from_parts(parts, report)
}

/// Only whole names tell a part here: a class may be called `test tube`.
fn role_of(name: &str) -> Option<Role> {
    Role::from_name(name).filter(|_| name.chars().all(char::is_alphanumeric))
}

fn classes(root: &Path, entries: &[Entry]) -> Result<Vec<String>> {
    let names: Vec<String> = entries
        .iter()
        .filter(|entry| entry.is_dir)
        .map(|entry| entry.name.clone())
        .collect();
    if !names.is_empty() {
        return Ok(names);
    }
    Err(DataError::unrecognized(
        root,
        "there is no folder in it",
        "make one folder of images for each class, called as the class is",
    ))
}

/// Lists the images of every class of a part.
fn collect(
    role: Role,
    path: &Path,
    entries: &[Entry],
    class_names: &[String],
    options: &ReadOptions,
    report: &mut ReadReport,
) -> Result<Part> {
    let max = options.limits.classes as u64;
    check(
        "the number of classes",
        "classes",
        path,
        class_names.len() as u64,
        max,
    )?;
    let mut files = Vec::new();
    for entry in entries {
        if !entry.is_dir {
            skip(report, &entry.path);
            continue;
        }
        let Some(id) = class_names.iter().position(|name| *name == entry.name) else {
            let known: Vec<&str> = class_names.iter().map(String::as_str).collect();
            return Err(DataError::unrecognized(
                &entry.path,
                "the training part has no class of this name",
                nearest_hint(&entry.name, &known),
            ));
        };
        let n_before = files.len();
        walk(&entry.path, id as u32, 0, options, &mut files, report)?;
        if files.len() == n_before {
            return Err(DataError::unrecognized(
                &entry.path,
                "the class has no PNG or JPEG file",
                "add images of the class or remove its folder",
            ));
        }
    }
    Ok(Part {
        role,
        path: path.to_owned(),
        files,
    })
}

fn walk(
    folder: &Path,
    id: u32,
    depth: usize,
    options: &ReadOptions,
    files: &mut Vec<(PathBuf, u32)>,
    report: &mut ReadReport,
) -> Result<()> {
    for entry in source::list(folder, &options.limits)? {
        let max = options.limits.files as u64;
        check(
            "the number of files",
            "files",
            folder,
            files.len() as u64 + 1,
            max,
        )?;
        if !entry.is_dir {
            let name = entry.name.to_lowercase();
            if [".png", ".jpg", ".jpeg"]
                .iter()
                .any(|extension| name.ends_with(extension))
            {
                files.push((entry.path, id));
            } else {
                skip(report, &entry.path);
            }
            continue;
        }
        // A link to a folder is not followed: it may lead back up.
        let is_link = fs::symlink_metadata(&entry.path).is_ok_and(|metadata| metadata.is_symlink());
        if is_link || depth == DEPTH_MAX {
            skip(report, &entry.path);
        } else {
            walk(&entry.path, id, depth + 1, options, files, report)?;
        }
    }
    Ok(())
}

fn skip(report: &mut ReadReport, path: &Path) {
    report.n_skipped_files += 1;
    report.first_skipped.get_or_insert_with(|| path.to_owned());
}

/// Size and channels for all images, from their headers and the options.
fn common_form(parts: &[Part], options: &ReadOptions) -> Result<PictureForm> {
    let mut first: Option<(&Path, PictureHeader)> = None;
    let mut all_gray = true;
    for (path, _) in parts.iter().flat_map(|part| &part.files) {
        let found = picture::header(path, &options.limits)?;
        all_gray &= found.is_gray;
        let (first_path, expected) = *first.get_or_insert((path, found));
        let same = (found.height, found.width) == (expected.height, expected.width);
        if options.image.size.is_none() && !same {
            return Err(DataError::corrupt(
                path,
                "the image's size",
                format!(
                    "{} x {} pixels (height x width), but `{}` has {} x {}",
                    found.height,
                    found.width,
                    first_path.display(),
                    expected.height,
                    expected.width
                ),
                "set an image size to resize all, or remove the odd file",
            ));
        }
        let may_stop = options.image.size.is_some() && options.image.color != Color::Auto;
        if may_stop {
            break;
        }
    }
    let (_, header) = first.ok_or_else(|| {
        DataError::unrecognized(&parts[0].path, "there is no image", "add PNG or JPEG files")
    })?;
    let (height, width) = options.image.size.unwrap_or((header.height, header.width));
    let channels = match options.image.color {
        Color::Gray => 1,
        Color::Rgb => 3,
        Color::Auto if all_gray => 1,
        Color::Auto => 3,
    };
    let form = PictureForm {
        channels,
        height,
        width,
    };
    picture::check_form(&parts[0].path, form, &options.limits)?;
    Ok(form)
}

fn decode(
    part: &Part,
    form: PictureForm,
    class_names: &[String],
    options: &ReadOptions,
) -> Result<Dataset> {
    let sample_len = form.channels * form.height * form.width;
    let bytes = (sample_len as u64).saturating_mul(part.files.len() as u64);
    let max = options.limits.decoded_bytes;
    check(
        "the size of all images in bytes",
        "decoded_bytes",
        &part.path,
        bytes,
        max,
    )?;
    let mut pixels = source::with_room(bytes as usize, &part.path)?;
    let mut labels = Vec::with_capacity(part.files.len());
    for (path, id) in &part.files {
        picture::decode_into(path, form, &options.limits, &mut pixels)?;
        labels.push(*id);
    }
    let shape = [part.files.len(), form.channels, form.height, form.width];
    Dataset::new(DatasetParts {
        x: Tensor::new(shape, pixels)?,
        target: Target::Classes(labels),
        class_names: class_names.to_vec(),
        schema: None,
        nominal_range: Some((0.0, 255.0)),
        source: part.path.display().to_string(),
    })
}
