use expect_test::{expect, expect_file};

use crate::support::{Place, check_help};

/// Two inputs, one of them of integers, with a dimension besides the batch.
const TOKENS: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
tokens (int64[N,S] ids, float[N,S] mask) => (float[N,3] y)
   <float[5,3] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}, int64[1] last = {-1}>
{
   [embed] e = Gather <axis = 0> (w, ids)
   m = Unsqueeze (mask, last)
   masked = Mul (e, m)
   [pool] y = ReduceSum <keepdims = 0> (masked, one)
}
"#;

#[test]
fn help() {
    check_help(&["bench"], expect_file!["snapshots/bench.txt"]);
}

#[test]
fn a_training_step_is_measured() {
    let place = Place::new();
    let arguments = [
        "bench",
        "mlp-small",
        "--train",
        "--batch",
        "4",
        "--threads",
        "2",
    ];
    let report = place.json(&[&arguments[..], &["--runs", "3"]].concat());
    assert_eq!(
        (
            &report["task"],
            &report["batch"],
            &report["threads"],
            &report["n_runs"]
        ),
        (&"train".into(), &4.into(), &2.into(), &3.into())
    );
    let number = |key: &str| {
        report[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {report}"))
    };
    assert!(number("min_ms") > 0.0 && number("min_ms") <= number("median_ms"));
    assert!(number("load_ms") + number("plan_ms") < number("first_ms"));
    assert!(number("gflops") > 0.0 && number("gflops") < number("peak_gflops"));
    // Weights and two moments of each, at least, for 784 x 128 and 128 x 10.
    assert!(number("peak_bytes") > 3.0 * 4.0 * 101_000.0);
    assert!(number("bytes_moved") > 4.0 * 101_000.0);
    // A product forward and one for the gradient of the weights, and the second layer's.
    assert!(number("flops") >= 2.0 * 4.0 * (2.0 * 784.0 * 128.0 + 3.0 * 128.0 * 10.0));
    let nodes = report["nodes"].as_array().expect("nodes");
    let ms: Vec<f64> = nodes
        .iter()
        .filter_map(|node| node["ms"].as_f64())
        .collect();
    assert!(!nodes.is_empty() && nodes.len() <= 10 && ms.is_sorted_by(|a, b| a >= b));
    if cfg!(target_os = "linux") {
        assert!(number("max_rss") > number("peak_bytes"));
    }
}

#[test]
fn the_text_says_what_was_measured() {
    let place = Place::new();
    let arguments = [
        "bench",
        "seed-cnn",
        "--runs",
        "1",
        "--top",
        "3",
        "--no-peak",
    ];
    let text = place.stdout(&[&arguments[..], &["--threads", "1", "--isa", "scalar"]].concat());
    assert_eq!(
        text.lines().next().map(|head| head.starts_with("node ")),
        Some(true)
    );
    assert!(
        text.contains("\nmeasured      1 predictions, scalar, 1 thread\n"),
        "{text}"
    );
    assert!(
        text.contains("conv2d") && text.contains(" ms median, "),
        "{text}"
    );
    assert_eq!(
        text.lines().position(str::is_empty),
        Some(4),
        "three nodes: {text}"
    );
    let text = place.stdout(&[&arguments[..3], &["1", "--top", "0", "--no-peak"]].concat());
    assert!(
        !text.contains("node ") && !text.contains("arithmetic"),
        "{text}"
    );
}

#[test]
fn inputs_of_any_type_are_made_up() {
    let place = Place::new();
    let source = TOKENS.replace("(masked, one)", "(masked, first)");
    let source = source.replace(
        "int64[1] last = {-1}",
        "int64[1] last = {-1}, int64[1] first = {1}",
    );
    place.model("tokens.onnx", &source, &[]);
    let arguments = [
        "bench",
        "tokens.onnx",
        "--runs",
        "2",
        "--batch",
        "3",
        "--dim",
        "S=7",
    ];
    let report = place.json(&arguments);
    assert_eq!(report["dims"], serde_json::json!({"N": 3, "S": 7}));
    place.stdout(&[&arguments[..], &["--save", "io"]].concat());
    let shape = |name: &str| {
        let path = place.path("io").join(name);
        let tensor = sardonyx::data::npy::read(&path, &sardonyx::data::Limits::default());
        tensor.expect("an array").shape().to_vec()
    };
    let names = ["input_0.npy", "input_1.npy", "output_0.npy"];
    assert_eq!(names.map(shape), [vec![3, 7], vec![3, 7], vec![3, 3]]);
    expect![[r#"
        error: dim: the model's inputs have the dimension `S`, of which the size is not known
         hint: `--dim 'S=64'` gives it one
    "#]]
    .assert_eq(&place.mistake(&arguments[..4]));
    expect![[r#"
        error: dim: the model has no dimension `sequence`
         hint: it has N, S
    "#]]
    .assert_eq(&place.mistake(&["bench", "tokens.onnx", "--dim", "sequence=7"]));
    place.model("fixed.onnx", &source.replace('N', "2"), &[]);
    expect![[r#"
        error: batch: the model has a fixed batch of 2
         hint: leave out `--batch`, or export it with a dynamic batch
    "#]]
    .assert_eq(&place.mistake(&["bench", "fixed.onnx", "--batch", "3", "--dim", "S=7"]));
    expect![[r#"
        error: there is no model `sed-cnn` in the zoo
         hint: did you mean `seed-cnn`?
    "#]]
    .assert_eq(&place.mistake(&["bench", "sed-cnn"]));
}
