//! Networks over sequences: a transformer encoder and recurrent classifiers.

use super::Blueprint;
use crate::layers::{Embedding, Recurrent, RecurrentKind, SelfAttention};
use crate::{Defaults, Init, Input, Model};

/// Heads of the attention, which must divide the width.
const HEADS: usize = 4;
/// Encoder layers.
const LAYERS: usize = 4;
/// Units between the two dense layers of an encoder layer.
const FEED_FORWARD: usize = 512;
/// Width of the embedded tokens.
const WIDTH: usize = 128;

/// An encoder (Vaswani et al., arXiv 1706.03762) with normalization after each residual sum, the
/// mean over the steps, and a dense head. The width is that of the features.
pub(super) fn text_transformer(blueprint: Blueprint) -> Model {
    let defaults = Defaults {
        weight: Init::GLOROT_UNIFORM,
        bias: Init::ZEROS,
        ..Defaults::PYTORCH
    };
    let (mut model, width) = match blueprint.vocabulary {
        None => {
            let width = blueprint.input.last().copied().unwrap_or(WIDTH);
            (blueprint.start().defaults(defaults), width)
        }
        Some(vocabulary) => {
            let tokens = Input::tokens(blueprint.input[0]);
            let embedding = Embedding::new(vocabulary, WIDTH).weight(Init::Normal(0.02));
            let model = blueprint.start_with(tokens).defaults(defaults);
            (model.layer(embedding).positional_embedding(), WIDTH)
        }
    };
    for index in 0..LAYERS {
        model = model.scope(&format!("layer{index}"), |model| encoder(model, width));
    }
    model
        .mean(1)
        .layer_as("head", crate::layers::Dense::new(blueprint.classes))
}

fn encoder(model: Model, width: usize) -> Model {
    model
        .residual(|model| model.layer_as("attention", SelfAttention::new(HEADS)))
        .layer_norm()
        .residual(|model| model.dense(FEED_FORWARD).relu().dense(width))
        .layer_norm()
}

pub(super) fn rnn(blueprint: Blueprint) -> Model {
    recurrent(&blueprint, RecurrentKind::Rnn)
}

pub(super) fn gru(blueprint: Blueprint) -> Model {
    recurrent(&blueprint, RecurrentKind::Gru)
}

pub(super) fn lstm(blueprint: Blueprint) -> Model {
    recurrent(&blueprint, RecurrentKind::Lstm)
}

fn recurrent(blueprint: &Blueprint, cell: RecurrentKind) -> Model {
    blueprint
        .start()
        .layer(Recurrent::new(cell, 128))
        .dense(blueprint.classes)
}
