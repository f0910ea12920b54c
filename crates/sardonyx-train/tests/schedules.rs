//! Every schedule against its PyTorch equivalent (`golden/schedules.py`).

use sardonyx_train::{Plateau, Position, Schedule};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/schedules.json")).expect("the golden file is JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().expect("a list").iter();
    values.map(|v| v.as_f64().expect("a number")).collect()
}

fn check(what: &Value, step: usize, expected: f64, found: f64) {
    // PyTorch multiplies its way from step to step, so its last digits drift.
    let close = (expected - found).abs() <= 1e-12 + 1e-12 * expected.abs();
    assert!(
        close,
        "{what}, step {step}: expected {expected}, found {found}"
    );
}

#[test]
fn rates_equal_pytorch() {
    let golden = golden();
    let lr0 = golden["lr0"].as_f64().expect("a number");
    let cases = golden["cases"].as_array().expect("a list");
    assert!(cases.len() >= 20, "the golden file holds every case");
    for case in cases {
        let settings = &case["settings"];
        let schedule = Schedule::from_value("schedule", settings.clone()).expect("valid");
        let count = |key: &str| case[key].as_u64().expect("a count");
        let (steps_per_epoch, epochs) = (count("steps_per_epoch"), count("epochs"));
        let rates = numbers(&case["lr"]);
        assert_eq!(rates.len() as u64, steps_per_epoch * epochs);
        for (step, expected) in rates.into_iter().enumerate() {
            let position = Position {
                step: step as u64,
                steps_per_epoch,
                epochs,
            };
            check(settings, step, expected, schedule.lr(lr0, &position));
        }
    }
}

#[test]
fn plateaus_equal_pytorch_and_survive_a_restart() {
    let golden = golden();
    for case in golden["plateaus"].as_array().expect("a list") {
        let settings = &case["settings"];
        let schedule = Schedule::from_value("schedule", settings.clone()).expect("valid");
        let Schedule::Plateau(config) = schedule else {
            panic!("{settings} is a plateau")
        };
        let mut plateau = Plateau::new(config, golden["lr0"].as_f64().expect("a number"));
        let pairs = numbers(&case["values"])
            .into_iter()
            .zip(numbers(&case["lr"]));
        for (step, (value, expected)) in pairs.enumerate() {
            check(settings, step, expected, plateau.observe(value));
            let text = serde_json::to_string(&plateau).expect("serialisable");
            plateau = serde_json::from_str(&text).expect("readable");
        }
    }
}
