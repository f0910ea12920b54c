//! Hostile models, given to every verb that takes one.

use std::fs;

use prost::Message as _;
use sardonyx::ir::text;
use sardonyx::model::export;
use sardonyx::onnx::Bytes;
use sardonyx::onnx::proto::{
    GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
};
use sardonyx::tensor::Philox;

use super::{Case, check, damage, noise};
use crate::exports;
use crate::support::Place;

/// Damaged copies of each export.
const COPIES: usize = 16;
/// A data set, and the inputs in it.
const ROWS: [&str; 2] = ["data", "data/x.npy"];
const IMAGES: [&str; 2] = ["images", "images/x.npy"];

const GOOD: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
mlp (float[N,12] x) => (float[N,5] y)
   <float[12,5] w = {1,2,3,4,5,6,7,8,9,10,1,2,3,4,5,6,7,8,9,10,1,2,3,4,5,6,7,8,9,10,
                     1,2,3,4,5,6,7,8,9,10,1,2,3,4,5,6,7,8,9,10,1,2,3,4,5,6,7,8,9,10},
    float[5] b = {1,2,3,4,5}>
{
   h = MatMul (x, w)
   s = Add (h, b)
   y = Softmax <axis = -1> (s)
}
"#;

/// Programs that type well enough, and want the impossible when they run.
const GREEDY: [(&str, &str); 6] = [
    (
        "expand",
        r"n = Constant <value_ints = [1099511627776, 5]> ()
            e = Expand (s, n)
            y = Softmax (e)",
    ),
    (
        "fill",
        r"n = Constant <value_ints = [1073741824, 1073741824, 4]> ()
            c = ConstantOfShape (n)
            t = ReduceSum <keepdims = 0> (c)
            y = Add (s, t)",
    ),
    (
        "tile",
        r"n = Constant <value_ints = [4611686018427387904, 4]> ()
            t = Tile (s, n)
            y = Softmax (t)",
    ),
    (
        "pad",
        r"n = Constant <value_ints = [0, 9007199254740992, 0, 0]> ()
            t = Pad (s, n)
            y = Softmax (t)",
    ),
    (
        "range",
        r"from = Constant <value_int = 0> ()
            to = Constant <value_int = 9007199254740992> ()
            by = Constant <value_int = 1> ()
            r = Range (from, to, by)
            f = Cast <to = 1> (r)
            t = ReduceSum <keepdims = 0> (f)
            y = Add (s, t)",
    ),
    (
        "reshape",
        r"n = Constant <value_ints = [-1, 9223372036854775807]> ()
            y = Reshape (s, n)",
    ),
];

fn good() -> ModelProto {
    export(&text::parse(GOOD).expect("a graph")).expect("a model")
}

fn greedy(body: &str) -> ModelProto {
    let source = GOOD.replace("y = Softmax <axis = -1> (s)", body);
    export(&text::parse(&source).expect("a graph")).expect("a model")
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("a graph")
}

fn weight(model: &mut ModelProto) -> &mut TensorProto {
    let tensors = &mut graph(model).initializer;
    tensors
        .iter_mut()
        .find(|tensor| tensor.name() == "w")
        .expect("a weight")
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
}

/// The weight lies in another file.
fn external(location: &str, offset: &str, length: &str) -> ModelProto {
    let mut model = good();
    let tensor = weight(&mut model);
    tensor.raw_data = None;
    tensor.float_data.clear();
    tensor.data_location = Some(1);
    let entries = [
        ("location", location),
        ("offset", offset),
        ("length", length),
    ];
    let given = entries.iter().filter(|(_, value)| !value.is_empty());
    tensor.external_data = given.map(|(key, value)| entry(key, value)).collect();
    model
}

/// Changes of a good model, by name.
type Change = (&'static str, fn(&mut ModelProto));

const CHANGES: [Change; 27] = [
    ("no-graph", |m| m.graph = None),
    ("no-nodes", |m| graph(m).node.clear()),
    ("no-opset", |m| m.opset_import.clear()),
    ("opset-of-the-future", |m| {
        m.opset_import[0].version = Some(i64::MAX)
    }),
    ("negative-opset", |m| m.opset_import[0].version = Some(-1)),
    ("no-weights", |m| graph(m).initializer.clear()),
    ("no-inputs", |m| graph(m).input.clear()),
    ("no-outputs", |m| graph(m).output.clear()),
    ("two-inputs", |m| {
        let mut second = graph(m).input[0].clone();
        second.name = Some("x2".to_owned());
        graph(m).input.push(second);
    }),
    ("untyped-input", |m| graph(m).input[0].r#type = None),
    ("cyclic", |m| graph(m).node[0].input[0] = "s".to_owned()),
    ("self-reference", |m| {
        let output = graph(m).node[1].output[0].clone();
        graph(m).node[1].input[1] = output;
    }),
    ("made-twice", |m| {
        graph(m).node[1].output[0] = "h".to_owned()
    }),
    ("dangling", |m| {
        graph(m).node[1].input[1] = "nobody".to_owned()
    }),
    ("unknown-operator", |m| {
        graph(m).node[0].op_type = Some("Explode".to_owned())
    }),
    ("unknown-domain", |m| {
        graph(m).node[0].domain = Some("evil.example".to_owned())
    }),
    ("no-operator", |m| graph(m).node[0].op_type = None),
    ("too-few-operands", |m| graph(m).node[0].input.truncate(1)),
    ("giant-dims", |m| weight(m).dims = vec![1 << 40, 1 << 40]),
    ("dims-that-overflow", |m| {
        weight(m).dims = vec![1 << 32, 1 << 32, 12, 5]
    }),
    ("negative-dims", |m| weight(m).dims = vec![-12, -5]),
    ("more-dims-than-data", |m| weight(m).dims = vec![12, 6]),
    ("unknown-type", |m| weight(m).data_type = Some(77)),
    ("ragged-bytes", |m| {
        weight(m).raw_data = Some(Bytes::from_static(&[1, 2, 3]))
    }),
    ("not-a-number", |m| {
        let values = [f32::NAN; 60].iter().flat_map(|value| value.to_le_bytes());
        let bytes: Vec<u8> = values.collect();
        weight(m).float_data.clear();
        weight(m).raw_data = Some(Bytes::from(bytes));
    }),
    ("wrong-description", |m| {
        let json =
            r#"{"kind":"image","channels":4294967296,"height":4294967296,"width":9,"pixel_max":1}"#;
        m.metadata_props.push(entry("sardonyx.input", json));
    }),
    ("calls-itself", |m| {
        let call = NodeProto {
            op_type: Some("F".to_owned()),
            domain: Some("own".to_owned()),
            input: vec!["a".to_owned()],
            output: vec!["b".to_owned()],
            ..NodeProto::default()
        };
        let mut opset = m.opset_import[0].clone();
        opset.domain = Some("own".to_owned());
        m.opset_import.push(opset.clone());
        m.functions.push(sardonyx::onnx::proto::FunctionProto {
            name: Some("F".to_owned()),
            domain: Some("own".to_owned()),
            input: vec!["a".to_owned()],
            output: vec!["b".to_owned()],
            node: vec![call.clone()],
            opset_import: vec![opset],
            ..Default::default()
        });
        graph(m).node[0].op_type = call.op_type;
        graph(m).node[0].domain = call.domain;
        graph(m).node[0].input.truncate(1);
    }),
];

/// What only looks bad: later operator sets are read where they changed nothing that is known to
/// have changed, and training replaces what the file tells of its input.
const HARMLESS: [&str; 2] = ["opset-of-the-future", "wrong-description"];

/// Where a weight must not come from.
const EXTERNAL: [(&str, [&str; 3]); 9] = [
    ("parent", ["../secret.bin", "", ""]),
    ("deep-parent", ["a/../../../../../../etc/passwd", "", ""]),
    ("absolute", ["/etc/passwd", "", ""]),
    ("link", ["link.bin", "", ""]),
    ("missing", ["missing.bin", "", ""]),
    ("folder", [".", "", ""]),
    ("device", ["../../../../../../dev/zero", "", ""]),
    ("offset", ["weights.bin", "18446744073709551615", "240"]),
    ("length", ["weights.bin", "0", "9223372036854775807"]),
];

/// What is called a model and is something else.
fn write_impostors(place: &Place, rng: &mut Philox) -> Vec<String> {
    let digit = sardonyx::data::npy::to_bytes(sardonyx::data::digits().x()).expect("an array");
    let images = "../sardonyx-data/tests/golden/images/gray.png";
    let png = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + images);
    let mut nested = Vec::new();
    // Length-delimited field 7 within field 7 within ...
    for _ in 0..4000 {
        let mut outer = vec![0x3a];
        prost::encode_length_delimiter(nested.len(), &mut outer).expect("room");
        outer.extend(&nested);
        nested = outer;
    }
    let files: [(&str, Vec<u8>); 9] = [
        ("empty", Vec::new()),
        ("text", b"this is a text\nand no model\n".to_vec()),
        ("picture", png.expect("committed")),
        ("array", digit),
        (
            "zip",
            [&b"\x1f\x8b\x08\0\0\0\0\0"[..], &noise(500, rng)].concat(),
        ),
        ("noise", noise(4096, rng)),
        ("zeros", vec![0; 4096]),
        ("varints", vec![0xff; 4096]),
        ("nested", nested),
    ];
    for (name, bytes) in &files {
        place.write(&format!("models/{name}.onnx"), bytes);
    }
    fs::create_dir_all(place.path("models/folder.onnx")).expect("created");
    let mut names: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend(["folder", "nobody"].map(str::to_owned));
    names
}

/// Commands on a model, with data to give it; those but the first have to run it.
fn commands<'a>(model: &'a str, [data, inputs]: [&'a str; 2]) -> [Vec<&'a str>; 4] {
    let train = ["train", "--data", data, "--model", model];
    let settings = ["epochs=1", "val=0", "scale=none"];
    [
        vec!["inspect", model],
        vec!["predict", model, inputs],
        vec!["eval", model, "--data", data],
        [&train[..], &settings].concat(),
    ]
}

fn write_hostile(place: &Place) -> Vec<String> {
    let mut rng = Philox::new(23, 0);
    let mut names = write_impostors(place, &mut rng);
    let mut write = |name: String, model: &ModelProto| {
        place.write(&format!("models/{name}.onnx"), model.encode_to_vec());
        names.push(name);
    };
    for (name, change) in CHANGES {
        let mut model = good();
        change(&mut model);
        write(name.to_owned(), &model);
    }
    for (name, body) in GREEDY {
        write(format!("greedy-{name}"), &greedy(body));
    }
    for (name, [location, offset, length]) in EXTERNAL {
        write(
            format!("external-{name}"),
            &external(location, offset, length),
        );
    }
    // Where the data would be good if they were allowed.
    place.write("secret.bin", [0; 240]);
    place.write("models/weights.bin", [0; 240]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret.bin", place.path("models/link.bin")).expect("a link");
    names
}

#[test]
fn hostile_models_are_refused_by_every_verb() {
    let place = Place::new();
    exports::write_clouds(&place, "data", &[12], 5);
    place.write("models/good.onnx", good().encode_to_vec());
    let allowed = external("weights.bin", "0", "240").encode_to_vec();
    place.write("models/beside.onnx", allowed);
    let names = write_hostile(&place);
    let mut cases = Vec::new();
    for name in &names {
        let model = format!("models/{name}.onnx");
        for (index, command) in commands(&model, ROWS).iter().enumerate() {
            // To look at does not need the model to run.
            let must_fail = index > 0 && !HARMLESS.contains(&name.as_str());
            cases.push(Case::new(name, command, must_fail));
        }
    }
    assert_eq!(
        check(&place, &good_cases()),
        0,
        "the models are good before they are changed"
    );
    assert!(check(&place, &cases) >= 3 * names.len());
}

/// The same commands on good models.
fn good_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for model in ["models/good.onnx", "models/beside.onnx"] {
        cases.extend(
            commands(model, ROWS)
                .iter()
                .map(|command| Case::new("good", command, false)),
        );
    }
    cases
}

#[test]
fn damaged_models_are_refused_or_read() {
    let place = Place::new();
    exports::write_clouds(&place, "data", &[12], 5);
    exports::write_clouds(&place, "images", &[1, 14, 14], 10);
    let mut rng = Philox::new(29, 0);
    let mut cases = Vec::new();
    for exporter in ["torch_script", "torch_dynamo", "tf2onnx"] {
        for (kind, data) in [("mlp", ROWS), ("cnn", IMAGES)] {
            let export = format!("{exporter}_{kind}");
            let good = fs::read(exports::folder(&export).join("model.onnx")).expect("committed");
            for copy in 0..COPIES {
                let model = format!("{export}-{copy}.onnx");
                let bytes = match copy % 4 {
                    0 => good[..rng.below(good.len() as u64) as usize].to_vec(),
                    _ => damage(&good, &mut rng),
                };
                place.write(&model, bytes);
                let command = &commands(&model, data)[copy / 4 % 4];
                cases.push(Case::new(&model, command, copy % 4 == 0));
            }
        }
    }
    assert!(check(&place, &cases) >= cases.len() / 4);
}
