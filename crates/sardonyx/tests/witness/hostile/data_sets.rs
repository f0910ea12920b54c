//! Data sets that are none: made here, each with a name that tells what is wrong.

use std::fs;
use std::path::Path;

use sardonyx::data::npy;
use sardonyx::tensor::{Philox, Tensor};

use super::noise;
use crate::support::Place;

pub(super) const N: usize = 60;
pub(super) const FEATURES: usize = 4;

pub(super) fn golden(path: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sardonyx-data/tests/golden");
    fs::read(folder.join(path)).expect("committed")
}

fn rows(value: f32) -> Vec<u8> {
    array(Tensor::new([N, FEATURES], vec![value; N * FEATURES]).expect("a tensor"))
}

pub(super) fn array(tensor: Tensor) -> Vec<u8> {
    npy::to_bytes(&tensor).expect("an array")
}

/// Rows that tell nothing odd, and labels made of their numbers.
pub(super) fn ramp() -> Vec<u8> {
    let values: Vec<f32> = (0..N * FEATURES).map(|at| (at % 13) as f32).collect();
    array(Tensor::new([N, FEATURES], values).expect("a tensor"))
}

pub(super) fn labels(len: usize, label: impl Fn(usize) -> i64) -> Vec<u8> {
    let labels: Vec<i64> = (0..len).map(label).collect();
    array(Tensor::new([len], labels).expect("a tensor"))
}

fn float_labels(label: impl Fn(usize) -> f32) -> Vec<u8> {
    let labels: Vec<f32> = (0..N).map(label).collect();
    array(Tensor::new([N], labels).expect("a tensor"))
}

fn claim(shape: &str) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend([0; 64]);
    bytes
}

pub(super) fn idx(dims: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(payload);
    bytes
}

/// Arrays `x.npy` and `y.npy` that do not make a data set.
pub(super) fn array_pairs() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let two = || labels(N, |row| (row % 2) as i64);
    let zero_rows = array(Tensor::new([0, FEATURES], Vec::<f32>::new()).expect("a tensor"));
    let zero_columns = array(Tensor::new([N, 0], Vec::<f32>::new()).expect("a tensor"));
    let deep = array(Tensor::new([N, 1, 1, 1, 2, 2], vec![0.0_f32; N * 4]).expect("a tensor"));
    vec![
        ("all-nan", rows(f32::NAN), two()),
        ("infinite", rows(f32::INFINITY), two()),
        (
            "too-few-labels",
            ramp(),
            labels(N - 1, |row| (row % 2) as i64),
        ),
        (
            "too-many-labels",
            ramp(),
            labels(N + 1, |row| (row % 2) as i64),
        ),
        ("one-class", ramp(), labels(N, |_| 0)),
        (
            "negative-labels",
            ramp(),
            labels(N, |row| -((row % 2) as i64) - 1),
        ),
        (
            "huge-labels",
            ramp(),
            labels(N, |row| i64::MAX - (row % 2) as i64),
        ),
        (
            "sparse-labels",
            ramp(),
            labels(N, |row| (row % 2) as i64 * 4_000_000_000),
        ),
        (
            "fractional-labels",
            ramp(),
            float_labels(|row| row as f32 / 7.0),
        ),
        ("nan-labels", ramp(), float_labels(|_| f32::NAN)),
        ("no-rows", zero_rows, labels(0, |_| 0)),
        ("no-columns", zero_columns, two()),
        ("too-many-dims", deep, two()),
        ("giant", claim("(60, 1099511627776)"), two()),
        (
            "overflow",
            claim("(4294967296, 4294967296, 4294967296)"),
            two(),
        ),
        ("more-than-there-is", claim("(60, 4000)"), two()),
        ("negative-shape", claim("(-60, 4)"), two()),
        ("text", b"not an array".to_vec(), two()),
        ("empty", Vec::new(), two()),
    ]
}

/// Tables that are none.
fn tables() -> Vec<(&'static str, Vec<u8>)> {
    let wide: Vec<String> = (0..70_000).map(|column| column.to_string()).collect();
    let wide = wide.join(",");
    let one_class = "a,b,y\n".to_owned() + &"1,2,p\n".repeat(40);
    let every_row = (0..40).map(|row| format!("{row},2,class{row}\n"));
    vec![
        ("empty", Vec::new()),
        ("header-only", b"a,b,y\n".to_vec()),
        ("open-quote", b"a,b,y\n1,2,p\n\"3,4,q\n5,6,p\n".to_vec()),
        ("ragged", b"a,b,y\n1,2,p\n3,q\n4,5,6,7,p\n".to_vec()),
        ("latin-1", b"a,b,y\n1,\xe9\xff,p\n2,3,q\n".to_vec()),
        ("binary", b"a,b,y\n1,\0\0,p\n\0\0\0\0\n".to_vec()),
        ("too-wide", format!("{wide}\n{wide}\n").into_bytes()),
        ("one-column", b"y\np\nq\np\nq\n".to_vec()),
        ("one-class", one_class.into_bytes()),
        (
            "all-missing",
            ("a,b,y\n".to_owned() + &",,p\n,,q\n".repeat(20)).into_bytes(),
        ),
        (
            "every-row-a-class",
            ("a,b,y\n".to_owned() + &every_row.collect::<String>()).into_bytes(),
        ),
        ("same-names", b"a,a,a\n1,2,3\n1,2,4\n".to_vec()),
        (
            "endless-line",
            [b"a,b,y\n".to_vec(), vec![b'9'; 17 << 20]].concat(),
        ),
    ]
}

/// Writes data sets that must be refused, and gives their paths.
pub(super) fn write_data_sets(place: &Place) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, x, y) in array_pairs() {
        place.write(&format!("arrays-{name}/x.npy"), x);
        place.write(&format!("arrays-{name}/y.npy"), y);
        paths.push(format!("arrays-{name}"));
    }
    for (name, table) in tables() {
        place.write(&format!("table-{name}.csv"), table);
        paths.push(format!("table-{name}.csv"));
    }
    for (folder, files) in folders() {
        for (name, bytes) in files {
            place.write(&format!("{folder}/{name}"), bytes);
        }
        paths.push(folder.to_owned());
    }
    paths.push("zip-noise/d.npz".to_owned());
    paths.extend(write_odd_places(place));
    paths
}

/// The files of a folder.
type Files = Vec<(&'static str, Vec<u8>)>;

/// Folders of files that do not make a data set.
fn folders() -> Vec<(&'static str, Files)> {
    let mut rng = Philox::new(31, 0);
    let picture = || golden("images/gray.png");
    let (images, classes) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    let idx_folder = |dims: &[u32], n_bytes: usize, labels: Vec<u8>| {
        vec![(images, idx(dims, &vec![7; n_bytes])), (classes, labels)]
    };
    let gzip = [&b"\x1f\x8b\x08\0"[..], &noise(400, &mut rng)].concat();
    let zip = [&b"PK\x03\x04"[..], &noise(400, &mut rng)].concat();
    vec![
        (
            "idx-giant",
            idx_folder(&[60_000, 65_535, 65_535], 64, idx(&[60_000], &[0; 64])),
        ),
        (
            "idx-short",
            idx_folder(&[60, 4, 4], 959, idx(&[60], &[1; 60])),
        ),
        (
            "idx-labels",
            idx_folder(&[60, 4, 4], 960, idx(&[4], &[1, 0, 1, 0])),
        ),
        (
            "idx-gzip",
            vec![
                ("train-images-idx3-ubyte.gz", gzip),
                ("train-labels-idx1-ubyte.gz", noise(40, &mut rng)),
            ],
        ),
        (
            "empty-class",
            vec![("cat/1.png", picture()), ("dog/read.me", vec![1])],
        ),
        (
            "no-picture",
            vec![("cat/1.png", b"a text".to_vec()), ("dog/1.png", Vec::new())],
        ),
        (
            "huge-picture",
            vec![("cat/1.png", with_huge_header()), ("dog/1.png", picture())],
        ),
        ("zip-noise", vec![("d.npz", zip)]),
        (
            "folder-for-file",
            vec![("x.npy/inside", vec![0]), ("y.npy", labels(N, |_| 0))],
        ),
    ]
}

/// A picture whose header tells of 2^31 - 1 pixels a side.
pub(super) fn with_huge_header() -> Vec<u8> {
    let mut png = golden("images/gray.png");
    png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    png
}

/// What is neither a file nor a folder of files.
fn write_odd_places(place: &Place) -> Vec<String> {
    fs::create_dir_all(place.path("nothing")).expect("created");
    fs::create_dir_all(place.path("folder.csv")).expect("created");
    let mut paths = vec![
        "nothing".to_owned(),
        "folder.csv".to_owned(),
        "nobody.npz".to_owned(),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("loop", place.path("loop")).expect("a link");
        let made = std::process::Command::new("mkfifo")
            .arg(place.path("pipe.csv"))
            .status();
        assert!(made.expect("mkfifo runs").success());
        paths.extend(["loop", "pipe.csv", "/dev/zero"].map(str::to_owned));
    }
    paths
}
