//! Sardonyx as a process of its own, and the Python that looks at what it left.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sardonyx::data::{Target, View, npy};
use sardonyx::tensor::Tensor;
use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_sardonyx");

/// A folder of its own in which commands run.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        let folder = path.parent().expect("it is in the place");
        std::fs::create_dir_all(folder).expect("created");
        std::fs::write(path, bytes).expect("written");
    }

    pub(crate) fn write_array(&self, name: &str, array: &Tensor) {
        self.write(name, npy::to_bytes(array).expect("an array"));
    }

    /// Writes samples and their classes as `NAME_x.npy` and `NAME_y.npy`.
    pub(crate) fn write_labelled(&self, name: &str, view: &View) {
        let Target::Classes(classes) = view.target() else {
            panic!("targets are classes");
        };
        let x = view.to_tensor().expect("samples");
        self.write_array(&format!("{name}_x.npy"), &x);
        self.write_array(&format!("{name}_y.npy"), &labels(&classes));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.0.path());
        command
    }

    /// Runs sardonyx here with `--json`; it must succeed. The report is kept as `NAME.json`.
    pub(crate) fn json(&self, name: &str, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json", "--quiet"]].concat();
        let output = self.command(&arguments).output().expect("sardonyx runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        self.write(&format!("{name}.json"), &output.stdout);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Has `witness.py` check something here. Says plainly when there is no Python to do it.
    pub(crate) fn witness(&self, arguments: &[&str]) {
        let Some(python) = std::env::var_os("SARDONYX_PYTHON") else {
            // Past the capture of the test's output: nobody shall take it for checked.
            let message = "SARDONYX_PYTHON is not set: NOT checked by the outside witness:";
            writeln!(std::io::stderr(), "{message} {arguments:?}").expect("stderr takes text");
            return;
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness");
        let output = Command::new(python)
            .arg(folder.join("witness.py"))
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("SARDONYX_PYTHON runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "witness {arguments:?}:\n{stdout}{stderr}"
        );
        // A witness that looked at nothing is none.
        assert!(stdout.contains("checked "), "{stdout}");
    }
}

pub(crate) fn labels(classes: &[u32]) -> Tensor {
    let classes: Vec<i64> = classes.iter().map(|&class| i64::from(class)).collect();
    Tensor::new([classes.len()], classes).expect("as many as there are")
}

/// The probabilities of a report of `predict --top CLASSES`, in the order of the classes.
pub(crate) fn probabilities(report: &Value) -> Vec<Vec<f64>> {
    let predictions = report["predictions"].as_array().expect("a list");
    let row = |prediction: &Value| {
        let top = prediction["top"].as_array().expect("a list");
        let mut row = vec![f64::NAN; top.len()];
        for choice in top {
            let index = choice["index"].as_u64().expect("a number") as usize;
            row[index] = choice["probability"].as_f64().expect("a probability");
        }
        assert!(row.iter().all(|value| value.is_finite()), "{prediction}");
        row
    };
    predictions.iter().map(row).collect()
}

/// Index of the largest value, of equals the first.
pub(crate) fn largest(row: &[f64]) -> usize {
    let better = |best: usize, index: usize| if row[index] > row[best] { index } else { best };
    (0..row.len()).reduce(better).expect("not empty")
}
