//! Bodies of `:predict`: the behaviour that the tests of TensorFlow Serving's `json_tensor.cc`
//! hold it to.

use std::cell::Cell;

use sardonyx_tensor::DType;
use sardonyx_wire::tensorflow::{Format, decode_predict};
use sardonyx_wire::{Code, TensorSpec, Value, WireError};

use crate::support::{assert_refused, numbers, only_input, predict, specs, strings};

#[test]
fn rows_are_stacked() {
    let decoded = predict(
        r#"{"instances": [[1,2],[3,4],[5,6]]}"#,
        &specs(&[("x", DType::I32)]),
    );
    let decoded = decoded.expect("a body");
    assert_eq!(decoded.format, Format::Row);
    assert_eq!(decoded.signature_name, "");
    assert_eq!(
        decoded.inputs[0].1,
        numbers(&[3, 2], &[1i32, 2, 3, 4, 5, 6])
    );
}

#[test]
fn columns_have_their_batch_dimension() {
    let specs = specs(&[("x", DType::I32)]);
    for body in [
        r#"{"inputs": {"x": [[[1,2],[3,4],[5,6]]]}}"#,
        r#"{"inputs": [[[1,2],[3,4],[5,6]]]}"#,
    ] {
        let decoded = predict(body, &specs).expect("a body");
        assert_eq!(decoded.format, Format::Columnar);
        assert_eq!(
            decoded.inputs[0].1,
            numbers(&[1, 3, 2], &[1i32, 2, 3, 4, 5, 6])
        );
    }
}

#[test]
fn nesting_half_a_million_deep_is_harmless() {
    let nested = "[".repeat(500_000) + &"]".repeat(500_000);
    let body = format!(r#"{{"instances":[1], "nested":{nested}}}"#);
    assert_eq!(only_input(&body, DType::I32), Ok(numbers(&[1], &[1i32])));
    let body = format!(r#"{{"signature_name":{nested}}}"#);
    assert_refused(only_input(&body, DType::I32), "key must be a string value");
    let body = format!(r#"{{"instances":{nested}}}"#);
    assert_refused(only_input(&body, DType::I32), "nested deeper");
}

#[test]
fn floats_take_integers() {
    let body = r#"{"instances": [1, 2.0, 3, 4, 5.003, 0.007, 0.0]}"#;
    let single = [1.0f32, 2.0, 3.0, 4.0, 5.003, 0.007, 0.0];
    assert_eq!(only_input(body, DType::F32), Ok(numbers(&[7], &single)));
    let double = [1.0f64, 2.0, 3.0, 4.0, 5.003, 0.007, 0.0];
    assert_eq!(only_input(body, DType::F64), Ok(numbers(&[7], &double)));
}

#[test]
fn floats_are_rounded_whichever_way_they_are_written() {
    for body in [
        r#"{"instances": [1435774380]}"#,
        r#"{"instances": [1435774380.0]}"#,
    ] {
        assert_eq!(
            only_input(body, DType::F32),
            Ok(numbers(&[1], &[1_435_774_380.0f32]))
        );
    }
}

#[test]
fn doubles_beyond_a_float_are_infinite_or_zero() {
    let bits = |body: &str| match only_input(body, DType::F32) {
        Ok(Value::Tensor(tensor)) => tensor.values::<f32>().expect("floats")[0].to_bits(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        bits(r#"{"instances": [1.79769e+308]}"#),
        f32::INFINITY.to_bits()
    );
    assert_eq!(
        bits(r#"{"instances": [-1.79769e+308]}"#),
        f32::NEG_INFINITY.to_bits()
    );
    assert_eq!(bits(r#"{"instances": [2.22507e-308]}"#), 0.0f32.to_bits());
    assert_eq!(
        bits(r#"{"instances": [-2.22507e-308]}"#),
        (-0.0f32).to_bits()
    );
    let body = r#"{"instances": [1e400]}"#;
    assert_refused(
        only_input(body, DType::F32),
        "Number too big to be stored in double.",
    );
}

#[test]
fn a_signature_may_be_named_before_or_after() {
    let images = specs(&[("image", DType::F32)]);
    let others = specs(&[("x", DType::I32)]);
    let asked = Cell::new(0);
    let find = |name: &str| -> Result<&[TensorSpec], WireError> {
        asked.set(asked.get() + 1);
        Ok(if name == "images" { &images } else { &others })
    };
    for body in [
        r#"{"signature_name": "images", "instances": [[1,2]]}"#,
        r#"{"instances": [[1,2]], "signature_name": "images"}"#,
    ] {
        let decoded = decode_predict(body.as_bytes(), &find).expect("a body");
        assert_eq!(decoded.signature_name, "images");
        assert_eq!(
            decoded.inputs,
            [("image".to_owned(), numbers(&[1, 2], &[1.0f32, 2.0]))]
        );
    }
    assert!(asked.get() >= 2);
    let refuse = |name: &str| -> Result<&[TensorSpec], WireError> {
        let message = format!("Serving signature name: \"{name}\" not found in signature def");
        Err(WireError::invalid(message))
    };
    let refused = decode_predict(br#"{"signature_name": "s", "instances": [1]}"#, &refuse);
    assert_refused(
        refused,
        "Serving signature name: \"s\" not found in signature def",
    );
}

#[test]
fn what_follows_the_object_is_not_looked_at() {
    let body = r#"{"instances": [[1,2],[3,4],[5,6]]}X"#;
    let expected = numbers(&[3, 2], &[1i32, 2, 3, 4, 5, 6]);
    assert_eq!(only_input(body, DType::I32), Ok(expected));
}

#[test]
fn base64_objects_are_values() {
    let cases = [
        (
            r#"{"instances": [ { "b64" : "aGVsbG8=" }, { "b64": "d29ybGQ=" } ]}"#,
            vec![2],
        ),
        (
            r#"{"instances": [ [{ "b64" : "aGVsbG8=" }], [{ "b64": "d29ybGQ" }] ]}"#,
            vec![2, 1],
        ),
        (
            r#"{"instances": [ {"x": [ [{ "b64" : "aGVsbG8=" }], [{ "b64": "d29ybGQ=" }] ]} ]}"#,
            vec![1, 2, 1],
        ),
        (r#"{"inputs": [ "hello", { "b64": "d29ybGQ=" } ]}"#, vec![2]),
    ];
    for (body, shape) in cases {
        assert_eq!(
            only_input(body, DType::String),
            Ok(strings(&shape, &["hello", "world"])),
            "{body}"
        );
    }
    let body = r#"{"inputs": {"b64": "aGVsbG8="}}"#;
    assert_eq!(
        only_input(body, DType::String),
        Ok(strings(&[], &["hello"]))
    );
    let body = r#"{"instances": [[{"b64": "aGVsbG8=", "c": 1}]]}"#;
    assert_refused(
        only_input(body, DType::String),
        "not formatted correctly for base64 data",
    );
    let body = r#"{"instances": [{"b64": "*"}]}"#;
    assert_refused(only_input(body, DType::String), "Unable to base64 decode");
}

#[test]
fn several_inputs_come_as_objects() {
    let specs = specs(&[
        ("ints", DType::I32),
        ("texts", DType::String),
        ("floats", DType::F32),
        ("doubles", DType::F64),
    ]);
    let body = r#"{"instances": [
        {"ints": [[1,2],[3,4],[5,6]], "texts": ["foo", "bar"], "floats": [1.0, NaN], "doubles": [-Inf]},
        {"texts": ["baz", "bat"], "ints": [[7,8],[9,0],[1,2]], "floats": [2.0, Infinity], "doubles": [2.0]}
    ]}"#;
    let inputs = predict(body, &specs).expect("a body").inputs;
    let names: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ints", "texts", "floats", "doubles"]);
    assert_eq!(
        inputs[0].1,
        numbers(&[2, 3, 2], &[1i32, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2])
    );
    assert_eq!(inputs[1].1, strings(&[2, 2], &["foo", "bar", "baz", "bat"]));
    let Value::Tensor(floats) = &inputs[2].1 else {
        panic!("numbers")
    };
    let floats = floats.values::<f32>().expect("floats");
    assert!(floats[1].is_nan());
    assert_eq!([floats[0], floats[2], floats[3]], [1.0, 2.0, f32::INFINITY]);
    assert_eq!(inputs[3].1, numbers(&[2, 1], &[f64::NEG_INFINITY, 2.0]));

    let body = r#"{"inputs": {"doubles": 7, "ints": [[[1,2]]], "texts": {"b64": "aGVsbG8="}, "floats": [], "more": [null]}}"#;
    let inputs = predict(body, &specs).expect("a body").inputs;
    assert_eq!(inputs[0].1, numbers(&[1, 1, 2], &[1i32, 2]));
    assert_eq!(inputs[1].1, strings(&[], &["hello"]));
    assert_eq!(inputs[2].1, numbers::<f32>(&[0], &[]));
    assert_eq!(inputs[3].1, numbers(&[], &[7.0f64]));
}

/// Bodies for one input of 32-bit integers, and what is said of them.
const ONE_INPUT_FAULTS: [(&str, &str); 25] = [
    ("", "JSON Parse error: The document is empty"),
    (
        "instances = [1, 2]",
        "JSON Parse error: Invalid value. at offset: 0",
    ),
    ("[1]", "JSON Value: [1] Is not object"),
    (
        r#"{"signature_name": 5, "instances": [[1,2],[3,4],[5,6,7]]}"#,
        "must be a string value",
    ),
    (
        r#"{"instances": [[1,2]], "inputs": [[1,2]]}"#,
        "Not formatted correctly",
    ),
    (
        r#"{"instances": [[1,2],[3,4],[5,6,7]]}"#,
        "Expecting tensor size: 2 but got: 3",
    ),
    (
        r#"{"instances": [[1,2],[3,4],[[5,6]]]}"#,
        "Expecting shape [2] but got: [1,2]",
    ),
    (
        r#"{"instances": [1, [1]]}"#,
        "Expecting shape [] but got: [1]",
    ),
    (
        r#"{"instances": [[1,2],["a", "b"]]}"#,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"a\" Type: String is not of expected type: int32",
    ),
    (
        r#"{"instances": [1.0]}"#,
        "JSON Value: 1.0 Type: Number is not of expected type: int32",
    ),
    (
        r#"{"instances": [null]}"#,
        "Type: Null is not of expected type",
    ),
    (
        r#"{"instances": [true]}"#,
        "Type: True is not of expected type",
    ),
    (
        r#"{"instances": [{"b64": "aGVsbG8="}]}"#,
        "Type: Object is not of expected type",
    ),
    (r#"{"instances": [4294967296]}"#, "is not of expected type"),
    (
        r#"{"instances": 5}"#,
        "Expecting 'instances' to be an list/array",
    ),
    (r#"{"instances": []}"#, "No values in 'instances' array"),
    (
        r#"{"instances": [{"y": 1}]}"#,
        "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: y",
    ),
    (
        r#"{"instances": [{}]}"#,
        "JSON object: {} keys must be equal to: x",
    ),
    (
        r#"{"instances": [{"x": 1, "x": 1}]}"#,
        "has the input twice",
    ),
    (
        r#"{"inputs": {"y": 1}}"#,
        "Missing named input: x in 'inputs' object.",
    ),
    (
        r#"{"inputs": [[1,2],[3]]}"#,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (
        r#"{"inputs": [[1,2],3]}"#,
        "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    (
        r#"{"inputs": [1,[2]]}"#,
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    (r#"{"other": 1}"#, "Missing 'inputs' or 'instances' key"),
    (
        r#"{"instances": [1], }"#,
        "Missing a name for object member.",
    ),
];

#[test]
fn faults_of_one_input_are_named() {
    for (body, part) in ONE_INPUT_FAULTS {
        assert_refused(only_input(body, DType::I32), part);
    }
}

#[test]
fn faults_of_several_inputs_are_named() {
    let both = specs(&[("ints", DType::I32), ("texts", DType::String)]);
    let cases = [
        (
            r#"{"instances": [{"ints": [[1],[2]], "texts": ["a"]}, {"ints": [[[1],[2]]], "texts": ["b"]}]}"#,
            "Expecting shape [2,1] but got: [1,2,1]",
        ),
        (
            r#"{"instances": [{"ints": [[1],[2]], "texts": ["a"]}, {"ints": [[1]], "texts": ["b"]}]}"#,
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            r#"{"instances": [{"ints": [1], "texts": ["a"]}, [1, 20], {"ints": [[1]], "texts": ["b"]}]}"#,
            "Expecting object but got list at item 1 of input list",
        ),
        (
            r#"{"instances": [1]}"#,
            "instances is a plain list, but expecting list of objects",
        ),
        (
            r#"{"instances": [{"ints": [1]}]}"#,
            "keys must be equal to: ints,texts",
        ),
        (
            r#"{"inputs": [1]}"#,
            "inputs is a plain value/list, but expecting an object",
        ),
    ];
    for (body, part) in cases {
        assert_refused(predict(body, &both), part);
    }
    let body = r#"{"instances": [["baz", "bar"], {"x": ["baz", "bat"]}]}"#;
    assert_refused(
        only_input(body, DType::String),
        "Expecting value/list but got object at item 1",
    );
}

#[test]
fn halves_have_no_json() {
    for (dtype, name) in [(DType::F16, "half"), (DType::Bf16, "bfloat16")] {
        let error = only_input(r#"{"inputs": [1.5]}"#, dtype).expect_err("not supported");
        assert_eq!(error.code, Code::Unimplemented);
        assert_eq!(
            error.message,
            format!("Conversion of JSON Value: 1.5 to type: {name}")
        );
    }
}

#[test]
fn integers_are_read_over_their_whole_range() {
    let body = r#"{"inputs": [-9223372036854775808, 9223372036854775807]}"#;
    assert_eq!(
        only_input(body, DType::I64),
        Ok(numbers(&[2], &[i64::MIN, i64::MAX]))
    );
    let body = r#"{"inputs": [18446744073709551615]}"#;
    assert_eq!(only_input(body, DType::U64), Ok(numbers(&[1], &[u64::MAX])));
    assert_refused(
        only_input(body, DType::I64),
        "is not of expected type: int64",
    );
    assert_refused(
        only_input(r#"{"inputs": [-1]}"#, DType::U32),
        "is not of expected type: uint32",
    );
    assert_eq!(
        only_input(r#"{"inputs": [-128, 127]}"#, DType::I8),
        Ok(numbers(&[2], &[-128i8, 127]))
    );
    assert_eq!(
        only_input(r#"{"inputs": [true, false]}"#, DType::Bool),
        Ok(numbers(&[2], &[true, false]))
    );
    assert_refused(
        only_input(r#"{"inputs": [1]}"#, DType::Bool),
        "is not of expected type: bool",
    );
}

#[test]
fn pictures_come_in_place_of_their_pixels() {
    let mut spec = TensorSpec::new("x", DType::F32, vec![None, Some(2)]);
    spec.takes_bytes = true;
    let decoded = predict(
        r#"{"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}"#,
        std::slice::from_ref(&spec),
    );
    let decoded = decoded.expect("a body");
    assert_eq!(decoded.inputs[0].1, strings(&[2], &["hello", "world"]));
    assert_eq!(spec.check(&decoded.inputs[0].1), Ok(()));
    let decoded =
        predict(r#"{"instances": [[1, 2]]}"#, std::slice::from_ref(&spec)).expect("a body");
    assert_eq!(decoded.inputs[0].1, numbers(&[1, 2], &[1.0f32, 2.0]));
    assert_eq!(spec.check(&decoded.inputs[0].1), Ok(()));
    spec.takes_bytes = false;
    let body = r#"{"instances": [{"b64": "aGVsbG8="}]}"#;
    assert_refused(predict(body, &[spec]), "is not of expected type: float");
}
