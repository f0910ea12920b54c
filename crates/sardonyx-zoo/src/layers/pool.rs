use sardonyx_ir::{Attr, ValueId};

use super::window::{Padding, Size, Window};
use crate::{Layer, Result, Scope};

/// The largest element or the mean of each window of `[N, channels, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2d {
    kind: PoolKind,
    window: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PoolKind {
    Max,
    Average,
}

impl Pool2d {
    /// Largest elements; windows do not overlap.
    pub fn max(kernel: impl Into<Size>) -> Pool2d {
        Pool2d::new(PoolKind::Max, kernel.into())
    }

    /// Means, over the elements that are not padding; windows do not overlap.
    pub fn average(kernel: impl Into<Size>) -> Pool2d {
        Pool2d::new(PoolKind::Average, kernel.into())
    }

    fn new(kind: PoolKind, kernel: Size) -> Pool2d {
        let window = Window::new(kernel, kernel);
        Pool2d { kind, window }
    }

    /// Steps between windows.
    pub fn stride(mut self, stride: impl Into<Size>) -> Pool2d {
        self.window.stride = stride.into();
        self
    }

    /// Padding: a [`Padding`], or a number for both sides of both axes.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Pool2d {
        self.window.padding = padding.into();
        self
    }

    /// As much padding as gives `ceil(input / stride)` outputs.
    pub fn same(self) -> Pool2d {
        self.padding(Padding::Same)
    }
}

impl Layer for Pool2d {
    fn kind(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool2d",
            PoolKind::Average => "avg_pool2d",
        }
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let image = scope.ranked(input, 4, "[N, channels, height, width]")?;
        if let Some(problem) = self.window.problem() {
            return Err(scope.problem(&[input], problem));
        }
        let op = match self.kind {
            PoolKind::Max => "MaxPool",
            PoolKind::Average => "AveragePool",
        };
        let attributes = self.window.attributes(&image[2..]);
        scope.node(("", op), &[Some(input)], &attributes)
    }
}

/// The mean of each channel: `[N, channels, height, width]` becomes `[N, channels]`, as in Keras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GlobalAvgPool;

impl Layer for GlobalAvgPool {
    fn kind(&self) -> &'static str {
        "global_avg_pool"
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        scope.ranked(input, 4, "[N, channels, height, width]")?;
        let mean = scope.node(("mean", "GlobalAveragePool"), &[Some(input)], &[])?;
        scope.node(("", "Flatten"), &[Some(mean)], &[("axis", Attr::Int(1))])
    }
}
