use std::fs;
use std::path::Path;

use sardonyx_data::{
    Color, InputSpec, Limits, ReadOptions, image_from_bytes, npy, read, read_inputs,
};
use sardonyx_tensor::Tensor;

use super::{array, folder, golden, refused, rewrite};

/// Pixels of an image file as `[channels, height, width]` in a model's form.
fn pixels(file: &str, (channels, height, width): (usize, usize, usize)) -> Vec<f64> {
    let spec = InputSpec::Image {
        channels,
        height,
        width,
        pixel_max: 255.0,
    };
    let path = golden(&format!("images/{file}"));
    let inputs = read_inputs(&path, &spec, &ReadOptions::default()).expect(file);
    let bytes = std::fs::read(&path).expect(file);
    let from_bytes = image_from_bytes(file, &bytes, &spec, &Limits::default()).expect(file);
    assert_eq!(from_bytes, inputs.x);
    assert_eq!(inputs.names, [file]);
    assert_eq!(inputs.x.shape(), [1, channels, height, width]);
    inputs.x.to_f64().expect("numbers")
}

/// Pillow's array `[height, width]` or `[height, width, 3]` must be equal up to `tolerance`.
fn check(file: &str, expected: &str, tolerance: f64) {
    let expected = array(&format!("images/{expected}.npy"));
    let (height, width) = (expected.shape()[0], expected.shape()[1]);
    let channels = if expected.rank() == 3 { 3 } else { 1 };
    let found = pixels(file, (channels, height, width));
    let expected = expected.to_f64().expect("numbers");
    for (i, found) in found.iter().enumerate() {
        let (channel, pixel) = (i / (height * width), i % (height * width));
        let wanted = expected[pixel * channels + channel];
        assert!(
            (found - wanted).abs() <= tolerance,
            "{file}, pixel {pixel}: {found}, {wanted}"
        );
    }
}

#[test]
fn pixels_are_those_of_pillow() {
    check("gray.png", "gray", 0.0);
    check("rgb.png", "rgb", 0.0);
    check("rgb.png", "rgb_as_gray", 0.0);
    check("rgba.png", "rgb", 0.0);
    check("gray16.png", "gray16", 0.0);
    check("palette.png", "palette", 0.0);
    // Decoders of JPEG may round the inverse transform in their own ways.
    check("gray.jpg", "gray_jpg", 2.0);
    check("rgb.jpg", "rgb_jpg", 4.0);
}

#[test]
fn resizing_is_that_of_pillow() {
    check("gray.png", "gray_8x8", 1.0);
    check("gray.png", "gray_45x50", 1.0);
    check("rgb.png", "rgb_10x12", 1.0);
}

#[test]
fn raw_values_are_scaled_to_the_models_own() {
    let spec = InputSpec::Image {
        channels: 1,
        height: 30,
        width: 20,
        pixel_max: 16.0,
    };
    let path = golden("images/gray.png");
    let inputs = read_inputs(&path, &spec, &ReadOptions::default()).expect("an image");
    let raw = array("images/gray.npy").to_f64().expect("numbers");
    for (found, raw) in inputs.x.to_f64().expect("numbers").iter().zip(raw) {
        assert!((found - raw * 16.0 / 255.0).abs() < 1e-5);
    }
}

#[test]
fn folders_of_classes_are_read() {
    let loaded = read(&golden("images/by_class"), &ReadOptions::default()).expect("two parts");
    assert_eq!(loaded.report.format, "image folder");
    assert_eq!(loaded.train.class_names(), ["cat", "dog"]);
    assert_eq!(loaded.train.x().shape(), [6, 1, 6, 5]);
    assert_eq!(loaded.train.labels(), Some(&[0, 0, 0, 1, 1, 1][..]));
    assert_eq!(loaded.test.map(|test| test.len()), Some(4));
    // The part that has no training part beside it is read alone.
    let alone = read(&golden("images/by_class/test"), &ReadOptions::default()).expect("one part");
    assert_eq!(alone.train.len(), 4);

    let mut options = ReadOptions::default();
    options.image.size = Some((4, 4));
    options.image.color = Color::Rgb;
    let resized = read(&golden("images/by_class"), &options).expect("two parts");
    assert_eq!(resized.train.x().shape(), [6, 3, 4, 4]);
    let x = resized.train.x().values::<u8>().expect("bytes");
    assert_eq!(x[..16], x[16..32], "grey has three equal channels");
}

fn image(name: &str) -> Vec<u8> {
    fs::read(golden(&format!("images/{name}"))).expect("a golden file")
}

#[test]
fn odd_folders_are_refused_and_other_files_counted() {
    let (gray, rgb) = (image("gray.png"), image("rgb.png"));
    let options = ReadOptions::default();
    let good = folder(&[
        ("a/1.png", &gray),
        ("a/deep/er/2.PNG", &gray),
        ("b/1.png", &gray),
        ("b/notes.txt", b"text"),
        (".cache/x", b"hidden"),
        ("readme.md", b"text"),
    ]);
    let loaded = read(good.path(), &options).expect("two classes");
    assert_eq!(loaded.train.labels(), Some(&[0, 0, 1][..]));
    assert_eq!(loaded.report.n_skipped_files, 2);
    let sizes = folder(&[("a/1.png", &gray), ("b/odd.png", &rgb)]);
    refused(
        sizes.path(),
        &options,
        &[
            "odd.png",
            "24 x 32 pixels",
            "1.png` has 30 x 20",
            "set an image size",
        ],
    );
    let mut resize = ReadOptions::default();
    resize.image.size = Some((8, 8));
    let mixed = read(sizes.path(), &resize).expect("resized");
    assert_eq!(
        mixed.train.x().shape(),
        [2, 3, 8, 8],
        "one image has colour"
    );

    let empty = folder(&[("a/1.png", &gray), ("b/notes.txt", b"")]);
    refused(empty.path(), &options, &["/b", "has no PNG or JPEG file"]);
    let described = folder(&[
        ("a/1.png", &gray),
        ("b/1.png", &gray),
        ("about.csv", b"x,y\n1,2\n"),
    ]);
    let loaded = read(described.path(), &options).expect("the images, not the table");
    assert_eq!(loaded.report.format, "image folder");
    let loose = folder(&[("1.png", &gray), ("2.png", &gray)]);
    refused(
        loose.path(),
        &options,
        &["none of the 2 files here is a data set"],
    );
    refused(
        &loose.path().join("1.png"),
        &options,
        &["a single image has no class"],
    );
    let unknown = folder(&[("train/cat/1.png", &gray), ("test/cats/1.png", &gray)]);
    refused(
        unknown.path(),
        &options,
        &["no class of this name", "did you mean `cat`?"],
    );
    let twice = folder(&[("train/a/1.png", &gray), ("training/a/1.png", &gray)]);
    refused(
        twice.path(),
        &options,
        &["`train` and `training` are the same part"],
    );
    let only = folder(&[("test/a/1.png", &gray), ("val/a/1.png", &gray)]);
    refused(only.path(), &options, &["none for training"]);
    resize.image.size = Some((0, 8));
    refused(sizes.path(), &resize, &["an image has pixels"]);
}

#[test]
fn damaged_and_hostile_images_are_refused() {
    let gray = image("gray.png");
    let jpeg = image("gray.jpg");
    let mut claims = gray.clone();
    // Width and height of the header, with the checksum of the changed chunk.
    claims[16..24].copy_from_slice(&[0, 0x40, 0, 0, 0, 0x40, 0, 0]);
    let crc = flate2::Crc::new();
    let sum = {
        let mut crc = crc;
        crc.update(&claims[12..29]);
        crc.sum()
    };
    claims[29..33].copy_from_slice(&sum.to_be_bytes());
    let mut flipped = gray.clone();
    flipped[60] ^= 0xff;
    for (name, bytes, part) in [
        ("bad.png", &gray[..gray.len() / 2], "the image data"),
        ("bad.png", &gray[..20], "the image data"),
        ("bad.png", &flipped, "the image data"),
        ("bad.png", b"", "start neither a PNG nor a JPEG"),
        ("bad.png", b"GIF89a....", "start neither a PNG nor a JPEG"),
        ("bad.png", &claims, "the number of pixels is 17592186044416"),
        ("bad.jpg", &jpeg[..60], "the image data"),
    ] {
        let file = format!("a/{name}");
        let data = folder(&[(&file, bytes), ("b/1.png", &gray)]);
        refused(data.path(), &ReadOptions::default(), &[name, part]);
    }
    let data = folder(&[("a/1.png/x", &gray), ("b/1.png", &gray)]);
    refused(
        data.path(),
        &ReadOptions::default(),
        &["has no PNG or JPEG file"],
    );
    let mut options = ReadOptions::default();
    options.limits.files = 3;
    refused(
        &golden("images/by_class"),
        &options,
        &["the number of files", "limits.files"],
    );
    options.limits = Limits::default();
    options.limits.decoded_bytes = 100;
    refused(
        &golden("images/by_class"),
        &options,
        &["the size of all images in bytes is 180"],
    );
}

/// A change anywhere in a file may make it unreadable but must not make the reader panic.
#[test]
fn no_flipped_byte_panics() {
    for name in ["gray.png", "palette.png", "gray.jpg"] {
        let good = image(name);
        let data = folder(&[]);
        let path = data.path().join(name);
        let spec = InputSpec::Image {
            channels: 1,
            height: 4,
            width: 4,
            pixel_max: 255.0,
        };
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1 << (position % 8);
            bad[position / 2] ^= 0x80;
            rewrite(&path, &bad);
            let bytes = std::fs::read(&path).expect("just written");
            let from_bytes = image_from_bytes("damaged", &bytes, &spec, &Limits::default());
            let from_file = read_inputs(&path, &spec, &ReadOptions::default());
            assert_eq!(from_bytes.is_ok(), from_file.is_ok());
            if let Err(error) = from_file {
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
}

#[test]
fn arrays_are_read_for_prediction_in_every_usual_shape() {
    let spec = InputSpec::Image {
        channels: 3,
        height: 2,
        width: 4,
        pixel_max: 255.0,
    };
    let data = folder(&[]);
    let path = data.path().join("x.npy");
    let run = |tensor: &Tensor, path: &Path| {
        fs::write(path, npy::to_bytes(tensor).expect("numbers")).expect("a file");
        read_inputs(path, &spec, &ReadOptions::default())
    };
    for shape in [&[3, 2, 4][..], &[5, 3, 2, 4], &[5, 24], &[24]] {
        let tensor = Tensor::from_fn(shape, |i| i as f32).expect("small");
        let inputs = run(&tensor, &path).expect("a shape that fits");
        assert_eq!(inputs.x.shape()[1..], [3, 2, 4]);
        assert_eq!(inputs.x.values::<f32>(), tensor.values::<f32>());
    }
    let last = Tensor::from_fn([2, 4, 3], |i| i as u8).expect("small");
    let inputs = run(&last, &path).expect("a shape that fits");
    assert_eq!(
        &inputs.x.values::<f32>().expect("f32")[..4],
        [0.0, 3.0, 6.0, 9.0]
    );
    let wrong = Tensor::from_fn([2, 5, 3], |i| i as u8).expect("small");
    let error = run(&wrong, &path).expect_err("another size").to_string();
    assert!(
        error.contains("an array of shape [2, 5, 3], the model takes [3, 2, 4]"),
        "{error}"
    );
}
