use sardonyx_ir::ValueId;

use super::window::{Padding, Size, Window};
use crate::{Fans, Init, Layer, Result, Scope};

/// Convolution of `[N, channels, height, width]` with `weight [filters, channels / groups, kernel
/// height, kernel width]` and `bias [filters]`: ONNX `Conv`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conv2d {
    filters: Filters,
    window: Window,
    groups: usize,
    has_bias: bool,
    weight: Option<Init>,
    bias: Option<Init>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Filters {
    Number(usize),
    /// This many for each input channel, which each see that channel only.
    PerChannel(usize),
}

impl Conv2d {
    /// This many filters of this kernel, stride one, no padding, with bias.
    pub fn new(filters: usize, kernel: impl Into<Size>) -> Conv2d {
        Conv2d {
            filters: Filters::Number(filters),
            window: Window::new(kernel.into(), Size([1; 2])),
            groups: 1,
            has_bias: true,
            weight: None,
            bias: None,
        }
    }

    /// One filter for each input channel, which sees that channel only.
    pub fn depthwise(kernel: impl Into<Size>) -> Conv2d {
        Conv2d {
            filters: Filters::PerChannel(1),
            ..Conv2d::new(0, kernel)
        }
    }

    /// This many filters for each input channel (makes the layer depthwise).
    pub fn multiplier(mut self, filters: usize) -> Conv2d {
        self.filters = Filters::PerChannel(filters);
        self
    }

    /// Steps between windows.
    pub fn stride(mut self, stride: impl Into<Size>) -> Conv2d {
        self.window.stride = stride.into();
        self
    }

    /// Steps between the taps of a window.
    pub fn dilation(mut self, dilation: impl Into<Size>) -> Conv2d {
        self.window.dilation = dilation.into();
        self
    }

    /// Padding: a [`Padding`], or a number for both sides of both axes.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Conv2d {
        self.window.padding = padding.into();
        self
    }

    /// As much padding as gives `ceil(input / stride)` outputs.
    pub fn same(self) -> Conv2d {
        self.padding(Padding::Same)
    }

    /// Groups of channels that do not see each other; must divide channels and filters.
    pub fn groups(mut self, groups: usize) -> Conv2d {
        self.groups = groups;
        self
    }

    /// Without bias, as before a normalization.
    pub fn no_bias(mut self) -> Conv2d {
        self.has_bias = false;
        self
    }

    /// Initial weights.
    pub fn weight(mut self, init: Init) -> Conv2d {
        self.weight = Some(init);
        self
    }

    /// Initial biases.
    pub fn bias(mut self, init: Init) -> Conv2d {
        self.bias = Some(init);
        self
    }

    /// Filters and groups over `channels` input channels, or what is wrong with them.
    fn resolve(&self, channels: usize) -> Result<(usize, usize), String> {
        if let Some(problem) = self.window.problem() {
            return Err(problem);
        }
        let (filters, groups) = match self.filters {
            Filters::Number(filters) => (filters, self.groups),
            Filters::PerChannel(multiplier) => {
                let filters = multiplier.checked_mul(channels);
                (filters.ok_or("it has too many filters")?, channels)
            }
        };
        if filters == 0 || groups == 0 {
            return Err(format!("it has {filters} filters in {groups} groups"));
        }
        if !filters.is_multiple_of(groups) || !channels.is_multiple_of(groups) {
            return Err(format!(
                "{groups} groups do not divide {channels} channels and {filters} filters"
            ));
        }
        Ok((filters, groups))
    }
}

impl Layer for Conv2d {
    fn kind(&self) -> &'static str {
        match self.filters {
            Filters::Number(_) => "conv2d",
            Filters::PerChannel(_) => "depthwise_conv2d",
        }
    }

    fn emit(&self, scope: &mut Scope, input: ValueId) -> Result<ValueId> {
        let image = scope.ranked(input, 4, "[N, channels, height, width]")?;
        let channels = scope.size(input, 1)?;
        let resolved = self.resolve(channels);
        let (filters, groups) = resolved.map_err(|problem| scope.problem(&[input], problem))?;
        let [height, width] = self.window.kernel.0;
        let taps = height.saturating_mul(width);
        let fan_in = (channels / groups).saturating_mul(taps);
        // Of a grouped convolution PyTorch and Keras count all filters, though an input channel
        // feeds those of its group only; initial weights are to have the variance they have there.
        let fans = Fans::new(fan_in, filters.saturating_mul(taps));
        let defaults = scope.defaults();
        let init = (self.weight.unwrap_or(defaults.weight), fans);
        let shape = [filters, channels / groups, height, width];
        let mut inputs = vec![Some(input), Some(scope.parameter("weight", &shape, init)?)];
        if self.has_bias {
            let init = (self.bias.unwrap_or(defaults.bias), fans);
            inputs.push(Some(scope.parameter("bias", &[filters], init)?));
        }
        let mut attributes = self.window.attributes(&image[2..]);
        if groups != 1 {
            attributes.push(("group", (groups as i64).into()));
        }
        scope.node(("", "Conv"), &inputs, &attributes)
    }
}
