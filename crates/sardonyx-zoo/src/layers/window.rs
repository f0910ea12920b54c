use sardonyx_ir::{Attr, Dim};

/// Height and width of a kernel, a stride or a dilation: one number for both, or a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub [usize; 2]);

impl From<usize> for Size {
    fn from(size: usize) -> Size {
        Size([size; 2])
    }
}

impl From<[usize; 2]> for Size {
    fn from(size: [usize; 2]) -> Size {
        Size(size)
    }
}

/// How an image is padded before windows slide over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Not at all.
    Valid,
    /// As many as give `ceil(input / stride)` outputs, the odd one after, as in Keras.
    Same,
    /// This many on both sides by axis, as in PyTorch.
    Explicit([usize; 2]),
}

impl From<usize> for Padding {
    fn from(padding: usize) -> Padding {
        Padding::Explicit([padding; 2])
    }
}

/// Where windows lie: the settings that convolutions and pools share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: Size,
    pub(crate) stride: Size,
    pub(crate) dilation: Size,
    pub(crate) padding: Padding,
}

impl Window {
    pub(crate) fn new(kernel: Size, stride: Size) -> Window {
        Window {
            kernel,
            stride,
            dilation: Size([1; 2]),
            padding: Padding::Valid,
        }
    }

    /// What is wrong with the settings.
    pub(crate) fn problem(&self) -> Option<String> {
        let sizes = [
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ];
        let zero = sizes.iter().find(|(_, Size(size))| size.contains(&0));
        zero.map(|(name, Size([height, width]))| format!("its {name} is {height}x{width}"))
    }

    /// The attributes of an ONNX node over an input of these height and width. Padding is written
    /// out in numbers, which every runtime reads alike; only over a symbolic size it must be
    /// `auto_pad`. A dilation of one is left out, as not every pool has that attribute.
    pub(crate) fn attributes(&self, image: &[Dim]) -> Vec<(&'static str, Attr)> {
        let mut attributes = vec![
            ("kernel_shape", Attr::from(&self.kernel.0[..])),
            ("strides", Attr::from(&self.stride.0[..])),
        ];
        if self.dilation.0 != [1; 2] {
            attributes.push(("dilations", Attr::from(&self.dilation.0[..])));
        }
        match self.pads(image) {
            Some(pads) if pads == [0; 4] => {}
            Some(pads) => attributes.push(("pads", Attr::from(&pads[..]))),
            None => attributes.push(("auto_pad", Attr::from("SAME_UPPER"))),
        }
        attributes
    }

    /// Elements before both axes, then after both; `None` when they depend on a symbol.
    fn pads(&self, image: &[Dim]) -> Option<[usize; 4]> {
        match self.padding {
            Padding::Valid => Some([0; 4]),
            Padding::Explicit([height, width]) => Some([height, width, height, width]),
            Padding::Same => {
                let mut pads = [0; 4];
                for (axis, dim) in image.iter().enumerate().take(2) {
                    let total = self.same(axis, dim.value()?);
                    pads[axis] = total / 2;
                    pads[axis + 2] = total - total / 2;
                }
                Some(pads)
            }
        }
    }

    fn same(&self, axis: usize, input: usize) -> usize {
        let (kernel, stride) = (self.kernel.0[axis], self.stride.0[axis]);
        let reach = (kernel - 1).saturating_mul(self.dilation.0[axis]);
        let starts = input.div_ceil(stride).saturating_sub(1) * stride;
        starts.saturating_add(reach + 1).saturating_sub(input)
    }
}
