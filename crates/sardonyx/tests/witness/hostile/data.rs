//! Hostile data sets, to train on, to measure on and to predict for.

use sardonyx::tensor::{Philox, Tensor};

use super::data_sets::{
    FEATURES, N, array, array_pairs, golden, idx, labels, ramp, with_huge_header, write_data_sets,
};
use super::{Case, check, damage};
use crate::exports::write_clouds;
use crate::support::Place;

/// Damaged copies of each file.
const COPIES: usize = 16;

fn train(data: &str) -> Vec<&str> {
    vec![
        "train",
        "--data",
        data,
        "model=mlp-small",
        "epochs=1",
        "val=0",
    ]
}

/// A model of rows of [`FEATURES`] numbers for the verbs that need one.
fn write_model(place: &Place) {
    write_clouds(place, "good", &[FEATURES], 3);
    place.json("train", &[&train("good")[..], &["name=good"]].concat());
}

#[test]
fn hostile_data_sets_are_refused() {
    let place = Place::new();
    write_model(&place);
    let mut cases = Vec::new();
    for path in write_data_sets(&place) {
        // One sample for each class is odd, but can be learnt.
        let must_fail = path != "table-every-row-a-class.csv";
        cases.push(Case::new(&path, &train(&path), must_fail));
        // To measure on one class, on negative classes as names, ... can be meant so.
        cases.push(Case::new(
            &path,
            &["eval", "runs/good", "--data", &path],
            false,
        ));
    }
    assert!(check(&place, &cases) >= cases.len() / 2);
}

#[test]
fn hostile_inputs_are_refused() {
    let place = Place::new();
    write_model(&place);
    let mut cases = Vec::new();
    let mut add = |path: &str, must_fail| {
        cases.push(Case::new(path, &["predict", "runs/good", path], must_fail));
    };
    for path in write_data_sets(&place) {
        // Columns of numbers without classes are inputs.
        add(&path, !path.starts_with("table-"));
    }
    for (name, ..) in array_pairs().iter().filter(|(name, ..)| name.len() > 4) {
        let has_rows = name.contains("labels") || name.contains("class");
        let path = format!("arrays-{name}/x.npy");
        add(&path, !has_rows && !matches!(*name, "all-nan" | "infinite"));
    }
    let wrong_width = Tensor::new([2, FEATURES + 1], vec![0.0_f32; 2 * (FEATURES + 1)]);
    place.write("wide.npy", array(wrong_width.expect("a tensor")));
    place.write("picture.png", golden("images/gray.png"));
    place.write("huge.png", with_huge_header());
    for path in [
        "wide.npy",
        "picture.png",
        "huge.png",
        "runs/good/model.onnx",
    ] {
        add(path, true);
    }
    assert!(check(&place, &cases) >= 30);
}

#[test]
fn data_that_do_not_fit_the_model_are_refused() {
    let place = Place::new();
    write_model(&place);
    write_clouds(&place, "wide", &[FEATURES + 1], 3);
    write_clouds(&place, "many", &[FEATURES], 4);
    write_clouds(&place, "images", &[1, 3, 3], 3);
    let mut cases = Vec::new();
    for data in ["wide", "many", "images"] {
        cases.push(Case::new(
            data,
            &["eval", "runs/good", "--data", data],
            true,
        ));
        let more = ["--model", "runs/good/model.onnx"];
        let command = ["train", "--data", data, "epochs=1", "val=0"];
        cases.push(Case::new(data, &[&command[..], &more].concat(), true));
    }
    assert_eq!(check(&place, &cases), cases.len());
}

#[test]
fn damaged_data_sets_are_refused_or_read() {
    let place = Place::new();
    write_model(&place);
    let mut rng = Philox::new(37, 0);
    let pixels: Vec<u8> = (0..N * 16).map(|at| (at % 251) as u8).collect();
    let classes: Vec<u8> = (0..N).map(|at| (at % 2) as u8).collect();
    // What is damaged, what stays good beside it, and what the data set is then.
    let labels_file = [("train-labels-idx1-ubyte", idx(&[N as u32], &classes))];
    let good_y = [("y.npy", labels(N, |row| (row % 3) as i64))];
    let picture = [
        ("cat/2.png", golden("images/gray.png")),
        ("dog/1.png", golden("images/gray.png")),
    ];
    type Files<'a> = &'a [(&'a str, Vec<u8>)];
    let sets: [(&str, Vec<u8>, Files<'_>); 6] = [
        ("d.npz", golden("numpy/keras.npz"), &[]),
        ("c.npz", golden("numpy/keras_compressed.npz"), &[]),
        ("train.csv", golden("sklearn/train.csv"), &[]),
        (
            "train-images-idx3-ubyte",
            idx(&[N as u32, 4, 4], &pixels),
            &labels_file,
        ),
        ("x.npy", ramp(), &good_y),
        ("cat/1.png", golden("images/gray.png"), &picture),
    ];
    let mut cases = Vec::new();
    for (name, good, beside) in sets {
        for copy in 0..COPIES {
            let folder = format!("{}-{copy}", name.replace(['/', '.'], "-"));
            let bytes = match copy % 4 {
                0 => good[..rng.below(good.len() as u64) as usize].to_vec(),
                _ => damage(&good, &mut rng),
            };
            place.write(&format!("{folder}/{name}"), bytes);
            for (other, bytes) in beside {
                place.write(&format!("{folder}/{other}"), bytes);
            }
            let path = match name.ends_with(".npz") {
                true => format!("{folder}/{name}"),
                false => folder.clone(),
            };
            let command = match copy % 8 < 4 {
                true => train(&path),
                false => vec!["eval", "runs/good", "--data", &path],
            };
            cases.push(Case::new(&folder, &command, false));
        }
    }
    assert!(check(&place, &cases) >= cases.len() / 3);
}
