//! Plans against the reference interpreter: the same graph, the same feeds, the same numbers.

mod nets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nets::{Net, random};
use sardonyx_engine::{
    CompileOptions, Executable, ForwardOptions, Isa, Pool, Session, SessionOptions, Tiling,
    prepare_backward, prepare_forward,
};
use sardonyx_ir::{Attr, Graph, ValueId};
use sardonyx_ops::interpret;
use sardonyx_ops::ops::batch_norm_nhwc;
use sardonyx_passes::{FuseFor, Hoisted, differentiate, trim_outputs};
use sardonyx_tensor::Tensor;

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(2).expect("two threads start"))
}

/// Holds `found` against `expected`, relative to the largest element or `floor`, if that is larger.
fn assert_close(name: &str, found: &Tensor, expected: &Tensor, floor: f64) {
    assert_eq!(found.shape(), expected.shape(), "{name}");
    let (found, expected) = (
        found.to_f64().expect("floats"),
        expected.to_f64().expect("floats"),
    );
    let scale = expected.iter().fold(floor, |m, x| m.max(x.abs()));
    for (index, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (a - b).abs() <= 2e-5 * scale,
            "{name}: element {index}: {a} against {b}"
        );
    }
}

#[test]
fn a_session_predicts_as_the_interpreter_does() {
    for (isa, (name, graph, shape, _)) in Isa::available()
        .into_iter()
        .flat_map(|isa| nets::all().into_iter().map(move |n| (isa, n)))
    {
        let options = SessionOptions {
            isa,
            ..SessionOptions::new(pool())
        };
        let mut session = Session::new(graph.clone(), options).expect("a sound model");
        for batch in [2, 3, 8] {
            let x = random(&[&[batch], &shape[..]].concat(), 99);
            let mut graph = graph.clone();
            let symbols = BTreeMap::from([("N".to_owned(), batch)]);
            sardonyx_ops::bind(&mut graph, &symbols).expect("a sound model");
            let feeds = BTreeMap::from([(graph.inputs[0], x.clone())]);
            let expected = interpret(&graph, &feeds).expect("legal feeds");
            let found = session.run(std::slice::from_ref(&x)).expect("legal feeds");
            for (found, expected) in found.iter().zip(&expected) {
                assert_close(name, found, expected, 1e-3);
            }
            let plan = session
                .executable(&[x])
                .expect("legal feeds")
                .expect("fixed shapes");
            let missing = plan.host_operators();
            assert!(missing.is_empty(), "{name}: {missing:?}");
            let costs = plan.profile(1, || 0);
            let fused = costs.iter().any(|cost| cost.kernel == "attention");
            let is_split = costs.iter().any(|cost| cost.kernel == "softmax");
            assert_eq!(
                (fused, is_split),
                (name == "attention", false),
                "{name}: {costs:?}"
            );
        }
    }
}

/// The outputs of `graph` for samples of this shape, and how many samples a tile has.
fn in_tiles(
    graph: &Graph,
    shape: &[usize],
    options: SessionOptions,
) -> (Vec<Tensor>, Option<usize>) {
    let mut session = Session::new(graph.clone(), options).expect("a sound model");
    let x = random(shape, 99);
    let found = session.run(std::slice::from_ref(&x)).expect("legal feeds");
    let plan = session.executable(&[x]).expect("legal feeds");
    let costs = plan.expect("fixed shapes").profile(1, || 0);
    let repeats = costs.iter().map(|cost| cost.repeats).max();
    let tile = repeats.filter(|repeats| *repeats > 1);
    (found, tile.map(|repeats| shape[0] / repeats))
}

#[test]
fn tiles_change_no_bit() {
    let mut tiled = Vec::new();
    for (isa, (name, graph, shape, _)) in Isa::available()
        .into_iter()
        .flat_map(|isa| nets::all().into_iter().map(move |n| (isa, n)))
    {
        for (batch, samples) in [(6, 2), (15, 1), (15, 5), (16, 8)] {
            let shape = [&[batch], &shape[..]].concat();
            let with = |tiling| SessionOptions {
                isa,
                tiling,
                ..SessionOptions::new(pool())
            };
            let (expected, _) = in_tiles(&graph, &shape, with(Tiling::Never));
            let (found, tile) = in_tiles(&graph, &shape, with(Tiling::Samples(samples)));
            assert_eq!(
                found, expected,
                "{name}: {batch} samples, {samples} at a time"
            );
            if let Some(tile) = tile {
                assert_eq!(tile, samples, "{name}");
                tiled.push(name);
            }
        }
    }
    tiled.sort_unstable();
    tiled.dedup();
    assert_eq!(tiled, ["convolutional", "mobile", "residual"]);
}

#[test]
fn large_batches_are_taken_in_tiles_where_all_threads_have_as_many() {
    let (mut net, x) = Net::new(&[3, 64, 64]);
    let attributes = [("pads", Attr::Ints(vec![1; 4]))];
    let w = net.weight(&[8, 3, 3, 3]);
    let y = net.node("Conv", &[x, w], &attributes);
    let w = net.weight(&[8, 8, 3, 3]);
    let y = net.node("Conv", &[y, w], &attributes);
    net.graph.outputs.push(y);
    for (batch, threads, expected) in [
        (32, 2, Some(1)),
        (33, 2, Some(1)),
        // The batch fits the caches.
        (4, 2, None),
        // Most threads would wait for the last tiles.
        (33, 16, None),
    ] {
        let pool = Arc::new(Pool::new(threads).expect("threads start"));
        let options = SessionOptions::new(pool);
        let (_, tile) = in_tiles(&net.graph, &[batch, 3, 64, 64], options);
        assert_eq!(tile, expected, "{batch} samples on {threads} threads");
    }
}

#[test]
fn a_node_may_leave_out_its_first_output() {
    let (mut net, x) = Net::new(&[2, 3]);
    // The shorter of the sequences ends early: no kernel knows that.
    let lengths = Tensor::vector(vec![2i32, 1]);
    let lengths = net.graph.add_initializer("lengths", lengths);
    let inputs = [
        x,
        net.weight(&[1, 4, 3]),
        net.weight(&[1, 4, 4]),
        net.weight(&[1, 8]),
        lengths,
    ];
    let attributes = [("hidden_size", Attr::Int(4)), ("layout", Attr::Int(1))];
    let y = net.node("RNN", &inputs, &attributes);
    net.later_output(1);
    net.graph.outputs.push(y);
    let x = random(&[2, 2, 3], 1);
    let mut session = Session::new(net.graph.clone(), SessionOptions::new(pool())).expect("sound");
    let found = session.run(std::slice::from_ref(&x)).expect("legal feeds");
    sardonyx_ops::bind(&mut net.graph, &BTreeMap::from([("N".to_owned(), 2)])).expect("sound");
    let feeds = BTreeMap::from([(net.graph.inputs[0], x)]);
    let expected = interpret(&net.graph, &feeds).expect("legal feeds");
    assert_close("last state", &found[0], &expected[0], 1e-3);
}

/// Adds the mean over all elements' squares of the first output as the loss, which takes its
/// place; returns all parameters.
fn with_loss(graph: Graph) -> (Graph, Vec<ValueId>) {
    let mut net = Net { graph };
    let y = net.graph.outputs[0];
    // A random direction, so that normalized outputs have a gradient.
    let shift = random(&[4], 77);
    let shift = net.graph.add_initializer("shift", shift);
    let moved = net.node("Add", &[y, shift], &[]);
    let square = net.node("Mul", &[moved, y], &[]);
    let cube = net.node("Mul", &[square, y], &[]);
    let loss = net.node("ReduceMean", &[cube], &[("keepdims", Attr::Int(0))]);
    net.graph.outputs[0] = loss;
    let is_trained = |id: &ValueId| net.graph.value_name(*id).starts_with(['w', 's']);
    let trained = net.graph.initializers.keys().copied().filter(is_trained);
    let parameters = trained
        .filter(|id| net.graph.value_name(*id) != "shift")
        .collect();
    (net.graph, parameters)
}

/// A gradient graph for plans with its outputs: those of the forward graph, then the gradients.
fn backward(
    (mut graph, parameters): (Graph, Vec<ValueId>),
    isa: Isa,
    batch: usize,
) -> (Graph, Vec<Hoisted>) {
    let symbols = BTreeMap::from([("N".to_owned(), batch)]);
    let forward = ForwardOptions {
        isa,
        purpose: FuseFor::Training,
    };
    let variable: BTreeSet<ValueId> = parameters.iter().copied().collect();
    let hoisted = prepare_forward(&mut graph, &symbols, &variable, forward).expect("sound");
    let packed = |id| {
        hoisted
            .iter()
            .find(|h| h.parameter == id)
            .map_or(id, |h| h.packed)
    };
    let wrt: Vec<ValueId> = parameters.iter().map(|&id| packed(id)).collect();
    let loss = graph.outputs[0];
    let grads = differentiate(&mut graph, loss, &wrt).expect("differentiable");
    graph.outputs.extend(grads.iter().flatten());
    prepare_backward(&mut graph).expect("a sound graph");
    trim_outputs(&mut graph);
    sardonyx_ops::infer(&mut graph).expect("a sound graph");
    (graph, hoisted)
}

#[test]
fn gradients_keep_nothing_of_an_activation_behind_a_batch_normalization() {
    let mut remade = 0;
    for (name, graph, ..) in nets::all() {
        let (graph, _) = backward(with_loss(graph), Isa::Scalar, 4);
        let consumers = graph.consumers();
        let readers = |value: ValueId| consumers[value.index()].iter().map(|&id| graph.node(id));
        for (_, node) in graph.nodes() {
            if node.is_own("BatchNormNhwcGrad") {
                remade += usize::from(node.output(batch_norm_nhwc::REMADE).is_some());
            }
            let is_activated = node.attributes.contains_key("activation");
            let has_residual = node.input(batch_norm_nhwc::RESIDUAL).is_some();
            if node.is_own("BatchNormNhwc") && is_activated && !has_residual {
                let made = node.output(0).expect("it is read");
                let kept = readers(made).find(|reader| reader.op_type.ends_with("Grad"));
                assert_eq!(kept.map(|node| &node.op_type), None, "{name}");
            }
        }
    }
    assert!(remade > 0, "no net has a value that is made anew");
}

#[test]
fn planned_gradients_are_those_of_the_plain_graph() {
    for (name, graph, shape, _) in nets::all() {
        let x = random(&[&[4], &shape[..]].concat(), 5);
        let symbols = BTreeMap::from([("N".to_owned(), 4)]);
        let (mut plain, parameters) = with_loss(graph.clone());
        sardonyx_ops::bind(&mut plain, &symbols).expect("a sound model");
        let loss = plain.outputs[0];
        let made = plain.outputs.len();
        let grads = differentiate(&mut plain, loss, &parameters).expect("differentiable");
        plain.outputs.extend(grads.iter().flatten());
        let feeds = BTreeMap::from([(plain.inputs[0], x.clone())]);
        let expected = interpret(&plain, &feeds).expect("legal feeds");
        // Some gradients cancel out: what is left of them is the rounding of larger ones.
        let values = expected[made..]
            .iter()
            .flat_map(|tensor| tensor.to_f64().expect("floats"));
        let largest = values.fold(0.0f64, |m, x| m.max(x.abs()));
        let reached = parameters
            .iter()
            .zip(&grads)
            .filter(|(_, grad)| grad.is_some());
        let reached: Vec<ValueId> = reached.map(|(id, _)| *id).collect();
        for isa in Isa::available() {
            let options = CompileOptions::new(isa, pool());
            let (graph, hoisted) = backward(with_loss(graph.clone()), isa, 4);
            let executable = Executable::compile(&graph, &[], &options);
            let mut executable = executable.expect("fixed shapes");
            let missing = executable.host_operators();
            assert!(missing.is_empty(), "{name}: {missing:?}");
            executable.set_input(0, &x).expect("the declared input");
            executable.run();
            for (index, expected) in expected.iter().enumerate() {
                let mut found = executable.output(index);
                let parameter = index.checked_sub(made).map(|index| reached[index]);
                let moved = hoisted.iter().find(|h| Some(h.parameter) == parameter);
                if let Some(moved) = moved {
                    found = moved.layout.undo(&found).expect("the plan's layout");
                }
                assert_close(&format!("{name} {index}"), &found, expected, 0.1 * largest);
            }
        }
    }
}
