use std::process::Command;
use std::time::Duration;

use expect_test::{expect, expect_file};

use crate::support::{Place, check_help};

/// A run of seconds: epochs of 40 steps.
const SMALL: [&str; 6] = [
    "train",
    "data=digits",
    "test=0.2",
    "model=mlp-small",
    "batch=32",
    "epochs=2",
];

fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL, more].concat()
}

#[test]
fn help() {
    check_help(&["train"], expect_file!["snapshots/train.txt"]);
    check_help(&["resume"], expect_file!["snapshots/resume.txt"]);
}

#[test]
fn a_run_leaves_its_folder() {
    let place = Place::new();
    let outcome = place.run(&small(&["name=first", "--json"]));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(report["outcome"], "completed");
    assert_eq!(report["samples"]["test"], 359);
    assert!(
        report["accuracy"].as_f64() > Some(0.7),
        "{}",
        report["accuracy"]
    );
    for file in [
        "environment.json",
        "evaluation.json",
        "last.safetensors",
        "metrics.jsonl",
        "model.onnx",
        "report.html",
        "sardonyx.toml",
    ] {
        assert!(place.path("runs/first").join(file).is_file(), "{file}");
    }
    let talk = outcome.stderr;
    assert!(talk.contains("run: runs/first\n"), "{talk}");
    assert!(
        talk.contains("epoch   1/2  loss ") && talk.contains("epoch   2/2  loss "),
        "{talk}"
    );
    let again = place.json(&["eval", "runs/first"]);
    assert_eq!(again["part"], "test");
    assert_eq!(
        again["accuracy"], report["accuracy"],
        "the same model on the same samples"
    );
    assert_eq!(again["log_loss"], report["log_loss"]);
    let settings = place.stdout(&["config", "render", "runs/first/sardonyx.toml"]);
    let written = std::fs::read_to_string(place.path("runs/first/sardonyx.toml")).expect("there");
    assert_eq!(settings, written);
}

#[test]
fn a_run_is_never_overwritten() {
    let place = Place::new();
    let run = |more: &[&str]| place.run(&small(&[&["epochs=1", "--quiet"], more].concat()));
    assert_eq!(run(&["name=one"]).code, Some(0));
    let before = std::fs::read(place.path("runs/one/model.onnx")).expect("there");
    let again = run(&["name=one", "seed=1"]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(1), ""));
    expect![[r#"
        error: the run `runs/one` exists already and a run is never overwritten
         hint: choose another name, or resume it
    "#]]
    .assert_eq(&again.stderr);
    assert_eq!(
        std::fs::read(place.path("runs/one/model.onnx")).expect("there"),
        before
    );
    assert_eq!((run(&[]).code, run(&[]).code), (Some(0), Some(0)));
    assert!(place.path("runs/digits-mlp-small/model.onnx").exists());
    assert!(place.path("runs/digits-mlp-small-002/model.onnx").exists());
}

#[test]
fn training_goes_on_from_any_model() {
    let place = Place::new();
    assert_eq!(place.run(&small(&["name=first", "-q"])).code, Some(0));
    let more = [
        "train",
        "--data",
        "digits",
        "--model",
        "runs/first/model.onnx",
    ];
    let more = [
        &more[..],
        &["name=second", "epochs=1", "test=0.2", "-q", "--json"],
    ]
    .concat();
    let outcome = place.run(&more);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let first = place.json(&["eval", "runs/first"])["accuracy"].as_f64();
    let second = place.json(&["eval", "runs/second"])["accuracy"].as_f64();
    assert!(
        second > first.map(|first| first - 0.02),
        "{first:?} {second:?}"
    );
}

#[test]
fn a_table_takes_a_network_for_rows() {
    let place = Place::new();
    let rows =
        (0..200).map(|i| format!("{i},{},{}\n", i % 7, if i < 100 { "low" } else { "high" }));
    place.write(
        "rows.csv",
        format!("x,noise,side\n{}", rows.collect::<String>()),
    );
    let train = [
        "train",
        "data=rows.csv",
        "scale=standardize",
        "batch=20",
        "--json",
        "-q",
    ];
    let outcome = place.run(&[&train[..], &["epochs=30", "lr=0.01"]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(
        (&report["unit"], &report["part"]),
        (&"row".into(), &"validation".into())
    );
    assert!(report["accuracy"].as_f64() >= Some(0.9), "{report}");
    place.write("new.csv", "noise,x\n3,5\n3,190\n");
    let told = place.json(&["predict", "runs/rows-mlp", "new.csv"]);
    let classes = told["predictions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| &p["class"]);
    assert_eq!(
        classes.collect::<Vec<_>>(),
        ["low", "high"],
        "columns are found by name"
    );
}

#[test]
fn mistakes_before_training_leave_nothing() {
    let place = Place::new();
    expect![[r#"
        error: nowhere: No such file or directory (os error 2)
         hint: check the spelling of the path
    "#]]
    .assert_eq(&place.mistake(&["train", "data=nowhere"]));
    expect![[r#"
        error: data.train: no data is given
         hint: `data=FOLDER`, or `data=digits` for the embedded digits
    "#]]
    .assert_eq(&place.mistake(&["train", "model=mlp"]));
    expect![[r#"
        error: argument `epoch=3`: there is no key `epoch`
         hint: did you mean `epochs`?
    "#]]
    .assert_eq(&place.mistake(&["train", "data=digits", "epoch=3"]));
    expect![[r#"
        error: argument `b.toml`: `a.toml` is the configuration file already
         hint: write key=value
    "#]]
    .assert_eq(&place.mistake(&["train", "a.toml", "b.toml"]));
    expect![[r#"
        error: cannot open the run `runs/none`: No such file or directory (os error 2)
    "#]]
    .assert_eq(&place.mistake(&["resume", "runs/none"]));
    let unknown = place.run(&["train", "data=digits", "model=sed-cnn", "-q"]);
    assert_eq!(unknown.code, Some(1));
    expect![[r#"
        error: there is no model `sed-cnn` in the zoo
         hint: did you mean `seed-cnn`?
    "#]]
    .assert_eq(&unknown.stderr);
    assert!(!place.path("runs").exists());
}

/// Killed without warning, or asked to end, and then resumed: the model is that of an undisturbed
/// run, to the byte.
#[test]
#[cfg(unix)]
fn an_interrupted_run_resumes_exactly() {
    let long = ["epochs=12", "checkpoint_every=7", "-q"];
    let whole = Place::new();
    assert_eq!(
        whole.run(&small(&[&long[..], &["name=run"]].concat())).code,
        Some(0)
    );
    let model = |place: &Place| std::fs::read(place.path("runs/run/model.onnx")).expect("there");
    let metrics =
        |place: &Place| std::fs::read(place.path("runs/run/metrics.jsonl")).expect("there");
    for (signal, code) in [("-KILL", None), ("-INT", Some(1))] {
        let place = Place::new();
        let arguments = small(&[&long[..], &["name=run"]].concat());
        let mut child = Command::new(env!("CARGO_BIN_EXE_sardonyx"))
            .args(&arguments)
            .current_dir(place.path(""))
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("sardonyx runs");
        let file = place.path("runs/run/metrics.jsonl");
        while std::fs::metadata(&file).map_or(0, |file| file.len()) == 0 {
            std::thread::sleep(Duration::from_millis(2));
            assert!(
                child.try_wait().expect("a child").is_none(),
                "over too early"
            );
        }
        let id = child.id().to_string();
        let sent = Command::new("kill")
            .args([signal, &id])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        assert_eq!(child.wait().expect("a child").code(), code, "{signal}");
        let epochs = std::fs::read_to_string(&file)
            .expect("there")
            .lines()
            .count();
        assert!(epochs < 12, "killed in the middle");
        let resumed = place.run(&["resume", "runs/run", "--quiet", "--threads", "1"]);
        assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
        assert!(model(&place) == model(&whole), "{signal}: another model");
        assert!(
            metrics(&place) == metrics(&whole),
            "{signal}: other measures"
        );
    }
    // Killed before its first checkpoint: the configuration is there, and a line cut short.
    let place = Place::new();
    std::fs::create_dir_all(place.path("runs/run")).expect("created");
    let config = "runs/run/sardonyx.toml";
    std::fs::copy(whole.path(config), place.path(config)).expect("copied");
    std::fs::write(place.path("runs/run/metrics.jsonl"), "{\"st").expect("written");
    let resumed = place.run(&["resume", "runs/run", "--quiet"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(model(&place) == model(&whole), "begun anew: another model");
    assert!(
        metrics(&place) == metrics(&whole),
        "begun anew: other measures"
    );
}
