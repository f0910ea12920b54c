use expect_test::{expect, expect_file};

use crate::support::{Place, check_help};

const MODEL: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
small (float[N,2] x) => (float[N,3] y)
   <float[2,3] w = {1,2,3,4,5,6}>
{
   [product] s = MatMul (x, w)
   y = Softmax <axis = -1> (s)
}
"#;

#[test]
fn help() {
    check_help(&["inspect"], expect_file!["snapshots/inspect.txt"]);
}

#[test]
fn a_model_is_told() {
    let place = Place::new();
    place.model("small.onnx", MODEL, &["a", "b", "c"]);
    expect_file!["snapshots/inspect-small.txt"]
        .assert_eq(&place.stdout(&["inspect", "small.onnx"]));
    expect_file!["snapshots/inspect-zoo.txt"].assert_eq(&place.stdout(&["inspect", "seed-cnn"]));
    let report = place.json(&["inspect", "small.onnx", "--dim", "N=10"]);
    assert_eq!(report["totals"]["parameters"], 6);
    assert_eq!(report["nodes"][0]["flops"], 2 * 10 * 2 * 3);
    assert_eq!(report["nodes"][0]["bytes"], 4 * (10 * 2 + 2 * 3 + 10 * 3));
    assert_eq!(
        report["nodes"][0]["outputs"][0]["shape"][0], "N",
        "the batch stays symbolic"
    );
}

#[test]
fn the_text_reads_back() {
    let place = Place::new();
    place.model("small.onnx", MODEL, &[]);
    let text = place.stdout(&["inspect", "small.onnx", "--text"]);
    let graph = sardonyx::ir::text::parse(&text).expect("a graph");
    assert_eq!(graph.node_count(), 2);
}

#[test]
fn a_drawing_is_one_file_of_xml() {
    let place = Place::new();
    place.model("odd.onnx", &MODEL.replace("[product]", "[\"<&>\"]"), &[]);
    place.stdout(&["inspect", "odd.onnx", "--svg", "odd.svg"]);
    let svg = std::fs::read_to_string(place.path("odd.svg")).expect("drawn");
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
    assert!(
        svg.contains("MatMul &lt;&amp;&gt;") && !svg.contains("<&>"),
        "{svg}"
    );
    assert_eq!(svg.matches("class=\"line\"").count(), 3);
    assert!(!svg.contains("href") && !svg.contains("<script"));
}

#[test]
fn an_unknown_operator_does_not_hide_the_rest() {
    let place = Place::new();
    place.model(
        "odd.onnx",
        &MODEL.replace("Softmax <axis = -1>", "Hardmax"),
        &[],
    );
    let outcome = place.run(&["inspect", "odd.onnx"]);
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout.contains("product"), "{}", outcome.stdout);
    expect![""].assert_eq(&outcome.stderr);
    assert_eq!(place.run(&["inspect", "odd.onnx", "--quiet"]).stderr, "");
}

#[test]
fn a_file_that_is_no_model_is_a_mistake() {
    let place = Place::new();
    place.write("text.onnx", "hello");
    expect![[r#"
        error: text.onnx: malformed at byte 3: this kind of field is not used by ONNX
         hint: not an ONNX file, or cut off
    "#]]
    .assert_eq(&place.mistake(&["inspect", "text.onnx"]));
    expect![[r#"
        error: cannot open ./missing.onnx: No such file or directory (os error 2)
    "#]]
    .assert_eq(&place.mistake(&["inspect", "missing.onnx"]));
    expect![[r#"
        error: there is no model `sed-cnn` in the zoo
         hint: did you mean `seed-cnn`?
    "#]]
    .assert_eq(&place.mistake(&["inspect", "sed-cnn"]));
    expect![[r#"
        error: dims: the model has no dimension `M`
         hint: it has N
    "#]]
    .assert_eq(&place.mistake(&["inspect", "seed-cnn", "--dim", "M=3"]));
}
