//! Residual networks (He, Zhang, Ren and Sun, arXiv 1512.03385), the stride of a bottleneck in its
//! 3x3 convolution as in torchvision.

use super::Blueprint;
use crate::layers::{BatchNorm, Conv2d, Pool2d};
use crate::{Defaults, Init, Model};

/// Kinds of residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1, the last with four times the filters.
    Bottleneck,
}

/// A residual network: blocks of each stage, and filters of the first, doubled at each next one.
#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    block: Block,
    stages: &'a [usize],
    filters: usize,
    /// A 7x7 convolution of stride 2 and a pool, for images of about 224x224, or a 3x3
    /// convolution.
    has_large_stem: bool,
}

pub(super) fn resnet18(blueprint: Blueprint) -> Model {
    let plan = Plan {
        block: Block::Basic,
        stages: &[2, 2, 2, 2],
        filters: 64,
        has_large_stem: true,
    };
    plan.build(&blueprint)
}

pub(super) fn resnet18_32(blueprint: Blueprint) -> Model {
    let plan = Plan {
        block: Block::Basic,
        stages: &[2, 2, 2, 2],
        filters: 64,
        has_large_stem: false,
    };
    plan.build(&blueprint)
}

pub(super) fn resnet50(blueprint: Blueprint) -> Model {
    let plan = Plan {
        block: Block::Bottleneck,
        stages: &[3, 4, 6, 3],
        filters: 64,
        has_large_stem: true,
    };
    plan.build(&blueprint)
}

pub(super) fn resnet8(blueprint: Blueprint) -> Model {
    let plan = Plan {
        block: Block::Basic,
        stages: &[1, 1, 1],
        filters: 32,
        has_large_stem: false,
    };
    plan.build(&blueprint)
}

fn conv(filters: usize, kernel: usize, stride: usize) -> Conv2d {
    Conv2d::new(filters, kernel)
        .stride(stride)
        .padding(kernel / 2)
        .no_bias()
        .weight(Init::HE_NORMAL_OUT)
}

impl Plan<'_> {
    fn build(self, blueprint: &Blueprint) -> Model {
        let mut model = self.stem(blueprint.start().defaults(Defaults::PYTORCH));
        let mut channels = self.filters;
        for (stage, &blocks) in self.stages.iter().enumerate() {
            let filters = self.filters << stage;
            for index in 0..blocks {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                let name = format!("layer{}.{index}", stage + 1);
                let shape = (channels, filters, stride);
                model = model.scope(&name, |model| self.block.put(model, shape));
                channels = filters * self.block.expansion();
            }
        }
        let model = model.global_avg_pool();
        model.layer_as("fc", crate::layers::Dense::new(blueprint.classes))
    }

    fn stem(self, model: Model) -> Model {
        let (kernel, stride) = if self.has_large_stem { (7, 2) } else { (3, 1) };
        let model = model
            .layer_as("conv1", conv(self.filters, kernel, stride))
            .layer_as("bn1", BatchNorm::new())
            .relu();
        if self.has_large_stem {
            model.layer(Pool2d::max(3).stride(2).padding(1))
        } else {
            model
        }
    }
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }

    fn put(self, model: Model, (channels, filters, stride): (usize, usize, usize)) -> Model {
        let out = filters * self.expansion();
        let shortcut = |model: Model| {
            if stride == 1 && channels == out {
                return model;
            }
            model
                .layer_as("downsample.0", conv(out, 1, stride))
                .layer_as("downsample.1", BatchNorm::new())
        };
        let body = |model: Model| match self {
            Block::Basic => model
                .layer_as("conv1", conv(filters, 3, stride))
                .layer_as("bn1", BatchNorm::new())
                .relu()
                .layer_as("conv2", conv(filters, 3, 1))
                .layer_as("bn2", BatchNorm::new()),
            Block::Bottleneck => model
                .layer_as("conv1", conv(filters, 1, 1))
                .layer_as("bn1", BatchNorm::new())
                .relu()
                .layer_as("conv2", conv(filters, 3, stride))
                .layer_as("bn2", BatchNorm::new())
                .relu()
                .layer_as("conv3", conv(out, 1, 1))
                .layer_as("bn3", BatchNorm::new()),
        };
        model.residual_with(body, shortcut).relu()
    }
}
