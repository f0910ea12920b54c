//! Makes of any model one that takes the raw samples of a data set and knows its classes, so that
//! the trained file needs nothing beside it.

use sardonyx_data::{Affine, Kind, Scaling, View};
use sardonyx_ir::{Graph, Node, ONNX, ValueId};
use sardonyx_passes::{CONSTANTS_KEY, apply, lift_constants, untie_parameters};
use sardonyx_tensor::Tensor;

use crate::classify::{adapt_input, describe_input};
use crate::error::{Result, TrainError};
use crate::step::class_count;

/// Key of the model's metadata under which the scaling that is part of the graph is named.
const SCALING_KEY: &str = "sardonyx.scaling";

/// The model that is trained, as the bytes of a file: with constants as initializers, the data's
/// kind of input, the scaling fitted to `train` as nodes, and the names of the classes.
///
/// The trainer starts from these bytes, as a resume does from those of a checkpoint, so that both
/// train the same graph in the same order.
pub(super) fn prepare(graph: &Graph, train: &View, scaling: Option<Scaling>) -> Result<Vec<u8>> {
    let mut graph = graph.clone();
    apply(&mut graph, lift_constants)?;
    untie_parameters(&mut graph);
    let dataset = train.dataset();
    if dataset.labels().is_none() {
        return Err(TrainError::Model {
            reason: format!(
                "it is to tell classes, but the targets of {} are numbers; hint: choose a column \
                 of classes as the target",
                dataset.source()
            ),
        });
    }
    let input = adapt_input(&mut graph, dataset.kind())?;
    check_classes(&graph, train)?;
    let earlier = graph.metadata.get(SCALING_KEY).cloned();
    match (scaling, earlier) {
        (None, Some(_)) | (Some(Scaling::None), _) => {}
        (Some(scaling), Some(earlier)) if scaling.to_string() == earlier => {}
        (Some(scaling), Some(earlier)) => {
            let reason = format!(
                "the model scales its input to {earlier} already, it cannot be made {scaling}; \
                 hint: leave the scaling out, and the model's own is kept"
            );
            return Err(TrainError::config("preprocess.scale", reason));
        }
        (scaling, None) => {
            let scaling = scaling.unwrap_or_default();
            scale_input(&mut graph, input, &scaling.fit(train)?, dataset.kind())?;
            let name = scaling.to_string();
            graph.metadata.insert(SCALING_KEY.to_owned(), name);
        }
    }
    sardonyx_model::set_class_names(&mut graph, dataset.class_names());
    describe_input(&mut graph, dataset)?;
    sardonyx_ops::infer(&mut graph)?;
    Ok(sardonyx_model::to_bytes(&graph)?)
}

fn check_classes(graph: &Graph, train: &View) -> Result<()> {
    let (found, wanted) = (class_count(graph)?, train.dataset().n_classes());
    if found == wanted {
        return Ok(());
    }
    Err(TrainError::Model {
        reason: format!(
            "it tells {found} classes apart, {} has {wanted}; hint: give the model's last layer \
             {wanted} outputs, or check the classes of the data",
            train.dataset().source()
        ),
    })
}

/// Puts `(x - mean) / std` between the input and its readers.
fn scale_input(graph: &mut Graph, input: ValueId, affine: &Affine, kind: Kind) -> Result<()> {
    let shape = match kind {
        Kind::Image { channels, .. } => vec![1, channels, 1, 1],
        Kind::Table { features } => vec![1, features],
    };
    let scaled = crate::classify::detach(graph, input, "scaled");
    let fact = graph.fact(input).cloned();
    let centered = format!("{}.centered", graph.value_name(input));
    let centered = graph.add_value(&centered, fact);
    let mut names = Vec::new();
    let steps = [
        ("Sub", "mean", &affine.mean, input, centered),
        ("Div", "std", &affine.std, centered, scaled),
    ];
    for (op, name, values, from, to) in steps {
        let tensor = Tensor::new(shape.clone(), values.clone())?;
        let constant = graph.add_initializer(&format!("preprocess.{name}"), tensor);
        names.push(graph.value_name(constant).to_owned());
        let mut node = Node::new(ONNX, op);
        node.name = format!("preprocess/{}", op.to_lowercase());
        node.inputs = vec![Some(from), Some(constant)];
        node.outputs = vec![Some(to)];
        graph.add_node(node);
    }
    let listed = graph.metadata.entry(CONSTANTS_KEY.to_owned()).or_default();
    for name in names {
        if !listed.is_empty() {
            listed.push('\n');
        }
        listed.push_str(&name);
    }
    Ok(())
}
