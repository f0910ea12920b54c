//! IDX, the format of MNIST (Y. LeCun's page on it): two zero bytes, an element type, the number of
//! dimensions, the dimensions as 32-bit big-endian integers, then the elements, big-endian.

use std::path::{Path, PathBuf};

use sardonyx_tensor::{Data, Tensor};

use crate::arrays::{Pair, Role, claimed_count};
use crate::error::{DataError, Result};
use crate::limits::Limits;

use super::source::{Entry, Source};

const RANK_MAX: u8 = 8;

/// Whether a file with these first bytes is IDX.
pub(crate) fn is_idx(head: &[u8]) -> bool {
    match *head {
        [0, 0, 0x08 | 0x09 | 0x0b..=0x0e, rank, ..] => (1..=RANK_MAX).contains(&rank),
        _ => false,
    }
}

/// Reads one array.
pub(crate) fn read_array(path: &Path, limits: &Limits) -> Result<Tensor> {
    let mut source = Source::open(path, limits)?;
    let magic = source.header(4, "the first 4 bytes")?;
    if !is_idx(&magic) {
        return Err(DataError::corrupt(
            path,
            "the first 4 bytes",
            format!("{magic:02x?} do not start an IDX file"),
            "an IDX file starts with 00 00, a type from 08 to 0e and a number of dimensions",
        ));
    }
    let (code, rank) = (magic[2], usize::from(magic[3]));
    let shape: Vec<usize> = source
        .header(4 * rank, "the dimensions")?
        .chunks_exact(4)
        .map(|dim| u32::from_be_bytes(dim.try_into().expect("chunks of 4 bytes")) as usize)
        .collect();
    let size = match code {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        _ => 8,
    };
    let count = claimed_count(&shape).map_err(|error| {
        DataError::corrupt(
            path,
            "the dimensions",
            error.to_string(),
            "the header is damaged",
        )
    })?;
    let bytes = source.payload(count as u64 * size, &format!("elements {shape:?}"), limits)?;
    let data = decode(code, bytes);
    Ok(Tensor::from_data(shape, data)?)
}

macro_rules! big_endian {
    ($bytes:expr, $type:ty) => {
        $bytes
            .chunks_exact(size_of::<$type>())
            .map(|word| <$type>::from_be_bytes(word.try_into().expect("whole words")))
            .collect()
    };
}

fn decode(code: u8, bytes: Vec<u8>) -> Data {
    match code {
        0x08 => Data::U8(bytes),
        0x09 => Data::I8(big_endian!(bytes, i8)),
        0x0b => Data::I16(big_endian!(bytes, i16)),
        0x0c => Data::I32(big_endian!(bytes, i32)),
        0x0d => Data::F32(big_endian!(bytes, f32)),
        _ => Data::F64(big_endian!(bytes, f64)),
    }
}

/// The pairs of image and label files among a folder's entries: `train-images-idx3-ubyte`,
/// `t10k-images.idx3-ubyte.gz`, `emnist-letters-test-images-idx3-ubyte` and the like.
pub(crate) fn find_pairs(
    folder: &Path,
    entries: &[Entry],
) -> Result<Vec<(Role, PathBuf, PathBuf)>> {
    let mut pairs: Vec<(Role, PathBuf, PathBuf)> = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let Some(stem) = image_stem(&entry.name) else {
            continue;
        };
        let role = Role::from_name(stem).unwrap_or(Role::Train);
        if let Some((_, known, _)) = pairs.iter().find(|(known, ..)| *known == role) {
            // The same file plain and gzipped is one file; the plain one sorts first.
            if known
                .file_name()
                .and_then(|n| n.to_str())
                .and_then(image_stem)
                == Some(stem)
            {
                continue;
            }
            return Err(DataError::unrecognized(
                folder,
                format!(
                    "both `{}` and `{}` could be it",
                    known.display(),
                    entry.name
                ),
                "name one of the image files instead of the folder",
            ));
        }
        pairs.push((role, entry.path.clone(), labels_of(&entry.path, entries)?));
    }
    Ok(pairs)
}

/// Reads the pair that an image file (or a label file) belongs to.
pub(crate) fn pair_of(path: &Path, entries: &[Entry]) -> Result<(PathBuf, PathBuf)> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if !name.contains("labels") {
        return Ok((path.to_owned(), labels_of(path, entries)?));
    }
    let wanted = stem_of(&name.replacen("labels", "images", 1));
    let images = entries
        .iter()
        .find(|entry| !entry.is_dir && stem_of(&entry.name) == wanted);
    match images {
        Some(images) => Ok((images.path.clone(), path.to_owned())),
        None => Err(DataError::unrecognized(
            path,
            "these are labels, and there is no file of images beside them",
            "put the file of images into the same folder",
        )),
    }
}

pub(crate) fn read_pair(
    role: Role,
    images: PathBuf,
    labels: &Path,
    limits: &Limits,
) -> Result<Pair> {
    Ok(Pair {
        role,
        x: read_array(&images, limits)?,
        y: read_array(labels, limits)?,
        y_name: labels.display().to_string(),
        path: images,
    })
}

fn labels_of(images: &Path, entries: &[Entry]) -> Result<PathBuf> {
    let name = images
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let wanted = stem_of(&name.replacen("images", "labels", 1));
    let labels = entries
        .iter()
        .find(|entry| !entry.is_dir && name.contains("images") && stem_of(&entry.name) == wanted);
    labels.map(|labels| labels.path.clone()).ok_or_else(|| {
        DataError::unrecognized(
            images,
            "there is no file of labels beside it",
            format!("put `{wanted}-idx1-ubyte` (or .gz) into the same folder"),
        )
    })
}

fn image_stem(name: &str) -> Option<&str> {
    let (start, rest) = name.split_once("images")?;
    rest.contains("idx").then_some(start)
}

/// The name up to what tells the format: `train-labels` of `train-labels.idx1-ubyte.gz`.
fn stem_of(name: &str) -> String {
    let end = name.find("idx").unwrap_or(name.len());
    name[..end].trim_end_matches(['-', '.', '_']).to_owned()
}
