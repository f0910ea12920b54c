//! Networks that are a plain row of layers.

use super::Blueprint;
use crate::layers::{Conv2d, Padding};
use crate::{Defaults, Model};

/// Smallest height and width over which two unpadded 3x3 convolutions with halving pools leave
/// something.
const LEAST_UNPADDED: usize = 10;

/// Conv 32 3x3, pool, Conv 64 3x3, pool, Dense 128. Images below 10x10 get padded convolutions, as
/// unpadded ones would leave nothing to pool.
pub(super) fn seed_cnn(blueprint: Blueprint) -> Model {
    let sides = blueprint.input.iter().skip(1);
    let is_small = sides.into_iter().any(|&side| side < LEAST_UNPADDED);
    let padding = if is_small {
        Padding::Same
    } else {
        Padding::Valid
    };
    blueprint
        .start()
        .defaults(Defaults::KERAS)
        .layer(Conv2d::new(32, 3).padding(padding))
        .relu()
        .max_pool2d(2)
        .layer(Conv2d::new(64, 3).padding(padding))
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(128)
        .relu()
        .dense(blueprint.classes)
}

pub(super) fn mlp(blueprint: Blueprint) -> Model {
    dense_layers(&blueprint, &[512, 512])
}

pub(super) fn mlp_small(blueprint: Blueprint) -> Model {
    dense_layers(&blueprint, &[128])
}

fn dense_layers(blueprint: &Blueprint, hidden: &[usize]) -> Model {
    let mut model = blueprint.start().defaults(Defaults::KERAS);
    if blueprint.input.len() > 1 {
        model = model.flatten();
    }
    for &units in hidden {
        model = model.dense(units).relu();
    }
    model.dense(blueprint.classes)
}
