//! Parameters in the kernels' layout. Where a parameter is only read through a chain of reshapes,
//! transposes and packing, the chain is applied to the parameter itself, once, and the result is
//! the parameter from then on: through training, its gradient and its optimizer state have that
//! layout too. [`Layout`] leads back, for saving.

use std::sync::Arc;

use sardonyx_ir::{Graph, Node, NodeId, ValueId};
use sardonyx_ops::ops::panels::pack_into;
use sardonyx_ops::{EvalCx, MAX_OPSET, OpError, Result, known};
use sardonyx_tensor::{DType, Tensor};

/// How a parameter was brought into the layout of a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    steps: Vec<Step>,
}

/// One operator of the chain, with the constant that it reads and the shape that it started from.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    node: Node,
    constant: Option<Tensor>,
    from: Vec<usize>,
}

impl Layout {
    /// Whether the parameter kept its own layout.
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// `tensor`, in the parameter's own layout, in that of the plan.
    ///
    /// # Errors
    /// When it does not have the parameter's shape.
    pub fn apply(&self, tensor: &Tensor) -> Result<Tensor> {
        let mut made = None;
        for step in &self.steps {
            made = Some(step.apply(made.as_ref().unwrap_or(tensor))?);
        }
        Ok(made.unwrap_or_else(|| tensor.clone()))
    }

    /// `tensor`, in the plan's layout, in the parameter's own.
    ///
    /// # Errors
    /// When it does not have the plan's shape.
    pub fn undo(&self, tensor: &Tensor) -> Result<Tensor> {
        self.steps
            .iter()
            .rev()
            .try_fold(tensor.clone(), |tensor, step| step.undo(&tensor))
    }
}

impl Step {
    fn apply(&self, tensor: &Tensor) -> Result<Tensor> {
        let inputs = [Some(tensor), self.constant.as_ref()];
        run(&self.node, &inputs[..self.node.inputs.len()])
    }

    fn undo(&self, tensor: &Tensor) -> Result<Tensor> {
        let mut node = self.node.clone();
        match node.op_type.as_str() {
            "Transpose" => {
                let axes = sardonyx_ops::ops::transpose::permutation(&node, tensor.rank())?;
                let mut inverse = vec![0; axes.len()];
                for (to, &from) in axes.iter().enumerate() {
                    inverse[from] = to as i64;
                }
                node.attributes.insert("perm".to_owned(), inverse.into());
                run(&node, &[Some(tensor)])
            }
            "PackPanels" => {
                "UnpackPanels".clone_into(&mut node.op_type);
                node.attributes
                    .insert("shape".to_owned(), self.from[..].into());
                run(&node, &[Some(tensor)])
            }
            _ => Ok(tensor.clone().reshape(self.from.clone())?),
        }
    }
}

fn run(node: &Node, inputs: &[Option<&Tensor>]) -> Result<Tensor> {
    let operator = known(node)?;
    let cx = EvalCx {
        node,
        inputs: inputs.to_vec(),
        opset: MAX_OPSET,
    };
    let mut outputs = operator.eval(&cx)?;
    Ok(outputs.swap_remove(0))
}

/// A parameter that was brought into another layout.
#[derive(Debug, Clone)]
pub struct Hoisted {
    /// The parameter as the model has it; it is no longer read.
    pub parameter: ValueId,
    /// The parameter as the plan has it: an initializer.
    pub packed: ValueId,
    /// How the one became the other.
    pub layout: Layout,
}

/// A parameter that is to go through a chain of operators, taken out of the graph.
#[derive(Debug, Clone)]
pub struct Packing {
    parameter: ValueId,
    tensor: Arc<Tensor>,
    /// The chain, with the constants that it reads.
    nodes: Vec<(Node, Option<Tensor>)>,
    output: ValueId,
}

impl Packing {
    /// The value that the chain makes.
    pub fn packed(&self) -> ValueId {
        self.output
    }

    /// Whether `other` takes the same values through the same chain.
    pub fn makes_same(&self, other: &Packing) -> bool {
        let same_step = |((a, x), (b, y)): (&(Node, _), &(Node, _))| {
            a.op_type == b.op_type && a.attributes == b.attributes && x == y
        };
        self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same_step)
            && (Arc::ptr_eq(&self.tensor, &other.tensor) || self.tensor == other.tensor)
    }

    /// The parameter's new tensor and its layout.
    fn run(self) -> Result<(Tensor, Layout)> {
        let mut layout = Layout::default();
        let mut tensor = self.tensor;
        for (node, constant) in self.nodes {
            let from = tensor.shape().to_vec();
            let step = Step {
                node,
                constant,
                from,
            };
            tensor = Arc::new(step.apply(&tensor)?);
            layout.steps.push(step);
        }
        Ok((Arc::unwrap_or_clone(tensor), layout))
    }

    /// Writes the packed parameter into `out`, which has its length and is zero.
    ///
    /// # Errors
    /// When the chain's operators are malformed.
    ///
    /// # Panics
    /// When `out` has another length.
    pub fn run_into(self, out: &mut [f32]) -> Result<()> {
        let Packing { nodes, tensor, .. } = self;
        let mut tensor = tensor;
        let Some(((last, _), before)) = nodes.split_last() else {
            out.copy_from_slice(tensor.values::<f32>()?);
            return Ok(());
        };
        for (node, constant) in before {
            let inputs = [Some(tensor.as_ref()), constant.as_ref()];
            tensor = Arc::new(run(node, &inputs[..node.inputs.len()])?);
        }
        pack_into(last, tensor.shape(), tensor.values::<f32>()?, out)
    }

    /// Whether [`Packing::run_into`] does for it.
    fn can_wait(&self, graph: &Graph) -> bool {
        let fact = graph.fact(self.output);
        let is_fixed = fact.is_some_and(|fact| fact.fixed_shape().is_some());
        let last = self.nodes.last();
        let packs = last.is_some_and(|(node, _)| node.is_own("PackPanels"));
        packs && is_fixed && self.tensor.dtype() == DType::F32
    }

    /// The parameter's new tensor, in the graph.
    fn finish(self, graph: &mut Graph, consumers: &[Vec<NodeId>]) -> Result<Hoisted> {
        let (parameter, output) = (self.parameter, self.output);
        let (tensor, layout) = self.run()?;
        let name = format!("{}/packed", graph.value_name(parameter));
        let packed = graph.add_initializer(&name, tensor);
        replace(graph, &consumers[output.index()], output, packed);
        Ok(Hoisted {
            parameter,
            packed,
            layout,
        })
    }
}

/// Applies the layout chain of every initializer that is read only through one.
///
/// # Errors
/// When a chain's operators are malformed.
pub fn hoist(graph: &mut Graph) -> Result<Vec<Hoisted>> {
    let consumers = graph.consumers();
    let parameters: Vec<ValueId> = graph.initializers.keys().copied().collect();
    let mut hoisted = Vec::new();
    for parameter in parameters {
        if let Some(packing) = take_chain(graph, &consumers, parameter)? {
            hoisted.push(packing.finish(graph, &consumers)?);
        }
    }
    Ok(hoisted)
}

/// As [`hoist`], but that parameters which end packed are left to be packed where they are to lie:
/// until then they are inputs of the graph, behind its own.
///
/// # Errors
/// As [`hoist`].
pub fn hoist_later(graph: &mut Graph) -> Result<Vec<Packing>> {
    let consumers = graph.consumers();
    let parameters: Vec<ValueId> = graph.initializers.keys().copied().collect();
    let mut later = Vec::new();
    for parameter in parameters {
        match take_chain(graph, &consumers, parameter)? {
            Some(packing) if packing.can_wait(graph) => later.push(packing),
            Some(packing) => {
                packing.finish(graph, &consumers)?;
            }
            None => {}
        }
    }
    graph.inputs.extend(later.iter().map(Packing::packed));
    Ok(later)
}

/// Takes the chain of a parameter out of the graph, and the parameter's tensor with it.
fn take_chain(
    graph: &mut Graph,
    consumers: &[Vec<NodeId>],
    parameter: ValueId,
) -> Result<Option<Packing>> {
    if graph.constant(parameter).is_none() {
        return Ok(None);
    }
    let chain = chain(graph, consumers, parameter);
    let Some(&last) = chain.last() else {
        return Ok(None);
    };
    let output = graph.node(last).output(0);
    let output =
        output.ok_or_else(|| OpError::invalid(graph.node(last), "it has no output".to_owned()))?;
    let mut nodes = Vec::with_capacity(chain.len());
    for id in chain {
        let node = graph.node(id).clone();
        let constant = node.input(1).and_then(|id| graph.constant(id));
        let constant = constant.map(|tensor| tensor.as_ref().clone());
        graph.remove_node(id);
        nodes.push((node, constant));
    }
    let tensor = graph.initializers.remove(&parameter);
    let tensor = tensor.expect("the chain starts at an initializer");
    Ok(Some(Packing {
        parameter,
        tensor,
        nodes,
        output,
    }))
}

/// Lets the graph's outputs, and `readers`, which are all nodes that read `old`, use `new`.
fn replace(graph: &mut Graph, readers: &[NodeId], old: ValueId, new: ValueId) {
    let change = |value: &mut ValueId| {
        if *value == old {
            *value = new;
        }
    };
    graph.outputs.iter_mut().for_each(change);
    for &reader in readers {
        if graph.get_node(reader).is_some() {
            let inputs = graph.node_mut(reader).inputs.iter_mut();
            inputs.flatten().for_each(change);
        }
    }
}

/// The layout operators that `parameter` goes through, while each is the only reader.
fn chain(graph: &Graph, consumers: &[Vec<NodeId>], parameter: ValueId) -> Vec<NodeId> {
    let mut chain = Vec::new();
    let mut value = parameter;
    while let [id] = consumers[value.index()][..] {
        // A chain that was hoisted before may have read this value too, as a shape.
        let Some(node) = graph.get_node(id) else {
            break;
        };
        let moves = node.is("Reshape") || node.is("Transpose") || node.is_own("PackPanels");
        let constant = node.input(1).is_none_or(|id| graph.constant(id).is_some());
        let is_read = node.input(0) == Some(value) && !graph.outputs.contains(&value);
        let Some(output) = node.output(0).filter(|_| moves && constant && is_read) else {
            break;
        };
        chain.push(id);
        value = output;
    }
    // A chain gains something only where it ends in packing, or in what a kernel reads as it is.
    if !is_kernel_weight(graph, consumers, value) {
        let end = chain
            .iter()
            .rposition(|&id| graph.node(id).is_own("PackPanels"));
        chain.truncate(end.map_or(0, |end| end + 1));
    }
    chain
}

/// Whether all that reads `value` takes it as a weight in a layout of its own.
fn is_kernel_weight(graph: &Graph, consumers: &[Vec<NodeId>], value: ValueId) -> bool {
    let reads = |&id: &NodeId| {
        let node = graph.get_node(id);
        node.is_some_and(|node| node.is_own("DepthwiseConvNhwc") && node.input(1) == Some(value))
    };
    let readers = &consumers[value.index()];
    !readers.is_empty() && readers.iter().all(reads)
}
