use sardonyx_ir::{Dim, Graph, ValueId};

use crate::layers::Merge;
use crate::scope::{Scope, join};
use crate::{Defaults, Input, Layer, Result, Seed, ZooError};

/// A model under construction: layers are put one on the other, as in Keras's `Sequential`, and
/// [`Model::mark`], [`Model::at`], [`Model::add`] and [`Model::concat`] make branches. The first
/// error stops the construction, and [`Model::build`] returns it.
///
/// ```
/// use sardonyx_zoo::{Input, Model, Seed};
/// let graph = Model::new("digits", Input::image(1, 28, 28))
///     .conv2d(32, 3).relu().max_pool2d(2)
///     .flatten().dense(10).softmax()
///     .build(Seed(0))?;
/// assert_eq!(graph.value_name(graph.outputs[0]), "output");
/// # Ok::<(), sardonyx_zoo::ZooError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Model {
    scope: Scope,
    outputs: Vec<(String, ValueId)>,
    /// Where the next layer goes, or why there is no such place.
    here: Result<ValueId>,
}

/// A place in a [`Model`], to return to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle(Option<ValueId>);

impl Model {
    /// A model called `name` that is fed `input`.
    pub fn new(name: &str, input: Input) -> Model {
        let mut scope = Scope::new(name);
        let here = scope.add_input(input.name(), input.fact());
        Model {
            scope,
            outputs: Vec::new(),
            here,
        }
    }

    /// Another input, on which the next layer is put.
    pub fn input(mut self, input: Input) -> Model {
        let added = self.scope.add_input(input.name(), input.fact());
        self.here = self.here.and(added);
        self
    }

    /// Settings of the layers from here on that do not say otherwise.
    pub fn defaults(mut self, defaults: Defaults) -> Model {
        self.scope.defaults = defaults;
        self
    }

    /// Puts a layer here, called by its kind and a number.
    pub fn layer(self, layer: impl Layer) -> Model {
        self.put(None, &layer)
    }

    /// Puts a layer here under this name, which no other layer of the scope may have.
    pub fn layer_as(self, name: &str, layer: impl Layer) -> Model {
        self.put(Some(name), &layer)
    }

    fn put(mut self, name: Option<&str>, layer: &dyn Layer) -> Model {
        let scope = &mut self.scope;
        self.here = self.here.and_then(|here| scope.place(name, layer, here));
        self
    }

    /// The layers that `body` adds are called `name.` and their own name.
    pub fn scope(mut self, name: &str, body: impl FnOnce(Model) -> Model) -> Model {
        let inner = join(&self.scope.prefix, name);
        let outer = std::mem::replace(&mut self.scope.prefix, inner);
        let mut model = body(self);
        model.scope.prefix = outer;
        model
    }

    /// This place, to return to by [`Model::at`] or to merge with.
    pub fn mark(&self) -> Handle {
        Handle(self.here.as_ref().ok().copied())
    }

    /// The next layer goes to `place`.
    pub fn at(mut self, place: Handle) -> Model {
        let known = self.scope.graph.value_count();
        if self.here.is_ok() {
            let id = place.0.filter(|id| id.index() < known);
            self.here = id.ok_or_else(|| ZooError::ForeignHandle {
                layer: "at".to_owned(),
            });
        }
        self
    }

    /// The sum of this place and others of the same shape: the end of a skip connection.
    #[expect(clippy::should_implement_trait, reason = "it is named as the layer")]
    pub fn add(self, others: &[Handle]) -> Model {
        self.merge(Merge::Add, others)
    }

    /// The product of this place and others, broadcast as in numpy: a gate.
    pub fn multiply(self, others: &[Handle]) -> Model {
        self.merge(Merge::Multiply, others)
    }

    /// This place and others, one after the other along `axis`.
    pub fn concat(self, others: &[Handle], axis: usize) -> Model {
        self.merge(Merge::Concat(axis), others)
    }

    fn merge(mut self, merge: Merge, others: &[Handle]) -> Model {
        let scope = &mut self.scope;
        let others: Vec<Option<ValueId>> = others.iter().map(|handle| handle.0).collect();
        self.here = self.here.and_then(|here| merge.emit(scope, here, &others));
        self
    }

    /// What `body` makes of this place, plus this place.
    pub fn residual(self, body: impl FnOnce(Model) -> Model) -> Model {
        self.residual_with(body, |model| model)
    }

    /// What `body` makes of this place, plus what `shortcut` makes of it.
    pub fn residual_with(
        self,
        body: impl FnOnce(Model) -> Model,
        shortcut: impl FnOnce(Model) -> Model,
    ) -> Model {
        let start = self.mark();
        let model = body(self);
        let end = model.mark();
        let model = shortcut(model.at(start));
        let side = model.mark();
        model.at(end).add(&[side])
    }

    /// This place becomes an output of the model under this name. Without any, the last place is
    /// the only output, called `output`.
    pub fn output(mut self, name: &str) -> Model {
        if let Ok(here) = &self.here {
            self.outputs.push((name.to_owned(), *here));
        }
        self
    }

    /// Shape of this place, the batch first; `None` after an error.
    pub fn shape(&self) -> Option<Vec<Dim>> {
        let here = *self.here.as_ref().ok()?;
        self.scope.shape(here).ok()
    }

    /// Names of the trainable parameters so far, in the order of the layers.
    ///
    /// # Errors
    /// The first error of the layers.
    pub fn parameter_names(&self) -> Result<Vec<String>> {
        let names = self.scope.parameter_names();
        self.here.clone().map(|_| names)
    }

    /// Number of trainable parameters so far.
    ///
    /// # Errors
    /// The first error of the layers.
    pub fn parameter_count(&self) -> Result<usize> {
        let count = self.scope.parameter_count();
        self.here.clone().map(|_| count)
    }

    /// Draws the parameters and gives the finished graph, inferred and verified.
    ///
    /// # Errors
    /// The first error of the layers: shapes that do not fit, names taken twice.
    pub fn build(self, seed: Seed) -> Result<Graph> {
        let Model {
            mut scope,
            mut outputs,
            here,
        } = self;
        let here = here?;
        if outputs.is_empty() {
            outputs.push(("output".to_owned(), here));
        }
        for (name, id) in outputs {
            // An input or another output that is an output too keeps its name.
            let is_named = scope.graph.inputs.contains(&id) || scope.graph.outputs.contains(&id);
            if !is_named {
                if scope.graph.find_value(&name).is_some() {
                    return Err(ZooError::NameTaken { name });
                }
                scope.graph.rename_value(id, &name);
            }
            scope.graph.outputs.push(id);
        }
        scope.finish(seed)
    }
}
