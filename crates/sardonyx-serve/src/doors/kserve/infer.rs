//! An infer request, whatever it was encoded as.

use std::borrow::Cow;

use sardonyx_tensor::Tensor;
use sardonyx_wire::kserve::{InferReply, InferRequest, ReplyOutput, classify, datatype};
use sardonyx_wire::{TensorSpec, Value};

use super::super::run::Question;
use crate::error::{Result, ServeError};
use crate::servable::Servable;

/// What the answer to a request has to have.
#[derive(Debug)]
pub(super) struct Wishes {
    id: String,
    outputs: Vec<Wish>,
}

/// An output that is wanted.
#[derive(Debug)]
struct Wish {
    index: usize,
    is_binary: bool,
    /// How many of the highest classes take its place; 0 for the output itself.
    classes: usize,
}

/// The request as the core takes it.
///
/// # Errors
/// When it does not suit the model's signature.
pub(super) fn question(servable: &Servable, request: InferRequest) -> Result<Question<Wishes>> {
    check_inputs(servable, &request)?;
    let outputs = wishes(servable, &request)?;
    let priority = request.priority.saturating_sub(1);
    let timeout_us = request.timeout_us;
    let named = request.inputs.into_iter();
    let inputs = servable.bind(named.map(|input| (Cow::Owned(input.name), input.value)))?;
    Ok(Question {
        inputs,
        // 1 is the highest, and what says nothing is as urgent: nobody overtakes by saying so.
        priority,
        timeout_us,
        id: request.id.clone(),
        rest: Wishes {
            id: request.id,
            outputs,
        },
    })
}

/// Names of inputs, with the words that Triton has for it.
fn check_inputs(servable: &Servable, request: &InferRequest) -> Result<()> {
    let (specs, model) = (&servable.signature().inputs, servable.name());
    let is_known = |name: &str| specs.iter().any(|spec| spec.name == name);
    if let Some(unknown) = request.inputs.iter().find(|input| !is_known(&input.name)) {
        let name = &unknown.name;
        let message = format!("unexpected inference input '{name}' for model '{model}'");
        return Err(ServeError::invalid(message));
    }
    for input in &request.inputs {
        let spec = specs.iter().find(|spec| spec.name == input.name);
        spec.map_or(Ok(()), |spec| check_kind(spec, &input.value, model))?;
    }
    let is_given = |name: &str| request.inputs.iter().any(|input| input.name == name);
    let missing: Vec<String> = specs
        .iter()
        .filter(|spec| !is_given(&spec.name))
        .map(|spec| format!("'{}'", spec.name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let id = if request.id.is_empty() {
        "<id_unknown>"
    } else {
        &request.id
    };
    let given: Vec<String> = (request.inputs.iter())
        .map(|input| format!("'{}'", input.name))
        .collect();
    Err(ServeError::invalid(format!(
        "[request id: {id}] expected {} inputs but got {} inputs for model '{model}'. Got input(s) \
         [{}], but missing required input(s) [{}]. Please provide all required input(s).",
        specs.len(),
        request.inputs.len(),
        given.join(","),
        missing.join(","),
    )))
}

/// The element type of an input, in the protocol's names.
fn check_kind(spec: &TensorSpec, value: &Value, model: &str) -> Result<()> {
    let is_file = spec.takes_bytes && matches!(value, Value::Bytes(_));
    if is_file || value.dtype() == spec.dtype {
        return Ok(());
    }
    let (name, found, wanted) = (&spec.name, datatype(value.dtype()), datatype(spec.dtype));
    Err(ServeError::invalid(format!(
        "inference input '{name}' data-type is '{found}', but model '{model}' expects '{wanted}'"
    )))
}

fn wishes(servable: &Servable, request: &InferRequest) -> Result<Vec<Wish>> {
    let signature = servable.signature();
    if request.outputs.is_empty() {
        let all = signature.outputs.iter().enumerate();
        let wish = |(index, spec): (usize, &TensorSpec)| Wish {
            index,
            is_binary: request.is_binary(&spec.name),
            classes: 0,
        };
        return Ok(all.map(wish).collect());
    }
    let wish = |output: &sardonyx_wire::kserve::RequestedOutput| {
        let index = signature.output_index(&output.name).ok_or_else(|| {
            ServeError::invalid(format!(
                "unexpected inference output '{}' for model '{}'",
                output.name,
                servable.name()
            ))
        })?;
        Ok(Wish {
            index,
            is_binary: request.is_binary(&output.name),
            classes: output.classification,
        })
    };
    let wished = request.outputs.iter().map(wish);
    let wished: Vec<Wish> = wished.collect::<Result<_>>()?;
    let mut seen = vec![false; signature.outputs.len()];
    for wish in &wished {
        if std::mem::replace(&mut seen[wish.index], true) {
            let name = &signature.outputs[wish.index].name;
            return Err(ServeError::invalid(format!(
                "output '{name}' is asked for twice"
            )));
        }
    }
    Ok(wished)
}

/// The answer, as `encode` writes it.
///
/// # Errors
/// When an output has no classes, or those of `encode`.
pub(super) fn answer<A>(
    servable: &Servable,
    wishes: &Wishes,
    outputs: &[Tensor],
    encode: impl FnOnce(&InferReply<'_>) -> Result<A>,
) -> Result<A> {
    let signature = servable.signature();
    let labels = signature.classes.as_deref().unwrap_or_default();
    let classes = wishes.outputs.iter().map(|wish| {
        let is_wanted = wish.classes > 0;
        let made = is_wanted.then(|| classify(&outputs[wish.index], wish.classes, labels));
        made.transpose()
    });
    let classes: Vec<Option<Tensor>> = classes.collect::<Result<_>>()?;
    let wished = wishes.outputs.iter().zip(&classes);
    let wished = wished.map(|(wish, classes)| ReplyOutput {
        name: &signature.outputs[wish.index].name,
        tensor: classes.as_ref().unwrap_or(&outputs[wish.index]),
        binary: wish.is_binary,
    });
    encode(&InferReply {
        model_name: servable.name(),
        model_version: &servable.version().to_string(),
        id: &wishes.id,
        outputs: wished.collect(),
    })
}
