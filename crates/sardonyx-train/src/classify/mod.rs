//! A trained classifier at work: on labelled data ([`evaluate`]), on data without labels
//! ([`predict`]), and what a model file says about the data it takes ([`input_spec`]).

mod classifier;
mod evaluate;
mod input;
mod input_spec;
mod predict;

pub use classifier::Classifier;
pub use evaluate::{Evaluation, evaluate};
pub(crate) use input::{adapt_input, detach};
pub(crate) use input_spec::describe_input;
pub use input_spec::{INPUT_KEY, input_spec};
pub use predict::{Guess, predict};
