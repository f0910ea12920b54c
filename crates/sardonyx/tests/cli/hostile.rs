//! Files that are not what they say. Whatever they hold, sardonyx says what is wrong and ends with
//! code 1: it never panics (code 2), never dies, never takes memory for what a file merely claims.

use std::io::Write as _;

use sardonyx::tensor::Philox;

use crate::eval::LARGEST;
use crate::support::{Outcome, Place};

/// What a good command says of a bad file.
fn check_refused(outcome: &Outcome, what: &str) {
    let said = (outcome.code, outcome.stdout.as_str());
    assert_eq!(said, (Some(1), ""), "{what}: {}", outcome.stderr);
    assert!(
        outcome.stderr.starts_with("error: "),
        "{what}: {}",
        outcome.stderr
    );
}

/// As [`check_refused`], of a file that may be good by chance.
fn check_survived(outcome: &Outcome, what: &str) {
    match outcome.code {
        Some(0) => {}
        _ => check_refused(outcome, what),
    }
}

fn digits_model(place: &Place) -> Vec<u8> {
    let train = [
        "train",
        "data=digits",
        "model=mlp-small",
        "epochs=1",
        "name=run",
        "-q",
    ];
    let outcome = place.run(&train);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    std::fs::read(place.path("runs/run/model.onnx")).expect("there")
}

#[test]
fn damaged_models() {
    let place = Place::new();
    let good = digits_model(&place);
    let mut random = Philox::new(7, 0);
    let mut below = |n: usize| random.below(n as u64) as usize;
    for case in 0..24 {
        place.write("cut.onnx", &good[..below(good.len())]);
        check_refused(
            &place.run(&["eval", "cut.onnx", "--data", "digits"]),
            &format!("cut {case}"),
        );
    }
    for case in 0..48 {
        let mut bytes = good.clone();
        // Flips near the ends hit the structure, others mostly weights.
        for _ in 0..=case % 4 {
            let at = match case % 3 {
                0 => below(good.len().min(600)),
                1 => good.len() - 1 - below(good.len().min(600)),
                _ => below(good.len()),
            };
            bytes[at] ^= 1 << below(8);
        }
        place.write("flipped.onnx", &bytes);
        let what = format!("flip {case}");
        check_survived(
            &place.run(&["eval", "flipped.onnx", "--data", "digits", "-q"]),
            &what,
        );
        check_survived(&place.run(&["inspect", "flipped.onnx", "-q"]), &what);
    }
}

#[test]
fn models_that_contradict_themselves() {
    let place = Place::new();
    let header = "<ir_version: 8, opset_import: [\"\" : 17]>";
    let cases = [
        (
            "two inputs",
            "g (float[N,3] x, float[N,3] z) => (float[N,3] y) { y = Add (x, z) }",
        ),
        (
            "no scores",
            "g (float[N,3] x) => (int64[3] y) { y = Shape (x) }",
        ),
        (
            "unknown operator",
            "g (float[N,3] x) => (float[N,3] y) { y = Frobnicate (x) }",
        ),
        (
            "shapes",
            "g (float[N,3] x) => (float[N,1] y) <float[4,1] w = {1,2,3,4}> { y = MatMul (x, w) }",
        ),
        (
            "text input",
            "g (string[N,3] x) => (string[N,3] y) { y = Identity (x) }",
        ),
        (
            "giant",
            "g (float[N,3] x) => (float y) <int64[2] s = {9000000000, 9000000000}> \
                   { e = Expand (x, s) y = ReduceSum <keepdims = 0> (e) }",
        ),
        (
            "no numbers",
            "g (float[N,3] x) => (float[N,3] y) { a = Sub (x, x) y = Div (a, a) }",
        ),
        (
            "one class short",
            "g (float[N,3] x) => (float[N,2] y) \
                   <int64[1] f = {0}, int64[1] t = {2}, int64[1] a = {1}> \
                   { y = Slice (x, f, t, a) }",
        ),
    ];
    place.write(
        "rows.csv",
        "r,g,b,colour\n9,0,0,red\n0,9,0,green\n0,0,9,blue\n",
    );
    for (what, body) in cases {
        let graph = sardonyx::ir::text::parse(&format!("{header}\n{body}")).expect(what);
        sardonyx::model::save(&place.path("odd.onnx"), &graph).expect("saved");
        check_refused(
            &place.run(&["eval", "odd.onnx", "--data", "rows.csv"]),
            what,
        );
    }
    std::fs::create_dir(place.path("folder.onnx")).expect("made");
    check_refused(&place.run(&["inspect", "folder.onnx"]), "a folder");
    check_refused(
        &place.run(&["eval", "folder.onnx", "--data", "rows.csv"]),
        "an empty run",
    );
}

#[test]
fn damaged_data() {
    let place = Place::new();
    place.model("largest.onnx", LARGEST, &["red", "green", "blue"]);
    let idx = |magic: u32, dims: &[u32], body: &[u8]| {
        let mut bytes = magic.to_be_bytes().to_vec();
        dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
        bytes.extend(body);
        bytes
    };
    std::fs::create_dir(place.path("idx")).expect("made");
    std::fs::create_dir(place.path("empty")).expect("made");
    let images: [(&str, Vec<u8>); 5] = [
        ("cut", idx(0x803, &[9, 4, 4], &[0; 100])),
        (
            "giant",
            idx(0x803, &[u32::MAX, u32::MAX, u32::MAX], &[0; 16]),
        ),
        ("no images", idx(0x803, &[0, 4, 4], &[])),
        ("other magic", idx(0x1234, &[9, 4, 4], &[0; 144])),
        ("more labels", idx(0x803, &[3, 4, 4], &[0; 48])),
    ];
    for (what, bytes) in images {
        place.write("idx/train-images-idx3-ubyte", bytes);
        place.write(
            "idx/train-labels-idx1-ubyte",
            idx(0x801, &[9], &[0, 1, 2, 0, 1, 2, 0, 1, 2]),
        );
        check_refused(&place.run(&["train", "data=idx", "-q"]), what);
    }
    let tables = [
        ("empty", ""),
        ("names only", "a,b,label\n"),
        ("ragged", "a,b,label\n1,2,x\n1,y\n"),
        ("one class", "a,b,label\n1,2,x\n2,3,x\n3,4,x\n4,5,x\n"),
        ("quotes", "a,b,label\n\"1,2,x\n"),
        (
            "words",
            "a,b,label\n1,2,x\n2,three,y\n3,4,x\n4,5,y\n5,6,y\n7,8,x\n",
        ),
        (
            "not a number",
            "a,b,label\ninf,2,x\n2,inf,y\n3,4,x\n4,5,y\n",
        ),
        ("nothing in a column", "a,b,label\n,2,x\n,3,y\n,4,x\n,5,y\n"),
    ];
    for (what, text) in tables {
        place.write("table.csv", text);
        check_refused(
            &place.run(&["train", "data=table.csv", "scale=standardize", "-q"]),
            what,
        );
    }
    place.write("broken.png", b"\x89PNG\r\n\x1a\nnonsense");
    place.write("broken.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}");
    place.write("broken.csv.gz", gzip_cut());
    for what in [
        "empty",
        "broken.png",
        "broken.npy",
        "broken.csv.gz",
        "missing",
    ] {
        let data = format!("data={what}");
        check_refused(&place.run(&["train", &data, "-q"]), what);
        check_refused(&place.run(&["predict", "largest.onnx", what]), what);
    }
    assert!(!place.path("runs").exists(), "nothing began");
}

/// The start of a gzipped file.
fn gzip_cut() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bytes
        .write_all(&[0xab, 0x54, 0x4a])
        .expect("memory takes all");
    bytes
}

#[test]
fn damaged_checkpoints() {
    let place = Place::new();
    digits_model(&place);
    let path = place.path("runs/run/last.safetensors");
    let good = std::fs::read(&path).expect("there");
    let mut random = Philox::new(11, 0);
    for case in 0..16 {
        let at = random.below(good.len() as u64) as usize;
        let bytes = match case % 2 {
            0 => good[..at].to_vec(),
            _ => {
                let mut bytes = good.clone();
                bytes[at] ^= 0x10;
                bytes
            }
        };
        std::fs::write(&path, bytes).expect("written");
        check_refused(
            &place.run(&["resume", "runs/run", "-q"]),
            &format!("case {case}"),
        );
    }
    std::fs::write(&path, good).expect("written");
    place.write("runs/run/sardonyx.toml", "[data]\ntrain = \"digits\"\n");
    check_refused(
        &place.run(&["resume", "runs/run", "-q"]),
        "another configuration",
    );
}
