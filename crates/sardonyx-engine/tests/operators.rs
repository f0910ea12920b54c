//! Every example of every operator, and its gradients, through a plan on every instruction set,
//! held against the reference; and the list of operators that still run through the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sardonyx_engine::{
    CompileOptions, EngineError, Executable, ForwardOptions, Isa, Pool, prepare_backward,
    prepare_forward,
};
use sardonyx_ir::{Fact, Graph, Node, PREVIEW_TRAINING, SARDONYX, ValueId};
use sardonyx_ops::{Builder, Example, GradCheck, Operator, infer, interpret, operators};
use sardonyx_passes::{FuseFor, differentiate, trim_outputs};
use sardonyx_tensor::{DType, Philox, Tensor};

/// Operators some of whose examples have no kernel, with the number of these: in inference, with
/// all inputs fed (a star), in gradients (a dash). The list may only shrink. Examples of plan
/// operators over packed weights are here because their panels are not of the kernels' width.
const WITHOUT_KERNEL: &[(&str, usize)] = &[
    ("Abs", 1),
    ("ArgMax", 1),
    ("ArgMin", 1),
    ("AveragePool", 3),
    ("Bernoulli", 2),
    ("BitShift", 2),
    ("BitwiseNot", 1),
    ("Cast", 5),
    ("Clip", 2),
    ("ConstantOfShape", 1),
    ("Conv", 13),
    ("ConvTranspose", 11),
    ("CumSum", 12),
    ("DequantizeLinear", 11),
    ("Dropout", 14),
    ("Einsum", 19),
    ("EyeLike", 2),
    ("GRU", 11),
    ("GatherElements", 3),
    ("GatherND", 4),
    ("Gemm", 1),
    ("GlobalAveragePool", 3),
    ("GlobalLpPool", 8),
    ("GlobalMaxPool", 6),
    ("Hardmax", 7),
    ("LRN", 4),
    ("LSTM", 6),
    ("LpNormalization", 7),
    ("LpPool", 8),
    ("Max", 2),
    ("MaxPool", 11),
    ("MeanVarianceNormalization", 3),
    ("Min", 2),
    ("Neg", 1),
    ("NegativeLogLikelihoodLoss", 16),
    ("OneHot", 2),
    ("PRelu", 1),
    ("Pad", 1),
    ("Pow", 3),
    ("QuantizeLinear", 7),
    ("RNN", 5),
    ("RandomNormalLike", 2),
    ("RandomUniformLike", 2),
    ("Relu", 1),
    ("Resize", 3),
    ("ReverseSequence", 3),
    ("Scatter", 2),
    ("ScatterElements", 19),
    ("ScatterND", 13),
    ("Sign", 1),
    ("Tile", 1),
    ("TopK", 12),
    ("Trilu", 1),
    ("ai.sardonyx.AveragePoolGrad", 1),
    ("ai.sardonyx.BatchNormalizationGrad", 1),
    ("ai.sardonyx.ConvInputGrad", 3),
    ("ai.sardonyx.ConvNhwc", 6),
    ("ai.sardonyx.ConvNhwcInputGrad", 4),
    ("ai.sardonyx.ConvNhwcWeightGrad", 2),
    ("ai.sardonyx.ConvWeightGrad", 14),
    ("ai.sardonyx.Dense", 7),
    ("ai.sardonyx.DenseWeightGrad", 6),
    ("ai.sardonyx.GRUGrad", 10),
    ("ai.sardonyx.GruSequence", 5),
    ("ai.sardonyx.GruSequenceGrad", 4),
    ("ai.sardonyx.LRNGrad", 5),
    ("ai.sardonyx.LSTMGrad", 6),
    ("ai.sardonyx.LpPoolGrad", 9),
    ("ai.sardonyx.LstmSequence", 5),
    ("ai.sardonyx.LstmSequenceGrad", 4),
    ("ai.sardonyx.MaxPoolGrad", 9),
    ("ai.sardonyx.NegativeLogLikelihoodLossGrad", 12),
    ("ai.sardonyx.PackPanels", 3),
    ("ai.sardonyx.PowGrad", 1),
    ("ai.sardonyx.RNNGrad", 5),
    ("ai.sardonyx.ResizeGrad", 2),
    ("ai.sardonyx.RnnSequence", 5),
    ("ai.sardonyx.RnnSequenceGrad", 4),
    ("ai.sardonyx.TransposePanels", 14),
    ("ai.sardonyx.UnpackPanels", 1),
];

/// A graph of one node with its inputs: floats are fed; others are too, or are constants, as axes
/// and shapes are in models.
struct Single {
    graph: Graph,
    node: Node,
    feeds: BTreeMap<ValueId, Tensor>,
}

fn single(example: &Example, feeds_all: bool) -> Single {
    let mut graph = Graph::new("example", example.opset);
    graph.opsets.insert(SARDONYX.to_owned(), 1);
    graph.opsets.insert(PREVIEW_TRAINING.to_owned(), 1);
    let mut node = example.node.clone();
    let mut feeds = BTreeMap::new();
    for (index, input) in example.inputs.iter().enumerate() {
        let id = input.as_ref().map(|tensor| {
            if tensor.dtype() != DType::F32 && !feeds_all {
                return graph.add_initializer(&format!("c{index}"), tensor.clone());
            }
            let id = graph.add_input(&format!("x{index}"), Fact::of(tensor));
            feeds.insert(id, tensor.clone());
            id
        });
        node.inputs.push(id);
    }
    for index in 0..example.outputs {
        let output = graph.add_value(&format!("y{index}"), None);
        node.outputs.push(Some(output));
        graph.outputs.push(output);
    }
    graph.add_node(node.clone());
    infer(&mut graph).expect("examples are legal");
    Single { graph, node, feeds }
}

/// The inputs whose gradients an example checks; `None` when it has none.
fn differentiable(example: &Example, single: &Single) -> Option<Vec<ValueId>> {
    let is_float = |id: &ValueId| {
        let fact = single.graph.fact(*id);
        fact.is_some_and(|fact| fact.dtype == DType::F32)
    };
    let inputs: Vec<usize> = match &example.grad {
        Some(GradCheck::Skip(_)) => return None,
        Some(GradCheck::Inputs(inputs)) => inputs.clone(),
        None => (0..single.node.inputs.len()).collect(),
    };
    let inputs = inputs
        .into_iter()
        .filter_map(|index| single.node.input(index));
    let inputs: Vec<ValueId> = inputs.filter(is_float).collect();
    (!inputs.is_empty() && single.graph.outputs.iter().any(is_float)).then_some(inputs)
}

/// Makes a random combination of all float outputs the only output.
fn attach_loss(graph: &mut Graph) {
    let mut builder = Builder::new(graph, "loss");
    let mut parts = Vec::new();
    for (index, id) in graph.outputs.clone().into_iter().enumerate() {
        let Some(shape) = graph.fact(id).and_then(Fact::fixed_shape) else {
            return;
        };
        if graph.fact(id).is_some_and(|fact| fact.dtype == DType::F32) {
            let mut rng = Philox::new(98, index as u64);
            let weights = Tensor::from_fn(shape, |_| rng.uniform() + 0.5).expect("small");
            let weights = builder.tensor(weights);
            let product = builder
                .op("Mul", &[id, weights], &[])
                .expect("of one shape");
            let sum = builder.op("ReduceSum", &[product], &[("keepdims", 0i64.into())]);
            parts.push(sum.expect("a sum of floats"));
        }
    }
    let loss = builder.op("Sum", &parts, &[]).expect("scalars");
    assert!(builder.finish().apply(graph), "a patch that adds applies");
    graph.outputs = vec![loss];
    // What is emitted is of the newest form.
    infer(graph).expect("a sound graph");
}

/// The forward rewrites of plans, on the node alone.
fn prepared(single: &Single, isa: Isa, purpose: FuseFor) -> Single {
    let mut graph = single.graph.clone();
    let options = ForwardOptions { isa, purpose };
    let (symbols, variable) = (BTreeMap::new(), BTreeSet::new());
    prepare_forward(&mut graph, &symbols, &variable, options).expect("a sound graph");
    Single {
        graph,
        node: single.node.clone(),
        feeds: single.feeds.clone(),
    }
}

/// The gradients of the loss by `inputs` as the outputs, of the plain graph and of the rewritten
/// one; `None` where a rule declines.
fn backward(single: &Single, inputs: &[ValueId], isa: Isa) -> Option<[Single; 2]> {
    let mut plain = Single {
        graph: single.graph.clone(),
        node: single.node.clone(),
        feeds: single.feeds.clone(),
    };
    attach_loss(&mut plain.graph);
    let rewritten = prepared(&plain, isa, FuseFor::Training);
    let mut both = [plain, rewritten];
    for single in &mut both {
        let loss = single.graph.outputs[0];
        let grads = differentiate(&mut single.graph, loss, inputs).ok()?;
        single.graph.outputs = grads.into_iter().flatten().collect();
        single
            .graph
            .opsets
            .insert(String::new(), sardonyx_ops::MAX_OPSET);
        infer(&mut single.graph).ok()?;
        prepare_backward(&mut single.graph).expect("a sound graph");
        trim_outputs(&mut single.graph);
    }
    Some(both)
}

/// Where two tensors differ, if they do.
fn difference(found: &Tensor, expected: &Tensor) -> Option<String> {
    let kinds = [found, expected].map(|tensor| (tensor.dtype(), tensor.shape().to_vec()));
    if kinds[0] != kinds[1] {
        return Some(format!("{:?} against {:?}", kinds[0], kinds[1]));
    }
    if !expected.dtype().is_float() {
        return (found != expected).then(|| format!("{found:?} against {expected:?}"));
    }
    let values = [found, expected].map(|tensor| tensor.to_f64().expect("floats"));
    let finite = values[1].iter().filter(|x| x.is_finite());
    let scale = finite.fold(1e-2f64, |m, x| m.max(x.abs()));
    let differs = |(_, (a, b)): &(usize, (&f64, &f64))| {
        let same = a == b || (a.is_nan() && b.is_nan()) || (*a - *b).abs() <= 1e-5 * scale;
        !same
    };
    let first = values[0].iter().zip(&values[1]).enumerate().find(differs);
    first.map(|(index, (a, b))| format!("element {index}: {a} against {b}"))
}

/// Runs a graph as a plan and holds it against the outputs that are `expected`. Returns which
/// operators have no kernel; nothing where the shapes of the graph depend on data.
fn check(
    Single { graph, feeds, .. }: &Single,
    expected: &[Tensor],
    options: &CompileOptions,
) -> Result<BTreeSet<String>, String> {
    let mut executable = match Executable::compile(graph, &[], options) {
        Ok(executable) => executable,
        Err(EngineError::Dynamic { .. }) => return Ok(BTreeSet::new()),
        Err(error) => return Err(error.to_string()),
    };
    for run in 0..2 {
        for (index, id) in graph.inputs.iter().enumerate() {
            let fed = executable.set_input(index, &feeds[id]);
            fed.map_err(|error| error.to_string())?;
        }
        executable.run();
        for (index, expected) in expected.iter().enumerate() {
            if let Some(difference) = difference(&executable.output(index), expected) {
                let isa = options.isa;
                return Err(format!("{isa:?}, output {index}, run {run}: {difference}"));
            }
        }
    }
    Ok(executable.host_operators().into_keys().collect())
}

/// The graphs to hold against each other: a name, the one that is interpreted, the one planned.
fn graphs(example: &Example, isa: Isa) -> Vec<(String, Single, Single)> {
    let name = &example.name;
    let is_float = |input: &Tensor| input.dtype() == DType::F32;
    let has_others = !example.inputs.iter().flatten().all(is_float);
    let mut graphs = Vec::new();
    let made = |feeds_all| single(example, feeds_all);
    graphs.push((format!("{name} as it is"), made(false), made(false)));
    let rewritten = prepared(&made(false), isa, FuseFor::Inference);
    graphs.push((name.clone(), made(false), rewritten));
    if has_others {
        let rewritten = prepared(&made(true), isa, FuseFor::Inference);
        graphs.push((format!("{name}*"), made(true), rewritten));
    }
    let plain = made(false);
    if let Some(inputs) = differentiable(example, &plain)
        && let Some([plain, rewritten]) = backward(&plain, &inputs, isa)
    {
        graphs.push((format!("{name}'"), plain, rewritten));
    }
    graphs
}

#[test]
fn plans_of_every_operator_compute_what_the_reference_does() {
    let pool = Arc::new(Pool::new(2).expect("two threads start"));
    let mut missing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for isa in Isa::available() {
        let pool = pool.clone();
        let options = CompileOptions::new(isa, pool);
        for example in operators().flat_map(Operator::examples) {
            for (name, plain, planned) in graphs(&example, isa) {
                let expected = interpret(&plain.graph, &plain.feeds);
                let expected = expected.unwrap_or_else(|error| panic!("{name}: {error}"));
                match check(&planned, &expected, &options) {
                    Err(difference) => wrong.push(format!("{name}: {difference}")),
                    // Before they are rewritten many operators are not meant to have a kernel.
                    Ok(_) if name.ends_with("as it is") => {}
                    Ok(operators) => operators.into_iter().for_each(|operator| {
                        missing.entry(operator).or_default().insert(name.clone());
                    }),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let found: Vec<(&str, usize)> = missing
        .iter()
        .map(|(op, of)| (op.as_str(), of.len()))
        .collect();
    assert_eq!(
        found, WITHOUT_KERNEL,
        "operators without a kernel: {missing:#?}"
    );
}

#[test]
fn outputs_that_no_one_reads_may_be_left_out() {
    let pool = Arc::new(Pool::new(2).expect("two threads start"));
    let isa = Isa::detect();
    let options = CompileOptions::new(isa, pool);
    let mut wrong = Vec::new();
    for example in operators().flat_map(Operator::examples) {
        for kept in (0..example.outputs).filter(|_| example.outputs > 1) {
            let mut graphs = [0, 1].map(|_| single(&example, false));
            for single in &mut graphs {
                single.graph.outputs = vec![single.graph.outputs[kept]];
            }
            let [plain, mut planned] = graphs;
            trim_outputs(&mut planned.graph);
            let planned = prepared(&planned, isa, FuseFor::Inference);
            let expected = interpret(&plain.graph, &plain.feeds);
            let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", example.name));
            if let Err(difference) = check(&planned, &expected, &options) {
                wrong.push(format!("output {kept} of {}: {difference}", example.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
