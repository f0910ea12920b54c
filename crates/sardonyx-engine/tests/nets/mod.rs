//! Small networks, each with what a family of models needs of a plan.

use sardonyx_ir::{Attr, Dim, Fact, Graph, Node, ONNX, ValueId};
use sardonyx_tensor::{DType, Philox, Tensor};

/// Normal numbers, scaled down by the number of elements per first index.
pub(crate) fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = Philox::new(seed, 7);
    let fan_in: usize = shape.iter().skip(1).product::<usize>().max(1);
    let scale = (2.0 / fan_in as f64).sqrt();
    Tensor::from_fn(shape, |_| (rng.normal() * scale) as f32).expect("a small shape")
}

/// Adds standard nodes one by one.
pub(crate) struct Net {
    pub(crate) graph: Graph,
}

impl Net {
    pub(crate) fn new(input: &[usize]) -> (Net, ValueId) {
        let mut graph = Graph::new("net", 20);
        let mut dims = vec![Dim::symbol("N")];
        dims.extend(input.iter().copied().map(Dim::known));
        let x = graph.add_input("x", Fact::new(DType::F32, dims));
        (Net { graph }, x)
    }

    pub(crate) fn node(
        &mut self,
        op: &str,
        inputs: &[ValueId],
        attributes: &[(&str, Attr)],
    ) -> ValueId {
        let mut node = Node::new(ONNX, op);
        node.inputs = inputs.iter().copied().map(Some).collect();
        node.attributes = attributes
            .iter()
            .map(|(n, a)| ((*n).to_owned(), a.clone()))
            .collect();
        let output = self.graph.add_value(&op.to_lowercase(), None);
        node.outputs.push(Some(output));
        self.graph.add_node(node);
        output
    }

    /// Lets the last node give, instead of its only output, the one in this place.
    pub(crate) fn later_output(&mut self, place: usize) {
        let (id, _) = self.graph.nodes().last().expect("it was just added");
        let outputs = &mut self.graph.node_mut(id).outputs;
        let blanks = std::iter::repeat_n(None, place);
        outputs.splice(0..0, blanks);
    }

    pub(crate) fn weight(&mut self, shape: &[usize]) -> ValueId {
        let seed = self.graph.value_count() as u64;
        self.graph
            .add_initializer(&format!("w{seed}"), random(shape, seed))
    }
}

/// The seed network on small images: all that a first plan has to do.
pub(crate) fn convolutional() -> Graph {
    let (mut net, x) = Net::new(&[1, 12, 12]);
    let (w, b) = (net.weight(&[5, 1, 3, 3]), net.weight(&[5]));
    let y = net.node("Conv", &[x, w, b], &[]);
    let y = net.node("Relu", &[y], &[]);
    let pool = [
        ("kernel_shape", Attr::Ints(vec![2, 2])),
        ("strides", Attr::Ints(vec![2, 2])),
    ];
    let y = net.node("MaxPool", &[y], &pool);
    let (w, b) = (net.weight(&[6, 5, 3, 3]), net.weight(&[6]));
    let y = net.node(
        "Conv",
        &[y, w, b],
        &[("pads", Attr::Ints(vec![1, 1, 1, 1]))],
    );
    let y = net.node("Relu", &[y], &[]);
    let y = net.node("MaxPool", &[y], &pool);
    let y = net.node("Flatten", &[y], &[]);
    let (w, b) = (net.weight(&[7, 24]), net.weight(&[7]));
    let y = net.node("Gemm", &[y, w, b], &[("transB", Attr::Int(1))]);
    let y = net.node("Relu", &[y], &[]);
    let (w, b) = (net.weight(&[7, 4]), net.weight(&[4]));
    let y = net.node("MatMul", &[y, w], &[]);
    let y = net.node("Add", &[y, b], &[]);
    net.graph.outputs.push(y);
    net.graph
}

/// Every network with the shape of its samples and whether it is in training mode.
pub(crate) fn all() -> Vec<(&'static str, Graph, Vec<usize>, bool)> {
    vec![
        ("convolutional", convolutional(), vec![1, 12, 12], false),
        ("residual", residual(), vec![3, 9, 8], true),
        ("mobile", mobile(), vec![3, 8, 7], false),
        ("attention", attention(), vec![6, 8], false),
        ("recurrent", recurrent(), vec![6, 5], false),
    ]
}

impl Net {
    fn conv(&mut self, x: ValueId, [out, inner, size]: [usize; 3], stride: i64) -> ValueId {
        let w = self.weight(&[out, inner, size, size]);
        let pad = (size / 2) as i64;
        let attributes = [
            ("pads", Attr::Ints(vec![pad; 4])),
            ("strides", Attr::Ints(vec![stride; 2])),
        ];
        self.node("Conv", &[x, w], &attributes)
    }

    /// Batch normalization in training, whose running statistics are outputs too.
    fn batch_norm(&mut self, x: ValueId, channels: usize) -> ValueId {
        let mut positive = |low: f32| {
            let values = random(&[channels], self.graph.value_count() as u64);
            let values = values.values::<f32>().expect("floats").to_vec();
            let values = values.into_iter().map(|x| low + x.abs()).collect();
            let tensor = Tensor::new([channels], values).expect("a vector");
            let name = format!("s{}", self.graph.value_count());
            self.graph.add_initializer(&name, tensor)
        };
        let inputs = [positive(0.5), positive(-0.5), positive(0.0), positive(1.0)];
        let inputs: Vec<ValueId> = std::iter::once(x).chain(inputs).collect();
        let y = self.node(
            "BatchNormalization",
            &inputs,
            &[("training_mode", Attr::Int(1))],
        );
        let next = [(); 2].map(|()| self.graph.add_value("next", None));
        let (id, _) = self.graph.nodes().last().expect("it was just added");
        self.graph.node_mut(id).outputs.extend(next.map(Some));
        self.graph.outputs.extend(next);
        y
    }
}

/// Residual blocks with batch normalization, padded max-pooling, a global average.
fn residual() -> Graph {
    let (mut net, x) = Net::new(&[3, 9, 8]);
    let y = net.conv(x, [6, 3, 3], 1);
    let y = net.batch_norm(y, 6);
    let y = net.node("Relu", &[y], &[]);
    let pool = [
        ("kernel_shape", Attr::Ints(vec![3, 3])),
        ("strides", Attr::Ints(vec![2, 2])),
        ("pads", Attr::Ints(vec![1; 4])),
    ];
    let short = net.node("MaxPool", &[y], &pool);
    let y = net.conv(short, [6, 6, 3], 1);
    let y = net.batch_norm(y, 6);
    let y = net.node(
        "Clip",
        &[y],
        &[("min", Attr::Float(0.0)), ("max", Attr::Float(1.0))],
    );
    let y = net.conv(y, [6, 6, 3], 1);
    let y = net.batch_norm(y, 6);
    let y = net.node("Add", &[y, short], &[]);
    let short = net.node("Relu", &[y], &[]);
    let y = net.conv(short, [8, 6, 3], 2);
    let y = net.batch_norm(y, 8);
    let short = net.conv(short, [8, 6, 1], 2);
    let short = net.batch_norm(short, 8);
    let y = net.node("Add", &[y, short], &[]);
    let y = net.node("Relu", &[y], &[]);
    let y = net.node("GlobalAveragePool", &[y], &[]);
    let y = net.node("Flatten", &[y], &[]);
    // A bias would have no gradient.
    let w = net.weight(&[4, 8]);
    let y = net.node("Gemm", &[y, w], &[("transB", Attr::Int(1))]);
    let y = net.batch_norm(y, 4);
    net.graph.outputs.insert(0, y);
    net.graph
}

/// Depthwise convolutions, clipped activations, squeeze and excitation, average pooling.
fn mobile() -> Graph {
    let (mut net, x) = Net::new(&[3, 8, 7]);
    let y = net.conv(x, [8, 3, 3], 2);
    let b = net.weight(&[8, 1, 1]);
    let y = net.node("Add", &[y, b], &[]);
    let y = net.node("HardSwish", &[y], &[]);
    let (w, b) = (net.weight(&[8, 1, 3, 3]), net.weight(&[8]));
    let depthwise = [("pads", Attr::Ints(vec![1; 4])), ("group", Attr::Int(8))];
    let y = net.node("Conv", &[y, w, b], &depthwise);
    let six = net.graph.add_initializer("const6", Tensor::scalar(6f32));
    let zero = net.graph.add_initializer("const0", Tensor::scalar(0f32));
    let y = net.node("Clip", &[y, zero, six], &[]);
    let squeezed = net.node("GlobalAveragePool", &[y], &[]);
    let gate = net.conv(squeezed, [4, 8, 1], 1);
    let gate = net.node("Relu", &[gate], &[]);
    let gate = net.conv(gate, [8, 4, 1], 1);
    let gate = net.node("Sigmoid", &[gate], &[]);
    let y = net.node("Mul", &[y, gate], &[]);
    let y = net.conv(y, [12, 8, 1], 1);
    let pool = [
        ("kernel_shape", Attr::Ints(vec![2, 2])),
        ("strides", Attr::Ints(vec![2, 2])),
    ];
    let y = net.node("AveragePool", &[y], &pool);
    let y = net.node("Flatten", &[y], &[]);
    let (w, b) = (net.weight(&[48, 4]), net.weight(&[4]));
    let y = net.node("MatMul", &[y, w], &[]);
    let y = net.node("Add", &[y, b], &[]);
    net.graph.outputs.push(y);
    net.graph
}

/// A block of a transformer over six tokens of eight numbers, with two heads.
fn attention() -> Graph {
    let (mut net, x) = Net::new(&[6, 8]);
    let norm = |net: &mut Net, x| {
        let (scale, bias) = (net.weight(&[8]), net.weight(&[8]));
        net.node("LayerNormalization", &[x, scale, bias], &[])
    };
    let shape = |net: &mut Net, dims: &[i64]| {
        let name = format!("dims{}", net.graph.value_count());
        net.graph
            .add_initializer(&name, Tensor::vector(dims.to_vec()))
    };
    let y = norm(&mut net, x);
    let heads = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]].map(|axes: [i64; 4]| {
        let (w, b) = (net.weight(&[8, 8]), net.weight(&[8]));
        let y = net.node("MatMul", &[y, w], &[]);
        let y = net.node("Add", &[y, b], &[]);
        let split = shape(&mut net, &[0, 6, 2, 4]);
        let y = net.node("Reshape", &[y, split], &[]);
        net.node("Transpose", &[y], &[("perm", Attr::Ints(axes.to_vec()))])
    });
    let scores = net.node("MatMul", &[heads[0], heads[1]], &[]);
    let scale = net.graph.add_initializer("half", Tensor::scalar(0.5f32));
    let scores = net.node("Mul", &[scores, scale], &[]);
    let scores = net.node("Softmax", &[scores], &[("axis", Attr::Int(-1))]);
    let y = net.node("MatMul", &[scores, heads[2]], &[]);
    let y = net.node("Transpose", &[y], &[("perm", Attr::Ints(vec![0, 2, 1, 3]))]);
    let joined = shape(&mut net, &[0, 6, 8]);
    let y = net.node("Reshape", &[y, joined], &[]);
    let w = net.weight(&[8, 8]);
    let y = net.node("MatMul", &[y, w], &[]);
    let x = net.node("Add", &[y, x], &[]);
    let y = norm(&mut net, x);
    let (w, b) = (net.weight(&[8, 16]), net.weight(&[16]));
    let y = net.node("MatMul", &[y, w], &[]);
    let y = net.node("Add", &[y, b], &[]);
    let y = net.node("Gelu", &[y], &[]);
    let (w, b) = (net.weight(&[16, 8]), net.weight(&[8]));
    let y = net.node("MatMul", &[y, w], &[]);
    let y = net.node("Add", &[y, b], &[]);
    let y = net.node("Add", &[y, x], &[]);
    let axes = net
        .graph
        .add_initializer("axes", Tensor::vector(vec![1i64]));
    let y = net.node("ReduceMean", &[y, axes], &[("keepdims", Attr::Int(0))]);
    let w = net.weight(&[8, 4]);
    let y = net.node("MatMul", &[y, w], &[]);
    net.graph.outputs.push(y);
    net.graph
}

/// All states of one recurrent layer, then the last state of another, over sequences of a batch.
fn recurrent() -> Graph {
    let (mut net, x) = Net::new(&[6, 5]);
    let axes = |net: &mut Net, axis: i64| {
        let name = format!("axes{}", net.graph.value_count());
        net.graph.add_initializer(&name, Tensor::vector(vec![axis]))
    };
    let y = net.node("Transpose", &[x], &[("perm", Attr::Ints(vec![1, 0, 2]))]);
    let inputs = [
        y,
        net.weight(&[1, 28, 5]),
        net.weight(&[1, 28, 7]),
        net.weight(&[1, 56]),
    ];
    let y = net.node("LSTM", &inputs, &[("hidden_size", Attr::Int(7))]);
    let axis = axes(&mut net, 1);
    let y = net.node("Squeeze", &[y, axis], &[]);
    let inputs = [
        y,
        net.weight(&[1, 24, 7]),
        net.weight(&[1, 24, 8]),
        net.weight(&[1, 48]),
    ];
    let attributes = [
        ("hidden_size", Attr::Int(8)),
        ("linear_before_reset", Attr::Int(1)),
    ];
    let y = net.node("GRU", &inputs, &attributes);
    net.later_output(1);
    let axis = axes(&mut net, 0);
    let y = net.node("Squeeze", &[y, axis], &[]);
    let w = net.weight(&[8, 4]);
    let y = net.node("MatMul", &[y, w], &[]);
    net.graph.outputs.push(y);
    net.graph
}
