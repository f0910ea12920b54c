use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Attr, Dim, Fact, Graph, Node, ONNX, ValueId};
use sardonyx_ops::{InferCx, Inferred, Known, OpError, lookup};
use sardonyx_tensor::{DType, Tensor, element_count};

use crate::{Defaults, Fans, Init, Layer, Result, Seed, ZooError};

/// Version of the standard operator set that models are written in: the first with `Gelu`.
pub(crate) const OPSET: i64 = 20;

/// Key of the model's metadata that lists its float constants, one name a line: what training is
/// to leave alone, such as the mean that a preprocessing node subtracts, which ONNX cannot tell
/// from a weight.
pub const CONSTANTS_KEY: &str = "sardonyx.constants";

/// Where a layer emits its nodes and parameters: the graph so far, and the layer's name, which all
/// that it emits starts with. Types and shapes are inferred at each node, so that a contradiction
/// is found at the layer that makes it.
#[derive(Debug, Clone)]
pub struct Scope {
    pub(crate) graph: Graph,
    pub(crate) defaults: Defaults,
    /// Names of the enclosing scopes, joined by dots.
    pub(crate) prefix: String,
    parameters: Vec<Parameter>,
    constants: BTreeSet<String>,
    layers: BTreeSet<String>,
    counts: BTreeMap<String, usize>,
    layer: String,
    kind: &'static str,
}

/// A parameter that gets its values when the model is built.
#[derive(Debug, Clone)]
struct Parameter {
    value: ValueId,
    shape: Vec<usize>,
    init: Init,
    fans: Fans,
    is_trainable: bool,
}

impl Scope {
    pub(crate) fn new(name: &str) -> Scope {
        Scope {
            graph: Graph::new(name, OPSET),
            defaults: Defaults::PYTORCH,
            prefix: String::new(),
            parameters: Vec::new(),
            constants: BTreeSet::new(),
            layers: BTreeSet::new(),
            counts: BTreeMap::new(),
            layer: String::new(),
            kind: "",
        }
    }

    /// Defaults of the layers' settings.
    pub fn defaults(&self) -> Defaults {
        self.defaults
    }

    /// Type and shape of a value.
    ///
    /// # Errors
    /// When the value is none of this model.
    pub fn fact(&self, id: ValueId) -> Result<&Fact> {
        let known = id.index() < self.graph.value_count();
        let fact = known.then(|| self.graph.fact(id)).flatten();
        fact.ok_or_else(|| ZooError::ForeignHandle {
            layer: self.layer.clone(),
        })
    }

    /// Element type of a value.
    ///
    /// # Errors
    /// As [`Scope::fact`].
    pub fn dtype(&self, id: ValueId) -> Result<DType> {
        Ok(self.fact(id)?.dtype)
    }

    /// Dimensions of a value, outermost first.
    ///
    /// # Errors
    /// As [`Scope::fact`], and when the rank is unknown.
    pub fn shape(&self, id: ValueId) -> Result<Vec<Dim>> {
        let shape = self.fact(id)?.shape.clone();
        shape.ok_or_else(|| self.problem(&[id], "the rank of its input is unknown"))
    }

    /// Dimensions of a value that must have `rank` of them; `layout` names them for the error.
    ///
    /// # Errors
    /// When it has another number of them.
    pub fn ranked(&self, id: ValueId, rank: usize, layout: &str) -> Result<Vec<Dim>> {
        let shape = self.shape(id)?;
        if shape.len() == rank {
            return Ok(shape);
        }
        let found = shape.len();
        let problem = format!("it takes {rank} dimensions {layout}, its input has {found}");
        Err(self.problem(&[id], problem))
    }

    /// Dimension `axis` of a value as a number, for the shapes of parameters.
    ///
    /// # Errors
    /// When it is symbolic or there is no such axis.
    pub fn size(&self, id: ValueId, axis: usize) -> Result<usize> {
        let shape = self.shape(id)?;
        shape.get(axis).and_then(Dim::value).ok_or_else(|| {
            let problem = format!("it needs a fixed dimension at axis {axis} of its input");
            self.problem(&[id], problem)
        })
    }

    /// An error about the current layer, which reads `inputs`.
    pub fn problem(&self, inputs: &[ValueId], problem: impl Into<String>) -> ZooError {
        ZooError::Layer {
            layer: self.layer.clone(),
            op: self.kind.to_owned(),
            inputs: self.facts(inputs),
            problem: problem.into(),
        }
    }

    /// A trainable parameter `suffix` of the layer, such as `weight`.
    ///
    /// # Errors
    /// When the name is taken, or the shape passes a limit.
    pub fn parameter(
        &mut self,
        suffix: &str,
        shape: &[usize],
        (init, fans): (Init, Fans),
    ) -> Result<ValueId> {
        self.add_parameter(suffix, shape, (init, fans), true)
    }

    /// A vector that outlives a training step but has no gradient, such as a running mean.
    ///
    /// # Errors
    /// As [`Scope::parameter`].
    pub fn state(&mut self, suffix: &str, len: usize, value: f32) -> Result<ValueId> {
        let init = (Init::Constant(value), Fans::new(1, 1));
        self.add_parameter(suffix, &[len], init, false)
    }

    fn add_parameter(
        &mut self,
        suffix: &str,
        shape: &[usize],
        (init, fans): (Init, Fans),
        is_trainable: bool,
    ) -> Result<ValueId> {
        if let Err(error) = element_count(shape) {
            return Err(self.problem(&[], format!("its parameter `{suffix}`: {error}")));
        }
        let name = self.free_name(suffix)?;
        let value = self
            .graph
            .add_value(&name, Some(Fact::fixed(DType::F32, shape)));
        self.parameters.push(Parameter {
            value,
            shape: shape.to_vec(),
            init,
            fans,
            is_trainable,
        });
        Ok(value)
    }

    /// A constant of the layer that training leaves as it is.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn constant(&mut self, suffix: &str, tensor: Tensor) -> Result<ValueId> {
        let name = self.free_name(suffix)?;
        if tensor.dtype().is_float() {
            self.constants.insert(name.clone());
        }
        Ok(self.graph.add_initializer(&name, tensor))
    }

    /// A constant vector of integers, as axes and shapes are given.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn ints(&mut self, suffix: &str, values: &[i64]) -> Result<ValueId> {
        self.constant(suffix, Tensor::vector(values.to_vec()))
    }

    /// Emits a node of standard operator `op` with one output. It is called as the layer, followed
    /// by `suffix` where that is not empty, and so is its output.
    ///
    /// # Errors
    /// When the operator does not take these inputs; the error shows all their shapes.
    pub fn node(
        &mut self,
        (suffix, op): (&str, &str),
        inputs: &[Option<ValueId>],
        attributes: &[(&str, Attr)],
    ) -> Result<ValueId> {
        Ok(self.nodes((suffix, op), inputs, attributes, &[""])?[0])
    }

    /// As [`Scope::node`] for an operator with several outputs, `outputs` being what their names
    /// end with; `None` stands for one that is left out.
    ///
    /// # Errors
    /// As [`Scope::node`].
    pub fn nodes<'a>(
        &mut self,
        (suffix, op): (&str, &str),
        inputs: &[Option<ValueId>],
        attributes: &[(&str, Attr)],
        outputs: &[impl Into<Option<&'a str>> + Copy],
    ) -> Result<Vec<ValueId>> {
        let mut node = Node::new(ONNX, op);
        node.name = join(&self.layer, suffix);
        node.inputs = inputs.to_vec();
        let owned = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        node.attributes = owned.collect();
        let inferred = self.infer(&node, outputs.len())?;
        let mut present = Vec::new();
        for (&output, inferred) in outputs.iter().zip(inferred) {
            let id = match output.into() {
                None => None,
                Some(end) => {
                    let name = self.free_name(join(suffix, end).as_str())?;
                    Some(self.graph.add_value(&name, Some(inferred.fact)))
                }
            };
            present.extend(id);
            node.outputs.push(id);
        }
        self.graph.add_node(node);
        Ok(present)
    }

    /// Emits `layer` as a part of this one, called `name`.
    ///
    /// # Errors
    /// As the layer.
    pub fn nested(&mut self, name: &str, layer: &dyn Layer, input: ValueId) -> Result<ValueId> {
        let prefix = std::mem::replace(&mut self.prefix, self.layer.clone());
        let (outer, kind) = (self.layer.clone(), self.kind);
        let output = self.place(Some(name), layer, input);
        (self.prefix, self.layer, self.kind) = (prefix, outer, kind);
        output
    }

    /// Emits `layer` under `name`, or under its kind and a number.
    pub(crate) fn place(
        &mut self,
        name: Option<&str>,
        layer: &dyn Layer,
        input: ValueId,
    ) -> Result<ValueId> {
        self.enter(name, layer.kind())?;
        self.fact(input)?;
        layer.emit(self, input)
    }

    /// Begins a layer: what is emitted from here on is called after it.
    pub(crate) fn enter(&mut self, name: Option<&str>, kind: &'static str) -> Result<()> {
        let full = match name {
            Some(name) => join(&self.prefix, name),
            None => self.automatic(kind),
        };
        if !self.layers.insert(full.clone()) {
            return Err(ZooError::NameTaken { name: full });
        }
        (self.layer, self.kind) = (full, kind);
        Ok(())
    }

    fn automatic(&mut self, kind: &str) -> String {
        let stem = join(&self.prefix, kind);
        let count = self.counts.entry(stem.clone()).or_insert(0);
        loop {
            *count += 1;
            let name = format!("{stem}_{count}");
            if !self.layers.contains(&name) {
                return name;
            }
        }
    }

    pub(crate) fn add_input(&mut self, name: &str, fact: Fact) -> Result<ValueId> {
        if self.graph.find_value(name).is_some() {
            let name = name.to_owned();
            return Err(ZooError::NameTaken { name });
        }
        Ok(self.graph.add_input(name, fact))
    }

    /// Names of the trainable parameters, in the order of the layers.
    pub(crate) fn parameter_names(&self) -> Vec<String> {
        let trainable = self.parameters.iter().filter(|p| p.is_trainable);
        let names = trainable.map(|p| self.graph.value_name(p.value).to_owned());
        names.collect()
    }

    /// Number of trainable numbers.
    pub(crate) fn parameter_count(&self) -> usize {
        let trainable = self.parameters.iter().filter(|p| p.is_trainable);
        trainable.map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// Draws the parameters and ends the building.
    pub(crate) fn finish(mut self, seed: Seed) -> Result<Graph> {
        for parameter in self.parameters {
            let name = self.graph.value_name(parameter.value);
            let count = element_count(&parameter.shape)?;
            let values = parameter.init.draw(seed, name, count, parameter.fans);
            let tensor = Tensor::new(parameter.shape, values)?;
            self.graph
                .initializers
                .insert(parameter.value, tensor.into());
        }
        if !self.constants.is_empty() {
            let names: Vec<String> = self.constants.into_iter().collect();
            self.graph
                .metadata
                .insert(CONSTANTS_KEY.to_owned(), names.join("\n"));
        }
        sardonyx_ops::infer(&mut self.graph)?;
        self.graph.verify()?;
        Ok(self.graph)
    }

    fn infer(&self, node: &Node, n_outputs: usize) -> Result<Vec<Inferred>> {
        let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        for &input in &inputs {
            self.fact(input)?;
        }
        let known = |id: ValueId| {
            let fact = self.graph.fact(id)?;
            let value = self.graph.constant(id);
            Some(Known {
                fact,
                value,
                dims: None,
            })
        };
        let cx = InferCx {
            node,
            inputs: node.inputs.iter().map(|id| id.and_then(known)).collect(),
            opset: OPSET,
        };
        let inferred = lookup(node, OPSET).and_then(|operator| operator.infer(&cx));
        let inferred = inferred.map_err(|error| ZooError::Layer {
            layer: self.layer.clone(),
            op: node.op_type.clone(),
            inputs: self.facts(&inputs),
            problem: match error {
                OpError::Invalid { problem, .. } | OpError::Unsupported { problem, .. } => problem,
                other => other.to_string(),
            },
        })?;
        assert!(
            inferred.len() >= n_outputs,
            "{} has no {n_outputs} outputs",
            node.op_type
        );
        Ok(inferred)
    }

    /// The full name of the layer's `suffix`, if no other value has it.
    fn free_name(&self, suffix: &str) -> Result<String> {
        let name = join(&self.layer, suffix);
        if self.graph.find_value(&name).is_some() {
            return Err(ZooError::NameTaken { name });
        }
        Ok(name)
    }

    fn facts(&self, inputs: &[ValueId]) -> String {
        let text = |&id: &ValueId| match self.fact(id) {
            Ok(fact) => fact.to_string(),
            Err(_) => "unknown".to_owned(),
        };
        match inputs.iter().map(text).collect::<Vec<_>>().as_slice() {
            [] => "no input".to_owned(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        }
    }
}

/// Two parts of a name with a dot between them, unless one is empty.
pub(crate) fn join(head: &str, tail: &str) -> String {
    match (head, tail) {
        ("", tail) => tail.to_owned(),
        (head, "") => head.to_owned(),
        (head, tail) => format!("{head}.{tail}"),
    }
}
