use expect_test::{expect, expect_file};

use crate::support::{Place, check_help};

#[test]
fn help() {
    check_help(&["new"], expect_file!["snapshots/new.txt"]);
}

#[test]
fn a_network_becomes_a_file() {
    let place = Place::new();
    let text = place.stdout(&["new", "mlp-small", "-o", "small.onnx"]);
    expect_file!["snapshots/new-mlp-small.txt"].assert_eq(&text);
    let report = place.json(&["inspect", "small.onnx"]);
    assert_eq!(
        report["totals"]["parameters"],
        784 * 128 + 128 + 128 * 10 + 10
    );
    let arguments = [
        "new",
        "mlp-small",
        "--input",
        "30",
        "--classes",
        "2",
        "--logits",
    ];
    let other = place.json(&[&arguments[..], &["-o", "table.onnx"]].concat());
    assert_eq!(other["parameters"], 30 * 128 + 128 + 128 * 2 + 2);
    let report = place.json(&["inspect", "table.onnx"]);
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!(["N", "30"]));
    assert!(
        report["totals"]["operators"].get("Softmax").is_none(),
        "{report}"
    );
}

#[test]
fn an_unknown_network_is_a_mistake() {
    let told = Place::new().mistake(&["new", "resnet19", "-o", "x.onnx"]);
    assert!(
        told.starts_with("error: invalid value 'resnet19' for '<NAME>'"),
        "{told}"
    );
    assert!(
        told.contains("exists: 'resnet18'") || told.contains("exist: 'resnet"),
        "{told}"
    );
    expect![[r#"
        error: cannot create no/such/folder/x.onnx: No such file or directory (os error 2)
    "#]]
    .assert_eq(&Place::new().mistake(&["new", "mlp", "-o", "no/such/folder/x.onnx"]));
    expect![[r#"
        error: model `mlp`: it takes no token ids
         hint: leave out `vocabulary`
    "#]]
    .assert_eq(&Place::new().mistake(&["new", "mlp", "--vocabulary", "9", "-o", "x.onnx"]));
}
