//! Sizes of a two-dimensional convolution over channels-last images, and the walk over its
//! multiply-adds that all of its reference evaluations share.

use sardonyx_ir::{Attr, Node};

use crate::{InferCx, OpError, Result};

/// Largest kernel, stride, dilation, padding or number of channels.
const MAX_SIZE: usize = 1 << 20;

/// Geometry of a two-dimensional convolution, as the attributes of all three operators give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Steps.
    pub strides: [usize; 2],
    /// Rows above, columns left, rows below, columns right.
    pub pads: [usize; 4],
    /// Distances between kernel positions.
    pub dilations: [usize; 2],
    /// Independent groups of channels.
    pub groups: usize,
    /// Output channels.
    pub channels: usize,
    /// Rows and columns of the max-pooling window, which is its stride too.
    pub pool: Option<[usize; 2]>,
}

impl Conv2d {
    /// Reads the attributes.
    ///
    /// # Errors
    /// When one is missing or malformed.
    pub fn of(node: &Node) -> Result<Conv2d> {
        fn sizes<const N: usize>(node: &Node, name: &str) -> Result<Option<[usize; N]>> {
            let Some(values) = node.sizes(name)? else {
                return Ok(None);
            };
            let array = values.try_into();
            array
                .map(Some)
                .map_err(|_| node.attribute_error(name, "has the wrong length").into())
        }
        let kernel = sizes(node, "kernel_shape")?
            .ok_or_else(|| OpError::invalid(node, "attribute `kernel_shape` is missing"))?;
        let conv = Conv2d {
            kernel,
            strides: sizes(node, "strides")?.unwrap_or([1; 2]),
            pads: sizes(node, "pads")?.unwrap_or([0; 4]),
            dilations: sizes(node, "dilations")?.unwrap_or([1; 2]),
            groups: usize::try_from(node.int("group", 1)?).unwrap_or(0),
            channels: usize::try_from(node.int("channels", 0)?).unwrap_or(0),
            pool: sizes(node, "pool")?,
        };
        let pool = conv.pool.unwrap_or([1; 2]);
        let sizes = [conv.kernel, conv.strides, conv.dilations, pool];
        let divides = conv.groups > 0 && conv.channels.is_multiple_of(conv.groups);
        let is_size = |n: &usize| (1..=MAX_SIZE).contains(n);
        let in_range = sizes.iter().flatten().all(is_size)
            && conv.pads.iter().all(|n| *n <= MAX_SIZE)
            && conv.channels <= MAX_SIZE;
        if !in_range || !divides {
            return Err(OpError::invalid(
                node,
                "a size is out of range, or groups do not divide",
            ));
        }
        Ok(conv)
    }

    /// The attributes that [`Conv2d::of`] reads.
    pub fn attributes(&self) -> Vec<(&'static str, Attr)> {
        let mut attributes = vec![
            ("kernel_shape", Attr::from(&self.kernel[..])),
            ("strides", Attr::from(&self.strides[..])),
            ("pads", Attr::from(&self.pads[..])),
            ("dilations", Attr::from(&self.dilations[..])),
            ("group", Attr::Int(self.groups as i64)),
            ("channels", Attr::Int(self.channels as i64)),
        ];
        attributes.extend(self.pool.map(|pool| ("pool", Attr::from(&pool[..]))));
        attributes
    }

    /// Rows and columns before pooling, of an input of `[height, width]`; `None` when the kernel
    /// does not fit.
    pub fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let padded = input[axis].checked_add(self.pads[axis] + self.pads[axis + 2])?;
            let reach = (self.kernel[axis] - 1).checked_mul(self.dilations[axis])?;
            out[axis] = padded.checked_sub(reach.checked_add(1)?)? / self.strides[axis] + 1;
        }
        Some(out)
    }

    /// Rows and columns after pooling of a map of `[height, width]`.
    pub fn pooled(&self, map: [usize; 2]) -> [usize; 2] {
        match self.pool {
            None => map,
            Some(pool) => [map[0] / pool[0], map[1] / pool[1]],
        }
    }

    /// Shape of the packed weight for `in_channels` and panels of `width`.
    pub fn packed(&self, in_channels: usize, width: usize) -> [usize; 5] {
        let n = self.channels / self.groups;
        let inner = in_channels / self.groups;
        [
            self.groups,
            n.div_ceil(width),
            self.kernel[0] * self.kernel[1],
            inner,
            width,
        ]
    }

    /// Shape of the transposed packed weight that the input gradient multiplies with.
    pub fn transposed(&self, in_channels: usize, width: usize) -> [usize; 5] {
        let [groups, _, taps, inner, width] = self.packed(in_channels, width);
        [
            groups,
            inner.div_ceil(width),
            taps,
            self.channels / groups,
            width,
        ]
    }

    /// Calls `f(output pixel, input pixel, tap)` for every pair that the kernel connects in one
    /// image, pixels counted row by row.
    pub(crate) fn connect(
        &self,
        input: [usize; 2],
        out: [usize; 2],
        mut f: impl FnMut(usize, usize, usize),
    ) {
        let source = |axis: usize, at: usize, tap: usize| {
            let padded = at * self.strides[axis] + tap * self.dilations[axis];
            padded
                .checked_sub(self.pads[axis])
                .filter(|&i| i < input[axis])
        };
        for (y, x) in (0..out[0]).flat_map(|y| (0..out[1]).map(move |x| (y, x))) {
            for tap in 0..self.kernel[0] * self.kernel[1] {
                let (ky, kx) = (tap / self.kernel[1], tap % self.kernel[1]);
                if let (Some(iy), Some(ix)) = (source(0, y, ky), source(1, x, kx)) {
                    f(y * out[1] + x, iy * input[1] + ix, tap);
                }
            }
        }
    }
}

/// Sizes of a running convolution.
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) input: [usize; 2],
    pub(super) in_channels: usize,
    pub(super) map: [usize; 2],
}

pub(super) fn sizes(node: &Node, conv: &Conv2d, x: &[usize]) -> Result<Sizes> {
    let &[batch, height, width, in_channels] = x else {
        return Err(OpError::invalid(node, "it takes images of four dimensions"));
    };
    let input = [height, width];
    let map = conv
        .output(input)
        .filter(|_| in_channels.is_multiple_of(conv.groups));
    let map = map.ok_or_else(|| OpError::invalid(node, "the kernel does not fit the image"))?;
    Ok(Sizes {
        batch,
        input,
        in_channels,
        map,
    })
}

pub(super) fn fixed(cx: &InferCx<'_>, index: usize) -> Result<Vec<usize>> {
    let shape = cx.input(index)?.fact.fixed_shape();
    shape.ok_or_else(|| cx.invalid("a plan operator needs fixed shapes"))
}

/// Walks every multiply-add of the convolution: `f(position in the map before pooling, position in
/// x, position in the packed weight)`.
pub(super) fn multiply_adds(
    conv: &Conv2d,
    sizes: &Sizes,
    width: usize,
    mut f: impl FnMut(usize, usize, usize),
) {
    let packed = conv.packed(sizes.in_channels, width);
    let (n, inner) = (conv.channels / conv.groups, packed[3]);
    let pixels = [sizes.map[0] * sizes.map[1], sizes.input[0] * sizes.input[1]];
    for image in 0..sizes.batch {
        conv.connect(sizes.input, sizes.map, |to, from, tap| {
            let to = (image * pixels[0] + to) * conv.channels;
            let from = (image * pixels[1] + from) * sizes.in_channels;
            for out in 0..conv.channels {
                let (group, column) = (out / n, out % n);
                let panel = (group * packed[1] + column / width) * packed[2] + tap;
                for i in 0..inner {
                    let w = (panel * inner + i) * width + column % width;
                    f(to + out, from + group * inner + i, w);
                }
            }
        });
    }
}
