use sardonyx_data::{Kind, ReadOptions, Target, read, validate};

use super::{folder, gzip, idx, refused};

fn images(n: u32) -> Vec<u8> {
    idx(&[n, 2, 3], &(0..n * 6).map(|i| i as u8).collect::<Vec<_>>())
}

#[test]
fn the_four_files_are_read_plain_and_gzipped() {
    let labels = |values: &[u8]| idx(&[values.len() as u32], values);
    let mixed = folder(&[
        ("train-images-idx3-ubyte.gz", &gzip(&images(3))),
        ("train-labels.idx1-ubyte", &labels(&[2, 0, 1])),
        ("t10k-images-idx3-ubyte", &images(2)),
        ("t10k-images-idx3-ubyte.gz", &gzip(&images(2))),
        ("t10k-labels-idx1-ubyte.gz", &gzip(&labels(&[0, 3]))),
        ("README", b"not data"),
    ]);
    let loaded = read(mixed.path(), &ReadOptions::default()).expect("four files");
    let kind = Kind::Image {
        channels: 1,
        height: 2,
        width: 3,
    };
    assert_eq!((loaded.report.format, loaded.train.kind()), ("IDX", kind));
    assert_eq!(loaded.train.target(), &Target::Classes(vec![2, 0, 1]));
    let expected: Vec<f64> = (0..18).map(f64::from).collect();
    assert_eq!(loaded.train.x().to_f64(), Ok(expected));
    // The test part alone has class 3, and both know it.
    assert_eq!(loaded.train.class_names(), ["0", "1", "2", "3"]);
    assert_eq!(loaded.test.map(|test| test.len()), Some(2));

    for name in ["train-images-idx3-ubyte.gz", "train-labels.idx1-ubyte"] {
        let alone = read(&mixed.path().join(name), &ReadOptions::default()).expect("a pair");
        assert_eq!((alone.train.len(), alone.test.is_none()), (3, true));
        assert_eq!(validate(&alone.train).parts[0].class_counts, [1, 1, 1]);
    }
}

#[test]
fn other_element_types_are_read() {
    let words = |code: u8, values: &[[u8; 4]]| {
        let mut bytes = vec![0, 0, code, 2, 0, 0, 0, 2, 0, 0, 0, 1];
        bytes.extend(values.concat());
        bytes
    };
    for (code, values) in [
        (0x0c, [(-5i32).to_be_bytes(), 7i32.to_be_bytes()]),
        (0x0d, [(-5f32).to_be_bytes(), 7f32.to_be_bytes()]),
    ] {
        let pair = folder(&[
            ("images-idx2", &words(code, &values)),
            ("labels-idx1", &idx(&[2], &[0, 1])),
        ]);
        let loaded = read(pair.path(), &ReadOptions::default()).expect("a pair");
        assert_eq!(loaded.train.x().values::<f32>(), Ok(&[-5.0, 7.0][..]));
    }
}

#[test]
fn damaged_files_are_refused_with_place_and_hint() {
    let good_labels = idx(&[3], &[0, 1, 2]);
    let good = images(3);
    let mut longer = good.clone();
    longer.push(0);
    let mut wrong_magic = good.clone();
    wrong_magic[2] = 7;
    let mut flipped = gzip(&good);
    let middle = flipped.len() - 6;
    flipped[middle] ^= 0x55;
    let claim = idx(&[1_000_000_000, 10], &[0; 80]);
    let overflow = idx(&[u32::MAX; 4], &[0; 80]);
    let zero_times_huge = idx(&[0, u32::MAX, u32::MAX, u32::MAX], &[]);
    let cases: [(&[u8], &str); 11] = [
        (
            &good[..20],
            "the header claims 18 bytes, the file can hold 20",
        ),
        (
            &good[..17],
            "the header claims 18 bytes, the file can hold 17",
        ),
        (&good[..3], "the first bytes"),
        (&good[..9], "the dimensions"),
        (&longer, "more follows than the 18 bytes"),
        (&wrong_magic, "do not start an IDX file"),
        (&gzip(&good)[..25], "the file ends too early"),
        (&flipped, "cannot be decompressed"),
        (
            &claim,
            "the claimed size in bytes is 10000000000, over the limit",
        ),
        (&overflow, "too many elements"),
        (&zero_times_huge, "too many elements"),
    ];
    for (bytes, part) in &cases[1..] {
        let pair = folder(&[
            ("train-images-idx3-ubyte", bytes),
            ("train-labels-idx1-ubyte", &good_labels),
        ]);
        let part = if *part == "the first bytes" {
            "the first 4 bytes"
        } else {
            part
        };
        refused(
            pair.path(),
            &ReadOptions::default(),
            &["train-images-idx3-ubyte", part],
        );
    }
    let pair = folder(&[
        ("train-images-idx3-ubyte", cases[0].0),
        ("train-labels-idx1-ubyte", &good_labels),
    ]);
    refused(
        pair.path(),
        &ReadOptions::default(),
        &["ends after 4 of 18 bytes"],
    );
}

#[test]
fn a_gzip_bomb_is_refused_by_its_claim() {
    // 20 MB of zeros in 20 kB, behind a header that claims 18 bytes; and one that claims them all,
    // against a limit.
    let mut bytes = images(3);
    bytes.resize(20_000_000, 0);
    let labels = idx(&[3], &[0, 1, 2]);
    let bomb = folder(&[
        ("train-images-idx3-ubyte.gz", &gzip(&bytes)),
        ("train-labels-idx1-ubyte", &labels),
    ]);
    refused(
        bomb.path(),
        &ReadOptions::default(),
        &["more follows than the 18 bytes"],
    );

    let honest = idx(&[1, 4000, 5000], &vec![0; 20_000_000]);
    let bomb = folder(&[
        ("train-images-idx3-ubyte.gz", &gzip(&honest)),
        ("train-labels-idx1-ubyte", &idx(&[1], &[0])),
    ]);
    let mut options = ReadOptions::default();
    options.limits.decoded_bytes = 1_000_000;
    refused(
        bomb.path(),
        &options,
        &["20000000, over the limit of 1000000"],
    );
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let labels = idx(&[2], &[0, 1]);
    let pair = folder(&[
        ("train-images-idx3-ubyte", &images(3)),
        ("train-labels-idx1-ubyte", &labels),
    ]);
    refused(
        pair.path(),
        &ReadOptions::default(),
        &["3 inputs but 2 targets"],
    );
    let alone = folder(&[("train-images-idx3-ubyte", &images(3))]);
    refused(
        alone.path(),
        &ReadOptions::default(),
        &["no file of labels", "`train-labels-idx1-ubyte`"],
    );
    let two = folder(&[
        ("a-train-images-idx3-ubyte", &images(2)),
        ("a-train-labels-idx1-ubyte", &labels),
        ("b-train-images-idx3-ubyte", &images(2)),
        ("b-train-labels-idx1-ubyte", &labels),
    ]);
    refused(two.path(), &ReadOptions::default(), &["could be it"]);
    let folder_as_file = folder(&[
        ("train-labels-idx1-ubyte", &labels),
        ("train-images-idx3-ubyte/a", b""),
    ]);
    refused(
        &folder_as_file.path().join("train-labels-idx1-ubyte"),
        &ReadOptions::default(),
        &["no file of images"],
    );
}
