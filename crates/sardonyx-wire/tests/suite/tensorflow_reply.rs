//! Replies of the TensorFlow Serving API, byte for byte.

use std::collections::BTreeMap;

use sardonyx_tensor::{DType, Tensor, f16};
use sardonyx_wire::TensorSpec;
use sardonyx_wire::proto::serving::{
    Class, ClassificationResult, Classifications, GetModelStatusResponse, ModelSpec,
    ModelVersionStatus, Regression, RegressionResult, SignatureDefMap, State, StatusProto,
    VersionChoice,
};
use sardonyx_wire::proto::well_known::Int64Value;
use sardonyx_wire::tensorflow::{
    Format, PREDICT_METHOD, encode_classification, encode_error, encode_metadata, encode_predict,
    encode_regression, encode_status, signature_def,
};

use crate::support::assert_refused;

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).expect("UTF-8")
}

fn tensor<T: sardonyx_tensor::Element>(shape: &[usize], values: Vec<T>) -> Tensor {
    Tensor::new(shape, values).expect("as many elements as the shape has")
}

fn body(format: Format, outputs: &[(&str, &Tensor)]) -> String {
    text(encode_predict(format, outputs).expect("outputs that have a form"))
}

#[test]
fn one_output_is_bare() {
    let pairs = tensor(&[2, 2], vec![2.5f32, 3.0, 3.5, 4.0]);
    assert_eq!(
        body(Format::Row, &[("y", &pairs)]),
        "{\n    \"predictions\": [[2.5, 3.0], [3.5, 4.0]\n    ]\n}"
    );
    assert_eq!(
        body(Format::Columnar, &[("y", &pairs)]),
        "{\n    \"outputs\": [\n        [\n            2.5,\n            3.0\n        ],\n        [\n            3.5,\n            4.0\n        ]\n    ]\n}"
    );
    let scalars = tensor(&[3], vec![1i32, 2, 3]);
    assert_eq!(
        body(Format::Row, &[("y", &scalars)]),
        "{\n    \"predictions\": [1, 2, 3\n    ]\n}"
    );
    assert_eq!(
        body(Format::Columnar, &[("y", &Tensor::scalar(true))]),
        "{\n    \"outputs\": true\n}"
    );
    let none = tensor::<f32>(&[0, 2], vec![]);
    assert_eq!(
        body(Format::Row, &[("y", &none)]),
        "{\n    \"predictions\": []\n}"
    );
    let texts = tensor::<String>(&[0, 1, 2], vec![]);
    assert_eq!(
        body(Format::Row, &[("x", &none), ("y", &texts)]),
        "{\n    \"predictions\": []\n}"
    );
    let one = tensor(&[1, 2], vec![1i32, 2]);
    let mixed = encode_predict(Format::Row, &[("x", &none), ("y", &one)]);
    assert_refused(mixed, "inconsistent batch size");
}

#[test]
fn floats_are_short_and_never_look_like_integers() {
    let values = vec![9_000_000.0f32, 999_999.0, 0.5, 0.0003, 0.00003, 555_557.5];
    assert_eq!(
        body(Format::Row, &[("y", &tensor(&[2, 3], values))]),
        "{\n    \"predictions\": [[9e+06, 999999.0, 0.5], [0.0003, 3e-05, 555557.5]\n    ]\n}"
    );
    let values = vec![f32::NAN, f32::INFINITY, 3.0, f32::NEG_INFINITY];
    assert_eq!(
        body(Format::Row, &[("y", &tensor(&[2, 2], values))]),
        "{\n    \"predictions\": [[NaN, Infinity], [3.0, -Infinity]\n    ]\n}"
    );
}

#[test]
fn several_outputs_are_objects() {
    let score = tensor(&[2], vec![8.0f64, 0.1]);
    let label = tensor(&[2, 1], vec!["foo \"1\"".to_owned(), "bar".to_owned()]);
    let raw = tensor(&[2, 1], vec!["hello".to_owned(), "tf".to_owned()]);
    let outputs = [("label", &label), ("raw_bytes", &raw), ("score", &score)];
    let expected = r#"{
    "predictions": [
        {
            "label": ["foo \"1\""],
            "raw_bytes": [{
                    "b64": "aGVsbG8="
                }],
            "score": 8.0
        },
        {
            "label": ["bar"],
            "raw_bytes": [{
                    "b64": "dGY="
                }],
            "score": 0.1
        }
    ]
}"#;
    assert_eq!(body(Format::Row, &outputs), expected);
    let columns = body(
        Format::Columnar,
        &[("a", &score), ("b", &Tensor::scalar(7u8))],
    );
    let expected = "{\n    \"outputs\": {\n        \"a\": [\n            8.0,\n            0.1\n        ],\n        \"b\": 7\n    }\n}";
    assert_eq!(columns, expected);
}

#[test]
fn replies_that_cannot_be_are_refused() {
    let two = tensor(&[2, 1], vec![1i32, 2]);
    let three = tensor(&[3], vec![1i32, 2, 3]);
    let half = tensor(&[1], vec![f16::ONE]);
    let row = |outputs: &[(&str, &Tensor)]| encode_predict(Format::Row, outputs);
    assert_refused(row(&[]), "empty tensor map");
    assert_refused(
        row(&[("x", &three), ("y", &two)]),
        "Tensor name: y has inconsistent batch size: 2 expecting: 3",
    );
    assert_refused(row(&[("x", &Tensor::scalar(1i32))]), "no shape information");
    assert_refused(row(&[("x", &half)]), "tensor type: half");
}

#[test]
fn classes_and_values_are_written() {
    let class = |label: &str, score: f32| Class {
        label: label.to_owned(),
        score,
    };
    let example = |scores: [f32; 2]| Classifications {
        classes: vec![class("car", scores[0]), class("", scores[1])],
    };
    let result = ClassificationResult {
        classifications: vec![example([0.2, 0.7]), example([12.0, f32::NAN])],
    };
    let written = text(encode_classification(&result).expect("examples"));
    assert_eq!(
        written,
        "{\n    \"results\": [[[\"car\", 0.2], [\"\", 0.7]], [[\"car\", 12.0], [\"\", NaN]]\n    ]\n}"
    );
    let regressions = [0.2, f32::INFINITY, 42.0]
        .map(|value| Regression { value })
        .to_vec();
    let written = text(encode_regression(&RegressionResult { regressions }).expect("examples"));
    assert_eq!(written, "{\n    \"results\": [0.2, Infinity, 42.0]\n}");
    assert_refused(
        encode_classification(&ClassificationResult::default()),
        "empty ClassificationResults",
    );
    assert_refused(
        encode_regression(&RegressionResult::default()),
        "empty RegressionResults",
    );
}

#[test]
fn errors_are_quoted() {
    assert_eq!(
        text(encode_error("Bad key: \"key\"\n")),
        "{\n    \"error\": \"Bad key: \\\"key\\\"\\n\"\n}"
    );
}

#[test]
fn status_is_in_protobufs_json() {
    let status = |version, state: State, code, message: &str| ModelVersionStatus {
        version,
        state: state as i32,
        status: Some(StatusProto {
            error_code: code,
            error_message: message.to_owned(),
        }),
    };
    let response = GetModelStatusResponse {
        model_version_status: vec![
            status(123, State::Available, 0, ""),
            status(1, State::End, 5, "gone"),
        ],
    };
    let expected = r#"{
 "model_version_status": [
  {
   "version": "123",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  },
  {
   "version": "1",
   "state": "END",
   "status": {
    "error_code": "NOT_FOUND",
    "error_message": "gone"
   }
  }
 ]
}
"#;
    assert_eq!(text(encode_status(&response)), expected);
}

#[test]
fn metadata_is_in_protobufs_json() {
    let spec = ModelSpec {
        name: "half_plus_two".to_owned(),
        version_choice: Some(VersionChoice::Version(Int64Value { value: 123 })),
        signature_name: String::new(),
    };
    let inputs = [TensorSpec::new("x", DType::F32, vec![None, Some(1)])];
    let outputs = [TensorSpec::new("y", DType::I64, vec![])];
    let signature = signature_def(PREDICT_METHOD, &inputs, &outputs);
    let signatures = SignatureDefMap {
        signature_def: BTreeMap::from([("serving_default".to_owned(), signature)]),
    };
    let written = text(encode_metadata(&spec, &signatures));
    let dense: String = written.split_whitespace().collect();
    let expected = concat!(
        r#"{"model_spec":{"name":"half_plus_two","signature_name":"","version":"123"},"#,
        r#""metadata":{"signature_def":{"signature_def":{"serving_default":{"#,
        r#""inputs":{"x":{"dtype":"DT_FLOAT","tensor_shape":{"dim":[{"size":"-1","name":""},"#,
        r#"{"size":"1","name":""}],"unknown_rank":false},"name":"x"}},"#,
        r#""outputs":{"y":{"dtype":"DT_INT64","tensor_shape":{"dim":[],"unknown_rank":false},"name":"y"}},"#,
        r#""method_name":"tensorflow/serving/predict","defaults":{}}}}}}"#
    );
    assert_eq!(dense, expected);
    assert!(written.ends_with("}\n"));
}
