use expect_test::{expect, expect_file};

use crate::support::{Place, check_help};

#[test]
fn help() {
    check_help(&["config"], expect_file!["snapshots/config.txt"]);
    check_help(
        &["config", "render"],
        expect_file!["snapshots/config-render.txt"],
    );
}

#[test]
fn every_default_is_rendered() {
    let text = Place::new().stdout(&["config", "render"]);
    expect_file!["snapshots/config-defaults.txt"].assert_eq(&text);
}

#[test]
fn what_is_rendered_is_valid() {
    let place = Place::new();
    let text = place.stdout(&[
        "config",
        "render",
        "data=digits",
        "optimizer=sgd",
        "epochs=3",
    ]);
    place.write("run.toml", &text);
    assert_eq!(
        place.stdout(&["config", "check", "run.toml"]),
        "the configuration is valid\n"
    );
    assert_eq!(place.stdout(&["config", "render", "run.toml"]), text);
    let json = place.json(&["config", "render", "run.toml", "lr=0.5"]);
    assert_eq!(json["train"]["optimizer"]["lr"], 0.5);
    assert_eq!(json["train"]["epochs"], 3);
}

#[test]
fn a_mistyped_key_is_a_mistake() {
    let place = Place::new();
    place.write(
        "run.toml",
        "[data]\ntrain = \"digits\"\n\n[train]\nepoch = 3\n",
    );
    expect![[r#"
        error: run.toml:5:1: train.epoch: `epoch` is no key of [train]
         hint: did you mean `epochs`?
    "#]]
    .assert_eq(&place.mistake(&["config", "check", "run.toml"]));
    expect![[r#"
        error: argument `epoch=3`: there is no key `epoch`
         hint: did you mean `epochs`?
    "#]]
    .assert_eq(&place.mistake(&["config", "render", "epoch=3"]));
    expect![[r#"
        error: data.train: no data is given
         hint: `data=FOLDER`, or `data=digits` for the embedded digits
    "#]]
    .assert_eq(&place.mistake(&["config", "check"]));
}
