//! Graphs to messages.

use std::collections::BTreeMap;

use sardonyx_ir::named::{NamedGraph, NamedNode, NamedTensor, NamedValue, disassemble};
use sardonyx_ir::{Graph, SARDONYX};
use sardonyx_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use sardonyx_onnx::tensor_to_proto;

use crate::error::Result;
use crate::{attribute, types};

/// Name under which models are written.
pub const PRODUCER: &str = "sardonyx";

/// Oldest format version that is written: the first that every reader of opset 17 knows.
const MIN_IR_VERSION: i64 = 8;
/// Format version of a graph that does not come from a file: the first with key-value pairs of
/// nodes and values.
const DEFAULT_IR_VERSION: i64 = 10;

/// Format version with which each version of the standard operators came out, from `MIN_IR_VERSION`
/// on (<https://github.com/onnx/onnx/blob/main/docs/Versioning.md>).
const IR_VERSION_OF_OPSET: [(i64, i64); 6] =
    [(25, 13), (24, 12), (23, 11), (21, 10), (19, 9), (0, 8)];

/// How a graph is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// Whether nodes of our own operators are written too. Such a file is for looking at: nothing
    /// can run it, and [`crate::import`] refuses it.
    pub allow_own_operators: bool,
}

/// The message of a graph; see the crate's documentation. Nodes are in topological order.
///
/// # Errors
/// When the nodes depend on each other in a circle, or one is of our own operators.
pub fn export(graph: &Graph) -> Result<ModelProto> {
    export_with(graph, ExportOptions::default())
}

/// As [`export`], with options.
///
/// # Errors
/// As [`export`].
pub fn export_with(source: &Graph, options: ExportOptions) -> Result<ModelProto> {
    let named = disassemble(source)?;
    let mut opsets = named.opsets;
    if !options.allow_own_operators {
        attribute::refuse_own(&named.graph.nodes)?;
        opsets.remove(SARDONYX);
    }
    let info = named.info;
    let opset = opsets.get("").copied().unwrap_or(0);
    Ok(ModelProto {
        ir_version: Some(ir_version(info.ir_version, opset)),
        opset_import: opsets.into_iter().map(opset_import).collect(),
        producer_name: Some(PRODUCER.to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        domain: text(&info.domain),
        model_version: (info.version != 0).then_some(info.version),
        doc_string: text(&info.doc),
        graph: Some(graph(&named.graph)),
        metadata_props: pairs(&named.metadata),
        ..ModelProto::default()
    })
}

fn ir_version(of_source: Option<i64>, opset: i64) -> i64 {
    let needed = IR_VERSION_OF_OPSET
        .iter()
        .find(|(since, _)| opset >= *since);
    let needed = needed.map_or(MIN_IR_VERSION, |(_, version)| *version);
    of_source.unwrap_or(DEFAULT_IR_VERSION).max(needed)
}

fn opset_import((domain, version): (String, i64)) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain),
        version: Some(version),
    }
}

/// The message of a graph by names.
pub(crate) fn graph(named: &NamedGraph) -> GraphProto {
    GraphProto {
        node: named.nodes.iter().map(node).collect(),
        name: Some(named.name.clone()),
        initializer: named.initializers.iter().map(initializer).collect(),
        doc_string: text(&named.doc),
        input: named.inputs.iter().map(value).collect(),
        output: named.outputs.iter().map(value).collect(),
        value_info: named.values.iter().map(value).collect(),
        metadata_props: pairs(&named.metadata),
        ..GraphProto::default()
    }
}

fn initializer(named: &NamedTensor) -> TensorProto {
    TensorProto {
        doc_string: text(&named.doc),
        metadata_props: pairs(&named.metadata),
        ..tensor_to_proto(&named.name, &named.tensor)
    }
}

fn value(named: &NamedValue) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(named.name.clone()),
        r#type: named.fact.as_ref().map(types::type_proto),
        doc_string: text(&named.doc),
        metadata_props: pairs(&named.metadata),
    }
}

fn node(named: &NamedNode) -> NodeProto {
    let attributes = named.attributes.iter();
    NodeProto {
        input: named.inputs.clone(),
        output: named.outputs.clone(),
        name: text(&named.name),
        op_type: Some(named.op_type.clone()),
        domain: text(&named.domain),
        attribute: attributes
            .map(|(name, attr)| attribute::to_proto(name, attr))
            .collect(),
        doc_string: text(&named.doc),
        metadata_props: pairs(&named.metadata),
        ..NodeProto::default()
    }
}

/// A text field, absent when empty.
fn text(content: &str) -> Option<String> {
    (!content.is_empty()).then(|| content.to_owned())
}

fn pairs(metadata: &BTreeMap<String, String>) -> Vec<StringStringEntryProto> {
    let pair = |(key, value): (&String, &String)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    metadata.iter().map(pair).collect()
}
