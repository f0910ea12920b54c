//! Files made to hurt: claims of huge sizes, truncation at every byte, wrong kinds of files.

use std::fs;
use std::io::{Cursor, Write};

use sardonyx_data::{Limits, ReadOptions, npy, read};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{folder, golden, gzip, idx, refused, rewrite};

fn npy_with(header: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn hostile_npy_headers_are_refused() {
    let dict = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
    };
    let cases = [
        (dict("'<f4'", "False", "(3000000000,)"), "over the limit"),
        (
            dict("'<f4'", "False", "(1000000,)"),
            "claims 4000000 bytes, the file can hold",
        ),
        (
            dict("'<f4'", "True", "(99999999999, 99999999999, 99999999999)"),
            "too many elements",
        ),
        (
            dict("'<f4'", "True", "(0, 99999999999, 99999999999)"),
            "too many elements",
        ),
        (
            dict("'<f4'", "False", "(99999999999999999999999,)"),
            "not what numpy writes",
        ),
        (dict("'<f4'", "False", "(-1,)"), "not what numpy writes"),
        (dict("'<f4'", "False", "(2, 2"), "not what numpy writes"),
        (dict("'<f4'", "Maybe", "(2,)"), "not what numpy writes"),
        (dict("'<f3'", "False", "(2,)"), "elements of type `<f3`"),
        (dict("''", "False", "(2,)"), "elements of type ``"),
        (dict("'<'", "False", "(2,)"), "elements of type `<`"),
        (dict("'\u{e9}4'", "False", "(2,)"), "elements of type"),
        ("{}".to_owned(), "not what numpy writes"),
        ("{'descr': '<f4'".to_owned(), "not what numpy writes"),
        (String::new(), "not what numpy writes"),
        ("{'a': 1}".repeat(1000), "not what numpy writes"),
        (
            format!("{{'shape': ({}), }}", "1,".repeat(100)),
            "not what numpy writes",
        ),
        (
            dict("'<f4'", "False", &format!("({})", "1,".repeat(100))),
            "limit of 32 dimensions",
        ),
    ];
    for (header, part) in cases {
        let data = folder(&[("x.npy", &npy_with(&header, &[0; 8]))]);
        let path = data.path().join("x.npy");
        let error = npy::read(&path, &Limits::default())
            .expect_err(&header)
            .to_string();
        assert!(
            error.contains("x.npy") && error.contains(part),
            "{header}: {error}"
        );
        assert!(error.contains("; hint: "), "{error}");
    }
    let huge_header = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'";
    let version = b"\x93NUMPY\x09\x00\x10\x00{'descr'";
    for (bytes, part) in [
        (&huge_header[..], "4294967295 bytes"),
        (version, "version 9"),
    ] {
        let data = folder(&[("x.npy", bytes)]);
        let error = npy::read(&data.path().join("x.npy"), &Limits::default()).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Every truncation and every flipped byte is an error or another array, never a panic.
#[test]
fn no_truncation_or_flipped_byte_panics() {
    let data = folder(&[]);
    let files = [
        (
            "x.npy",
            fs::read(golden("numpy/f4_be_f.npy")).expect("a golden file"),
        ),
        (
            "k.npz",
            fs::read(golden("numpy/keras_compressed.npz")).expect("a golden file"),
        ),
        (
            "t.csv",
            fs::read(golden("sklearn/test.csv")).expect("a golden file"),
        ),
        ("t.csv.gz", gzip(b"a,b,y\n1,2,p\n3,4,q\n")),
        ("train-images-idx3-ubyte", idx(&[2, 2, 2], &[7; 8])),
        (
            "train-images-idx3-ubyte.gz",
            gzip(&idx(&[2, 2, 2], &[7; 8])),
        ),
    ];
    fs::write(data.path().join("y.npy"), npy_with("", &[])).expect("a file");
    fs::write(
        data.path().join("train-labels-idx1-ubyte"),
        idx(&[2], &[0, 1]),
    )
    .expect("a file");
    let mut n_errors = 0;
    for (name, good) in files {
        let path = data.path().join(name);
        for position in 0..good.len() {
            let mut flipped = good.clone();
            flipped[position] ^= 1 << (position % 8);
            for bytes in [&good[..position], &flipped] {
                rewrite(&path, bytes);
                if let Err(error) = read(&path, &ReadOptions::default()) {
                    n_errors += 1;
                    assert!(error.to_string().contains("; hint: "), "{error}");
                }
            }
        }
        fs::remove_file(path).expect("the file is there");
    }
    assert!(n_errors > 1_000, "{n_errors}");
}

#[test]
fn wrong_kinds_of_paths_are_refused() {
    let data = folder(&[
        ("model.onnx", b"\x08\x0a\x12\x00 not data"),
        ("text.csv", b""),
        ("sub/x.npy/y", b""),
    ]);
    let options = ReadOptions::default();
    refused(
        &data.path().join("none"),
        &options,
        &["No such file", "check the spelling"],
    );
    refused(
        &data.path().join("model.onnx"),
        &options,
        &["no known format", "expected a folder"],
    );
    refused(
        &data.path().join("text.csv"),
        &options,
        &["the file is empty"],
    );
    refused(
        &data.path().join("sub"),
        &options,
        &["x.npy", "has no PNG or JPEG file"],
    );
    refused(folder(&[]).path(), &options, &["the folder is empty"]);
    let as_file = npy::read(data.path(), &Limits::default())
        .expect_err("a folder")
        .to_string();
    assert!(
        as_file.contains("expected a file, found a folder"),
        "{as_file}"
    );
    #[cfg(unix)]
    {
        refused(
            "/dev/zero".as_ref(),
            &options,
            &["expected a file, found neither"],
        );
        let link = data.path().join("loop");
        std::os::unix::fs::symlink(&link, &link).expect("a link");
        refused(&link, &options, &["loop"]);
    }
    let mut small = ReadOptions::default();
    small.limits.file_bytes = 4;
    refused(
        &data.path().join("model.onnx"),
        &small,
        &["limits.file_bytes"],
    );
}

#[test]
#[cfg(unix)]
fn a_folder_that_contains_itself_ends() {
    let png = fs::read(golden("images/gray.png")).expect("a golden file");
    let data = folder(&[("a/1.png", &png), ("b/1.png", &png)]);
    std::os::unix::fs::symlink(data.path(), data.path().join("a/again")).expect("a link");
    let loaded = read(data.path(), &ReadOptions::default()).expect("two classes");
    assert_eq!((loaded.train.len(), loaded.report.n_skipped_files), (2, 1));
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in members {
        writer
            .start_file(*name, options)
            .expect("writing to memory");
        writer.write_all(bytes).expect("writing to memory");
    }
    writer.finish().expect("writing to memory").into_inner()
}

#[test]
fn hostile_archives_are_refused() {
    let dict = "{'descr': '|u1', 'fortran_order': False, 'shape': (50000000,), }";
    let bomb = npy_with(dict, &vec![0; 50_000_000]);
    let y = npy_with(
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }",
        &[0],
    );
    let data = folder(&[("d.npz", &archive(&[("x.npy", &bomb), ("y.npy", &y)]))]);
    let mut options = ReadOptions::default();
    options.limits.decoded_bytes = 1_000_000;
    refused(
        &data.path().join("d.npz"),
        &options,
        &["50000000, over the limit of 1000000"],
    );

    let claims = npy_with(&dict.replace("50000000", "500000000"), &[0; 100]);
    let short = archive(&[("x.npy", &claims), ("y.npy", &y)]);
    let mut many = short.clone();
    // The end record's counts of members: 65,535.
    let end = many.len() - 22;
    many[end + 8..end + 12].fill(0xff);
    let cases = [
        ("claims.npz", short.clone(), "x.npy"),
        ("many.npz", many, "not a readable ZIP"),
        (
            "cut.npz",
            short[..short.len() - 30].to_vec(),
            "not a readable ZIP",
        ),
        ("magic.npz", b"PK\x03\x04".to_vec(), "not a readable ZIP"),
        (
            "not.npz",
            archive(&[("x.npy", b"no array"), ("y.npy", &y)]),
            "NPY magic is missing",
        ),
        (
            "names.npz",
            archive(&[("../x.npy", &y), ("y.npy", &y)]),
            "known inputs and targets",
        ),
    ];
    for (name, bytes, part) in cases {
        let data = folder(&[(name, &bytes)]);
        refused(
            &data.path().join(name),
            &ReadOptions::default(),
            &[name, part],
        );
    }
}

/// What a header claims must not cost memory: only what is really there may.
#[test]
fn claims_cost_no_memory() {
    let claim = idx(&[60_000, 100, 100], &[0; 100]);
    // Incompressible bytes before the end, so that the claim is possible for the file's size.
    let mut rng = sardonyx_tensor::Philox::new(0, 0);
    let noise: Vec<u8> = (0..600_000).map(|_| rng.next_u32() as u8).collect();
    let zipped = gzip(&idx(&[60_000, 100, 100], &noise));
    let dict = "{'descr': '<f8', 'fortran_order': True, 'shape': (100000, 1000), }";
    let array = npy_with(dict, &[0; 100]);
    let y = npy_with(
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }",
        &[0],
    );
    let labels = idx(&[60_000], &[0; 100]);
    let mut jpeg = fs::read(golden("images/gray.jpg")).expect("a golden file");
    let frame = jpeg
        .windows(2)
        .position(|marker| marker == [0xff, 0xc0])
        .expect("a frame header");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0x40, 0x1f, 0x40]);
    let png = fs::read(golden("images/gray.png")).expect("a golden file");
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Files<'_>, &str); 5] = [
        (
            &[
                ("train-images-idx3-ubyte", &claim),
                ("train-labels-idx1-ubyte", &labels),
            ],
            "claims",
        ),
        (
            &[
                ("train-images-idx3-ubyte.gz", &zipped),
                ("train-labels-idx1-ubyte", &labels),
            ],
            "ends",
        ),
        (&[("x.npy", &array), ("y.npy", &y)], "claims"),
        (
            &[("d.npz", &archive(&[("x.npy", &array), ("y.npy", &y)]))],
            "claims",
        ),
        (
            &[("a/1.jpg", &jpeg), ("b/1.png", &png)],
            "claims 8000 x 8000 pixels",
        ),
    ];
    for (files, part) in cases {
        let data = folder(files);
        let measured = allocation_counter::measure(|| {
            refused(data.path(), &ReadOptions::default(), &[part]);
        });
        assert!(
            measured.bytes_max < 4_000_000,
            "{part}: {} bytes",
            measured.bytes_max
        );
    }
}
