//! Messages to graphs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sardonyx_ir::named::{NamedGraph, NamedModel, NamedNode, NamedTensor, NamedValue, assemble};
use sardonyx_ir::{Graph, ModelInfo};
use sardonyx_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use sardonyx_onnx::{OnnxError, sparse_from_proto, tensor_from_proto};
use sardonyx_tensor::spread;

use crate::attribute::{self, Problem};
use crate::error::{ModelError, Result};
use crate::{function, types};

/// Oldest format version that is read: 2017's, the first with operator sets.
const MIN_IR_VERSION: i64 = 3;
/// Newest format version that is read.
const MAX_IR_VERSION: i64 = 13;
/// First format version in which an initializer need not be an input.
const CONSTANT_INITIALIZERS_SINCE: i64 = 4;

/// The graph of a model, verified. See the crate's documentation for what is kept.
///
/// # Errors
/// When the model is not well formed, is of an unknown format version, has inputs or outputs that
/// are not dense tensors, or has nodes of our own operators.
pub fn import(model: &ModelProto) -> Result<Graph> {
    let ir_version = model.ir_version();
    if !(MIN_IR_VERSION..=MAX_IR_VERSION).contains(&ir_version) {
        let hint = if ir_version < MIN_IR_VERSION {
            "export the model again with a current exporter"
        } else {
            "export the model with an older operator set"
        };
        return Err(ModelError::IrVersion {
            found: ir_version,
            min: MIN_IR_VERSION,
            max: MAX_IR_VERSION,
            hint,
        });
    }
    let proto = model.graph.as_ref().ok_or(OnnxError::NoGraph)?;
    let inputs_have_defaults = ir_version >= CONSTANT_INITIALIZERS_SINCE;
    let mut graph = graph(proto, inputs_have_defaults)?;
    let functions = model.functions.iter().map(function::from_proto);
    let named = NamedModel {
        info: ModelInfo {
            ir_version: Some(ir_version),
            domain: model.domain().to_owned(),
            version: model.model_version(),
            doc: model.doc_string().to_owned(),
            graph_metadata: std::mem::take(&mut graph.metadata),
        },
        opsets: opsets(&model.opset_import)?,
        metadata: pairs(&model.metadata_props)?,
        graph,
        functions: functions.collect::<Result<_>>()?,
    };
    let in_functions = named.functions.iter().flat_map(|function| &function.nodes);
    attribute::refuse_own(named.graph.nodes.iter().chain(in_functions))?;
    Ok(assemble(&named)?)
}

/// A graph by names. Unless `inputs_have_defaults`, inputs with an initializer are constants.
pub(crate) fn graph(proto: &GraphProto, inputs_have_defaults: bool) -> Result<NamedGraph> {
    let dense = spread(&proto.initializer, raw_bytes, initializer);
    let sparse = proto.sparse_initializer.iter().map(|sparse| {
        let values = sparse.values.as_ref();
        let name = values.map(|values| values.name().to_owned());
        Ok(NamedTensor {
            name: name.unwrap_or_default(),
            tensor: Arc::new(sparse_from_proto(sparse)?),
            doc: values.map_or("", |values| values.doc_string()).to_owned(),
            metadata: BTreeMap::new(),
        })
    });
    let initializers: Vec<NamedTensor> = dense.into_iter().chain(sparse).collect::<Result<_>>()?;
    let mut inputs = values("input", &proto.input)?;
    let mut between = hints(&proto.value_info)?;
    if !inputs_have_defaults {
        let constants: BTreeSet<&str> = initializers
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        let (constants, fed): (Vec<_>, Vec<_>) = inputs
            .into_iter()
            .partition(|input| constants.contains(input.name.as_str()));
        inputs = fed;
        between.extend(constants);
    }
    Ok(NamedGraph {
        name: proto.name().to_owned(),
        doc: proto.doc_string().to_owned(),
        metadata: pairs(&proto.metadata_props)?,
        inputs,
        outputs: values("output", &proto.output)?,
        values: between,
        initializers,
        nodes: proto.node.iter().map(node).collect::<Result<_>>()?,
    })
}

fn raw_bytes(proto: &TensorProto) -> usize {
    proto.raw_data.as_ref().map_or(0, |raw| raw.len())
}

fn initializer(proto: &TensorProto) -> Result<NamedTensor> {
    Ok(NamedTensor {
        name: proto.name().to_owned(),
        tensor: Arc::new(tensor_from_proto(proto)?),
        doc: proto.doc_string().to_owned(),
        metadata: pairs(&proto.metadata_props)?,
    })
}

fn values(what: &'static str, protos: &[ValueInfoProto]) -> Result<Vec<NamedValue>> {
    let value = |proto| {
        value(proto)?.map_err(|found| ModelError::Type {
            what,
            name: proto.name().to_owned(),
            found,
        })
    };
    protos.iter().map(value).collect()
}

/// What is said of values in between; types that are not supported are forgotten.
fn hints(protos: &[ValueInfoProto]) -> Result<Vec<NamedValue>> {
    let hint = |proto| match value(proto) {
        Ok(Ok(value)) => Some(Ok(value)),
        Ok(Err(_)) => None,
        Err(error) => Some(Err(error)),
    };
    protos.iter().filter_map(hint).collect()
}

/// A value; the inner error is its type in words.
fn value(proto: &ValueInfoProto) -> Result<Result<NamedValue, String>> {
    let fact = match &proto.r#type {
        None => None,
        Some(r#type) => match types::fact(proto.name(), r#type) {
            Ok(fact) => fact,
            Err(found) => return Ok(Err(found)),
        },
    };
    Ok(Ok(NamedValue {
        name: proto.name().to_owned(),
        fact,
        doc: proto.doc_string().to_owned(),
        metadata: pairs(&proto.metadata_props)?,
    }))
}

/// A node by names.
pub(crate) fn node(proto: &NodeProto) -> Result<NamedNode> {
    let attribute = |attr: &sardonyx_onnx::proto::AttributeProto| {
        let value = attribute::from_proto(attr).map_err(|problem| match problem {
            Problem::Inside(error) => error,
            Problem::Words(problem) => ModelError::Attribute {
                op: proto.op_type().to_owned(),
                node: proto.name().to_owned(),
                attribute: attr.name().to_owned(),
                problem,
            },
        })?;
        Ok((attribute::dense_name(proto.op_type(), attr.name()), value))
    };
    Ok(NamedNode {
        name: proto.name().to_owned(),
        domain: domain(proto.domain()),
        op_type: proto.op_type().to_owned(),
        overload: proto.overload().to_owned(),
        inputs: proto.input.clone(),
        outputs: proto.output.clone(),
        attributes: proto
            .attribute
            .iter()
            .map(attribute)
            .collect::<Result<_>>()?,
        doc: proto.doc_string().to_owned(),
        metadata: pairs(&proto.metadata_props)?,
    })
}

/// Operator-set versions by domain.
pub(crate) fn opsets(protos: &[OperatorSetIdProto]) -> Result<BTreeMap<String, i64>> {
    let pairs = protos.iter();
    unique(
        "operator set",
        pairs.map(|proto| (domain(proto.domain()), proto.version())),
    )
}

/// The standard domain has two names.
pub(crate) fn domain(name: &str) -> String {
    if name == "ai.onnx" { "" } else { name }.to_owned()
}

fn pairs(protos: &[StringStringEntryProto]) -> Result<BTreeMap<String, String>> {
    let pairs = protos.iter();
    let pairs = pairs.map(|proto| (proto.key().to_owned(), proto.value().to_owned()));
    unique("metadata key", pairs)
}

/// A map of what may be said twice (some exporters do) but not in two ways.
fn unique<V: PartialEq>(
    what: &'static str,
    pairs: impl Iterator<Item = (String, V)>,
) -> Result<BTreeMap<String, V>> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        match map.get(&key) {
            Some(known) if *known != value => return Err(ModelError::Repeated { what, key }),
            _ => map.insert(key, value),
        };
    }
    Ok(map)
}
