use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sardonyx_ir::{Graph, ValueId};
use sardonyx_kernels::{Isa, Memory, Pool};
use sardonyx_passes::trim_outputs;
use sardonyx_tensor::Tensor;

use crate::forward::{prepare_model, prepare_prediction};
use crate::plan::Plan;
use crate::store::Store;
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
/// shapes depend on its data is interpreted. All plans share their weights, as far as they need
/// them in the same layout, and run in the same memory.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    options: SessionOptions,
    plans: Vec<(Shapes, Ready)>,
    /// The plan that has the memory.
    active: usize,
}

/// Shapes of the inputs.
type Shapes = Vec<Vec<usize>>;

#[derive(Debug)]
enum Ready {
    Compiled(Box<Executable>),
    /// Some shape depends on data.
    Interpreted,
}

/// What sessions over one model have in common.
#[derive(Debug)]
struct Model {
    graph: Graph,
    common: Mutex<Common>,
}

#[derive(Debug, Default)]
struct Common {
    /// Constants of the first plan, for all others.
    store: Option<Store>,
    /// Plans that some session holds, with the number of threads that they are for.
    plans: Vec<(Shapes, usize, Weak<Plan>)>,
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
        prepare_model(&mut graph)?;
        let common = Mutex::default();
        Ok(Session {
            model: Arc::new(Model { graph, common }),
            options,
            plans: Vec::new(),
            active: 0,
        })
    }

    /// Another session over the same model, on the threads of `pool`: it shares plans and weights
    /// with this one, and runs in memory of its own.
    pub fn sibling(&self, pool: Arc<Pool>) -> Session {
        Session {
            model: Arc::clone(&self.model),
            options: SessionOptions {
                pool,
                ..self.options.clone()
            },
            plans: Vec::new(),
            active: 0,
        }
    }

    /// The model with its inputs and outputs in their order; what does not depend on inputs is
    /// computed. An output has another name than before where the node that named it did nothing
    /// and is gone.
    pub fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// Runs the model over `inputs`, in the order of its inputs, and returns its outputs in order.
    ///
    /// # Errors
    /// When the number, a type or a shape of the inputs is not what the model declares.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let outputs = self.graph().outputs.len();
        if let Some(executable) = self.executable(inputs)? {
            for (index, tensor) in inputs.iter().enumerate() {
                executable.set_input(index, tensor)?;
            }
            executable.run();
            return Ok((0..outputs).map(|index| executable.output(index)).collect());
        }
        let ids = self.graph().inputs.iter().copied();
        let feeds: BTreeMap<ValueId, Tensor> = ids.zip(inputs.iter().cloned()).collect();
        Ok(sardonyx_ops::interpret(self.graph(), &feeds)?)
    }

    /// The plan for inputs of these shapes, made if need be; `None` when they are interpreted. What
    /// it holds of inputs and outputs is undefined when inputs of other shapes came in between.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn executable(&mut self, inputs: &[Tensor]) -> Result<Option<&mut Executable>> {
        let index = self.plan(inputs)?;
        if index != self.active {
            let memory = self.take_memory();
            self.active = index;
            if let Ready::Compiled(executable) = &mut self.plans[index].1 {
                executable.give_memory(memory);
            }
        }
        match &mut self.plans[index].1 {
            Ready::Compiled(executable) => Ok(Some(executable)),
            Ready::Interpreted => Ok(None),
        }
    }

    /// The memory of the plan that ran last.
    fn take_memory(&mut self) -> Memory {
        match self.plans.get_mut(self.active) {
            Some((_, Ready::Compiled(executable))) => executable.take_memory(),
            _ => Memory::default(),
        }
    }

    fn plan(&mut self, inputs: &[Tensor]) -> Result<usize> {
        if inputs.len() != self.graph().inputs.len() {
            let (expected, found) = (self.graph().inputs.len(), inputs.len());
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
        let shapes: Shapes = inputs.iter().map(|t| t.shape().to_vec()).collect();
        let ready = match self.model.plan(&shapes, &self.options)? {
            None => Ready::Interpreted,
            Some(plan) => {
                let pool = Arc::clone(&self.options.pool);
                Ready::Compiled(Box::new(Executable::resting(plan, pool)?))
            }
        };
        let memory = self.take_memory();
        if self.plans.len() >= self.options.max_plans.max(1) {
            self.plans.remove(0);
        }
        self.plans.push((shapes, ready));
        self.active = self.plans.len() - 1;
        if let Ready::Compiled(executable) = &mut self.plans[self.active].1 {
            executable.give_memory(memory);
        }
        Ok(self.active)
    }

    fn check(&self, inputs: &[Tensor]) -> Result<()> {
        let graph = self.graph();
        for (&id, tensor) in graph.inputs.iter().zip(inputs) {
            if let Some(fact) = graph.fact(id)
                && !fact.admits(tensor.dtype(), tensor.shape())
            {
                return Err(EngineError::Feed {
                    name: graph.value_name(id).to_owned(),
                    expected: fact.to_string(),
                    found: tensor.dtype(),
                    shape: tensor.shape().to_vec(),
                });
            }
        }
        Ok(())
    }
}

impl Model {
    /// The plan for inputs of these shapes, from another session or made now; `None` when some
    /// shape depends on data. Sessions that come meanwhile wait: what one plans, all can use.
    fn plan(&self, shapes: &Shapes, options: &SessionOptions) -> Result<Option<Arc<Plan>>> {
        // A panic while planning leaves what was there.
        let mut common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = options.pool.threads();
        common.plans.retain(|(_, _, plan)| plan.strong_count() > 0);
        let mut known = common.plans.iter();
        let known = known.find(|(of, on, _)| of == shapes && *on == threads);
        if let Some(plan) = known.and_then(|(_, _, plan)| plan.upgrade()) {
            return Ok(Some(plan));
        }
        let made = self.compile(shapes, options, common.store.as_ref());
        let (plan, store) = match made {
            Err(EngineError::Dynamic { .. }) => return Ok(None),
            made => made?,
        };
        let plan = Arc::new(plan);
        common.store = common.store.take().or(store);
        let known = (shapes.clone(), threads, Arc::downgrade(&plan));
        common.plans.push(known);
        Ok(Some(plan))
    }

    fn compile(
        &self,
        shapes: &Shapes,
        options: &SessionOptions,
        store: Option<&Store>,
    ) -> Result<(Plan, Option<Store>)> {
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
        let later = prepare_prediction(&mut graph, &symbols, options.isa)?;
        trim_outputs(&mut graph);
        let compile = CompileOptions {
            isa: options.isa,
            pool: options.pool.clone(),
            tiling: options.tiling,
        };
        let (plan, _, store) = Plan::compile((&graph, &[]), later, &compile, store)?;
        Ok((plan, store))
    }
}
