use std::fs;

use sardonyx_data::{Kind, Layout, Limits, ReadOptions, Target, TargetKind, npy, read};
use sardonyx_tensor::{DType, Tensor, f16};

use super::{array, folder, golden};

/// The pattern of the script: element i is i * 7 % 100.
fn pattern(count: usize) -> Vec<f64> {
    (0..count).map(|i| (i * 7 % 100) as f64).collect()
}

#[test]
fn every_type_and_order_of_numpy_is_read() {
    let types = [
        ("u1", DType::U8),
        ("i4", DType::I32),
        ("i8", DType::I64),
        ("f4", DType::F32),
        ("f8", DType::F64),
    ];
    for (name, dtype) in types {
        for order in ["le_c", "le_f", "be_c", "be_f"] {
            let tensor = array(&format!("numpy/{name}_{order}.npy"));
            assert_eq!(
                (tensor.dtype(), tensor.shape()),
                (dtype, &[3, 4, 2][..]),
                "{name} {order}"
            );
            let factor = if dtype.is_float() { 0.125 } else { 1.0 };
            let expected: Vec<f64> = pattern(24).iter().map(|v| v * factor).collect();
            assert_eq!(tensor.to_f64(), Ok(expected), "{name} {order}");
        }
    }
    let others = [
        ("i1", DType::I8),
        ("i2", DType::I16),
        ("u2", DType::U16),
        ("u4", DType::U32),
        ("u8", DType::U64),
    ];
    for (name, dtype) in others {
        let tensor = array(&format!("numpy/{name}_le_c.npy"));
        assert_eq!(
            (tensor.dtype(), tensor.to_f64()),
            (dtype, Ok(pattern(24))),
            "{name}"
        );
    }
    let half: Vec<f16> = pattern(24).iter().map(|v| f16::from_f64(v / 8.0)).collect();
    assert_eq!(array("numpy/f2_le_c.npy").values::<f16>(), Ok(&half[..]));
    let parity: Vec<bool> = (0..24).map(|i| i * 7 % 100 % 2 == 1).collect();
    assert_eq!(array("numpy/b1_le_c.npy").values::<bool>(), Ok(&parity[..]));
}

#[test]
fn every_rank_and_version_of_numpy_is_read() {
    assert_eq!(array("numpy/scalar.npy"), Tensor::scalar(2.5f32));
    assert_eq!(array("numpy/vector.npy").shape(), [5]);
    assert_eq!(array("numpy/empty.npy").shape(), [0, 5]);
    for version in [2, 3] {
        assert_eq!(
            array(&format!("numpy/version_{version}.npy")),
            array("numpy/f4_le_c.npy")
        );
    }
}

#[test]
fn written_files_are_numpys_own_to_the_byte() {
    let names = [
        "u1_le_c", "i4_le_c", "i8_le_c", "f4_le_c", "f8_le_c", "b1_le_c", "i1_le_c", "i2_le_c",
        "u2_le_c", "u4_le_c", "u8_le_c", "f2_le_c", "scalar", "vector", "empty",
    ];
    for name in names {
        let path = golden(&format!("numpy/{name}.npy"));
        let tensor = npy::read(&path, &Limits::default()).expect("a golden file");
        let written = npy::to_bytes(&tensor).expect("a number type");
        assert_eq!(written, fs::read(path).expect("a golden file"), "{name}");
    }
    assert!(npy::to_bytes(&Tensor::vector(vec!["text".to_owned()])).is_err());
}

#[test]
fn what_is_not_numbers_is_refused() {
    for (name, part) in [
        ("object", "objects are never loaded"),
        ("text", "use class numbers"),
        ("complex", "`<c16`"),
        ("record", "`a record`"),
    ] {
        let path = golden(&format!("numpy/refused_{name}.npy"));
        let error = npy::read(&path, &Limits::default())
            .expect_err(name)
            .to_string();
        assert!(
            error.contains(part) && error.contains("; hint: "),
            "{error}"
        );
    }
}

#[test]
fn archives_with_known_names_are_read() {
    for name in ["keras", "keras_compressed"] {
        let path = golden(&format!("numpy/{name}.npz"));
        let loaded = read(&path, &ReadOptions::default()).expect(name);
        assert_eq!(loaded.report.format, "NPZ");
        let image = Kind::Image {
            channels: 1,
            height: 4,
            width: 5,
        };
        assert_eq!((loaded.train.kind(), loaded.train.len()), (image, 6));
        assert_eq!(loaded.train.labels(), Some(&[0, 1, 2, 0, 1, 2][..]));
        assert_eq!(loaded.train.x().to_f64(), Ok(pattern(120)));
        assert_eq!(loaded.train.x().dtype(), DType::U8);
        let test = loaded.test.expect("a test part");
        assert_eq!(test.labels(), Some(&[2, 1, 0][..]));
        assert_eq!(test.class_names(), ["0", "1", "2"]);
        assert!(loaded.validation.is_none());
    }
}

/// MedMNIST keeps colour images channels last and labels in a column.
#[test]
fn channels_last_becomes_channels_first() {
    let path = golden("numpy/medmnist.npz");
    let loaded = read(&path, &ReadOptions::default()).expect("three parts");
    assert_eq!(loaded.train.x().shape(), [6, 3, 4, 5]);
    let last = pattern(360);
    let x = loaded.train.x().to_f64().expect("numbers");
    for (i, &value) in x.iter().enumerate() {
        let (n, c, y, x) = (i / 60, i / 20 % 3, i / 5 % 4, i % 5);
        assert_eq!(value, last[((n * 4 + y) * 5 + x) * 3 + c]);
    }
    assert_eq!(loaded.validation.map(|part| part.len()), Some(3));
    assert_eq!(loaded.test.map(|part| part.len()), Some(3));
}

#[test]
fn targets_with_fractions_are_regression() {
    let path = golden("numpy/nameless.npz");
    let loaded = read(&path, &ReadOptions::default()).expect("arr_0 and arr_1");
    assert_eq!(
        loaded.train.target(),
        &Target::Values(vec![0.5, 1.5, 2.5, 3.5])
    );
    assert_eq!(loaded.train.kind(), Kind::Table { features: 3 });
    assert_eq!(loaded.train.x().dtype(), DType::F32);
    let classes = ReadOptions {
        target_kind: TargetKind::Classes,
        ..ReadOptions::default()
    };
    super::refused(&path, &classes, &["sample 0 is 0.5, not a class id"]);
    super::refused(
        &golden("numpy/unknown_names.npz"),
        &ReadOptions::default(),
        &[
            "unknown_names.npz",
            "features.npy, classes.npy",
            "call them x and y",
        ],
    );
}

fn save(tensor: &Tensor) -> Vec<u8> {
    npy::to_bytes(tensor).expect("numbers")
}

#[test]
fn npy_files_are_paired_by_name() {
    let x = save(&Tensor::from_fn([4, 3], |i| i as f64).expect("small"));
    let y = save(&Tensor::vector(vec![1i64, 0, 1, 2]));
    let pairs = folder(&[
        ("x.npy", &x),
        ("y.npy", &y),
        ("classes.txt", b"cat\ndog\nowl\n"),
    ]);
    for path in [pairs.path().to_owned(), pairs.path().join("x.npy")] {
        let loaded = read(&path, &ReadOptions::default()).expect("a pair");
        assert_eq!(loaded.train.labels(), Some(&[1, 0, 1, 2][..]));
        assert_eq!(loaded.train.class_names(), ["cat", "dog", "owl"]);
        assert_eq!(loaded.train.feature_names(), ["x0", "x1", "x2"]);
    }
    let four = folder(&[
        ("x_train.npy", &x),
        ("y_train.npy", &y),
        ("x_test.npy", &x),
        ("y_test.npy", &y),
    ]);
    let loaded = read(four.path(), &ReadOptions::default()).expect("two pairs");
    assert_eq!(loaded.test.map(|test| test.len()), Some(4));
    let options = ReadOptions::default();
    super::refused(
        &pairs.path().join("y.npy"),
        &options,
        &["none with its targets beside it"],
    );
    let short = folder(&[
        ("x.npy", &x),
        ("y.npy", &save(&Tensor::vector(vec![0i32, 1]))),
    ]);
    super::refused(short.path(), &options, &["x.npy: 4 inputs but 2 targets"]);
    let names = folder(&[("x.npy", &x), ("y.npy", &y), ("classes.txt", b"cat\ndog\n")]);
    super::refused(
        names.path(),
        &options,
        &["sample 3 has class id 2, but there are 2 classes"],
    );
    let square = folder(&[("x.npy", &x), ("y.npy", &x)]);
    super::refused(
        square.path(),
        &options,
        &["y.npy", "targets of shape [4, 3]"],
    );
}

#[test]
fn layout_and_range_are_guarded() {
    let y = save(&Tensor::vector(vec![1i64, 0]));
    let pair = |x: &Tensor| folder(&[("x.npy", &save(x)), ("y.npy", &y)]);
    let both = pair(&Tensor::from_fn([2, 3, 5, 3], |i| i as u8).expect("small"));
    let mut options = ReadOptions::default();
    super::refused(both.path(), &options, &["channels may come first or last"]);
    for (layout, channels_height) in [
        (Layout::ChannelsFirst, [3, 5]),
        (Layout::ChannelsLast, [3, 3]),
    ] {
        options.layout = Some(layout);
        let loaded = read(both.path(), &options).expect("a layout is given");
        assert_eq!(loaded.train.x().shape()[1..3], channels_height);
    }
    let huge = pair(&Tensor::new([2, 2], vec![1.0, 2.0, 3.0, 1e300f64]).expect("small"));
    super::refused(
        huge.path(),
        &options,
        &["1e300 in sample 1 does not fit an f32"],
    );
    let negative = folder(&[
        (
            "x.npy",
            &save(&Tensor::from_fn([2, 2], |_| 0f32).expect("small")),
        ),
        ("y.npy", &save(&Tensor::vector(vec![0i64, -1]))),
    ]);
    super::refused(
        negative.path(),
        &options,
        &["sample 1 is -1, not a class id"],
    );
    let many = folder(&[
        (
            "x.npy",
            &save(&Tensor::from_fn([2, 2], |_| 0f32).expect("small")),
        ),
        ("y.npy", &save(&Tensor::vector(vec![0u64, u64::MAX]))),
    ]);
    super::refused(many.path(), &options, &["a class id is", "limits.classes"]);
}

#[test]
fn rows_become_images_of_a_given_size() {
    let x = save(&Tensor::from_fn([2, 12], |i| i as u8).expect("small"));
    let pair = folder(&[
        ("x.npy", &x),
        ("y.npy", &save(&Tensor::vector(vec![1i64, 0]))),
    ]);
    let mut options = ReadOptions::default();
    options.image.size = Some((3, 4));
    let loaded = read(pair.path(), &options).expect("12 pixels");
    assert_eq!(
        (loaded.train.x().shape(), loaded.train.x().dtype()),
        (&[2, 1, 3, 4][..], DType::U8)
    );
    assert_eq!(loaded.train.nominal_range(), Some((0.0, 255.0)));
    options.image.size = Some((5, 5));
    super::refused(
        pair.path(),
        &options,
        &["12 numbers do not make images of 5 x 5"],
    );
}
