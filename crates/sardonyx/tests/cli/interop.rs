//! Other software with what sardonyx leaves. Needs an interpreter with `.ci/requirements.txt` in
//! `SARDONYX_PYTHON`; without one there is nothing to compare with.

use std::path::Path;
use std::process::Command;

use crate::support::Place;

#[test]
fn onnxruntime_predicts_the_same() {
    let Some(python) = std::env::var_os("SARDONYX_PYTHON") else {
        println!("not compared with onnxruntime: SARDONYX_PYTHON is not set");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/onnxruntime_agrees.py");
    for model in ["seed-cnn", "mlp-small", "resnet8"] {
        let place = Place::new();
        let model = format!("model={model}");
        let train = ["train", "data=digits", &model, "epochs=1", "name=run", "-q"];
        let trained = place.run(&train);
        assert_eq!(trained.code, Some(0), "{}", trained.stderr);
        let output = Command::new(&python)
            .arg(&script)
            .args(["runs/run/model.onnx", "digits.npy", "expected.json"])
            .current_dir(place.path(""))
            .output()
            .expect("python runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = std::fs::read_to_string(place.path("expected.json")).expect("written");
        let expected: Vec<Vec<f64>> = serde_json::from_str(&text).expect("numbers");
        let report = place.json(&["predict", "runs/run", "digits.npy", "--top", "10"]);
        let predictions = report["predictions"].as_array().expect("a list");
        assert_eq!((predictions.len(), expected.len()), (1797, 1797));
        for (sample, (prediction, expected)) in predictions.iter().zip(&expected).enumerate() {
            for choice in prediction["top"].as_array().expect("a list") {
                let (class, found) = (&choice["index"], choice["probability"].as_f64());
                let class = class.as_u64().and_then(|class| usize::try_from(class).ok());
                let wanted = expected[class.expect("a class")];
                let difference = (found.expect("a number") - wanted).abs();
                assert!(
                    difference <= 1e-5,
                    "{model}, sample {sample}: {choice} is not {wanted}"
                );
            }
        }
    }
}
