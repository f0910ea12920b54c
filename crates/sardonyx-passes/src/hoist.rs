//! Parameters in the kernels' layout. Where a parameter is only read through a chain of reshapes,
//! transposes and packing, the chain is applied to the parameter itself, once, and the result is
//! the parameter from then on: through training, its gradient and its optimizer state have that
//! layout too. [`Layout`] leads back, for saving.

use std::sync::{Arc, Mutex, PoisonError};

use sardonyx_ir::{Graph, Node, NodeId, ValueId};
use sardonyx_ops::{EvalCx, MAX_OPSET, OpError, Result, known};
use sardonyx_tensor::Tensor;

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

/// Calls a function once for every index below a number, in any order, on any threads.
pub type Each<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Sync));

/// A parameter that is to go through a chain.
struct Job {
    parameter: ValueId,
    tensor: Arc<Tensor>,
    /// The chain, with the constants that it reads, and the value that it makes.
    nodes: Vec<(Node, Option<Tensor>)>,
    output: ValueId,
}

impl Job {
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
}

/// Applies the layout chain of every initializer that is read only through one. The chains run
/// through `each`.
///
/// # Errors
/// When a chain's operators are malformed.
pub fn hoist(graph: &mut Graph, each: Each<'_>) -> Result<Vec<Hoisted>> {
    let consumers = graph.consumers();
    let parameters: Vec<ValueId> = graph.initializers.keys().copied().collect();
    let mut ends = Vec::new();
    let mut jobs = Vec::new();
    for parameter in parameters {
        if let Some(job) = take_chain(graph, &consumers, parameter)? {
            ends.push((job.parameter, job.output));
            jobs.push(Mutex::new((Some(job), None)));
        }
    }
    // Each parameter is given back as soon as its chain has run.
    each(jobs.len(), &|index| {
        let mut job = jobs[index].lock().unwrap_or_else(PoisonError::into_inner);
        job.1 = job.0.take().map(Job::run);
    });
    let mut hoisted = Vec::new();
    for ((parameter, output), job) in ends.into_iter().zip(jobs) {
        let (_, made) = job.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (tensor, layout) = made.expect("every index was called")?;
        let name = format!("{}/packed", graph.value_name(parameter));
        let packed = graph.add_initializer(&name, tensor);
        replace(graph, &consumers[output.index()], output, packed);
        hoisted.push(Hoisted {
            parameter,
            packed,
            layout,
        });
    }
    Ok(hoisted)
}

/// Takes the chain of a parameter out of the graph, and the parameter's tensor with it.
fn take_chain(
    graph: &mut Graph,
    consumers: &[Vec<NodeId>],
    parameter: ValueId,
) -> Result<Option<Job>> {
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
    Ok(Some(Job {
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
