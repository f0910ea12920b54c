//! Bodies of `:classify` and `:regress`, and how examples become inputs.

use std::collections::BTreeMap;

use sardonyx_tensor::DType;
use sardonyx_wire::proto::serving::{ExampleList, ExampleListWithContext, Input, InputKind};
use sardonyx_wire::proto::tensorflow::{
    BytesList, Example, Feature, Features, FloatList, Int64List, Kind,
};
use sardonyx_wire::tensorflow::{bind_examples, decode_examples, example_count};
use sardonyx_wire::{Bytes, TensorSpec, Value};

use crate::support::{assert_refused, numbers, strings};

fn texts(values: &[&str]) -> Kind {
    let value = values
        .iter()
        .map(|text| Bytes::copy_from_slice(text.as_bytes()))
        .collect();
    Kind::BytesList(BytesList { value })
}

fn floats(values: &[f32]) -> Kind {
    Kind::FloatList(FloatList {
        value: values.to_vec(),
    })
}

fn ints(values: &[i64]) -> Kind {
    Kind::Int64List(Int64List {
        value: values.to_vec(),
    })
}

fn example(features: &[(&str, Kind)]) -> Example {
    let feature = |(name, kind): &(&str, Kind)| {
        (
            (*name).to_owned(),
            Feature {
                kind: Some(kind.clone()),
            },
        )
    };
    let feature: BTreeMap<String, Feature> = features.iter().map(feature).collect();
    Example {
        features: Some(Features { feature }),
    }
}

#[test]
fn examples_are_read() {
    let body = br#"{"examples": [
        {"names": ["foo", "bar"], "ratings": [8.0, 9.0], "age": 20},
        {"names": ["baz"], "ratings": 6.0}
    ]}"#;
    let decoded = decode_examples(body).expect("a body");
    assert_eq!(decoded.signature_name, "");
    let examples = vec![
        example(&[
            ("names", texts(&["foo", "bar"])),
            ("ratings", floats(&[8.0, 9.0])),
            ("age", ints(&[20])),
        ]),
        example(&[("names", texts(&["baz"])), ("ratings", floats(&[6.0]))]),
    ];
    assert_eq!(
        decoded.input.kind,
        Some(InputKind::ExampleList(ExampleList { examples }))
    );
}

#[test]
fn context_and_signature_are_read() {
    let body = br#"{"signature_name": "custom", "context": {"query": "pizza", "location": ["sfo"]},
        "examples": [
            {"ratings": [8.0, Infinity], "age": 20},
            {"names": ["baz", {"b64": "aGVsbG8="}], "mix": [1, true, false]},
            {"names": "bar", "ratings": -Infinity}
        ]}"#;
    let decoded = decode_examples(body).expect("a body");
    assert_eq!(decoded.signature_name, "custom");
    let expected = ExampleListWithContext {
        context: Some(example(&[
            ("query", texts(&["pizza"])),
            ("location", texts(&["sfo"])),
        ])),
        examples: vec![
            example(&[
                ("ratings", floats(&[8.0, f32::INFINITY])),
                ("age", ints(&[20])),
            ]),
            example(&[
                ("names", texts(&["baz", "hello"])),
                ("mix", ints(&[1, 1, 0])),
            ]),
            example(&[
                ("names", texts(&["bar"])),
                ("ratings", floats(&[f32::NEG_INFINITY])),
            ]),
        ],
    };
    assert_eq!(example_count(&decoded.input), 3);
    assert_eq!(
        decoded.input.kind,
        Some(InputKind::ExampleListWithContext(expected))
    );
}

#[test]
fn faults_are_named() {
    let cases = [
        ("", "document is empty"),
        (
            r#"{"signature_name": ["hello"], "examples": [{}]}"#,
            "'signature_name' key must be a string",
        ),
        (
            r#"{"context": [{"names": ["foo"]}]}"#,
            "Example must be JSON object but got JSON Array",
        ),
        (
            r#"{"other": 1}"#,
            "key 'examples' is expected and was not found",
        ),
        (r#"{"examples": {"names": ["foo"]}}"#, "list/array"),
        (r#"{"examples": []}"#, "'examples' value is an empty array"),
        (
            r#"{"examples": [[{"names": ["foo"]}]]}"#,
            "Example must be JSON object",
        ),
        (
            r#"{"examples": [{"names": [10, null]}]}"#,
            "names has element with unexpected JSON type: Null",
        ),
        (
            r#"{"examples": [{"names": [10, 10.0]}]}"#,
            "feature: names expecting type: int64",
        ),
        (
            r#"{"examples": [{"names": ["a", 1]}]}"#,
            "feature: names expecting type: bytes",
        ),
        (
            r#"{"examples": [{"names": [10, {"test": 10}]}]}"#,
            "names has element with unexpected JSON type: Object",
        ),
        (
            r#"{"examples": [{"names": [[10], 20]}]}"#,
            "names has element with unexpected JSON type: Array",
        ),
        (
            r#"{"examples": [{"names": [20, 18446744073709551603]}]}"#,
            "Only int64_t is supported",
        ),
    ];
    for (body, part) in cases {
        assert_refused(decode_examples(body.as_bytes()), part);
    }
}

fn input(body: &str) -> Input {
    decode_examples(body.as_bytes()).expect("a body").input
}

#[test]
fn features_become_inputs() {
    let specs = [
        TensorSpec::new("a", DType::F32, vec![None, Some(2)]),
        TensorSpec::new("b", DType::I32, vec![None]),
        TensorSpec::new("c", DType::String, vec![None, None]),
    ];
    let body = r#"{"context": {"b": 5}, "examples": [
        {"a": [1.0, 2.0], "c": ["x", "y", "z"]}, {"a": [3, 4], "b": 6, "c": ["u", "v", "w"], "d": 1}
    ]}"#;
    let inputs = bind_examples(&input(body), &specs).expect("examples that fit");
    let named: Vec<(&str, Value)> = inputs
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    assert_eq!(named[0], ("a", numbers(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0])));
    assert_eq!(named[1], ("b", numbers(&[2], &[5i32, 6])));
    assert_eq!(
        named[2],
        ("c", strings(&[2, 3], &["x", "y", "z", "u", "v", "w"]))
    );
}

#[test]
fn features_that_do_not_fit_are_refused() {
    let pair = [TensorSpec::new("a", DType::F32, vec![None, Some(2)])];
    let cases = [
        (
            r#"{"examples": [{"b": 1.0}]}"#,
            "example 0 has no feature 'a'",
        ),
        (
            r#"{"examples": [{"a": [1.0, 2.0, 3.0]}]}"#,
            "does not have the values of shape [1, 2]",
        ),
        (
            r#"{"examples": [{"a": [1.0, 2.0]}, {"a": 1.0}]}"#,
            "example 1 has another number of values",
        ),
        (
            r#"{"examples": [{"a": ["x", "y"]}]}"#,
            "does not hold what suits f32",
        ),
    ];
    for (body, part) in cases {
        assert_refused(bind_examples(&input(body), &pair), part);
    }
    assert_refused(bind_examples(&Input::default(), &pair), "Input is empty");
    let narrow = [TensorSpec::new("a", DType::U8, vec![None])];
    let body = r#"{"examples": [{"a": 256}]}"#;
    assert_refused(
        bind_examples(&input(body), &narrow),
        "does not hold what suits u8",
    );
}
