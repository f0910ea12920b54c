use std::collections::BTreeMap;
use std::sync::Arc;

use sardonyx_ir::{Graph, ValueId};
use sardonyx_kernels::{Isa, Pool};
use sardonyx_passes::trim_outputs;
use sardonyx_tensor::Tensor;

use crate::forward::prepare_prediction;
use crate::{CompileOptions, EngineError, Executable, Result, Tiling};

/// How a [`Session`] plans and runs.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Threads that run the plans.
    pub pool: Arc<Pool>,
    /// Most input shapes whose plans are kept; the oldest plan goes first.
    pub max_plans: usize,
    /// Whether samples of a batch go through a plan a few at a time.
    pub tiling: Tiling,
}

impl SessionOptions {
    /// The best instruction set of this machine, with `pool`'s threads.
    pub fn new(pool: Arc<Pool>) -> SessionOptions {
        SessionOptions {
            isa: Isa::detect(),
            pool,
            max_plans: 8,
            tiling: Tiling::default(),
        }
    }
}

/// A model that predicts. Each new combination of input shapes is planned once; a model whose
/// shapes depend on its data is interpreted.
#[derive(Debug)]
pub struct Session {
    graph: Graph,
    options: SessionOptions,
    plans: Vec<(Vec<Vec<usize>>, Plan)>,
}

#[derive(Debug)]
enum Plan {
    Compiled(Box<Executable>),
    /// Some shape depends on data.
    Interpreted,
}

impl Session {
    /// A session over `graph`. Inputs with an initializer need not be fed: they keep it.
    ///
    /// # Errors
    /// When the graph is malformed or an operator is not supported.
    pub fn new(graph: Graph, options: SessionOptions) -> Result<Session> {
        let mut graph = graph;
        let defaults = graph.initializers.keys().copied().collect::<Vec<_>>();
        graph.inputs.retain(|id| !defaults.contains(id));
        graph.verify()?;
        sardonyx_ops::infer(&mut graph)?;
        Ok(Session {
            graph,
            options,
            plans: Vec::new(),
        })
    }

    /// The model.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs the model over `inputs`, in the order of its inputs, and returns its outputs in order.
    ///
    /// # Errors
    /// When the number, a type or a shape of the inputs is not what the model declares.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let index = self.plan(inputs)?;
        match &mut self.plans[index].1 {
            Plan::Compiled(executable) => {
                for (index, tensor) in inputs.iter().enumerate() {
                    executable.set_input(index, tensor)?;
                }
                executable.run();
                Ok((0..self.graph.outputs.len())
                    .map(|index| executable.output(index))
                    .collect())
            }
            Plan::Interpreted => {
                let ids = self.graph.inputs.iter().copied();
                let feeds: BTreeMap<ValueId, Tensor> = ids.zip(inputs.iter().cloned()).collect();
                Ok(sardonyx_ops::interpret(&self.graph, &feeds)?)
            }
        }
    }

    /// The plan for inputs of these shapes, made if need be; `None` when they are interpreted.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn executable(&mut self, inputs: &[Tensor]) -> Result<Option<&mut Executable>> {
        let index = self.plan(inputs)?;
        match &mut self.plans[index].1 {
            Plan::Compiled(executable) => Ok(Some(executable)),
            Plan::Interpreted => Ok(None),
        }
    }

    fn plan(&mut self, inputs: &[Tensor]) -> Result<usize> {
        if inputs.len() != self.graph.inputs.len() {
            let (expected, found) = (self.graph.inputs.len(), inputs.len());
            return Err(EngineError::InputCount { expected, found });
        }
        let is_same = |shapes: &[Vec<usize>]| {
            shapes
                .iter()
                .map(Vec::as_slice)
                .eq(inputs.iter().map(Tensor::shape))
        };
        if let Some(index) = self.plans.iter().position(|(shapes, _)| is_same(shapes)) {
            return Ok(index);
        }
        self.check(inputs)?;
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|t| t.shape().to_vec()).collect();
        let plan = self.compile(&shapes)?;
        if self.plans.len() >= self.options.max_plans.max(1) {
            self.plans.remove(0);
        }
        self.plans.push((shapes, plan));
        Ok(self.plans.len() - 1)
    }

    fn check(&self, inputs: &[Tensor]) -> Result<()> {
        for (&id, tensor) in self.graph.inputs.iter().zip(inputs) {
            if let Some(fact) = self.graph.fact(id)
                && !fact.admits(tensor.dtype(), tensor.shape())
            {
                return Err(EngineError::Feed {
                    name: self.graph.value_name(id).to_owned(),
                    expected: fact.to_string(),
                    found: tensor.dtype(),
                    shape: tensor.shape().to_vec(),
                });
            }
        }
        Ok(())
    }

    fn compile(&self, shapes: &[Vec<usize>]) -> Result<Plan> {
        let mut graph = self.graph.clone();
        let mut symbols = BTreeMap::new();
        for (&id, shape) in self.graph.inputs.iter().zip(shapes) {
            let Some(mut fact) = graph.fact(id).cloned() else {
                continue;
            };
            for (dim, &size) in fact.shape.iter().flatten().zip(shape) {
                if let Some(symbol) = dim.symbols().next() {
                    symbols.entry(symbol.to_owned()).or_insert(size);
                }
            }
            fact.shape = Some(shape.iter().map(|&size| size.into()).collect());
            graph.set_fact(id, Some(fact));
        }
        let later = prepare_prediction(&mut graph, &symbols, self.options.isa)?;
        trim_outputs(&mut graph);
        let compile = CompileOptions {
            isa: self.options.isa,
            pool: self.options.pool.clone(),
            tiling: self.options.tiling,
        };
        match Executable::compile_packing(&graph, &[], later, &compile) {
            Ok(executable) => Ok(Plan::Compiled(Box::new(executable))),
            Err(EngineError::Dynamic { .. }) => Ok(Plan::Interpreted),
            Err(other) => Err(other),
        }
    }
}
