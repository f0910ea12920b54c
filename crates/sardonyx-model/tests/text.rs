//! The text form against ONNX's own (`tests/golden/make_text.py`): what its printer writes reads as
//! the model does, and what is printed here is what its parser was shown to read.

use std::fs;
use std::path::{Path, PathBuf};

use sardonyx_ir::text::{PrintOptions, parse, print};
use sardonyx_model::load;

/// Name of a text, and its model below `tests/golden`.
const CASES: [(&str, &str); 5] = [
    ("functions", "text/functions.onnx"),
    ("subgraphs", "text/subgraphs.onnx"),
    ("tf2onnx_mlp", "exports/tf2onnx_mlp/model.onnx"),
    ("torch_dynamo_mlp", "exports/torch_dynamo_mlp/model.onnx"),
    ("torch_script_mlp", "exports/torch_script_mlp/model.onnx"),
];

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

#[test]
fn what_the_printer_of_onnx_writes_is_the_model() {
    for (name, model) in CASES {
        let text = fs::read_to_string(golden(&format!("text/{name}.onnx.txt"))).expect("committed");
        let parsed = parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let loaded = load(&golden(model)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let print = |graph| print(graph, PrintOptions::FULL).expect("no cycle");
        assert_eq!(print(&parsed), print(&loaded), "{name}");
    }
}

#[test]
fn what_is_printed_is_what_the_parser_of_onnx_has_read() {
    for (name, model) in CASES {
        let path = golden(&format!("text/{name}.txt"));
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let graph = load(&golden(model)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let printed = print(&graph, PrintOptions::FULL).expect("no cycle");
        assert_eq!(
            printed,
            expected,
            "{}; after a change run make_text.py check",
            path.display()
        );
    }
}
