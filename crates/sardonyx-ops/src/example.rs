use sardonyx_ir::{Attr, Node};
use sardonyx_tensor::{Element, Philox, Tensor};

use crate::Schema;

/// Which gradients of an example are held against finite differences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GradCheck {
    /// Those by these inputs.
    Inputs(Vec<usize>),
    /// None, for this reason.
    Skip(&'static str),
}

/// An operator instance with inputs: data for the generic tests.
#[derive(Debug, Clone)]
pub struct Example {
    /// What is special about it; part of a failing test's message.
    pub name: String,
    /// The node, without values.
    pub node: Node,
    /// Number of outputs to ask for.
    pub outputs: usize,
    /// Inputs in order; `None` for one that is left out.
    pub inputs: Vec<Option<Tensor>>,
    /// Version of the operator set.
    pub opset: i64,
    /// Gradients to check: by default those by every float input.
    pub grad: Option<GradCheck>,
}

impl Example {
    /// An example of the operator of `schema`, in its newest known version.
    pub fn new(schema: Schema, name: &str) -> Example {
        Example {
            name: format!("{} {name}", schema.name),
            node: Node::new(schema.domain, schema.name),
            outputs: 1,
            inputs: Vec::new(),
            opset: crate::MAX_OPSET,
            grad: None,
        }
    }

    /// Sets an attribute.
    pub fn attr(mut self, name: &str, value: impl Into<Attr>) -> Example {
        self.node.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// Adds an `f32` input, uniform in `low..high`, the same on every run.
    pub fn uniform(mut self, shape: &[usize], (low, high): (f32, f32)) -> Example {
        let mut rng = Philox::new(self.inputs.len() as u64, shape.len() as u64);
        let draw = |_| low + (high - low) * rng.uniform();
        let tensor = Tensor::from_fn(shape, draw).expect("an example's shape is small");
        self.inputs.push(Some(tensor));
        self
    }

    /// Adds an `f32` input whose elements all differ by at least 1/16, in random order: for
    /// operators that compare elements, where a finite difference must not change the order.
    pub fn distinct(mut self, shape: &[usize]) -> Example {
        let count: usize = shape.iter().product();
        let mut values: Vec<f32> = (0..count)
            .map(|i| (i as f32 - count as f32 / 2.0) / 8.0 + 0.03)
            .collect();
        Philox::new(self.inputs.len() as u64, count as u64).shuffle(&mut values);
        self.inputs.push(Some(
            Tensor::new(shape, values).expect("as many as the shape says"),
        ));
        self
    }

    /// Adds an input of these values.
    pub fn values<T: Element>(mut self, shape: &[usize], values: Vec<T>) -> Example {
        let tensor = Tensor::new(shape, values).expect("an example's values fit its shape");
        self.inputs.push(Some(tensor));
        self
    }

    /// Adds a one-dimensional integer input, as axes and shapes are given.
    pub fn ints(self, values: &[i64]) -> Example {
        self.values(&[values.len()], values.to_vec())
    }

    /// Leaves out the next input.
    pub fn absent(mut self) -> Example {
        self.inputs.push(None);
        self
    }

    /// Asks for this many outputs.
    pub fn outputs(mut self, outputs: usize) -> Example {
        self.outputs = outputs;
        self
    }

    /// Uses this version of the operator set.
    pub fn opset(mut self, opset: i64) -> Example {
        self.opset = opset;
        self
    }

    /// Checks gradients by these inputs only.
    pub fn grad_by(mut self, inputs: &[usize]) -> Example {
        self.grad = Some(GradCheck::Inputs(inputs.to_vec()));
        self
    }

    /// Checks no gradient, for this reason.
    pub fn no_grad(mut self, reason: &'static str) -> Example {
        self.grad = Some(GradCheck::Skip(reason));
        self
    }
}
