use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::ExpectFile;
use sardonyx::ir::text;
use serde_json::Value;

/// A folder of its own in which commands run.
pub(crate) struct Place(tempfile::TempDir);

/// How a command came out.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("written");
    }

    /// Writes a model given in ONNX's textual syntax, with the names of its classes.
    pub(crate) fn model(&self, name: &str, source: &str, classes: &[&str]) {
        let mut graph = text::parse(source).expect("a graph");
        if !classes.is_empty() {
            sardonyx::model::set_class_names(&mut graph, classes);
        }
        sardonyx::model::save(&self.path(name), &graph).expect("saved");
    }

    /// Runs sardonyx here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        run_in(self.0.path(), arguments)
    }

    /// Runs sardonyx here; it must succeed and say nothing on stderr.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(0), ""),
            "{}",
            outcome.stdout
        );
        outcome.stdout
    }

    /// Runs sardonyx here with `--json`; stdout must be one JSON object.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let stdout = self.stdout(&[arguments, &["--json"]].concat());
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        let value: Value = serde_json::from_str(&stdout).expect("JSON");
        assert!(value.is_object());
        value
    }

    /// Runs sardonyx here; it must fail for a mistake of the user's, with nothing on stdout.
    pub(crate) fn mistake(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(1), ""),
            "{}",
            outcome.stderr
        );
        outcome.stderr
    }
}

pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_sardonyx"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("COLUMNS")
        .env_remove("CLICOLOR_FORCE")
        .output()
        .expect("sardonyx runs");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Compares the help of a verb with its snapshot.
pub(crate) fn check_help(arguments: &[&str], expect: ExpectFile) {
    let place = Place::new();
    expect.assert_eq(&place.stdout(&[arguments, &["--help"]].concat()));
}
