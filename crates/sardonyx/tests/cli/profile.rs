use expect_test::{expect, expect_file};
use serde_json::Value;

use crate::support::{Place, check_help};

#[test]
fn help() {
    check_help(&["profile"], expect_file!["snapshots/profile.txt"]);
}

#[test]
fn a_trace_has_every_call_on_the_track_of_its_thread() {
    let place = Place::new();
    let arguments = [
        "profile",
        "seed-cnn",
        "--train",
        "--batch",
        "4",
        "--threads",
        "2",
    ];
    let report = place.json(&[&arguments[..], &["--trace", "step.json"]].concat());
    let text = std::fs::read_to_string(place.path("step.json")).expect("a trace");
    let trace: Value = serde_json::from_str(&text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let complete: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(report["n_spans"], complete.len());
    let names = |part: &str| {
        let own = complete.iter().filter_map(|event| event["name"].as_str());
        own.filter(|name| name.contains(part)).count()
    };
    assert!(
        names("ConvNhwcWeightGrad") >= 2 && names("OptimizerUpdate") >= 8,
        "{text}"
    );
    let number = |event: &Value, key: &str| event[key].as_f64().expect("a number");
    for thread in [0.0, 1.0] {
        let own = complete
            .iter()
            .filter(|event| number(event, "tid") == thread);
        let ends: Vec<(f64, f64)> = own
            .map(|event| {
                (
                    number(event, "ts"),
                    number(event, "ts") + number(event, "dur"),
                )
            })
            .collect();
        assert!(
            ends.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "{ends:?}"
        );
        assert!(ends.iter().all(|&(start, end)| {
            start >= 0.0 && end <= report["ms"].as_f64().unwrap_or(0.0) * 1e3 + 1e-6
        }));
    }
    let operators = report["operators"].as_array().expect("operators");
    let shares: f64 = operators
        .iter()
        .map(|operator| number(operator, "share"))
        .sum();
    assert!((shares - 1.0).abs() < 1e-9, "{report}");
    let text = place.stdout(&["profile", "mlp-small", "--batch", "2"]);
    assert!(
        text.contains("traced        a prediction of batch 2, "),
        "{text}"
    );
}

#[test]
fn a_missing_model_is_a_mistake() {
    expect![[r#"
        error: cannot open ./missing.onnx: No such file or directory (os error 2)
    "#]]
    .assert_eq(&Place::new().mistake(&["profile", "missing.onnx"]));
    expect![[r#"
        error: the following required arguments were not provided:
          --train

        Usage: sardonyx profile --train --optimizer <OPTIMIZER> <MODEL>

        For more information, try '--help'.
    "#]]
    .assert_eq(&Place::new().mistake(&["profile", "mlp", "--optimizer", "sgd"]));
}
