//! The rules of this repository that no compiler knows, each a test.
//!
//! What breaks a rule today is named in a list that may only shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every crate, lowest layer first. A crate may use those of lower layers, none of its own.
const LAYERS: [&[&str]; 8] = [
    &["sardonyx-tensor"],
    &[
        "sardonyx-data",
        "sardonyx-ir",
        "sardonyx-kernels",
        "sardonyx-onnx",
        "sardonyx-wire",
    ],
    &["sardonyx-model", "sardonyx-ops"],
    &["sardonyx-passes", "sardonyx-zoo"],
    &["sardonyx-engine"],
    &["sardonyx-train"],
    &["sardonyx-serve"],
    &["sardonyx"],
];

/// Crates at the edge, where values become text: only these may serialise.
const MAY_SERIALISE: [&str; 3] = ["sardonyx", "sardonyx-serve", "sardonyx-train"];

const MAX_FILE_LINES: usize = 500;
const MAX_VERB_LINES: usize = 80;
const MAX_LOCKED_PACKAGES: usize = 210;

/// Files over [`MAX_FILE_LINES`], with the most lines that they may have.
const LONG_FILES: [(&str, usize); 0] = [];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace is there")
}

/// Files below `folder` with one of the extensions, without what builds leave.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                let is_foreign = name.starts_with('.') && name != ".ci"
                    || ["target", "runs", "corpus", "artifacts", "__pycache__"]
                        .contains(&name.as_str());
                if !is_foreign {
                    folders.push(path);
                }
            } else if extensions
                .iter()
                .any(|e| path.extension().is_some_and(|found| found == *e))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    let path = path.strip_prefix(root()).unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with every offence at once.
fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

/// Normal dependencies of every workspace crate.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let pairs = packages.iter().map(|package| {
        let all = package["dependencies"].as_array().expect("a list");
        let normal = all.iter().filter(|dependency| dependency["kind"].is_null());
        (name(package), normal.map(name).collect())
    });
    pairs.collect()
}

#[test]
fn dependencies_point_down() {
    let layer_of = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let mut offences = Vec::new();
    let dependencies = dependencies();
    for (name, used) in &dependencies {
        let Some(layer) = layer_of(name) else {
            offences.push(format!("{name} is in no layer"));
            continue;
        };
        for used in used.iter().filter(|used| dependencies.contains_key(*used)) {
            if layer_of(used).is_none_or(|below| below >= layer) {
                offences.push(format!("{name} uses {used}, which is not below it"));
            }
        }
    }
    for name in LAYERS.iter().flat_map(|layer| layer.iter()) {
        if !dependencies.contains_key(*name) {
            offences.push(format!("{name} is listed, but there is no such crate"));
        }
    }
    assert_none(
        "dependencies point down only, and the list of layers is complete",
        &offences,
    );
}

#[test]
fn serialisation_stays_at_the_edges() {
    let mut offences = Vec::new();
    for (name, used) in dependencies() {
        if used.contains("serde") && !MAY_SERIALISE.contains(&name.as_str()) {
            offences.push(name);
        }
    }
    assert_none("core types know no serde", &offences);
}

#[test]
fn every_crate_says_what_it_is_and_is_not() {
    let mut offences = Vec::new();
    for name in LAYERS.iter().flat_map(|layer| layer.iter()) {
        let text = read(&root().join("crates").join(name).join("src/lib.rs"));
        let header: String = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        if !header.contains("Invariants:") {
            offences.push(format!(
                "{name}: lib.rs does not open with `//!` that has `Invariants:`"
            ));
        }
    }
    assert_none(
        "a crate opens with its purpose and its invariants",
        &offences,
    );
}

#[test]
fn files_are_short() {
    let mut offences = Vec::new();
    for path in files(&root().join("crates"), &["rs"]) {
        let (name, n_lines) = (shown(&path), read(&path).lines().count());
        let listed = LONG_FILES.iter().find(|(long, _)| *long == name);
        let limit = listed.map_or(MAX_FILE_LINES, |(_, lines)| *lines);
        if n_lines > limit {
            offences.push(format!("{name} has {n_lines} lines, {limit} are allowed"));
        }
        if listed.is_some() && n_lines <= MAX_FILE_LINES {
            offences.push(format!("{name} is short again: take it off the list"));
        }
        if name.starts_with("crates/sardonyx/src/verbs/") && n_lines > MAX_VERB_LINES {
            offences.push(format!(
                "{name} has {n_lines} lines, a verb has {MAX_VERB_LINES}"
            ));
        }
    }
    for (name, _) in LONG_FILES {
        if !root().join(name).exists() {
            offences.push(format!("{name} is gone: take it off the list"));
        }
    }
    assert_none("files are short", &offences);
}

/// Lines of a file between two marks that are rows of a table, without what surrounds the key.
fn rows(file: &str, start: &str, prefix: &str) -> Vec<String> {
    let text = read(&root().join(file));
    let body = text
        .split_once(start)
        .unwrap_or_else(|| panic!("{file} has `{start}`"))
        .1;
    let body = body.split_once("];").expect("the table ends").0;
    let rows = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix(prefix));
    rows.map(|row| row.trim_end_matches(',').to_owned())
        .collect()
}

#[test]
fn tables_are_sorted() {
    let tables = [
        (
            "crates/sardonyx-ops/src/registry.rs",
            "static FAMILIES",
            "ops::",
        ),
        (
            "crates/sardonyx-zoo/src/zoo/mod.rs",
            "pub static MODELS",
            "name: ",
        ),
        (
            "crates/sardonyx-data/src/augment/mod.rs",
            "const SPECS",
            "&",
        ),
    ];
    let mut offences = Vec::new();
    for (file, start, prefix) in tables {
        for pair in rows(file, start, prefix).windows(2) {
            if pair[0] > pair[1] {
                offences.push(format!("{file}: {} comes after {}", pair[0], pair[1]));
            }
        }
    }
    let operators = rows(tables[0].0, tables[0].1, tables[0].2);
    assert!(operators.len() > 20, "the table of operators is read");
    assert_none("tables are sorted", &offences);
}

#[test]
fn few_packages_are_locked() {
    let lock = read(&root().join("Cargo.lock"));
    let n_packages = lock.lines().filter(|line| *line == "[[package]]").count();
    assert!(
        (1..=MAX_LOCKED_PACKAGES).contains(&n_packages),
        "{n_packages} packages in Cargo.lock, at most {MAX_LOCKED_PACKAGES} are wanted"
    );
}

/// Texts that must not be in any file of the project, put together here so that this one passes.
fn forbidden() -> Vec<(String, &'static str)> {
    let joined = |parts: &[&str]| parts.concat();
    vec![
        (
            joined(&["#[", "ignore"]),
            "a test that does not run is none",
        ),
        (
            joined(&["should", "_panic"]),
            "return an error and assert on it",
        ),
        (joined(&["#[", "allow("]), "use `expect` with a reason"),
        (joined(&["TO", "DO"]), "finish it, or open an issue"),
        (joined(&["FIX", "ME"]), "finish it, or open an issue"),
        (joined(&["/wo", "rk/"]), "a path of somebody's machine"),
        (joined(&["/opt/", "peers"]), "a path of somebody's machine"),
        (joined(&["/home", "/"]), "a path of somebody's machine"),
        (joined(&["/ro", "ot/"]), "a path of somebody's machine"),
    ]
}

#[test]
fn nothing_is_left_over() {
    let mut offences = Vec::new();
    let forbidden = forbidden();
    for path in files(&root(), &["md", "py", "rs", "sh", "toml"]) {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            for (word, reason) in forbidden
                .iter()
                .filter(|(word, _)| line.contains(word.as_str()))
            {
                offences.push(format!(
                    "{}:{}: `{word}`: {reason}",
                    shown(&path),
                    number + 1
                ));
            }
        }
    }
    assert_none("nothing is left over", &offences);
}
