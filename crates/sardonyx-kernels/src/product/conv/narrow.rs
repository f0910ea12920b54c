//! Input gradients of convolutions over images with few channels, where gathering would leave most
//! lanes of a panel empty.
//!
//! Each output gradient is multiplied with all of its weights at once, kernel positions and input
//! channels side by side in one panel; the products are then added to the pixels that they belong
//! to. An item is a number of whole images, because neighbouring rows add to the same pixels.

use std::ops::Range;

use super::core::{Operands, pooled_len};
use super::shape::ConvShape;
use super::stage::{Images, Patch, Pooled, Stager};
use crate::axis::AxisTaps;
use crate::product::micro::{Finish, Micro, Segment, Start};
use crate::product::sweep::{Piece, Sweep, SweepRows, pieces, rows_scratch, split_scratch};
use crate::{Isa, Run};

/// Most input channels for which this pays.
const MOST_CHANNELS: usize = 4;

/// An input gradient, planned.
#[derive(Debug)]
pub(super) struct NarrowCore {
    shape: ConvShape,
    unpool: Option<[usize; 2]>,
    images_per_item: usize,
    micro: Micro,
    stager: Stager,
    pieces: Vec<Piece>,
    axes: [AxisTaps; 2],
    /// Outputs of a row that read no border.
    interior: Range<usize>,
    /// Floats of one pixel's products.
    width: usize,
}

/// A thread's scratch.
struct Room {
    weights: *mut f32,
    gradients: *mut f32,
    products: *mut f32,
}

impl NarrowCore {
    /// Whether the gradient of a convolution of `shape` is better computed so.
    pub(super) fn pays(shape: &ConvShape) -> bool {
        shape.groups == 1 && shape.in_channels <= MOST_CHANNELS && shape.kernel != [1, 1]
    }

    pub(super) fn new(
        isa: Isa,
        shape: ConvShape,
        unpool: Option<[usize; 2]>,
        images_per_item: Option<usize>,
    ) -> NarrowCore {
        let micro = Micro::new(isa);
        let cols = shape.weights().taps * shape.in_channels;
        let family = micro.family(cols);
        let segments = [Segment { a: 0, b: 0 }];
        let axes = [
            AxisTaps::forward(&shape.axis(0), shape.out_height()),
            AxisTaps::forward(&shape.axis(1), shape.out_width()),
        ];
        NarrowCore {
            unpool,
            images_per_item: images_per_item.unwrap_or(1),
            stager: Stager::new(isa),
            pieces: pieces(&segments, shape.out_channels, 1, micro.panel_width),
            interior: axes[1].interior(shape.width),
            axes,
            width: cols.next_multiple_of(family.width),
            micro,
            shape,
        }
    }

    pub(super) fn items(&self) -> usize {
        self.shape.batch.div_ceil(self.images_per_item)
    }

    /// The part of an operand with `len` elements per image that an item touches.
    pub(super) fn part(&self, item: usize, len: usize) -> Option<Range<usize>> {
        let images = self.images(item);
        Some(images.start * len..images.end * len)
    }

    pub(super) fn scratch_len(&self) -> usize {
        rows_scratch(self.shape.out_width()) + 4 * self.room_lens().iter().sum::<usize>()
    }

    /// Floats of each part of a [`Room`].
    fn room_lens(&self) -> [usize; 3] {
        let (pixels, channels) = (self.shape.out_width(), self.shape.out_channels);
        let panels = self.width.div_ceil(self.micro.panel_width);
        [
            panels * channels * self.micro.panel_width,
            pixels * channels,
            pixels * self.width,
        ]
        .map(|len| len.next_multiple_of(16))
    }

    fn images(&self, item: usize) -> Range<usize> {
        let first = item * self.images_per_item;
        first..self.shape.batch.min(first + self.images_per_item)
    }

    /// Computes one item.
    ///
    /// # Safety
    /// The operands have the sizes of the gradient, and no one else works on this item.
    pub(super) unsafe fn run(&self, cx: &Run<'_>, operands: &Operands, item: usize) {
        let (out_h, out_w) = (self.shape.out_height(), self.shape.out_width());
        // SAFETY: the scratch length covers a row of outputs.
        let (starts, outs, rest) = unsafe { split_scratch(cx, out_w) };
        let [weights_len, gradients_len, _] = self.room_lens();
        let room = Room {
            weights: rest,
            gradients: rest.wrapping_add(weights_len),
            products: rest.wrapping_add(weights_len + gradients_len),
        };
        for (pixel, out) in outs.iter_mut().enumerate() {
            *out = pixel * self.width;
        }
        let rows = self
            .unpool
            .map_or(out_h, |[window_h, _]| out_h / window_h * window_h);
        // SAFETY: scratch has room for what is put there; images belong to the item.
        unsafe {
            self.arrange_weights(operands.weights, room.weights);
            for image in self.images(item) {
                self.begin(operands, image);
                for row in 0..rows {
                    let gradients = self.gradients(operands, image, row, &room);
                    for (pixel, start) in starts.iter_mut().enumerate() {
                        *start = gradients.wrapping_add(pixel * self.shape.out_channels);
                    }
                    let pieces = &self.pieces;
                    self.sweep(&room).run(SweepRows {
                        starts,
                        outs,
                        pieces,
                    });
                    self.scatter(operands.target, image, row, room.products);
                }
                self.end(operands, image);
            }
        }
    }

    fn sweep(&self, room: &Room) -> Sweep<'_> {
        Sweep {
            micro: &self.micro,
            c: room.products,
            a_step: 1,
            b: room.weights,
            b_step: self.micro.panel_width,
            panel_len: self.shape.out_channels * self.micro.panel_width,
            cols: self.width,
            start: Start {
                bias: std::ptr::null(),
                add: std::ptr::null(),
            },
            finish: Finish::default(),
        }
    }

    /// Panels of all kernel positions x input channels, from transposed panels.
    unsafe fn arrange_weights(&self, from: *const f32, to: *mut f32) {
        let (taps, channels) = (self.shape.weights().taps, self.shape.in_channels);
        let (outputs, width) = (self.shape.out_channels, self.micro.panel_width);
        // SAFETY: the caller vouches for both; a panel has lanes for all input channels.
        unsafe {
            to.write_bytes(0, self.width.div_ceil(width) * outputs * width);
            for col in 0..taps * channels {
                let (tap, channel) = (col / channels, col % channels);
                for output in 0..outputs {
                    let source = ((taps - 1 - tap) * outputs + output) * width + channel;
                    let target = (col / width * outputs + output) * width + col % width;
                    *to.add(target) = *from.add(source);
                }
            }
        }
    }

    /// What the image's gradient starts from.
    unsafe fn begin(&self, operands: &Operands, image: usize) {
        let len = self.image_len();
        let to = operands.target.wrapping_add(image * len);
        // SAFETY: the caller vouches for the image; an addend is as long as the gradient.
        unsafe {
            if operands.start.add.is_null() {
                to.write_bytes(0, len);
            } else if !std::ptr::eq(operands.start.add, operands.target) {
                to.copy_from_nonoverlapping(operands.start.add.add(image * len), len);
            }
        }
    }

    /// Closes the gate, if there is one.
    unsafe fn end(&self, operands: &Operands, image: usize) {
        let Some((gate, output)) = operands.finish.gate else {
            return;
        };
        let len = self.image_len();
        for at in image * len..(image + 1) * len {
            // SAFETY: the caller vouches for the image and for an output as long.
            unsafe {
                let value = *output.add(at);
                if !(gate.low < value && value < gate.high) {
                    *operands.target.add(at) *= gate.slope;
                }
            }
        }
    }

    /// One row of output gradients.
    unsafe fn gradients(
        &self,
        operands: &Operands,
        image: usize,
        row: usize,
        room: &Room,
    ) -> *const f32 {
        let dy = Images {
            height: self.shape.out_height(),
            width: self.shape.out_width(),
            channels: self.shape.out_channels,
        };
        let Some(window) = self.unpool else {
            let at = image * dy.len() + row * dy.width * dy.channels;
            return operands.source.wrapping_add(at);
        };
        let at = image * pooled_len(&dy, window);
        let pooled = Pooled {
            values: operands.source.wrapping_add(at),
            argmax: operands.source_argmax.wrapping_add(at),
            window,
        };
        let patch = Patch {
            top: row.cast_signed(),
            left: 0,
            rows: 1,
            cols: dy.width,
            channels: 0..dy.channels,
            pixel: dy.channels,
        };
        // SAFETY: the caller vouches for the gradients; the scratch has room for a row.
        unsafe { self.stager.unpool(&dy, &pooled, &patch, room.gradients) };
        room.gradients.cast_const()
    }

    /// Adds the products of one row of outputs to the pixels that they belong to.
    unsafe fn scatter(&self, to: *mut f32, image: usize, row: usize, products: *const f32) {
        let (shape, [rows, cols]) = (&self.shape, &self.axes);
        let channels = shape.in_channels;
        for ky in rows.valid(row, shape.height) {
            let y = image * shape.height + rows.source(ky, row);
            let line = to.wrapping_add(y * shape.width * channels);
            for col in 0..shape.out_width() {
                let inside = self.interior.contains(&col);
                let across = if inside {
                    0..cols.taps.len()
                } else {
                    cols.valid(col, shape.width)
                };
                let from = col * self.width + ky * cols.taps.len() * channels;
                // Neighbouring kernel positions add to neighbouring pixels.
                let run = if shape.dilation[1] == 1 {
                    across.len()
                } else {
                    1
                };
                for kx in across.step_by(run.max(1)) {
                    let pixel = cols.source(kx, col);
                    let (to, from) = (pixel * channels, from + kx * channels);
                    for at in 0..run * channels {
                        // SAFETY: valid taps lie within the image; the caller vouches for both.
                        unsafe { *line.add(to + at) += *products.add(from + at) };
                    }
                }
            }
        }
    }

    fn image_len(&self) -> usize {
        self.shape.height * self.shape.width * self.shape.in_channels
    }
}
