//! Damaged runs and configurations.

use std::fs;

use sardonyx::tensor::Philox;

use super::{Case, check, damage};
use crate::support::Place;

/// Damaged copies of each file of a run.
const COPIES: usize = 12;

/// What a configuration can get wrong by more than a misspelling.
const CONFIGURATIONS: [(&str, &str); 8] = [
    ("empty-data", "[data]\ntrain = \"\"\n"),
    ("no-toml", "[[[[[\n= = =\n"),
    (
        "wrong-kinds",
        "[data]\ntrain = 5\n[train]\nepochs = \"many\"\n",
    ),
    (
        "huge",
        "[data]\ntrain = \"digits\"\n[train]\nbatch = 9223372036854775807\n",
    ),
    (
        "negative",
        "[data]\ntrain = \"digits\"\n[train]\nepochs = -1\n",
    ),
    (
        "not-a-number",
        "[data]\ntrain = \"digits\"\n[train.optimizer]\nlr = nan\n",
    ),
    (
        "escape",
        "[data]\ntrain = \"digits\"\n[run]\nname = \"../../outside\"\n",
    ),
    ("control", "[data]\ntrain = \"\\u0000\\u001b[31m\"\n"),
];

#[test]
fn damaged_runs_are_refused_or_read() {
    let place = Place::new();
    let settings = [
        "train",
        "data=digits",
        "model=mlp-small",
        "epochs=1",
        "name=good",
    ];
    place.json("train", &settings);
    let mut rng = Philox::new(41, 0);
    let mut cases = Vec::new();
    for file in [
        "last.safetensors",
        "sardonyx.toml",
        "metrics.jsonl",
        "model.onnx",
    ] {
        for copy in 0..COPIES {
            let run = format!("runs/{}-{copy}", file.replace('.', "-"));
            fs::create_dir(place.path(&run)).expect("created");
            for name in [
                "last.safetensors",
                "sardonyx.toml",
                "metrics.jsonl",
                "model.onnx",
            ] {
                let bytes = place.read(&format!("runs/good/{name}"));
                let bytes = if name == file {
                    damage(&bytes, &mut rng)
                } else {
                    bytes
                };
                place.write(&format!("{run}/{name}"), bytes);
            }
            let verb = if file == "model.onnx" {
                "eval"
            } else {
                "resume"
            };
            cases.push(Case::new(&run, &[verb, &run], false));
        }
    }
    for run in [
        "runs",
        "runs/nobody",
        "runs/good/model.onnx",
        "/dev/null",
        "",
    ] {
        cases.push(Case::new(run, &["resume", run], true));
    }
    assert!(check(&place, &cases) >= cases.len() / 2);
}

#[test]
fn hostile_configurations_are_refused() {
    let place = Place::new();
    let mut cases = Vec::new();
    for (name, text) in CONFIGURATIONS {
        let file = format!("{name}.toml");
        place.write(&file, text);
        cases.push(Case::new(name, &["train", &file], true));
    }
    for setting in [
        "train.epochs",
        "=",
        "train.epochs=",
        "data=digits=",
        "nothing.toml",
        "run.dir=\0",
    ] {
        // An argument cannot hold a zero byte.
        let setting = setting.replace('\0', "\u{1b}");
        cases.push(Case::new(&setting, &["train", &setting], true));
    }
    assert_eq!(check(&place, &cases), cases.len());
    assert!(!place.path("../outside").exists());
}
