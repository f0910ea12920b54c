//! The Open Inference Protocol over HTTP against what a real Triton (2.51) was recorded to say of
//! a model `cnn` with one input `x` of shape `[-1, 1, 28, 28]` and one output `18` of `[-1, 10]`.
//!
//! Where Triton answers 500 for what the client did wrong, ours is an error of the client; the
//! texts are the same as far as a body alone can tell (the name of the model is not in them).
//! Floats in JSON are written with the fewest digits that give them back; Triton writes them as
//! doubles. Both read the same.

use sardonyx_tensor::{DType, Tensor, f16};
use sardonyx_wire::kserve::{
    InferReply, ReplyOutput, classify, datatype, decode_infer, dtype_of, encode_infer, from_proto,
    to_proto,
};
use sardonyx_wire::proto::inference::{InferInputTensor, InferTensorContents, ModelInferRequest};
use sardonyx_wire::{Bytes, Code, Result, TensorSpec, Value};

use crate::support::{assert_refused, numbers, strings};

const SCORES: [f32; 10] = [
    6.491_35,
    -2.582_886_2,
    -2.207_308,
    -1.016_460_9,
    -2.583_951_2,
    -2.796_378_4,
    -2.457_564,
    -0.883_851_05,
    -2.524_976_3,
    -2.232_207_8,
];

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).expect("UTF-8")
}

fn decode(body: &str) -> Result<Value> {
    let request = decode_infer(&Bytes::copy_from_slice(body.as_bytes()), None, &[])?;
    assert_eq!(request.inputs.len(), 1);
    Ok(request.inputs.into_iter().next().expect("one input").value)
}

fn input(shape: &str, datatype: &str, data: &str) -> Result<Value> {
    decode(&format!(
        r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}]}}"#
    ))
}

#[test]
fn data_is_nested_or_flat() {
    let expected = numbers(&[2, 1, 2], &[1.0f32, 2.5, -3.0, f32::INFINITY]);
    for data in ["[1, 2.5, -3, Infinity]", "[[[1, 2.5]], [[-3, Infinity]]]"] {
        assert_eq!(input("[2, 1, 2]", "FP32", data), Ok(expected.clone()));
    }
    let late = r#"{"inputs": [{"data": [1, 2.5, -3, Infinity], "datatype": "FP32", "shape": [2, 1, 2], "name": "x"}]}"#;
    assert_eq!(decode(late), Ok(expected));
    assert_eq!(
        input("[2]", "BYTES", r#"["a", "\u00e9"]"#),
        Ok(strings(&[2], &["a", "é"]))
    );
    assert_eq!(
        input("[2]", "BOOL", "[true, false]"),
        Ok(numbers(&[2], &[true, false]))
    );
    assert_eq!(
        input("[2]", "UINT8", "[0, 255]"),
        Ok(numbers(&[2], &[0u8, 255]))
    );
    assert_eq!(
        input("[0, 4]", "INT8", "[]"),
        Ok(numbers::<i8>(&[0, 4], &[]))
    );
    assert_eq!(input("[]", "INT16", "[7]"), Ok(numbers(&[], &[7i16])));
}

/// Bodies, and what is said of them.
const FAULTS: [(&str, &str); 12] = [
    (
        "",
        "failed to parse the request JSON buffer: The document is empty. at 0",
    ),
    (
        "{",
        "failed to parse the request JSON buffer: Missing a name for object member. at 1",
    ),
    (
        "{}",
        "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'",
    ),
    (
        "[]",
        "Unable to parse 'the request': attempt to access JSON non-object as object",
    ),
    (
        r#"{"inputs": [{"shape": [1], "datatype": "FP32", "data": [1]}]}"#,
        "non-existing object member 'name'",
    ),
    (
        r#"{"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]}"#,
        "non-existing object member 'shape'",
    ),
    (
        r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}"#,
        "non-existing object member 'data'",
    ),
    (
        r#"{"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32", "data": [1]}]}"#,
        "Unable to parse 'shape'",
    ),
    (
        r#"{"id": 5, "inputs": []}"#,
        "Unable to parse 'id': attempt to access JSON non-string as string",
    ),
    (
        r#"{"parameters": {"priority": "high"}, "inputs": []}"#,
        "parameter 'priority' must be an unsigned integer",
    ),
    (
        r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]}"#,
        "unexpected size for input 'x', expecting 4 additional bytes",
    ),
    (
        r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1], "parameters": {"binary_data_size": 4}}]}"#,
        "has its data twice",
    ),
];

#[test]
fn what_is_wrong_is_the_clients_fault() {
    for (body, part) in FAULTS {
        assert_refused(decode(body), part);
    }
    let shape = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    let cases = [
        ("[1]", "FOO", "[1]", "invalid datatype for input x"),
        ("[3]", "FP32", "[1, 2]", shape),
        ("[2, 2]", "FP32", "[[1, 2, 3, 4]]", shape),
        ("[2, 2]", "FP32", "[[1, 2], [3]]", shape),
        (
            "[1]",
            "FP32",
            r#"["a"]"#,
            "attempt to access JSON non-number as double",
        ),
        (
            "[1]",
            "INT64",
            "[0.0]",
            "attempt to access JSON non-signed-integer as signed-integer",
        ),
        (
            "[1]",
            "UINT64",
            "[-1]",
            "non-unsigned-integer as unsigned-integer",
        ),
        ("[1]", "BOOL", "[1]", "non-boolean as boolean"),
        ("[1]", "BYTES", "[1]", "non-string as string"),
        ("[1]", "FP16", "[1]", "FP16 has no JSON form"),
        (
            "[4294967296, 4294967296]",
            "FP32",
            "[1]",
            "too many elements",
        ),
    ];
    for (dims, datatype, data, part) in cases {
        assert_refused(input(dims, datatype, data), part);
    }
    let shared = r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}]}"#;
    assert_eq!(
        decode(shared).map_err(|error| error.code),
        Err(Code::Unimplemented)
    );
}

#[test]
fn a_whole_body_can_be_the_one_input() {
    let body: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let body = Bytes::from(body);
    let mut spec = TensorSpec::new("x", DType::F32, vec![None, Some(2)]);
    let raw =
        |spec: &TensorSpec, body: &Bytes| decode_infer(body, Some(0), std::slice::from_ref(spec));
    let request = raw(&spec, &body).expect("two examples");
    assert!(request.binary_output);
    assert_eq!(
        request.inputs[0].value,
        numbers(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0])
    );
    assert_refused(
        raw(&spec, &Bytes::new()),
        "input byte size mismatch for input 'x'. Expected 8, got 0",
    );
    assert_refused(raw(&spec, &body.slice(..9)), "Expected 8, got 9");
    assert_refused(decode_infer(&body, Some(0), &[]), "a model of one input");
    spec.takes_bytes = true;
    let picture = Bytes::from_static(b"GIF89a");
    assert_eq!(
        raw(&spec, &picture).expect("bytes").inputs[0].value,
        strings(&[1], &["GIF89a"])
    );
}

fn reply(tensor: &Tensor, id: &str, binary: bool) -> (String, Option<usize>) {
    let output = ReplyOutput {
        name: "18",
        tensor,
        binary,
    };
    let reply = InferReply {
        model_name: "cnn",
        model_version: "1",
        id,
        outputs: vec![output],
    };
    let encoded = encode_infer(&reply).expect("a reply");
    let length = encoded.header_length.unwrap_or(encoded.body.len());
    assert_eq!(
        encoded.body.len() - length,
        if binary { tensor.size_bytes() } else { 0 }
    );
    (text(encoded.body[..length].to_vec()), encoded.header_length)
}

#[test]
fn replies_are_those_of_triton() {
    let scores = Tensor::new([1, 10], SCORES.to_vec()).expect("a tensor");
    let (json, _) = reply(&scores, "42", false);
    assert_eq!(
        json,
        concat!(
            r#"{"id":"42","model_name":"cnn","model_version":"1","outputs":[{"name":"18","datatype":"FP32","#,
            r#""shape":[1,10],"data":[6.49135,-2.5828862,-2.207308,-1.0164609,-2.5839512,-2.7963784,"#,
            r#"-2.457564,-0.88385105,-2.5249763,-2.2322078]}]}"#
        )
    );
    let (json, header) = reply(&scores, "", true);
    assert_eq!(header, Some(136));
    assert_eq!(
        json,
        concat!(
            r#"{"model_name":"cnn","model_version":"1","outputs":[{"name":"18","datatype":"FP32","#,
            r#""shape":[1,10],"parameters":{"binary_data_size":40}}]}"#
        )
    );
    let classes = classify(&scores, 3, &[]).expect("numbers");
    let (json, _) = reply(&classes, "", false);
    assert_eq!(
        json,
        concat!(
            r#"{"model_name":"cnn","model_version":"1","outputs":[{"name":"18","datatype":"BYTES","#,
            r#""shape":[1,3],"data":["6.491350:0","-0.883851:7","-1.016461:3"]}]}"#
        )
    );
    let half = Tensor::vector(vec![f16::ONE]);
    let output = ReplyOutput {
        name: "h",
        tensor: &half,
        binary: false,
    };
    let refused = encode_infer(&InferReply {
        model_name: "m",
        model_version: "1",
        id: "",
        outputs: vec![output],
    });
    assert_refused(refused, "sending FP16 data via JSON is not supported");
}

#[test]
fn contents_of_grpc_are_read_and_written() {
    let tensor = |datatype: &str, contents: InferTensorContents| {
        let input = InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: vec![2],
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        ModelInferRequest {
            inputs: vec![input],
            ..ModelInferRequest::default()
        }
    };
    let ints = || InferTensorContents {
        int_contents: vec![-1, 300],
        ..InferTensorContents::default()
    };
    let decoded = from_proto(tensor("INT16", ints())).expect("a request");
    assert_eq!(decoded.inputs[0].value, numbers(&[2], &[-1i16, 300]));
    assert_refused(
        from_proto(tensor("INT8", ints())),
        "300 is out of the range of its type",
    );
    assert_refused(
        from_proto(tensor("INT64", ints())),
        "needs 2 elements, found 0",
    );
    assert_refused(
        from_proto(tensor("FP16", ints())),
        "must be in raw_input_contents",
    );
    assert_refused(
        from_proto(tensor("int", ints())),
        "invalid datatype for input x",
    );
    let mut both = tensor("INT32", ints());
    both.raw_input_contents = vec![Bytes::from_static(&[0; 8])];
    assert_refused(
        from_proto(both.clone()),
        "contents field must not be specified when using raw_input_contents for 'x'",
    );
    both.raw_input_contents.push(Bytes::new());
    assert_refused(from_proto(both), "expected 1 raw input contents");
    let texts = Tensor::vector(vec!["a".to_owned(), "é".to_owned()]);
    let output = ReplyOutput {
        name: "y",
        tensor: &texts,
        binary: false,
    };
    let reply = to_proto(&InferReply {
        model_name: "m",
        model_version: "3",
        id: "i",
        outputs: vec![output],
    });
    assert_eq!(
        (reply.model_version.as_str(), reply.id.as_str()),
        ("3", "i")
    );
    assert_eq!(reply.outputs[0].datatype, "BYTES");
    assert_eq!(
        reply.raw_output_contents,
        [Bytes::from_static(b"\x01\0\0\0a\x02\0\0\0\xc3\xa9")]
    );
}

#[test]
fn names_of_types_go_both_ways() {
    for dtype in DType::ALL {
        assert_eq!(dtype_of(datatype(dtype)), Some(dtype));
    }
    assert_eq!(dtype_of("fp32"), None);
}
