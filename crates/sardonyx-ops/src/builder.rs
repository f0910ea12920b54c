use std::collections::BTreeMap;

use sardonyx_ir::{Attr, Dim, Fact, Graph, Node, ONNX, Patch, SARDONYX, ValueId};
use sardonyx_tensor::{DType, Tensor};

use crate::{InferCx, Inferred, Known, OpError, Result, registry};

/// Emits nodes into a [`Patch`], inferring each output's type and shape at once, so that the next
/// emission can look at it. Gradient rules and passes build with it.
#[derive(Debug)]
pub struct Builder<'g> {
    graph: &'g Graph,
    patch: Patch,
    prefix: String,
    /// Elements of emitted shape vectors, so that what they shape has a known shape.
    dims: BTreeMap<ValueId, Vec<Dim>>,
}

/// Attributes of an emitted node.
pub type EmitAttributes<'a> = &'a [(&'a str, Attr)];

impl<'g> Builder<'g> {
    /// A builder of a patch against `graph`.
    pub fn new(graph: &'g Graph, label: &str) -> Builder<'g> {
        Builder {
            graph,
            patch: Patch::new(graph, label),
            prefix: label.to_owned(),
            dims: BTreeMap::new(),
        }
    }

    /// The graph that is built against.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// The patch, for removals and replacements.
    pub fn patch(&mut self) -> &mut Patch {
        &mut self.patch
    }

    /// Ends the building.
    pub fn finish(self) -> Patch {
        self.patch
    }

    /// Names of values emitted from here on start with `prefix`.
    pub fn set_prefix(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
    }

    /// What is known of a value of the graph or of the patch.
    ///
    /// # Errors
    /// When nothing is: inference has not run.
    pub fn fact(&self, id: ValueId) -> Result<&Fact> {
        let fact = self.patch.fact(id).or_else(|| {
            (id.index() < self.graph.value_count())
                .then(|| self.graph.fact(id))
                .flatten()
        });
        fact.ok_or_else(|| OpError::Feed {
            value: format!("value {}", id.index()),
            problem: "its type is unknown; hint: run shape inference first".to_owned(),
        })
    }

    /// Element type of a value.
    ///
    /// # Errors
    /// As [`Builder::fact`].
    pub fn dtype(&self, id: ValueId) -> Result<DType> {
        Ok(self.fact(id)?.dtype)
    }

    /// Shape of a value.
    ///
    /// # Errors
    /// As [`Builder::fact`], or when the rank is unknown.
    pub fn shape(&self, id: ValueId) -> Result<Vec<Dim>> {
        self.fact(id)?.shape.clone().ok_or_else(|| OpError::Feed {
            value: format!("value {}", id.index()),
            problem: "its rank is unknown; hint: give the model's inputs fixed shapes".to_owned(),
        })
    }

    /// Shape of a value as numbers.
    ///
    /// # Errors
    /// As [`Builder::shape`], or when a dimension is symbolic.
    pub fn fixed_shape(&self, id: ValueId) -> Result<Vec<usize>> {
        let shape = self.shape(id)?;
        shape
            .iter()
            .map(Dim::value)
            .collect::<Option<_>>()
            .ok_or_else(|| OpError::Feed {
                value: format!("value {}", id.index()),
                problem: "its shape is symbolic; hint: bind the symbols to numbers first"
                    .to_owned(),
            })
    }

    /// The tensor of a constant of the graph or of the patch.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        let own = self.patch.constant(id);
        own.or_else(|| self.graph.constant(id)).map(AsRef::as_ref)
    }

    /// Emits a node of `domain` with `n_outputs` outputs.
    ///
    /// # Errors
    /// When the operator is unknown or its inputs are not legal.
    pub fn node(
        &mut self,
        (domain, op_type): (&str, &str),
        inputs: &[Option<ValueId>],
        attributes: EmitAttributes<'_>,
        n_outputs: usize,
    ) -> Result<Vec<ValueId>> {
        let mut node = Node::new(domain, op_type);
        node.inputs = inputs.to_vec();
        node.attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let inferred = self.infer(&node)?;
        assert!(
            inferred.len() >= n_outputs,
            "{op_type} infers {} outputs",
            inferred.len()
        );
        let name = format!("{}/{op_type}", self.prefix);
        let outputs: Vec<ValueId> = inferred
            .into_iter()
            .take(n_outputs)
            .map(|inferred| {
                let output = self.patch.add_value(&name, Some(inferred.fact));
                self.dims.extend(inferred.dims.map(|dims| (output, dims)));
                output
            })
            .collect();
        node.outputs = outputs.iter().copied().map(Some).collect();
        node.name = name;
        self.patch.add_node(node);
        Ok(outputs)
    }

    /// Emits a standard operator with one output.
    ///
    /// # Errors
    /// As [`Builder::node`].
    pub fn op(
        &mut self,
        op_type: &str,
        inputs: &[ValueId],
        attributes: EmitAttributes<'_>,
    ) -> Result<ValueId> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Ok(self.node((ONNX, op_type), &inputs, attributes, 1)?[0])
    }

    /// Emits one of our own operators with one output.
    ///
    /// # Errors
    /// As [`Builder::node`].
    pub fn own(
        &mut self,
        op_type: &str,
        inputs: &[ValueId],
        attributes: EmitAttributes<'_>,
    ) -> Result<ValueId> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Ok(self.node((SARDONYX, op_type), &inputs, attributes, 1)?[0])
    }

    /// A constant.
    pub fn tensor(&mut self, tensor: Tensor) -> ValueId {
        let name = format!("{}/constant", self.prefix);
        self.patch.add_initializer(&name, tensor)
    }

    /// A constant vector of integers, as axes and shapes are given.
    pub fn ints(&mut self, values: &[i64]) -> ValueId {
        self.tensor(Tensor::vector(values.to_vec()))
    }

    /// A constant scalar of the element type of `like`.
    ///
    /// # Errors
    /// When `like` is not a float value.
    pub fn scalar_like(&mut self, like: ValueId, value: f64) -> Result<ValueId> {
        let tensor = Tensor::from_f64(self.dtype(like)?, Vec::new(), vec![value])?;
        Ok(self.tensor(tensor))
    }

    /// Zeros of the type and shape of `like`.
    ///
    /// # Errors
    /// When `like` is not a float value.
    pub fn zeros_like(&mut self, like: ValueId) -> Result<ValueId> {
        let zero = Tensor::from_f64(self.dtype(like)?, vec![1], vec![0.0])?;
        let shape = self.shape_of(like)?;
        self.op("ConstantOfShape", &[shape], &[("value", zero.into())])
    }

    /// `value` in the shape of `like`, which has as many elements.
    ///
    /// # Errors
    /// As [`Builder::node`].
    pub fn reshape_like(&mut self, value: ValueId, like: ValueId) -> Result<ValueId> {
        if self.shape(value)? == self.shape(like)? {
            return Ok(value);
        }
        let shape = self.shape_of(like)?;
        self.op("Reshape", &[value, shape], &[("allowzero", Attr::Int(1))])
    }

    /// The shape of `value` as a vector of integers: a constant when it is known.
    ///
    /// # Errors
    /// As [`Builder::node`].
    pub fn shape_of(&mut self, value: ValueId) -> Result<ValueId> {
        match self.fact(value)?.fixed_shape() {
            Some(shape) => Ok(self.ints(&shape.iter().map(|&n| n as i64).collect::<Vec<_>>())),
            None => self.op("Shape", &[value], &[]),
        }
    }

    /// Sums `grad` over the axes along which a value of `like`'s shape was broadcast to it.
    ///
    /// # Errors
    /// When the shapes do not tell which axes these are.
    pub fn unbroadcast(&mut self, grad: ValueId, like: ValueId) -> Result<ValueId> {
        let (from, to) = (self.shape(grad)?, self.shape(like)?);
        if from == to {
            return Ok(grad);
        }
        let lead = from.len() - to.len();
        let repeated = |axis: &usize| match axis.checked_sub(lead) {
            None => true,
            Some(own) => to[own] != from[*axis],
        };
        let axes: Vec<i64> = (0..from.len())
            .filter(repeated)
            .map(|axis| axis as i64)
            .collect();
        let axes = self.ints(&axes);
        let sum = self.op("ReduceSum", &[grad, axes], &[("keepdims", Attr::Int(1))])?;
        self.reshape_like(sum, like)
    }

    fn infer(&self, node: &Node) -> Result<Vec<Inferred>> {
        let operator = registry::known(node)?;
        let inputs = node
            .inputs
            .iter()
            .map(|input| input.map(|id| self.known(id)).transpose())
            .collect::<Result<_>>()?;
        let cx = InferCx {
            node,
            inputs,
            opset: registry::MAX_OPSET,
        };
        operator.infer(&cx)
    }

    fn known(&self, id: ValueId) -> Result<Known<'_>> {
        let own = self.patch.constant(id);
        let value = own.or_else(|| {
            (id.index() < self.graph.value_count())
                .then(|| self.graph.constant(id))
                .flatten()
        });
        Ok(Known {
            fact: self.fact(id)?,
            value,
            dims: self.dims.get(&id).map(Vec::as_slice),
        })
    }
}
