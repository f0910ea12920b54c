use expect_test::{expect, expect_file};

use crate::support::{Place, check_help};

#[test]
fn help() {
    check_help(&[], expect_file!["snapshots/help.txt"]);
}

#[test]
fn the_version_is_told() {
    let version = Place::new().stdout(&["--version"]);
    assert_eq!(version, format!("sardonyx {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_word_is_a_mistake() {
    expect![[r#"
        error: unrecognized subcommand 'inpsect'

          tip: some similar subcommands exist: 'predict', 'inspect'

        Usage: sardonyx [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]]
    .assert_eq(&Place::new().mistake(&["inpsect"]));
    assert!(Place::new().mistake(&["inspect"]).contains("<MODEL>"));
    assert!(Place::new().mistake(&[]).contains("Usage: sardonyx"));
}

#[test]
fn colours_come_when_asked_for() {
    let plain = Place::new().mistake(&["inspect", "nothing.onnx"]);
    assert!(!plain.contains('\u{1b}'));
    let coloured = Place::new().mistake(&["--color", "always", "inspect", "nothing.onnx"]);
    assert!(
        coloured.contains("\u{1b}[1m\u{1b}[31merror:"),
        "{coloured:?}"
    );
}
