//! The readers and fitted preprocessing against outside witnesses (numpy, scikit-learn, Pillow: the
//! files and scripts under `tests/golden`) and against damaged and hostile files.

mod arrays;
mod csv_tables;
mod hostile;
mod idx_files;
mod image_files;
mod predict_inputs;
mod scaled;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sardonyx_data::{Limits, ReadOptions, npy, read};
use sardonyx_tensor::Tensor;
use tempfile::TempDir;

/// A file under `tests/golden`.
fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

/// A golden array.
fn array(path: &str) -> Tensor {
    npy::read(&golden(path), &Limits::default()).expect("a golden file")
}

/// A fresh folder with these files in it.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    folder
}

/// Writes a file anew. Some file systems wait for the disk when a file is emptied and written
/// again, which tests that do so thousands of times would feel.
fn rewrite(path: &Path, bytes: &[u8]) {
    if path.exists() {
        fs::remove_file(path).expect("the file is there");
    }
    fs::write(path, bytes).expect("a file");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Bytes of an IDX file of `u8`.
fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

/// Reading must fail with a message that names `path`'s file, contains all `parts` and has a hint.
fn refused(path: &Path, options: &ReadOptions, parts: &[&str]) {
    let message = match read(path, options) {
        Ok(loaded) => panic!("{} was read: {loaded:?}", path.display()),
        Err(error) => error.to_string(),
    };
    for part in parts.iter().chain(&["; hint: "]) {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
    assert!(
        !message.contains('\n') && message.len() < 2_000,
        "{message}"
    );
}
