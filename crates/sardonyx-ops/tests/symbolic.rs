//! Shapes of a symbolic batch must survive the arithmetic that exporters write around them.

use sardonyx_ir::{Attr, Dim, Fact, Graph, Node, ValueId};
use sardonyx_ops::{Builder, infer};
use sardonyx_tensor::{DType, Tensor};

/// A graph that is written node by node.
struct Writer(Graph);

impl Writer {
    fn new() -> Writer {
        Writer(Graph::new("symbolic", 18))
    }

    fn input(&mut self, dims: &[&str]) -> ValueId {
        let dim = |text: &&str| text.parse().map_or_else(|_| Dim::symbol(text), Dim::known);
        let fact = Fact::new(DType::F32, dims.iter().map(dim));
        self.0.add_input("x", fact)
    }

    fn ints(&mut self, values: &[i64]) -> ValueId {
        self.0.add_initializer("c", Tensor::vector(values.to_vec()))
    }

    fn scalar(&mut self, value: i64) -> ValueId {
        self.0.add_initializer("c", Tensor::scalar(value))
    }

    fn op(&mut self, name: &str, inputs: &[ValueId], attributes: &[(&str, i64)]) -> ValueId {
        let mut node = Node::new("", name);
        node.inputs = inputs.iter().copied().map(Some).collect();
        for &(name, value) in attributes {
            node.attributes.insert(name.to_owned(), Attr::Int(value));
        }
        let output = self.0.add_value("y", None);
        node.outputs = vec![Some(output)];
        self.0.add_node(node);
        output
    }

    fn check(mut self, value: ValueId, expected: &str) {
        infer(&mut self.0).expect("a legal graph");
        let fact = self.0.fact(value).expect("every value is inferred");
        assert_eq!(fact.to_string(), expected);
    }
}

#[test]
fn flattening_by_a_computed_shape_keeps_the_batch() {
    let mut g = Writer::new();
    let x = g.input(&["N", "8", "4", "4"]);
    let shape = g.op("Shape", &[x], &[]);
    let zero = g.scalar(0);
    let batch = g.op("Gather", &[shape, zero], &[]);
    let axes = g.ints(&[0]);
    let batch = g.op("Unsqueeze", &[batch, axes], &[]);
    let free = g.ints(&[-1]);
    let target = g.op("Concat", &[batch, free], &[("axis", 0)]);
    let y = g.op("Reshape", &[x, target], &[]);
    g.check(y, "f32[N,128]");
}

#[test]
fn sliced_cast_and_multiplied_shapes_are_followed() {
    let mut g = Writer::new();
    let x = g.input(&["N", "3", "5", "7"]);
    let shape = g.op("Shape", &[x], &[]);
    let (start, end) = (g.ints(&[2]), g.ints(&[4]));
    let space = g.op("Slice", &[shape, start, end], &[]);
    let two = g.ints(&[2]);
    let doubled = g.op("Mul", &[space, two], &[]);
    let doubled = g.op("Cast", &[doubled], &[("to", 7)]);
    let (start, end) = (g.ints(&[0]), g.ints(&[2]));
    let outer = g.op("Slice", &[shape, start, end], &[]);
    let target = g.op("Concat", &[outer, doubled], &[("axis", 0)]);
    let y = g.op("ConstantOfShape", &[target], &[]);
    g.check(y, "f32[N,3,10,14]");
}

#[test]
fn a_range_over_the_batch_has_its_length() {
    let mut g = Writer::new();
    let x = g.input(&["N", "3"]);
    let shape = g.op("Shape", &[x], &[("start", 0), ("end", 1)]);
    let axes = g.ints(&[0]);
    let batch = g.op("Squeeze", &[shape, axes], &[]);
    let (zero, one) = (g.scalar(0), g.scalar(1));
    let y = g.op("Range", &[zero, batch, one], &[]);
    g.check(y, "i64[N]");
}

#[test]
fn expanding_slicing_and_joining_keep_symbols() {
    let mut g = Writer::new();
    let x = g.input(&["N", "1", "6"]);
    let target = g.ints(&[1, 4, 1]);
    let wide = g.op("Expand", &[x, target], &[]);
    let (start, end, axis) = (g.ints(&[1]), g.ints(&[i64::MAX]), g.ints(&[2]));
    let cut = g.op("Slice", &[wide, start, end, axis], &[]);
    let joined = g.op("Concat", &[cut, wide], &[("axis", -1)]);
    g.check(joined, "f32[N,4,11]");
}

#[test]
fn emitted_shape_vectors_are_followed_too() {
    let mut g = Writer::new();
    let x = g.input(&["N", "1"]);
    let target = g.ints(&[1, 4]);
    let y = g.op("Expand", &[x, target], &[]);
    infer(&mut g.0).expect("a legal graph");
    let mut builder = Builder::new(&g.0, "test");
    let zeros = builder.zeros_like(y).expect("it is a float");
    assert_eq!(
        builder.fact(zeros).expect("inferred").to_string(),
        "f32[N,4]"
    );
}
