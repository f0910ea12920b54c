use expect_test::expect_file;

use crate::support::{Place, check_help};

#[test]
fn help() {
    check_help(&["doctor"], expect_file!["snapshots/doctor.txt"]);
}

#[test]
fn this_machine_is_sound() {
    let report = Place::new().json(&["doctor"]);
    let checks = report["checks"].as_array().expect("checks");
    assert!(
        checks.len() >= 3 && checks.iter().all(|check| check["passed"] == true),
        "{report}"
    );
    let peaks = report["peaks"].as_array().expect("peaks");
    assert!(
        peaks
            .iter()
            .all(|peak| peak["gflops"].as_f64() > Some(0.01)),
        "{report}"
    );
    assert!(report["threads"].as_u64() >= Some(1));
    let isas = report["isas_available"]
        .as_array()
        .expect("instruction sets");
    assert!(isas.contains(&report["isa"]));
    let text = Place::new().stdout(&["doctor", "--no-measure"]);
    assert!(
        text.contains("threads do not change the result") && !text.contains("peak"),
        "{text}"
    );
}
