//! MobileNetV2 (Sandler et al., arXiv 1801.04381).

use super::Blueprint;
use crate::layers::{BatchNorm, Conv2d, Dense};
use crate::{Defaults, Init, Model};

/// Expansion, channels, blocks and first stride of each stage: table 2 of the paper.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

pub(super) fn mobilenet_v2(blueprint: Blueprint) -> Model {
    let model = blueprint.start().defaults(Defaults {
        weight: Init::HE_NORMAL_OUT,
        bias: Init::ZEROS,
        ..Defaults::PYTORCH
    });
    let mut model = normed(model, "features.0", Conv2d::new(32, 3).stride(2).padding(1)).relu6();
    let (mut channels, mut index) = (32, 1);
    for [expansion, filters, blocks, first_stride] in STAGES {
        for block in 0..blocks {
            let block = Inverted {
                channels,
                hidden: channels * expansion,
                filters,
                stride: if block == 0 { first_stride } else { 1 },
            };
            model = model.scope(&format!("features.{index}"), |model| block.put(model));
            channels = filters;
            index += 1;
        }
    }
    normed(model, &format!("features.{index}"), Conv2d::new(1280, 1))
        .relu6()
        .global_avg_pool()
        .dropout(0.2)
        .layer_as(
            "classifier.1",
            Dense::new(blueprint.classes).weight(Init::Normal(0.01)),
        )
}

/// A convolution without bias called `name.0` and its normalization called `name.1`.
fn normed(model: Model, name: &str, conv: Conv2d) -> Model {
    model
        .layer_as(&format!("{name}.0"), conv.no_bias())
        .layer_as(&format!("{name}.1"), BatchNorm::new())
}

/// An inverted residual block.
#[derive(Debug, Clone, Copy)]
struct Inverted {
    channels: usize,
    hidden: usize,
    filters: usize,
    stride: usize,
}

impl Inverted {
    fn put(self, model: Model) -> Model {
        if self.stride == 1 && self.channels == self.filters {
            model.residual(|model| self.body(model))
        } else {
            self.body(model)
        }
    }

    fn body(self, mut model: Model) -> Model {
        let mut index = 0;
        if self.hidden != self.channels {
            model = normed(model, "conv.0", Conv2d::new(self.hidden, 1)).relu6();
            index = 1;
        }
        let depthwise = Conv2d::depthwise(3).stride(self.stride).padding(1);
        let model = normed(model, &format!("conv.{index}"), depthwise).relu6();
        let project = Conv2d::new(self.filters, 1).no_bias();
        model
            .layer_as(&format!("conv.{}", index + 1), project)
            .layer_as(&format!("conv.{}", index + 2), BatchNorm::new())
    }
}
