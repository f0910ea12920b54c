//! VGG (Simonyan and Zisserman, arXiv 1409.1556), configurations A and D.

use super::Blueprint;
use crate::layers::{Conv2d, Dense};
use crate::{Defaults, Init, Model};

pub(super) fn vgg11(blueprint: Blueprint) -> Model {
    let stages: [&[usize]; 5] = [&[64], &[128], &[256, 256], &[512, 512], &[512, 512]];
    vgg(&blueprint, stages)
}

pub(super) fn vgg16(blueprint: Blueprint) -> Model {
    let stages: [&[usize]; 5] = [
        &[64, 64],
        &[128, 128],
        &[256, 256, 256],
        &[512, 512, 512],
        &[512, 512, 512],
    ];
    vgg(&blueprint, stages)
}

/// The classifier reads all that the last pool leaves: 7x7 of a 224x224 image, where torchvision's
/// adaptive pool does nothing. Of other sizes it has another number of weights.
fn vgg(blueprint: &Blueprint, stages: [&[usize]; 5]) -> Model {
    let mut model = blueprint.start().defaults(Defaults {
        weight: Init::HE_NORMAL_OUT,
        bias: Init::ZEROS,
        ..Defaults::PYTORCH
    });
    // Counted as torchvision's `features`, in which activations and pools have numbers too.
    let mut index = 0;
    for filters in stages {
        for &filters in filters {
            let name = format!("features.{index}");
            model = model.layer_as(&name, Conv2d::new(filters, 3).padding(1));
            model = model.relu();
            index += 2;
        }
        model = model.max_pool2d(2);
        index += 1;
    }
    let dense = |units| Dense::new(units).weight(Init::Normal(0.01));
    model
        .flatten()
        .layer_as("classifier.0", dense(4096))
        .relu()
        .dropout(0.5)
        .layer_as("classifier.3", dense(4096))
        .relu()
        .dropout(0.5)
        .layer_as("classifier.6", dense(blueprint.classes))
}
