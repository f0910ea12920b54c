//! Made-up inputs of the types and shapes that a model declares.

use std::collections::{BTreeMap, BTreeSet};

use sardonyx_ir::{Dim, Fact, Graph, ValueId};
use sardonyx_tensor::{DType, Data, Philox, Tensor};

use super::WorkloadOptions;
use crate::error::{Error, Result};

/// Samples of a training step and of a prediction, when nothing says otherwise.
const TRAIN_BATCH: usize = 32;
const PREDICT_BATCH: usize = 1;

/// A size for everything in the shapes of the inputs that is not a number.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    /// By the names of symbols, that of the batch included.
    pub(super) dims: BTreeMap<String, usize>,
}

/// The sizes that the options give the symbols of the model's inputs. The batch is the first
/// dimension of the first input.
///
/// # Errors
/// When a symbol has no size, a size has no symbol, or the model fixes another batch.
pub(super) fn sizes(graph: &Graph, options: &WorkloadOptions) -> Result<Sizes> {
    let symbols = symbols(graph);
    let mut dims = options.dims.clone();
    if let Some(name) = dims.keys().find(|name| !symbols.contains(*name)) {
        let known: Vec<&str> = symbols.iter().map(String::as_str).collect();
        let hint = match &known[..] {
            [] => "its inputs have fixed shapes".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        let problem = format!("the model has no dimension `{name}`; hint: {hint}");
        return Err(Error::config("dim", problem));
    }
    let batch = batch(graph, options, &mut dims)?;
    if let Some(name) = symbols.iter().find(|name| !dims.contains_key(*name)) {
        let problem = format!(
            "the model's inputs have the dimension `{name}`, of which the size is not known; \
             hint: `--dim '{name}=64'` gives it one"
        );
        return Err(Error::config("dim", problem));
    }
    if let Some(name) = dims.keys().find(|name| dims[*name] == 0) {
        let problem = format!("`{name}` cannot be 0");
        return Err(Error::config("dim", problem));
    }
    Ok(Sizes { batch, dims })
}

fn batch(
    graph: &Graph,
    options: &WorkloadOptions,
    dims: &mut BTreeMap<String, usize>,
) -> Result<usize> {
    let usual = match options.train {
        Some(_) => TRAIN_BATCH,
        None => PREDICT_BATCH,
    };
    let first = fed(graph).find_map(|id| graph.fact(id)?.shape.as_ref()?.first());
    let symbol = first.and_then(|dim| dim.symbols().next());
    let fixed = first.and_then(Dim::value);
    let batch = match (symbol, options.batch) {
        (Some(symbol), wanted) => {
            let given = dims.get(symbol).copied();
            let batch = wanted.or(given).unwrap_or(usual);
            dims.insert(symbol.to_owned(), batch);
            batch
        }
        // A step gives the batch its own size, whatever the model fixes.
        (None, Some(wanted)) if options.train.is_some() => wanted,
        (None, Some(wanted)) if fixed != Some(wanted) => {
            let found = fixed.unwrap_or(1);
            let problem = format!(
                "the model has a fixed batch of {found}; hint: leave out `--batch`, or export it \
                 with a dynamic batch"
            );
            return Err(Error::config("batch", problem));
        }
        (None, _) => fixed.unwrap_or(usual),
    };
    match batch {
        0 => Err(Error::config(
            "batch",
            "0 will not do, it must be 1 or more",
        )),
        batch => Ok(batch),
    }
}

/// Inputs that have no default.
fn fed(graph: &Graph) -> impl Iterator<Item = ValueId> {
    let inputs = graph.inputs.iter().copied();
    inputs.filter(|id| !graph.initializers.contains_key(id))
}

fn symbols(graph: &Graph) -> BTreeSet<String> {
    let facts = fed(graph).filter_map(|id| graph.fact(id));
    let dims = facts.flat_map(|fact| fact.shape.iter().flatten());
    dims.flat_map(Dim::symbols).map(str::to_owned).collect()
}

fn bound(fact: &Fact, sizes: &Sizes) -> Fact {
    let mut fact = fact.clone();
    for dim in fact.shape.iter_mut().flatten() {
        if let Some(number) = dim.bind(|name| sizes.dims.get(name).copied()) {
            *dim = number;
        }
    }
    fact
}

/// Gives the shapes of the inputs their sizes.
pub(super) fn fix(graph: &mut Graph, sizes: &Sizes) {
    for id in graph.inputs.clone() {
        let fact = graph.fact(id).map(|fact| bound(fact, sizes));
        let first = fed(graph).next() == Some(id);
        let fact = fact.map(|mut fact| {
            let batch = fact.shape.as_mut().and_then(|shape| shape.first_mut());
            if let Some(batch) = batch.filter(|_| first) {
                *batch = Dim::known(sizes.batch);
            }
            fact
        });
        graph.set_fact(id, fact);
    }
}

/// A tensor for each input that has no default: floats are normal, integers are 1 (a token, a
/// place, a mask), the same ones every time.
///
/// # Errors
/// When the type or the rank of an input is not known, or a shape passes a limit.
pub(super) fn tensors(graph: &Graph, sizes: &Sizes) -> Result<Vec<Tensor>> {
    let mut random = Philox::new(0, 0);
    let make = |id: ValueId| {
        let fact = graph.fact(id).map(|fact| bound(fact, sizes));
        let shape = fact.as_ref().and_then(Fact::fixed_shape);
        let Some((fact, shape)) = fact.zip(shape) else {
            let name = graph.value_name(id);
            let problem = format!("the shape of the input `{name}` is not known");
            return Err(Error::config("model", problem));
        };
        let zeros = Tensor::zeros(fact.dtype, shape.clone())?;
        let data = match zeros.into_data() {
            Data::I8(values) => Data::I8(vec![1; values.len()]),
            Data::I16(values) => Data::I16(vec![1; values.len()]),
            Data::I32(values) => Data::I32(vec![1; values.len()]),
            Data::I64(values) => Data::I64(vec![1; values.len()]),
            Data::U8(values) => Data::U8(vec![1; values.len()]),
            Data::U16(values) => Data::U16(vec![1; values.len()]),
            Data::U32(values) => Data::U32(vec![1; values.len()]),
            Data::U64(values) => Data::U64(vec![1; values.len()]),
            Data::Bool(values) => Data::Bool(vec![true; values.len()]),
            Data::String(values) => Data::String(values),
            floats => return normal(fact.dtype, shape, floats.len(), &mut random),
        };
        Ok(Tensor::from_data(shape, data)?)
    };
    fed(graph).map(make).collect()
}

fn normal(dtype: DType, shape: Vec<usize>, len: usize, random: &mut Philox) -> Result<Tensor> {
    let values = (0..len).map(|_| random.normal()).collect();
    Ok(Tensor::from_f64(dtype, shape, values)?)
}
