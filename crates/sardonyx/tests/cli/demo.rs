use expect_test::expect_file;

use crate::support::{Place, check_help};

#[test]
fn help() {
    check_help(&["demo"], expect_file!["snapshots/demo.txt"]);
}

#[test]
fn the_demo_reads_digits() {
    let place = Place::new();
    let outcome = place.run(&["demo", "--json"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert!(
        report["accuracy"].as_f64() >= Some(0.98),
        "{}",
        report["accuracy"]
    );
    assert_eq!(report["part"], "test");
    assert!(
        outcome
            .stderr
            .contains("Next:\n  sardonyx eval runs/digits-seed-cnn\n")
    );
    let html = std::fs::read_to_string(place.path("runs/digits-seed-cnn/report.html"));
    assert!(html.expect("a report").contains("<svg"));
}

#[test]
fn a_folder_that_cannot_be_is_a_mistake() {
    let place = Place::new();
    place.write("file", "in the way");
    let outcome = place.run(&["demo", "--dir", "file/runs", "-q"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(
        outcome
            .stderr
            .starts_with("error: cannot create `file/runs`"),
        "{}",
        outcome.stderr
    );
}
