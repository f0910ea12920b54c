use std::collections::BTreeSet;

use sardonyx_data::Scaling;
use sardonyx_train::{Adam, OptimizerConfig, Schedule, Sgd};
use serde_json::Value;

use super::*;

const MINIMAL: &str = "[data]\ntrain = \"data/train\"\n[model]\narch = \"mlp\"\n";

fn with(overrides: &[&str]) -> Result<TrainConfig> {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    TrainConfig::load(None, &overrides)
}

fn check_wrong(text: &str, expect: &str) {
    let error = TrainConfig::parse("run.toml", text).expect_err(text);
    assert_eq!(error.to_string(), expect, "{text}");
}

fn check_wrong_override(argument: &str, expect: &str) {
    let error = with(&[argument]).expect_err(argument);
    assert_eq!(error.to_string(), format!("argument `{argument}`{expect}"));
}

#[test]
fn a_minimal_file_has_every_default() {
    let config = TrainConfig::parse("run.toml", MINIMAL).expect("valid");
    let mut expect = TrainConfig::default();
    expect.data.train = "data/train".to_owned();
    expect.model.arch = Some("mlp".to_owned());
    assert_eq!(config, expect);
    assert!(config.require_data().is_ok());
    let error = TrainConfig::default().require_data().expect_err("no data");
    assert!(
        error
            .to_string()
            .starts_with("data.train: no data is given")
    );
}

#[test]
fn what_is_rendered_reads_back() {
    let early = with(&["early_stop.patience=3", "test=0.2", "name=a"]);
    let other = with(&[
        "optimizer=sgd",
        "schedule.name=plateau",
        "size=[28, 32]",
        "test=x y",
    ]);
    let lists = with(&[
        "augment=crop:2,flip",
        r#"classes=["a\"b", "c\\d", "\u00e9\t"]"#,
    ]);
    let one_cycle = with(&[
        "schedule=one_cycle",
        "scale=standardize",
        "target=the label",
    ]);
    let polynomial = with(&["schedule={name = \"polynomial\", power = 2}"]);
    let piecewise = with(&["schedule={name=\"piecewise\",milestones=[1,4],factors=[0.5,0.1]}"]);
    let configs = [early, other, lists, one_cycle, polynomial, piecewise];
    let configs = configs.into_iter().map(|config| config.expect("valid"));
    for config in configs.chain([TrainConfig::default()]) {
        let text = config.render();
        let read = TrainConfig::parse("rendered", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read, config, "{text}");
        // A setting that is off turns on by taking the comment sign away.
        let all_on: String = text
            .lines()
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        TrainConfig::parse("rendered", &all_on).unwrap_or_else(|e| panic!("{e}\n{all_on}"));
    }
}

/// The keys that the structures have, over all alternatives, are those of the table.
#[test]
fn the_table_of_keys_is_complete() {
    fn leaves(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value.as_object() {
            Some(table) => table.iter().for_each(|(name, value)| {
                let path = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                leaves(&path, value, found);
            }),
            None => {
                found.insert(prefix.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    let Some(Key {
        kind: Kind::OneOf(schedules),
        ..
    }) = keys::find("train.schedule.name")
    else {
        panic!("the schedules are listed");
    };
    for optimizer in ["sgd", "adam", "adamw"] {
        for schedule in *schedules {
            let needed: &[&str] = match *schedule {
                "step" => &["rate=0.5", "every=1"],
                "exponential" => &["rate=0.5"],
                "piecewise" => &["milestones=[1]", "factors=[0.1]"],
                "polynomial" => &["power=1"],
                "cosine_restarts" => &["period=1"],
                "plateau" => &["train.schedule.mode=max"],
                _ => &[],
            };
            let names = [
                format!("optimizer={optimizer}"),
                format!("schedule={schedule}"),
            ];
            let mut overrides: Vec<&str> = names.iter().map(String::as_str).collect();
            overrides.extend(needed);
            overrides.extend(["target=a", "test=0.1", "size=8", "name=a", "clip_norm=1"]);
            overrides.extend(["early_stop.mode=max", "scale=unit", "model=mlp"]);
            let config = with(&overrides).unwrap_or_else(|e| panic!("{e}"));
            leaves(
                "",
                &serde_json::to_value(config).expect("plain data"),
                &mut found,
            );
        }
    }
    let table: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(found, table);
}

#[test]
fn overrides_win_over_the_file() {
    let text = "[train]\nepochs = 3\noptimizer = { name = \"sgd\", momentum = 0.9 }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.toml");
    std::fs::write(&path, text).expect("written");
    let load = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        TrainConfig::load(Some(&path), &overrides).expect("valid")
    };
    let sgd = |lr, momentum| {
        OptimizerConfig::Sgd(Sgd {
            lr,
            momentum,
            ..Sgd::default()
        })
    };
    assert_eq!(load(&[]).train.optimizer, sgd(1e-3, 0.9));
    assert_eq!(load(&["lr=0.1"]).train.optimizer, sgd(0.1, 0.9));
    // Another optimizer starts from its own defaults, wherever its name stands.
    let adam = OptimizerConfig::Adam(Adam {
        lr: 0.01,
        ..Adam::default()
    });
    assert_eq!(load(&["lr=0.01", "optimizer=adam"]).train.optimizer, adam);
    assert_eq!(load(&["epochs=3", "epochs=5"]).train.epochs, 5);
    assert_eq!(load(&["epochs="]).train.epochs, 10, "the default again");
}

#[test]
fn values_of_arguments_are_toml_or_bare_text() {
    let config = with(&[
        "data=my data/train",
        "model=net.onnx",
        "run.name=003",
        "val=data/val",
        "test=0.25",
        "scale=unit",
        "augment=flip",
        "size=28",
        "drop=id, name",
        "schedule={ name = \"step\", rate = 0.5, every = 5 }",
        "train.seed=0xff",
    ])
    .expect("valid");
    assert_eq!(config.data.train, "my data/train");
    assert_eq!(config.model.arch.as_deref(), Some("net.onnx"));
    assert_eq!(config.run.name.as_deref(), Some("003"));
    assert_eq!(config.data.val, Portion::Path("data/val".to_owned()));
    assert_eq!(config.data.test, Some(Portion::Share(0.25)));
    assert_eq!(config.preprocess.scale, Some(Scaling::Unit));
    assert_eq!(config.preprocess.augment.len(), 1);
    assert_eq!(config.data.drop, ["id", "name"]);
    assert_eq!(
        config.train.schedule,
        Schedule::Step {
            rate: 0.5,
            every: 5
        }
    );
    assert_eq!(config.train.seed, 255);
}

#[test]
fn mistakes_in_a_file_have_their_place() {
    check_wrong(
        "[train]\n  epoch = 3\n",
        "run.toml:2:3: train.epoch: `epoch` is no key of [train]; hint: did you mean `epochs`?",
    );
    check_wrong(
        "[trian]\n",
        "run.toml:1:2: trian: there is no such table; hint: did you mean `train`?",
    );
    check_wrong(
        "[train]\nlr = 3\n",
        "run.toml:2:1: train.lr: `lr` is no key of [train]; \
         hint: did you mean `train.optimizer.lr`?",
    );
    check_wrong(
        "[train]\nepochs = \"many\"\n",
        "run.toml:2:1: train.epochs: expected a whole number, zero or more, found \"many\"",
    );
    check_wrong(
        "[train]\nepochs = 0\n",
        "run.toml:2:1: train.epochs: 0 will not do, it must be 1 or more",
    );
    check_wrong(
        "[train]\noptimizer = { name = \"adm\" }\n",
        "run.toml:2:15: train.optimizer.name: \"adm\" is not known here; \
         hint: did you mean `adam`?",
    );
    check_wrong(
        "[train]\noptimizer = \"adm\"\n",
        "run.toml:2:1: train.optimizer.name: \"adm\" is not known here; \
         hint: did you mean `adam`?",
    );
    check_wrong(
        "[train.optimizer]\nmomentum = 0.9\n",
        "run.toml:2:1: train.optimizer.momentum: `momentum` is no key of `adam`; \
         hint: it belongs to train.optimizer.name = `sgd`",
    );
    check_wrong(
        "[train.optimizer]\nlr = -0.5\n",
        "run.toml:2:1: train.optimizer.lr: -0.5 will not do, it must be zero or more",
    );
    check_wrong(
        "[train.optimizer]\nlr = nan\n",
        "run.toml:2:6: train.optimizer.lr: nan will not do, it must be a finite number",
    );
}

#[test]
fn mistakes_of_form_in_a_file_have_their_place() {
    check_wrong(
        "[train]\nschedule = { name = \"step\", rate = 0.5 }\n",
        "run.toml:2:1: train.schedule: `every` is missing; hint: it has no default here",
    );
}

#[test]
fn mistakes_of_form_and_range_have_their_place() {
    check_wrong(
        "[train]\nepochs = = 3\n",
        "run.toml:2:10: extra `=`, expected nothing",
    );
    check_wrong(
        "train = 3\n",
        "run.toml:1:1: `train` is a table, it cannot be 3",
    );
    check_wrong(
        "[train.epochs]\n",
        "run.toml:1:8: `train.epochs` is a single value, it cannot be a table",
    );
    check_wrong(
        "[preprocess]\naugment = [\"crup:2\"]\n",
        "run.toml:2:1: preprocess.augment: augment `crup:2`: there is no such augmentation; \
         hint: did you mean `crop`?",
    );
    check_wrong(
        "[data]\nval = 0.6\ntest = 0.5\n",
        "run.toml:2:1: data.val: with data.test = 0.5 it leaves nothing to train on",
    );
    check_wrong(
        "[data]\nval = 1.5\n",
        "run.toml:2:1: data.val: 1.5 will not do, it must be a share between 0 and 1",
    );
    check_wrong(
        "[data]\nimage = { size = [28, 28, 3] }\n",
        "run.toml:2:11: data.image.size: expected a whole number, or two as [height, width], \
         found [28,28,3]",
    );
}

#[test]
fn mistakes_in_arguments_are_named() {
    check_wrong_override(
        "epoch=3",
        ": there is no key `epoch`; hint: did you mean `epochs`?",
    );
    check_wrong_override(
        "train.lr=3",
        ": there is no key `train.lr`; hint: did you mean `train.optimizer.lr`?",
    );
    check_wrong_override(
        "zzz=3",
        ": there is no key `zzz`; hint: `sardonyx config render` lists them all",
    );
    check_wrong_override(
        "patience=3",
        ": `patience` is not clear; \
         hint: write `train.schedule.patience` or `train.early_stop.patience`",
    );
    check_wrong_override(
        "epochs=many",
        ": train.epochs: expected a whole number, zero or more, found \"many\"",
    );
    check_wrong_override("schedule={ name =", ": `{ name =` is not a TOML value");
    check_wrong_override(
        "momentum=0.9",
        ": train.optimizer.momentum: `momentum` is no key of `adam`; \
         hint: it belongs to train.optimizer.name = `sgd`",
    );
    check_wrong_override("train=x", ": `train` is a table, it cannot be \"x\"");
    check_wrong_override("lr=inf", ": inf will not do, it must be a finite number");
    check_wrong_override(
        "train.seed=99999999999999999999",
        ": 99999999999999999999 is too large a number",
    );
}

#[test]
fn files_that_are_none_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |bytes: Option<&[u8]>, expect: &str| {
        let path = folder.path().join("run.toml");
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).expect("written");
        }
        let error = TrainConfig::load(Some(&path), &[])
            .expect_err("refused")
            .to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(None, "cannot read");
    check(Some(b"\xff\xfe"), "byte 0 is not UTF-8 text");
    check(Some(&[b' '; (1 << 20) + 1]), "longer than 1048576 bytes");
    assert!(
        TrainConfig::load(Some(folder.path()), &[]).is_err(),
        "a folder"
    );
}
