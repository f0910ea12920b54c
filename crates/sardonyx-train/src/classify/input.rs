//! Makes the input of any model that of the data at hand.

use sardonyx_data::Kind;
use sardonyx_ir::{Attr, Dim, Fact, Graph, Node, ONNX, ValueId};

use crate::error::{Result, TrainError};

fn refuse(reason: impl Into<String>) -> TrainError {
    TrainError::Model {
        reason: reason.into(),
    }
}

/// Makes `graph` take `[batch, C, H, W]` or `[batch, F]` as `kind` says, and any batch where it
/// can: a model of images with their channels last gets a transposition in front, one of flat rows
/// of pixels a flattening. The input keeps its name. Gives the input.
///
/// # Errors
/// When there is not one input to be fed, or samples of this kind cannot be made to fit it.
pub(crate) fn adapt_input(graph: &mut Graph, kind: Kind) -> Result<ValueId> {
    let fed = graph.inputs.iter().copied();
    let fed: Vec<ValueId> = fed
        .filter(|id| !graph.initializers.contains_key(id))
        .collect();
    let [input] = fed[..] else {
        return Err(refuse(format!(
            "it takes {} inputs, here it can be only one",
            fed.len()
        )));
    };
    let name = graph.value_name(input).to_owned();
    let shape = graph.fact(input).and_then(|fact| fact.shape.clone());
    let Some((batch, sample)) = shape.as_deref().and_then(<[Dim]>::split_first) else {
        return Err(refuse(format!(
            "its input `{name}` has no known shape with a batch"
        )));
    };
    let wanted = kind.sample_shape();
    let fits = |shape: &[usize]| {
        let mut dims = shape.iter().zip(sample);
        shape.len() == sample.len() && dims.all(|(&n, dim)| dim.value().is_none_or(|d| d == n))
    };
    if fits(&wanted) {
        let dims = wanted.iter().map(|&n| Dim::known(n));
        set_shape(graph, input, std::iter::once(batch.clone()).chain(dims));
    } else if let Kind::Image {
        channels,
        height,
        width,
    } = kind
        && fits(&[height, width, channels])
    {
        put_before(
            graph,
            input,
            kind,
            "Transpose",
            ("perm", Attr::Ints(vec![0, 2, 3, 1])),
        );
    } else if fits(&[kind.sample_len()]) {
        put_before(graph, input, kind, "Flatten", ("axis", Attr::Int(1)));
    } else {
        let shown: Vec<String> = sample.iter().map(ToString::to_string).collect();
        return Err(refuse(format!(
            "it takes samples of shape [{}], the data has {wanted:?}; hint: give data of the \
             model's shape (image files are resized on request), or choose another model",
            shown.join(", ")
        )));
    }
    sardonyx_ops::infer(graph)?;
    open_batch(graph, input);
    Ok(input)
}

fn set_shape(graph: &mut Graph, input: ValueId, shape: impl IntoIterator<Item = Dim>) {
    let dtype = graph.fact(input).map(|fact| fact.dtype);
    let dtype = dtype.expect("the caller has read the input's fact");
    graph.set_fact(input, Some(Fact::new(dtype, shape)));
}

/// What reads `input` reads the returned value from now on, whose fact is the input's.
pub(crate) fn detach(graph: &mut Graph, input: ValueId, suffix: &str) -> ValueId {
    let name = format!("{}.{suffix}", graph.value_name(input));
    let fact = graph.fact(input).cloned();
    let inner = graph.add_value(&name, fact);
    graph.replace_uses(input, inner);
    inner
}

/// The input takes samples of `kind`, and the operator makes of them what it took before.
fn put_before(graph: &mut Graph, input: ValueId, kind: Kind, op: &str, attribute: (&str, Attr)) {
    let inner = detach(graph, input, "layout");
    let fact = graph.fact(input).cloned();
    let batch = fact.and_then(|fact| fact.shape?.first().cloned());
    let sample = kind.sample_shape().into_iter().map(Dim::known);
    set_shape(graph, input, batch.into_iter().chain(sample));
    let mut node = Node::new(ONNX, op);
    node.name = format!("preprocess/{}", op.to_lowercase());
    node.inputs = vec![Some(input)];
    node.outputs = vec![Some(inner)];
    node.attributes.insert(attribute.0.to_owned(), attribute.1);
    graph.add_node(node);
}

/// A batch dimension that is a number, as exporters write the one of their example, becomes a
/// symbol if the graph can be typed so.
fn open_batch(graph: &mut Graph, input: ValueId) {
    let Some(shape) = graph.fact(input).and_then(|fact| fact.shape.clone()) else {
        return;
    };
    if shape[0].value().is_none() {
        return;
    }
    let mut open = graph.clone();
    let sample = shape[1..].iter().cloned();
    set_shape(
        &mut open,
        input,
        std::iter::once(Dim::symbol("N")).chain(sample),
    );
    let batch_of =
        |graph: &Graph, id: ValueId| Some(graph.fact(id)?.shape.as_ref()?.first()?.clone());
    let is_open = sardonyx_ops::infer(&mut open).is_ok()
        && open
            .outputs
            .iter()
            .all(|&id| batch_of(&open, id) == Some(Dim::symbol("N")));
    if is_open {
        *graph = open;
    }
}
