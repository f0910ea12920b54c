use expect_test::{expect, expect_file};

use crate::support::{Place, check_help};

/// Takes the larger of three numbers for the class.
pub(crate) const LARGEST: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
largest (float[N,3] x) => (float[N,3] y)
{
   y = Softmax <axis = -1> (x)
}
"#;

/// The fifth row is labelled otherwise than the model says.
const ROWS: &str = "r,g,b,colour\n9,0,0,red\n0,9,0,green\n0,0,9,blue\n9,1,0,red\n0,9,1,red\n";

fn place() -> Place {
    let place = Place::new();
    place.model("largest.onnx", LARGEST, &["red", "green", "blue"]);
    place.write("rows.csv", ROWS);
    place
}

#[test]
fn help() {
    check_help(&["eval"], expect_file!["snapshots/eval.txt"]);
}

#[test]
fn a_model_is_measured() {
    let place = place();
    let text = place.stdout(&["eval", "largest.onnx", "--data", "rows.csv"]);
    let timeless = text.lines().filter(|line| !line.starts_with("samples"));
    let timeless: String = timeless.map(|line| format!("{line}\n")).collect();
    expect_file!["snapshots/eval-rows.txt"].assert_eq(&timeless);
    let report = place.json(&["eval", "largest.onnx", "--data", "rows.csv"]);
    assert_eq!(report["accuracy"], 0.8);
    assert_eq!(report["n_samples"], 5);
    assert_eq!(report["part"], "all");
    let names = report["classes"]
        .as_array()
        .expect("classes")
        .iter()
        .map(|class| &class["name"]);
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["red", "green", "blue"],
        "in the model's order"
    );
}

/// Logits, probabilities and images with their channels last come out alike.
#[test]
fn models_of_others_are_understood() {
    let place = place();
    let logits = LARGEST.replace("Softmax <axis = -1>", "Identity");
    place.model("logits.onnx", &logits, &["red", "green", "blue"]);
    let loss = |model| place.json(&["eval", model, "--data", "rows.csv"])["log_loss"].as_f64();
    let (a, b) = (
        loss("largest.onnx").expect("a loss"),
        loss("logits.onnx").expect("a loss"),
    );
    assert!((a - b).abs() < 1e-6, "{a} {b}");
    let first = r#"<ir_version: 8, opset_import: ["" : 17]>
g (float[N,1,8,8] x) => (float[N,10] y)
   <int64[1] from = {20}, int64[1] to = {30}, int64[1] axis = {1}>
{
   flat = Flatten (x)
   y = Slice (flat, from, to, axis)
}"#;
    place.model("first.onnx", first, &[]);
    place.model("last.onnx", &first.replace("1,8,8", "8,8,1"), &[]);
    let accuracy = |model| place.json(&["eval", model, "--data", "digits"])["accuracy"].clone();
    assert_eq!(accuracy("first.onnx"), accuracy("last.onnx"));
}

#[test]
fn data_that_does_not_fit_is_a_mistake() {
    let place = place();
    place.write("wide.csv", "a,b,c,d,colour\n1,2,3,4,red\n2,3,4,5,green\n");
    place.write("other.csv", "r,g,b,colour\n1,2,3,red\n2,3,4,pink\n");
    expect![[r#"
        error: the model cannot be used here: it takes samples of shape [3], the data has [4]
         hint: give data of the model's shape (image files are resized on request), or choose another model
    "#]]
    .assert_eq(&place.mistake(&["eval", "largest.onnx", "--data", "wide.csv"]));
    expect![[r#"
        error: the model cannot be used here: it has no class `pink`, which the data has
         hint: its classes are red, green, blue
    "#]]
    .assert_eq(&place.mistake(&["eval", "largest.onnx", "--data", "other.csv"]));
    expect![[r#"
        error: the model cannot be used here: it takes samples of shape [3], the data has [1, 8, 8]
         hint: give data of the model's shape (image files are resized on request), or choose another model
    "#]]
    .assert_eq(&place.mistake(&["eval", "largest.onnx", "--data", "digits"]));
    expect![[r#"
        error: none.csv: No such file or directory (os error 2)
         hint: check the spelling of the path
    "#]]
    .assert_eq(&place.mistake(&["eval", "largest.onnx", "--data", "none.csv"]));
    expect![[r#"
        error: data: no data is given
         hint: name the data, or give the folder of a run
    "#]]
    .assert_eq(&place.mistake(&["eval", "largest.onnx"]));
}
