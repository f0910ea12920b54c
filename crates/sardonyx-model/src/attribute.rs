//! Attributes, both ways.

use std::sync::Arc;

use sardonyx_ir::named::{NamedAttr, NamedNode};
use sardonyx_ir::{Attr, SARDONYX};
use sardonyx_onnx::proto::{AttributeProto, AttributeType, SparseTensorProto, TensorProto};
use sardonyx_onnx::{sparse_from_proto, tensor_from_proto, tensor_to_proto};
use sardonyx_tensor::Tensor;

use crate::error::{ModelError, Result};
use crate::{export, import, types};

/// Why an attribute cannot be taken: in words, or because of what is inside it.
pub(crate) enum Problem {
    Words(String),
    Inside(ModelError),
}

impl<E: Into<ModelError>> From<E> for Problem {
    fn from(error: E) -> Problem {
        Problem::Inside(error.into())
    }
}

/// The value of an attribute.
pub(crate) fn from_proto(proto: &AttributeProto) -> Result<NamedAttr, Problem> {
    if let Some(name) = proto.ref_attr_name.as_ref().filter(|name| !name.is_empty()) {
        return Ok(NamedAttr::Reference(name.clone()));
    }
    let plain = match kind(proto) {
        AttributeType::Undefined => {
            return Err(Problem::Words("has no type and no value".to_owned()));
        }
        AttributeType::Float => Attr::Float(proto.f()),
        AttributeType::Int => Attr::Int(proto.i()),
        AttributeType::String => Attr::String(proto.s.clone().unwrap_or_default()),
        AttributeType::Floats => Attr::Floats(proto.floats.clone()),
        AttributeType::Ints => Attr::Ints(proto.ints.clone()),
        AttributeType::Strings => Attr::Strings(proto.strings.clone()),
        AttributeType::Tensor => Attr::Tensor(tensor(present(&proto.t)?)?),
        AttributeType::SparseTensor => Attr::Tensor(sparse(present(&proto.sparse_tensor)?)?),
        AttributeType::Tensors => Attr::Tensors(each(&proto.tensors, tensor)?),
        AttributeType::SparseTensors => Attr::Tensors(each(&proto.sparse_tensors, sparse)?),
        AttributeType::TypeProto => match types::fact("", present(&proto.tp)?) {
            Ok(Some(fact)) => Attr::Type(fact),
            Ok(None) => {
                return Err(Problem::Words(
                    "is a type without an element type".to_owned(),
                ));
            }
            Err(found) => return Err(Problem::Words(format!("is the type of {found}"))),
        },
        AttributeType::TypeProtos => {
            return Err(Problem::Words(
                "is a list of types, which no operator has".to_owned(),
            ));
        }
        AttributeType::Graph => {
            return Ok(NamedAttr::Graph(import::graph(present(&proto.g)?, true)?));
        }
        AttributeType::Graphs => {
            let graphs = proto.graphs.iter().map(|graph| import::graph(graph, true));
            return Ok(NamedAttr::Graphs(graphs.collect::<Result<_>>()?));
        }
    };
    Ok(NamedAttr::Plain(plain))
}

/// The type, which the oldest files leave to be told from the field in use.
fn kind(proto: &AttributeProto) -> AttributeType {
    let in_use = [
        (proto.f.is_some(), AttributeType::Float),
        (proto.i.is_some(), AttributeType::Int),
        (proto.s.is_some(), AttributeType::String),
        (proto.t.is_some(), AttributeType::Tensor),
        (proto.g.is_some(), AttributeType::Graph),
        (proto.sparse_tensor.is_some(), AttributeType::SparseTensor),
        (proto.tp.is_some(), AttributeType::TypeProto),
        (!proto.floats.is_empty(), AttributeType::Floats),
        (!proto.ints.is_empty(), AttributeType::Ints),
        (!proto.strings.is_empty(), AttributeType::Strings),
        (!proto.tensors.is_empty(), AttributeType::Tensors),
        (!proto.graphs.is_empty(), AttributeType::Graphs),
        (
            !proto.sparse_tensors.is_empty(),
            AttributeType::SparseTensors,
        ),
        (!proto.type_protos.is_empty(), AttributeType::TypeProtos),
    ];
    match proto.r#type() {
        AttributeType::Undefined => in_use
            .into_iter()
            .find(|(in_use, _)| *in_use)
            .map_or(AttributeType::Undefined, |(_, kind)| kind),
        kind => kind,
    }
}

fn present<T>(field: &Option<Box<T>>) -> Result<&T, Problem> {
    field
        .as_deref()
        .ok_or_else(|| Problem::Words("has a type but no value".to_owned()))
}

fn each<P, T>(protos: &[P], convert: impl Fn(&P) -> Result<T>) -> Result<Vec<T>> {
    protos.iter().map(convert).collect()
}

fn tensor(proto: &TensorProto) -> Result<Arc<Tensor>> {
    Ok(Arc::new(tensor_from_proto(proto)?))
}

fn sparse(proto: &SparseTensorProto) -> Result<Arc<Tensor>> {
    Ok(Arc::new(sparse_from_proto(proto)?))
}

/// The message of an attribute.
pub(crate) fn to_proto(name: &str, attr: &NamedAttr) -> AttributeProto {
    let mut proto = AttributeProto {
        name: Some(name.to_owned()),
        ..AttributeProto::default()
    };
    let kind = match attr {
        NamedAttr::Reference(outer) => {
            proto.ref_attr_name = Some(outer.clone());
            AttributeType::Undefined
        }
        NamedAttr::Graph(graph) => {
            proto.g = Some(Box::new(export::graph(graph)));
            AttributeType::Graph
        }
        NamedAttr::Graphs(graphs) => {
            proto.graphs = graphs.iter().map(export::graph).collect::<Vec<_>>();
            AttributeType::Graphs
        }
        NamedAttr::Plain(attr) => plain_to_proto(&mut proto, attr),
    };
    proto.r#type = Some(kind.into());
    proto
}

fn plain_to_proto(proto: &mut AttributeProto, attr: &Attr) -> AttributeType {
    match attr {
        Attr::Int(value) => {
            proto.i = Some(*value);
            AttributeType::Int
        }
        Attr::Float(value) => {
            proto.f = Some(*value);
            AttributeType::Float
        }
        Attr::String(value) => {
            proto.s = Some(value.clone());
            AttributeType::String
        }
        Attr::Tensor(value) => {
            proto.t = Some(Box::new(tensor_to_proto("", value)));
            AttributeType::Tensor
        }
        Attr::Type(fact) => {
            proto.tp = Some(Box::new(types::type_proto(fact)));
            AttributeType::TypeProto
        }
        Attr::Ints(values) => {
            proto.ints.clone_from(values);
            AttributeType::Ints
        }
        Attr::Floats(values) => {
            proto.floats.clone_from(values);
            AttributeType::Floats
        }
        Attr::Strings(values) => {
            proto.strings.clone_from(values);
            AttributeType::Strings
        }
        Attr::Tensors(values) => {
            proto.tensors = values
                .iter()
                .map(|value| tensor_to_proto("", value))
                .collect();
            AttributeType::Tensors
        }
        Attr::Graph(_) | Attr::Graphs(_) => {
            unreachable!("a plain attribute has no subgraph")
        }
    }
}

/// Names an attribute of a node whose operator has another one for a sparse value: here every
/// tensor is dense.
pub(crate) fn dense_name(op_type: &str, name: &str) -> String {
    let is_sparse = op_type == "Constant" && name == "sparse_value";
    if is_sparse { "value" } else { name }.to_owned()
}

/// Refuses nodes of our own operators, inside subgraphs too: they exist in plans only.
pub(crate) fn refuse_own<'n>(nodes: impl IntoIterator<Item = &'n NamedNode>) -> Result<()> {
    for node in nodes {
        if node.domain == SARDONYX {
            return Err(ModelError::OwnOperator {
                op: node.op_type.clone(),
                node: node.name.clone(),
            });
        }
        for (_, attr) in &node.attributes {
            match attr {
                NamedAttr::Graph(graph) => refuse_own(&graph.nodes)?,
                NamedAttr::Graphs(graphs) => {
                    graphs
                        .iter()
                        .try_for_each(|graph| refuse_own(&graph.nodes))?;
                }
                NamedAttr::Plain(_) | NamedAttr::Reference(_) => {}
            }
        }
    }
    Ok(())
}
