//! Recurrent layers: `GRU`, `LSTM` and `RNN` become, for each direction, one dense layer that
//! multiplies the inputs of all steps by their weights at once, and one plan operator that goes
//! through the steps with packed recurrent weights.

use sardonyx_ir::{Attr, Fact, Graph, Node, NodeId, Patch, SARDONYX, ValueId};
use sardonyx_ops::{Builder, Result};
use sardonyx_tensor::{DType, Tensor};

/// Patches of the recurrent layers that the plan operators express: all sequences as long as the
/// input, no peepholes, and of a `GRU` the form whose reset gate works behind the product.
///
/// # Errors
/// When a node's attributes are malformed.
pub fn to_recurrent(graph: &Graph, panel_width: usize) -> Result<Vec<Patch>> {
    let consumers = graph.consumers();
    let mut patches = Vec::new();
    for (id, node) in graph.nodes() {
        if let Some(layer) = Layer::read(graph, node, panel_width)? {
            patches.push(layer.patch(graph, &consumers, id)?);
        }
    }
    Ok(patches)
}

/// Inputs of the standard operators.
const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const B: usize = 3;
const SEQUENCE_LENS: usize = 4;
const INITIAL: [usize; 2] = [5, 6];
const PEEPHOLES: usize = 7;

/// A recurrent node.
struct Layer<'g> {
    node: &'g Node,
    /// Its plan operator.
    op: &'static str,
    gates: usize,
    /// State and, of an LSTM, cell state.
    states: usize,
    /// Whether each direction goes backwards.
    directions: &'static [bool],
    batch_first: bool,
    time: usize,
    batch: usize,
    features: usize,
    hidden: usize,
    panel_width: usize,
}

/// Inputs of one direction of a layer.
struct Part {
    weight: ValueId,
    recurrence: ValueId,
    bias: Option<ValueId>,
    initial: [Option<ValueId>; 2],
}

impl<'g> Layer<'g> {
    fn read(graph: &Graph, node: &'g Node, panel_width: usize) -> Result<Option<Layer<'g>>> {
        let (op, gates, states) = match node.op_type.as_str() {
            "GRU" if node.flag("linear_before_reset", false)? => ("GruSequence", 3, 1),
            "LSTM" => ("LstmSequence", 4, 2),
            "RNN" => ("RnnSequence", 1, 1),
            _ => return Ok(None),
        };
        let directions: &[bool] = match node.text("direction", "forward")? {
            "forward" => &[false],
            "reverse" => &[true],
            _ => &[false, true],
        };
        let shape = |index: usize| graph.fact(node.input(index)?)?.fixed_shape();
        let is_f32 = node.inputs.iter().enumerate().all(|(index, input)| {
            let fact = input.and_then(|id| graph.fact(id));
            index == SEQUENCE_LENS || fact.is_none_or(|fact| fact.dtype == DType::F32)
        });
        let (Some(x), Some(r)) = (shape(X), shape(R)) else {
            return Ok(None);
        };
        let (&[first, second, features], &[_, _, hidden]) = (&x[..], &r[..]) else {
            return Ok(None);
        };
        let batch_first = node.flag("layout", false)?;
        let (time, batch) = match batch_first {
            true => (second, first),
            false => (first, second),
        };
        let layer = Layer {
            node,
            op,
            gates,
            states,
            directions,
            batch_first,
            time,
            batch,
            features,
            hidden,
            panel_width,
        };
        let is_legal = node.domain == sardonyx_ir::ONNX && is_f32 && layer.fits(graph);
        Ok(is_legal.then_some(layer))
    }

    /// Whether the plan operators can do what the node does.
    fn fits(&self, graph: &Graph) -> bool {
        let constant = |index: usize| {
            let value = self.node.input(index)?;
            Some(graph.constant(value).map(AsRef::as_ref))
        };
        let all = |tensor: &Tensor, number: f64| {
            let values = tensor.to_f64().ok();
            values.is_some_and(|values| values.into_iter().all(|value| value == number))
        };
        let is = |index: usize, number: f64| match constant(index) {
            None => true,
            Some(tensor) => tensor.is_some_and(|tensor| all(tensor, number)),
        };
        let sizes = [self.time, self.batch, self.features, self.hidden];
        let (d, rows) = (self.directions.len(), self.gates * self.hidden);
        let shapes: [(usize, &[usize]); 3] = [
            (W, &[d, rows, self.features]),
            (R, &[d, rows, self.hidden]),
            (B, &[d, 2 * rows]),
        ];
        let has_shape = |&(index, shape): &(usize, &[usize])| match self.node.input(index) {
            None => index == B,
            Some(id) => graph.fact(id).and_then(Fact::fixed_shape).as_deref() == Some(shape),
        };
        !sizes.contains(&0)
            && shapes.iter().all(has_shape)
            && is(SEQUENCE_LENS, self.time as f64)
            && is(PEEPHOLES, 0.0)
    }

    fn patch(&self, graph: &Graph, consumers: &[Vec<NodeId>], id: NodeId) -> Result<Patch> {
        let mut builder = Builder::new(graph, "to recurrent");
        let name = match self.node.name.as_str() {
            "" => &self.node.op_type,
            name => name,
        };
        let mut made: Vec<Vec<ValueId>> = Vec::new();
        for (part, &reverse) in self.parts(&mut builder)?.iter().zip(self.directions) {
            builder.set_prefix(name);
            made.push(self.direction(&mut builder, part, reverse)?);
        }
        let mut replaced = Vec::new();
        let mut removed = vec![id];
        for (index, output) in self.node.outputs.iter().enumerate() {
            let Some(output) = *output else { continue };
            // The last states come first.
            let from = if index == 0 { self.states } else { index - 1 };
            let parts: Vec<ValueId> = made.iter().map(|made| made[from]).collect();
            let (single, axis) = match (index, self.batch_first) {
                (0, true) => (parts[0], 2),
                (0, false) => (parts[0], 1),
                (_, true) => (parts[0], 1),
                (_, false) => (parts[0], 0),
            };
            let squeeze = self.squeeze(graph, consumers, output, axis);
            if let Some((squeeze, squeezed)) = squeeze {
                removed.push(squeeze);
                replaced.push((squeezed, single));
            } else {
                replaced.push((output, joined(&mut builder, &parts, axis)?));
            }
        }
        let mut patch = builder.finish();
        removed.into_iter().for_each(|id| patch.remove_node(id));
        for (old, new) in replaced {
            patch.replace(old, new);
        }
        Ok(patch)
    }

    /// The only reader of an output of one direction, where it takes out the axis of directions.
    fn squeeze(
        &self,
        graph: &Graph,
        consumers: &[Vec<NodeId>],
        output: ValueId,
        axis: i64,
    ) -> Option<(NodeId, ValueId)> {
        let &[reader] = &consumers[output.index()][..] else {
            return None;
        };
        let node = graph.node(reader);
        let axes = match node.input(1) {
            Some(axes) => graph.constant(axes)?.to_i64().ok()?,
            None => node.ints("axes").ok()??.to_vec(),
        };
        let rank = graph.fact(output)?.rank()? as i64;
        let takes_axis = node.is("Squeeze") && (axes == [axis] || axes == [axis - rank]);
        let is_single = self.directions.len() == 1 && !graph.outputs.contains(&output);
        let squeezed = node.output(0).filter(|_| takes_axis && is_single)?;
        Some((reader, squeezed))
    }

    /// The inputs of each direction.
    fn parts(&self, builder: &mut Builder<'_>) -> Result<Vec<Part>> {
        let rows = self.gates * self.hidden;
        let sizes = [&[rows, self.features][..], &[rows, self.hidden], &[2, rows]];
        let mut inputs = Vec::new();
        for (slot, shape) in [W, R, B].into_iter().zip(sizes) {
            inputs.push(self.split(builder, (slot, 0), shape)?);
        }
        let axis = i64::from(self.batch_first);
        for slot in &INITIAL[..self.states] {
            let constant = self.node.input(*slot).and_then(|id| builder.constant(id));
            let is_zero = constant.is_some_and(|tensor| {
                let values = tensor.values::<f32>();
                values.is_ok_and(|values| values.iter().all(|&value| value == 0.0))
            });
            inputs.push(match is_zero {
                true => vec![None; self.directions.len()],
                false => self.split(builder, (*slot, axis), &[self.batch, self.hidden])?,
            });
        }
        inputs.resize(5, vec![None; self.directions.len()]);
        let part = |d: usize| Part {
            weight: inputs[0][d].expect("weights are there"),
            recurrence: inputs[1][d].expect("weights are there"),
            bias: inputs[2][d],
            initial: [inputs[3][d], inputs[4][d]],
        };
        Ok((0..self.directions.len()).map(part).collect())
    }

    /// An input for each direction, which lie along `axis`, in the shape that one has.
    fn split(
        &self,
        builder: &mut Builder<'_>,
        (slot, axis): (usize, i64),
        shape: &[usize],
    ) -> Result<Vec<Option<ValueId>>> {
        let count = self.directions.len();
        let Some(input) = self.node.input(slot) else {
            return Ok(vec![None; count]);
        };
        builder.set_prefix(builder.graph().value_name(input));
        let parts = match count {
            1 => vec![input],
            _ => halves(builder, input, axis)?,
        };
        let parts = parts.into_iter().map(|part| reshape(builder, part, shape));
        parts.map(|part| part.map(Some)).collect()
    }

    /// One direction: the plan operator's outputs.
    fn direction(
        &self,
        builder: &mut Builder<'_>,
        part: &Part,
        reverse: bool,
    ) -> Result<Vec<ValueId>> {
        let x = self.node.input(X).expect("inference has seen it");
        let rows = self.gates * self.hidden;
        let pack = [
            ("form", Attr::from("matrix_transposed")),
            ("width", Attr::Int(self.panel_width as i64)),
        ];
        let weight = builder.own("PackPanels", &[part.weight], &pack)?;
        let recurrence = builder.own("PackPanels", &[part.recurrence], &pack)?;
        let mut biases = [None; 2];
        if let Some(bias) = part.bias {
            biases = self.biases(builder, bias)?;
        }
        let features = [("features", Attr::Int(rows as i64))];
        let mut inputs = vec![Some(x), Some(weight)];
        inputs.extend(biases[0].map(Some));
        let products = builder.node((SARDONYX, "Dense"), &inputs, &features, 1)?[0];
        let mut inputs = vec![Some(products), Some(recurrence), biases[1]];
        inputs.extend(&part.initial[..self.states]);
        let order = [
            ("layout", Attr::Int(i64::from(self.batch_first))),
            ("reverse", Attr::Int(i64::from(reverse))),
        ];
        // All that the gradient reads; what is not read is left out later.
        let n_outputs = 2 + 2 * self.states;
        builder.node((SARDONYX, self.op), &inputs, &order, n_outputs)
    }

    /// The biases of the inputs' products and of the recurrent ones, from both as rows: only a GRU
    /// does not just add these.
    fn biases(&self, builder: &mut Builder<'_>, bias: ValueId) -> Result<[Option<ValueId>; 2]> {
        if self.op != "GruSequence" {
            let axes = builder.ints(&[0]);
            let sum = builder.op("ReduceSum", &[bias, axes], &[("keepdims", Attr::Int(0))])?;
            return Ok([Some(sum), None]);
        }
        let shape = [self.gates * self.hidden];
        let rows = halves(builder, bias, 0)?;
        let [input, recurrent] = [rows[0], rows[1]].map(|row| reshape(builder, row, &shape));
        Ok([Some(input?), Some(recurrent?)])
    }
}

/// The two elements of an axis.
fn halves(builder: &mut Builder<'_>, value: ValueId, axis: i64) -> Result<Vec<ValueId>> {
    let attributes = [("axis", Attr::Int(axis)), ("num_outputs", Attr::Int(2))];
    let op = (sardonyx_ir::ONNX, "Split");
    builder.node(op, &[Some(value)], &attributes, 2)
}

fn reshape(builder: &mut Builder<'_>, value: ValueId, shape: &[usize]) -> Result<ValueId> {
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let shape = builder.ints(&shape);
    builder.op("Reshape", &[value, shape], &[("allowzero", Attr::Int(1))])
}

/// The directions' parts along a new axis.
fn joined(builder: &mut Builder<'_>, parts: &[ValueId], axis: i64) -> Result<ValueId> {
    let axes = builder.ints(&[axis]);
    let mut rows = Vec::with_capacity(parts.len());
    for &part in parts {
        rows.push(builder.op("Unsqueeze", &[part, axes], &[])?);
    }
    match rows[..] {
        [row] => Ok(row),
        _ => builder.op("Concat", &rows, &[("axis", Attr::Int(axis))]),
    }
}
