//! What import and export keep, change and refuse, from messages built here.

use std::sync::Arc;

use sardonyx_ir::{Attr, Dim, Fact, Graph, Node, ONNX, SARDONYX, ValueId};
use sardonyx_model::{ExportOptions, export, export_with, import, load, save};
use sardonyx_onnx::proto::{
    AttributeProto, AttributeType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, SequenceType, SparseTensorProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto, dimension, type_proto,
};
use sardonyx_onnx::tensor_to_proto;
use sardonyx_tensor::{DType, Tensor};

fn text(content: &str) -> Option<String> {
    Some(content.to_owned())
}

fn pairs(key: &str) -> Vec<StringStringEntryProto> {
    let (key, value) = (text(key), text("value"));
    vec![StringStringEntryProto { key, value }]
}

fn dim(value: Option<dimension::Value>) -> Dimension {
    let denotation = None;
    Dimension { value, denotation }
}

fn number(value: i64) -> Dimension {
    dim(Some(dimension::Value::DimValue(value)))
}

fn symbol(name: &str) -> Dimension {
    dim(Some(dimension::Value::DimParam(name.to_owned())))
}

fn tensor_type(elem_type: i32, dim: Vec<Dimension>) -> TypeProto {
    let value = type_proto::Value::TensorType(TensorType {
        elem_type: Some(elem_type),
        shape: Some(TensorShapeProto { dim }),
    });
    TypeProto {
        value: Some(value),
        denotation: None,
    }
}

fn value(name: &str, dim: Vec<Dimension>) -> ValueInfoProto {
    ValueInfoProto {
        name: text(name),
        r#type: Some(tensor_type(1, dim)),
        ..ValueInfoProto::default()
    }
}

fn weight(name: &str, values: Vec<f32>) -> TensorProto {
    tensor_to_proto(name, &Tensor::vector(values))
}

fn node(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: text(op_type),
        input: names(input),
        output: names(output),
        ..NodeProto::default()
    }
}

fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(10),
        opset_import: vec![OperatorSetIdProto {
            domain: text(""),
            version: Some(21),
        }],
        producer_name: text("sardonyx"),
        producer_version: text(env!("CARGO_PKG_VERSION")),
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// An attribute of each kind that needs care.
fn attributes() -> Vec<AttributeProto> {
    let attribute = |name: &str, r#type: AttributeType| AttributeProto {
        name: text(name),
        r#type: Some(r#type.into()),
        ..AttributeProto::default()
    };
    vec![
        AttributeProto {
            f: Some(-0.5),
            ..attribute("a", AttributeType::Float)
        },
        AttributeProto {
            s: Some(vec![0xff, 0]),
            ..attribute("b", AttributeType::String)
        },
        AttributeProto {
            ints: vec![],
            ..attribute("c", AttributeType::Ints)
        },
        AttributeProto {
            t: Some(Box::new(TensorProto {
                name: text(""),
                ..weight("", vec![1.0])
            })),
            ..attribute("d", AttributeType::Tensor)
        },
        AttributeProto {
            tp: Some(Box::new(tensor_type(7, vec![symbol("K")]))),
            ..attribute("e", AttributeType::TypeProto)
        },
        AttributeProto {
            strings: vec![vec![1]],
            ..attribute("f", AttributeType::Strings)
        },
    ]
}

/// `y = Relu (x)` with everything that a file can say.
fn rich() -> ModelProto {
    let noted = |mut info: ValueInfoProto| {
        info.doc_string = Some(format!("note of {}", info.name()));
        info.metadata_props = pairs("of a value");
        info
    };
    let mut unused = weight("unused", vec![1.0, f32::NAN]);
    unused.doc_string = text("note of a tensor");
    unused.metadata_props = pairs("of a tensor");
    let relu = NodeProto {
        name: text("a node"),
        attribute: attributes(),
        doc_string: text("note of a node"),
        metadata_props: pairs("of a node"),
        ..node("Relu", &["x", ""], &["mid", ""])
    };
    let graph = GraphProto {
        name: text("a graph"),
        doc_string: text("note of a graph"),
        metadata_props: pairs("of a graph"),
        input: vec![
            noted(value(
                "x",
                vec![symbol("N"), dim(None), symbol("2*N"), number(0)],
            )),
            noted(value("k", vec![number(2)])),
        ],
        output: vec![noted(value("y", vec![]))],
        value_info: vec![noted(value("mid", vec![symbol("floor(N/2)")]))],
        initializer: vec![weight("k", vec![1.0, 2.0]), unused],
        node: vec![relu, node("Abs", &["mid"], &["y"])],
        ..GraphProto::default()
    };
    ModelProto {
        domain: text("org.example"),
        model_version: Some(3),
        doc_string: text("note of a model"),
        metadata_props: pairs("of a model"),
        ..model(graph)
    }
}

#[test]
fn everything_that_is_kept_comes_back() {
    let original = rich();
    let graph = import(&original).unwrap();
    let exported = export(&graph).unwrap();
    // Messages hold NaN, which is equal to itself in its debug form only.
    assert_eq!(format!("{exported:#?}"), format!("{original:#?}"));
    let x = graph.find_value("x").unwrap();
    let shape = graph.fact(x).unwrap().shape.clone().unwrap();
    assert_eq!(shape[2].checked_div(&shape[0]), Some(Dim::known(2)));
    assert!(shape[1].is_unknown());
    let k = graph.find_value("k").unwrap();
    assert!(graph.inputs.contains(&k) && graph.initializers.contains_key(&k));
    assert_eq!(graph.constant(k), None, "the caller can override it");
}

#[test]
fn initializers_of_the_first_versions_are_constants() {
    let mut model = rich();
    model.ir_version = Some(3);
    let graph = import(&model).unwrap();
    assert_eq!(graph.inputs.len(), 1);
    let k = graph.find_value("k").unwrap();
    assert!(graph.constant(k).is_some());
    assert_eq!(graph.value(k).doc, "note of k");
    let exported = export(&graph).unwrap();
    assert_eq!(exported.ir_version, Some(10));
}

#[test]
fn format_versions_follow_the_operators() {
    let versions = [
        (None, 17, 10),
        (Some(8), 17, 8),
        (Some(4), 13, 8),
        (Some(8), 23, 11),
    ];
    for (of_source, opset, expected) in versions {
        let mut graph = Graph::new("g", opset);
        graph.model.ir_version = of_source;
        assert_eq!(export(&graph).unwrap().ir_version, Some(expected));
    }
    let mut model = rich();
    model.ir_version = Some(99);
    let error = import(&model).unwrap_err().to_string();
    assert!(
        error.starts_with("the model has IR version 99, supported are 3 to 13"),
        "{error}"
    );
    model.ir_version = None;
    assert!(import(&model).is_err());
}

#[test]
fn sparse_tensors_become_dense() {
    let sparse = |name: &str| SparseTensorProto {
        values: Some(weight(name, vec![5.0])),
        indices: Some(tensor_to_proto("", &Tensor::vector(vec![2i64]))),
        dims: vec![2, 2],
    };
    let constant = NodeProto {
        attribute: vec![AttributeProto {
            name: text("sparse_value"),
            r#type: Some(AttributeType::SparseTensor.into()),
            sparse_tensor: Some(Box::new(sparse(""))),
            ..AttributeProto::default()
        }],
        ..node("Constant", &[], &["y"])
    };
    let graph = GraphProto {
        name: text("g"),
        output: vec![value("y", vec![])],
        sparse_initializer: vec![sparse("w")],
        node: vec![constant],
        ..GraphProto::default()
    };
    let graph = import(&model(graph)).unwrap();
    let dense = Tensor::new([2, 2], vec![0f32, 0.0, 5.0, 0.0]).unwrap();
    let w = graph.find_value("w").unwrap();
    assert_eq!(*graph.initializers[&w], dense);
    let (_, constant) = graph.nodes().next().unwrap();
    assert_eq!(constant.attributes["value"], Attr::Tensor(Arc::new(dense)));
}

/// Two branches that read `x` and, through one another, `m`, from outside.
fn branches() -> GraphProto {
    let inner = GraphProto {
        name: text("inner"),
        output: vec![value("r", vec![])],
        node: vec![node("Add", &["x", "m"], &["r"])],
        ..GraphProto::default()
    };
    let branch = |name: &str, graph: GraphProto| AttributeProto {
        name: text(name),
        r#type: Some(AttributeType::Graph.into()),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    };
    let outer = GraphProto {
        name: text("outer"),
        output: vec![value("q", vec![])],
        initializer: vec![weight("w", vec![1.0])],
        node: vec![NodeProto {
            attribute: vec![
                branch("else_branch", inner.clone()),
                branch("then_branch", inner),
            ],
            ..node("If", &["w"], &["q"])
        }],
        ..GraphProto::default()
    };
    let plain = GraphProto {
        name: text("plain"),
        output: vec![value("p", vec![])],
        node: vec![node("Neg", &["x"], &["p"])],
        ..GraphProto::default()
    };
    GraphProto {
        name: text("g"),
        input: vec![value("x", vec![]), value("c", vec![])],
        output: vec![value("y", vec![])],
        node: vec![
            node("Neg", &["x"], &["m"]),
            NodeProto {
                attribute: vec![branch("else_branch", plain), branch("then_branch", outer)],
                ..node("If", &["c"], &["y"])
            },
        ],
        ..GraphProto::default()
    }
}

#[test]
fn subgraphs_come_back_and_their_captures_are_inputs() {
    let original = model(branches());
    let graph = import(&original).unwrap();
    let (_, branch) = graph.nodes().nth(1).unwrap();
    let names = branch
        .inputs
        .iter()
        .flatten()
        .map(|&id| graph.value_name(id));
    assert_eq!(names.collect::<Vec<_>>(), ["c", "x", "x", "m"]);
    let exported = export(&graph).unwrap();
    assert_eq!(exported, original);
    // Order follows from the data, captured or not.
    let mut shuffled = branches();
    shuffled.node.reverse();
    assert_eq!(
        export(&import(&model(shuffled)).unwrap()).unwrap(),
        original
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let sequence = TypeProto {
        value: Some(type_proto::Value::SequenceType(Box::new(SequenceType {
            elem_type: Some(Box::new(tensor_type(1, vec![]))),
        }))),
        denotation: None,
    };
    type Change = fn(&mut ModelProto, &TypeProto);
    let cases: [(Change, &str); 9] = [
        (
            |m, sequence| m.graph.as_mut().unwrap().output[0].r#type = Some(sequence.clone()),
            "output `y` is a sequence, which is not supported; hint: dense tensors are",
        ),
        (
            |m, _| m.graph.as_mut().unwrap().input[0].r#type = Some(tensor_type(22, vec![])),
            "input `x` is a tensor of int4, which is not supported",
        ),
        (
            |m, _| {
                m.metadata_props.extend(pairs("of a model"));
                m.metadata_props[1].value = text("another value");
            },
            "metadata key `of a model` is given twice, and differently",
        ),
        (
            |m, _| {
                m.opset_import.extend(m.opset_import.clone());
                m.opset_import[1].version = Some(17);
            },
            "operator set `` is given twice, and differently",
        ),
        (
            |m, _| m.opset_import.clear(),
            "nodes use operator set `ai.onnx`, but the model imports no version of it",
        ),
        (
            |m, _| {
                let initializers = &mut m.graph.as_mut().unwrap().initializer;
                initializers.push(initializers[1].clone());
            },
            "value `unused` is defined more than once",
        ),
        (
            |m, _| m.graph.as_mut().unwrap().initializer[1].name = None,
            "an initializer has no name",
        ),
        (
            |m, _| m.graph.as_mut().unwrap().initializer[0].dims = vec![3],
            "tensor \"k\": raw_data has 8 bytes, the shape needs 12",
        ),
        (
            |m, _| {
                let node = &mut m.graph.as_mut().unwrap().node[0];
                node.attribute[0] = AttributeProto {
                    name: text("a"),
                    ..AttributeProto::default()
                };
            },
            "Relu node `a node`: attribute `a` has no type and no value",
        ),
    ];
    for (change, expected) in cases {
        let mut model = rich();
        change(&mut model, &sequence);
        let error = import(&model).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_said_twice_alike_is_said_once() {
    let mut model = rich();
    model.opset_import.extend(model.opset_import.clone());
    model.metadata_props.extend(pairs("of a model"));
    let exported = export(&import(&model).unwrap()).unwrap();
    assert_eq!(format!("{exported:?}"), format!("{:?}", rich()));
}

#[test]
fn unknown_types_in_between_are_forgotten() {
    let mut model = rich();
    let hints = &mut model.graph.as_mut().unwrap().value_info;
    hints[0].r#type = Some(tensor_type(17, vec![]));
    hints.push(value("nobody", vec![]));
    let graph = import(&model).unwrap();
    assert_eq!(graph.fact(graph.find_value("mid").unwrap()), None);
    assert_eq!(graph.find_value("nobody"), None);
}

fn own_operator() -> (Graph, ValueId) {
    let mut graph = Graph::new("g", 17);
    let x = graph.add_input("x", Fact::fixed(DType::F32, &[2]));
    let y = graph.add_value("y", None);
    let mut node = Node::new(SARDONYX, "ConvGradInput");
    node.name = "step".to_owned();
    node.inputs.push(Some(x));
    node.outputs.push(Some(y));
    graph.add_node(node);
    graph.outputs.push(y);
    (graph, y)
}

#[test]
fn plans_are_never_saved() {
    let (graph, _) = own_operator();
    let error = export(&graph).unwrap_err().to_string();
    let expected = "ConvGradInput node `step` is part of a plan and cannot be in a model file";
    assert_eq!(error, expected);
    let options = ExportOptions {
        allow_own_operators: true,
    };
    let model = export_with(&graph, options).unwrap();
    assert_eq!(import(&model).unwrap_err().to_string(), expected);
    // Inside a subgraph as well.
    let mut outside = Graph::new("g", 17);
    let z = outside.add_value("z", None);
    let mut node = Node::new(ONNX, "If");
    node.attributes
        .insert("then_branch".to_owned(), Attr::Graph(Arc::new(graph)));
    node.outputs.push(Some(z));
    outside.add_node(node);
    assert!(export(&outside).is_err());
}

#[test]
fn files_come_back_and_are_the_same_bytes() {
    let folder = std::env::temp_dir().join(format!("sardonyx-model-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.onnx");
    let graph = import(&rich()).unwrap();
    save(&path, &graph).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let again = load(&path).unwrap();
    assert_eq!(format!("{again:?}"), format!("{graph:?}"));
    save(&path, &again).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    std::fs::remove_dir_all(&folder).unwrap();
}
