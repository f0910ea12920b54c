//! What a model takes and gives, as every door describes it.

use sardonyx_data::InputSpec;
use sardonyx_ir::{Dim, Graph, ValueId};
use sardonyx_tensor::DType;
use sardonyx_train::{INPUT_KEY, input_spec};
use sardonyx_wire::TensorSpec;

use crate::error::{Result, ServeError, invalid};

/// Inputs and outputs of a model, and how they may be batched.
#[derive(Debug, Clone)]
pub struct Signature {
    /// What is fed, in the order of the model.
    pub inputs: Vec<TensorSpec>,
    /// What is answered, in the order of the model.
    pub outputs: Vec<TensorSpec>,
    /// Whether samples of different requests may share a run: all inputs and outputs have the
    /// samples along their first axis, and the model treats samples apart.
    pub is_batched: bool,
    /// Names of the classes of a classifier.
    pub classes: Option<Vec<String>>,
    /// What pictures are brought into, where the model says that it takes pictures.
    pub image: Option<InputSpec>,
}

impl Signature {
    /// The signature of a graph whose shapes were inferred.
    ///
    /// # Errors
    /// When the type or rank of an input or output is not known.
    pub fn of(graph: &Graph) -> Result<Signature> {
        let fed = |id: &&ValueId| !graph.initializers.contains_key(id);
        let inputs: Vec<ValueId> = graph.inputs.iter().filter(fed).copied().collect();
        let image = image_spec(graph)?.filter(|_| inputs.len() == 1);
        let mut signature = Signature {
            inputs: specs(graph, &inputs)?,
            outputs: specs(graph, &graph.outputs)?,
            is_batched: is_batched(graph, &inputs),
            classes: sardonyx_model::class_names(graph).map_err(invalid)?,
            image,
        };
        if signature.image.is_some() {
            signature.inputs[0].takes_bytes = true;
        }
        Ok(signature)
    }

    /// Index of the input of this name.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|spec| spec.name == name)
    }

    /// Index of the output of this name.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|spec| spec.name == name)
    }

    /// The shapes of one sample of every input; `None` where one has a size that only a request
    /// tells.
    pub fn sample_shapes(&self) -> Option<Vec<Vec<usize>>> {
        let skip = usize::from(self.is_batched);
        let sample = |spec: &TensorSpec| spec.dims.iter().skip(skip).copied().collect();
        self.inputs.iter().map(sample).collect()
    }
}

/// Pictures are taken only where the model's own metadata says so: other models of the same shape
/// may expect samples that were scaled already.
fn image_spec(graph: &Graph) -> Result<Option<InputSpec>> {
    if !graph.metadata.contains_key(INPUT_KEY) {
        return Ok(None);
    }
    let spec = input_spec(graph).map_err(invalid)?;
    Ok(matches!(spec, InputSpec::Image { .. }).then_some(spec))
}

fn specs(graph: &Graph, ids: &[ValueId]) -> Result<Vec<TensorSpec>> {
    ids.iter().map(|&id| spec(graph, id)).collect()
}

fn spec(graph: &Graph, id: ValueId) -> Result<TensorSpec> {
    let name = graph.value_name(id);
    let fact = graph.fact(id);
    let Some((dtype, shape)) = fact.and_then(|fact| Some((fact.dtype, fact.shape.as_ref()?)))
    else {
        return Err(ServeError::new(
            crate::Code::FailedPrecondition,
            format!("the rank of '{name}' is not known; hint: export the model with its shapes"),
        ));
    };
    let dims = shape.iter().map(Dim::value).collect();
    Ok(TensorSpec::new(name, dtype, dims))
}

fn is_batched(graph: &Graph, inputs: &[ValueId]) -> bool {
    let has_text = inputs.iter().chain(&graph.outputs).any(|&id| {
        graph
            .fact(id)
            .is_none_or(|fact| fact.dtype == DType::String)
    });
    !has_text && sardonyx_passes::treats_samples_apart(graph)
}
