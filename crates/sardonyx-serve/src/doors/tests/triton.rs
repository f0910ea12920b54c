//! What a real Triton answered (`tests/golden/triton.py` recorded it), and where we differ and why;
//! `docs/serving-differences.md` has the same list for people.

use serde_json::{Value, json};

use super::{CNN, DoorOptions, House};

/// Where our answers are others than Triton's, by number of the probe: our status, our message
/// where it is one, and the reason.
const DIFFERENCES: [(usize, u16, Option<&str>, &str); 16] = [
    (
        0,
        200,
        None,
        "the server has another name, version and list of extensions",
    ),
    (5, 200, None, "the platform is ONNX"),
    (6, 200, None, "the platform is ONNX"),
    (12, 200, None, "the configuration is of another backend"),
    (
        18,
        404,
        Some("failed to load 'nope', failed to poll from model repository"),
        "a model that is not there is no fault of the server",
    ),
    (
        25,
        200,
        None,
        "metrics are on every port; Triton has one for them",
    ),
    (
        26,
        400,
        Some("failed to parse the request JSON buffer: The document is empty. at 0"),
        "a body without header is JSON",
    ),
    (
        27,
        400,
        Some("failed to parse the request JSON buffer: Missing a name for object member. at 1"),
        "bad input is the client's fault",
    ),
    (
        28,
        400,
        Some("Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"),
        "bad input is the client's fault",
    ),
    (
        35,
        400,
        Some("Unable to parse 'data': attempt to access JSON non-signed-integer as signed-integer"),
        "bad input is the client's fault",
    ),
    (
        37,
        400,
        Some("Unable to parse 'data': Shape does not match true shape of 'data' field"),
        "bad input is the client's fault",
    ),
    (
        38,
        400,
        Some("Unable to parse 'data': Shape does not match true shape of 'data' field"),
        "bad input is the client's fault",
    ),
    (
        39,
        400,
        Some("Unable to parse 'data': Shape does not match true shape of 'data' field"),
        "bad input is the client's fault",
    ),
    (
        40,
        400,
        Some("Unable to parse 'data': attempt to access JSON non-number as double"),
        "bad input is the client's fault",
    ),
    (
        47,
        501,
        Some("models here take tensors; hint: use infer"),
        "no model here generates text",
    ),
    (
        50,
        400,
        Some("unexpected size for input 'x', expecting 4 additional bytes"),
        "the message leaves out the model, which the path names",
    ),
];

const PATH: &str = "/v2/models/cnn/infer";

/// A good request with some of its input and of the rest changed.
fn infer(input: Value, rest: Value) -> Vec<u8> {
    let mut tensor = json!({
        "name": "x", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": vec![0.0; 784],
    });
    merge(&mut tensor, input);
    let mut body = json!({ "inputs": [tensor] });
    merge(&mut body, rest);
    body.to_string().into_bytes()
}

fn merge(into: &mut Value, from: Value) {
    let pairs = into.as_object_mut().zip(from.as_object().cloned());
    let (into, from) = pairs.expect("objects");
    into.extend(from);
}

/// The bodies of probes 30 to 45.
fn infer_bodies() -> Vec<Vec<u8>> {
    let none = || json!({});
    let row = vec![0.0; 28];
    let nested = json!([[vec![row; 28]]]);
    let mut more = vec![0.0; 784];
    more.push(1.0);
    vec![
        infer(none(), json!({"id": "42"})),
        infer(none(), json!({"outputs": [{"name": "y"}]})),
        infer(none(), none()),
        infer(none(), none()),
        infer(json!({"name": "y"}), none()),
        infer(json!({"datatype": "INT64"}), none()),
        infer(json!({"datatype": "FOO"}), none()),
        infer(json!({"shape": [1, 1, 28, 27]}), none()),
        infer(json!({"data": vec![0.0; 10]}), none()),
        infer(json!({"data": more}), none()),
        infer(json!({"data": vec!["a"; 784]}), none()),
        infer(none(), json!({"outputs": [{"name": "zz"}]})),
        infer(
            none(),
            json!({"outputs": [{"name": "y", "parameters": {"classification": 3}}]}),
        ),
        infer(
            none(),
            json!({"parameters": {"priority": 1, "timeout": 1_000_000, "custom": "a"}}),
        ),
        infer(none(), json!({"parameters": {"binary_data_output": true}})),
        infer(json!({"data": nested}), none()),
    ]
}

/// The body of a probe, and how many bytes of it are JSON.
fn probe(number: usize) -> (Vec<u8>, Option<String>) {
    let header = json!({
        "inputs": [{
            "name": "x", "shape": [1, 1, 28, 28], "datatype": "FP32",
            "parameters": {"binary_data_size": 3136},
        }],
        "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
    });
    let header = header.to_string().into_bytes();
    let length = Some(header.len().to_string());
    let raw = vec![0; 3136];
    match number {
        16 => (br#"{"ready":true}"#.to_vec(), None),
        27 => (b"{".to_vec(), None),
        28 => (b"{}".to_vec(), None),
        29 => (br#"{"inputs": []}"#.to_vec(), None),
        30..=45 => (infer_bodies()[number - 30].clone(), None),
        47 => (br#"{"text_input":"a"}"#.to_vec(), None),
        48 => ([header, raw].concat(), length),
        49 => (raw, Some("0".to_owned())),
        50 => ([&header[..], &raw[4..]].concat(), length),
        // The message tells the length, which is as much longer as the output's name was.
        51 => ([&header[..], b" ", &raw].concat(), Some("99999".to_owned())),
        _ => (Vec::new(), None),
    }
}

/// A body without what differs between models: their numbers.
fn without_numbers(body: &str) -> Value {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else {
        return Value::from(body.trim());
    };
    let outputs = value.get_mut("outputs").and_then(Value::as_array_mut);
    for output in outputs.into_iter().flatten() {
        if let Some(data) = output["data"].as_array() {
            output["data"] = json!(data.len());
        }
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_tritons_but_for_what_is_listed() {
    let options = DoorOptions {
        is_repository_open: true,
        ..DoorOptions::default()
    };
    let house = House::of(&[("cnn", 1, CNN)], options).await;
    let golden =
        include_str!("../../../tests/golden/triton.json").replace("\\\"18\\\"", "\\\"y\\\"");
    let golden: Vec<Value> = serde_json::from_str(&golden).expect("JSON");
    assert_eq!(golden.len(), 52);
    let mut used = Vec::new();
    for (number, expected) in golden.iter().enumerate() {
        let text = |name: &str| expected[name].as_str().expect("text");
        let (method, path) = (text("method"), text("path"));
        let (body, length) = probe(number);
        let headers = length
            .as_ref()
            .map(|length| ("inference-header-content-length", length.as_str()));
        let headers: Vec<_> = headers.into_iter().collect();
        let reply = house.send(method, path, &headers, &body).await;
        let json_length = reply.headers.get("inference-header-content-length");
        let json_length =
            json_length.map(|length| length.to_str().expect("text").parse().expect("a number"));
        let found = &reply.body[..json_length.unwrap_or(reply.body.len())];
        let found = without_numbers(&String::from_utf8_lossy(found));
        let wanted = (expected["status"].clone(), without_numbers(text("body")));
        let is_same = (json!(reply.status), &found) == (wanted.0.clone(), &wanted.1);
        match DIFFERENCES.iter().find(|row| row.0 == number) {
            None => assert!(
                is_same,
                "{number} {method} {path}: {found} {}, not {wanted:?}",
                reply.status
            ),
            Some((_, status, message, why)) => {
                assert_eq!(reply.status, *status, "{number} {path}: {why}: {found}");
                if let Some(message) = message {
                    assert_eq!(found["error"], *message, "{number} {path}: {why}");
                }
                used.push((number, is_same));
            }
        }
    }
    assert_eq!(used.len(), DIFFERENCES.len());
    let document = include_str!("../../../../../docs/serving-differences.md");
    for (number, status, _, why) in DIFFERENCES {
        let Value::Object(pair) = &golden[number] else {
            panic!("an object");
        };
        let text = |name: &str| pair[name].as_str().expect("text");
        let (asked, theirs) = (
            format!("{} {}", text("method"), text("path")),
            &pair["status"],
        );
        let row = format!("| {number} | `{asked}` | {theirs} | {status} | {why} |");
        assert!(document.contains(&row), "the document has no row {row}");
    }
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(" | `"));
    assert_eq!(rows.count(), DIFFERENCES.len(), "rows of the document");
    let needless: Vec<_> = used.iter().filter(|(_, is_same)| *is_same).collect();
    assert!(needless.is_empty(), "no difference any more: {needless:?}");
    assert_eq!(golden[30]["path"], PATH);
}
