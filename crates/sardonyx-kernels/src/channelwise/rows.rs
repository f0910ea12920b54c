//! The geometry of sliding windows, cut into rows of outputs.

use std::ops::Range;

use crate::axis::{AxisTaps, AxisZone, WindowAxis};
use crate::{KernelError, Result};

/// Largest size, stride, dilation or padding.
const MOST: usize = 1 << 24;

/// Multiply-adds of an item that outweigh handing it out.
const ITEM_WORK: usize = 1 << 16;

/// Windows over images in NHWC order. The number of windows is given, not computed, because
/// operators differ in how they round it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowShape {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of input and output.
    pub channels: usize,
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Rows and columns of an output image. The last windows may reach over the padding.
    pub out: [usize; 2],
}

impl WindowShape {
    /// Stride and dilation 1, no padding, as many windows as fit.
    ///
    /// `image` is batch, height, width, channels. A kernel larger than the image gives no windows.
    pub const fn plain(image: [usize; 4], kernel: [usize; 2]) -> WindowShape {
        let [batch, height, width, channels] = image;
        let out = [
            (height + 1).saturating_sub(kernel[0]),
            (width + 1).saturating_sub(kernel[1]),
        ];
        WindowShape {
            batch,
            height,
            width,
            channels,
            kernel,
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
            out,
        }
    }

    /// Elements of the input.
    pub const fn in_len(&self) -> usize {
        self.batch * self.height * self.width * self.channels
    }

    /// Elements of the output.
    pub const fn out_len(&self) -> usize {
        self.batch * self.out[0] * self.out[1] * self.channels
    }

    /// Elements of a window.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// A multiply-add per element of every window.
    pub(super) fn flops(&self) -> u64 {
        2 * self.out_len() as u64 * self.taps() as u64
    }

    pub(super) fn axis(&self, axis: usize) -> WindowAxis {
        WindowAxis {
            kernel: self.kernel[axis],
            stride: self.stride[axis],
            dilation: self.dilation[axis],
            pad: self.pads[axis],
        }
    }

    /// # Errors
    /// [`KernelError::Geometry`] for sizes that no window has, and for windows without a single
    /// element of the image.
    pub(super) fn check(&self, kernel: &'static str) -> Result<()> {
        let problem = |text: &str| {
            Err(KernelError::Geometry {
                kernel,
                problem: format!("{text} in {self:?}"),
            })
        };
        let sizes = [self.kernel, self.stride, self.dilation];
        if sizes
            .iter()
            .flatten()
            .any(|size| *size == 0 || *size > MOST)
        {
            return problem("a size is zero or absurdly large");
        }
        let images = [self.batch, self.height, self.width, self.channels];
        if self
            .pads
            .iter()
            .chain(&self.out)
            .chain(&images)
            .any(|size| *size > MOST)
        {
            return problem("a size is absurdly large");
        }
        let count = |dims: [usize; 4]| dims.iter().try_fold(8usize, |n, d| n.checked_mul(*d));
        let [out_h, out_w] = self.out;
        if count(images).is_none() || count([self.batch, out_h, out_w, self.channels]).is_none() {
            return problem("too many elements");
        }
        let empty = |axis: usize, len: usize| {
            let taps = AxisTaps::forward(&self.axis(axis), self.out[axis]);
            (0..self.out[axis]).any(|index| taps.valid(index, len).is_empty())
        };
        if empty(0, self.height) || empty(1, self.width) {
            return problem("a window without an element of the image");
        }
        Ok(())
    }
}

/// One element of a window: where it lies from the place of the output that reads it, in elements
/// and in rows and columns, and which of the kernel's positions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellTap {
    pub(super) offset: isize,
    pub(super) y: isize,
    pub(super) x: isize,
    pub(super) position: usize,
}

/// A grid of outputs: rows and columns, each with their taps, and the products of both.
#[derive(Debug, Clone)]
struct Grid {
    rows: AxisTaps,
    cols: AxisTaps,
    /// Neighbouring columns that read the same taps, and which.
    runs: Vec<AxisZone>,
    taps: Vec<CellTap>,
}

/// Outputs of windows (or of their gradients), row by row.
#[derive(Debug)]
pub(super) struct Rows {
    batch: usize,
    channels: usize,
    /// Height and width of the images that outputs read.
    source: [usize; 2],
    /// Height and width of the images that outputs make up.
    target: [usize; 2],
    grids: Vec<Grid>,
    /// Rows of one image over all grids.
    rows_per_image: usize,
    rows_per_item: usize,
    by_image: bool,
}

/// Neighbouring outputs of one row that read the same taps, each around its own place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    /// Element of the source at the first output's place. Taps reach from there; the place itself
    /// may lie outside the image.
    pub(super) source: isize,
    /// Row and column of that place within its image.
    pub(super) place: [usize; 2],
    /// Elements from one output's place to the next.
    pub(super) source_step: usize,
    /// Columns from one output's place to the next.
    pub(super) place_step: usize,
    /// Taps of `n_lines` kernel rows, `per_line` of each, of which `used` are read.
    taps: &'a [CellTap],
    n_lines: usize,
    per_line: usize,
    used: (usize, usize),
    /// Element of the target of the first output, and from one to the next.
    pub(super) out: usize,
    pub(super) out_step: usize,
    /// How many outputs.
    pub(super) count: usize,
    /// Row and column of the first output within its image.
    pub(super) out_place: [usize; 2],
}

impl<'a> Cells<'a> {
    /// The taps that the outputs read, in kernel order.
    #[inline(always)]
    pub(super) fn taps(&self) -> impl Iterator<Item = &'a CellTap> + use<'a> {
        self.lines().flatten()
    }

    /// The same by the kernel's rows.
    #[inline(always)]
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a [CellTap]> + use<'a> {
        let (Cells { taps, per_line, .. }, (first, end)) = (*self, self.used);
        (0..self.n_lines).map(move |line| &taps[line * per_line + first..line * per_line + end])
    }

    /// How many neighbouring pixels of `channels` elements every output reads in each row, and
    /// how many pixels lie from one output to the next; `None` where the pixels are no neighbours.
    pub(super) fn across(&self, channels: usize) -> Option<(usize, usize)> {
        let (first, end) = self.used;
        let line = self.taps.get(first..end)?;
        let are_close =
            |pair: &[CellTap]| pair[1].offset - pair[0].offset == channels.cast_signed();
        let close = line.windows(2).all(are_close);
        close.then_some((line.len(), self.place_step))
    }
}

impl Rows {
    /// Outputs are windows.
    pub(super) fn forward(shape: &WindowShape, images_per_item: Option<usize>) -> Rows {
        let [rows, cols] = [0, 1].map(|axis| AxisTaps::forward(&shape.axis(axis), shape.out[axis]));
        let images = ([shape.height, shape.width], shape.out);
        Rows::new(shape, vec![(rows, cols)], images, images_per_item)
    }

    /// Outputs are the elements of the image, which read the windows that cover them.
    pub(super) fn gradient(shape: &WindowShape, images_per_item: Option<usize>) -> Rows {
        let [rows, cols] = [(0, shape.height), (1, shape.width)]
            .map(|(axis, len)| AxisTaps::gradients(&shape.axis(axis), len));
        let grids = rows
            .iter()
            .flat_map(|row| cols.iter().map(move |col| (row.clone(), col.clone())))
            .collect();
        let images = (shape.out, [shape.height, shape.width]);
        Rows::new(shape, grids, images, images_per_item)
    }

    fn new(
        shape: &WindowShape,
        grids: Vec<(AxisTaps, AxisTaps)>,
        (source, target): ([usize; 2], [usize; 2]),
        images_per_item: Option<usize>,
    ) -> Rows {
        let line = (source[1] * shape.channels).cast_signed();
        let grid = |(rows, cols): (AxisTaps, AxisTaps)| {
            let taps = rows.taps.iter().flat_map(|(ky, y)| {
                cols.taps.iter().map(move |(kx, x)| CellTap {
                    offset: y * line + x * shape.channels.cast_signed(),
                    y: *y,
                    x: *x,
                    position: ky * shape.kernel[1] + kx,
                })
            });
            Grid {
                runs: cols.zones(source[1]),
                taps: taps.collect(),
                rows,
                cols,
            }
        };
        let grids: Vec<Grid> = grids.into_iter().map(grid).collect();
        let rows_per_image: usize = grids.iter().map(|grid| grid.rows.axis.count).sum();
        let row_work = target[1] * shape.channels * shape.taps();
        let rows_per_item = match images_per_item {
            Some(images) => images * rows_per_image,
            None => ITEM_WORK / row_work.max(1),
        };
        Rows {
            batch: shape.batch,
            channels: shape.channels,
            source,
            target,
            grids,
            rows_per_image,
            rows_per_item: rows_per_item.max(1),
            by_image: images_per_item.is_some(),
        }
    }

    /// Gives items `factor` times as many rows, up to a whole image, unless they are images.
    pub(super) fn take_more(&mut self, factor: usize) {
        if !self.by_image {
            let most = self.rows_per_image.max(self.rows_per_item);
            self.rows_per_item = most.min(self.rows_per_item * factor);
        }
    }

    pub(super) fn items(&self) -> usize {
        (self.batch * self.rows_per_image).div_ceil(self.rows_per_item)
    }

    /// The part of the source that an item reads, where items are whole images.
    pub(super) fn source_part(&self, item: usize) -> Option<Range<usize>> {
        self.part(item, self.source)
    }

    /// The part of the target that an item writes, where items are whole images.
    pub(super) fn target_part(&self, item: usize) -> Option<Range<usize>> {
        self.part(item, self.target)
    }

    fn part(&self, item: usize, [height, width]: [usize; 2]) -> Option<Range<usize>> {
        let images = self.rows_per_item / self.rows_per_image.max(1);
        let len = height * width * self.channels;
        let range = item * images * len..self.batch.min((item + 1) * images) * len;
        self.by_image.then_some(range)
    }

    /// Calls `visit` for all outputs of an item.
    pub(super) fn each(&self, item: usize, mut visit: impl FnMut(&Cells<'_>)) {
        let all = self.batch * self.rows_per_image;
        for index in item * self.rows_per_item..all.min((item + 1) * self.rows_per_item) {
            let (image, mut row) = (index / self.rows_per_image, index % self.rows_per_image);
            for grid in &self.grids {
                if row < grid.rows.axis.count {
                    self.each_in_row(grid, image, row, &mut visit);
                    break;
                }
                row -= grid.rows.axis.count;
            }
        }
    }

    fn each_in_row(
        &self,
        grid: &Grid,
        image: usize,
        row: usize,
        visit: &mut impl FnMut(&Cells<'_>),
    ) {
        let (rows, cols) = (&grid.rows.axis, &grid.cols.axis);
        let y = rows.first + row * rows.step;
        let lines = grid.rows.valid(row, self.source[0]);
        let per_line = grid.cols.taps.len();
        let place_y = row * rows.source_step;
        let first_line = (image * self.source[0] + place_y) * self.source[1];
        let first_out = (image * self.target[0] + y) * self.target[1];
        for run in &grid.runs {
            let col = run.outputs.start;
            let (place_x, x) = (col * cols.source_step, cols.first + col * cols.step);
            visit(&Cells {
                source: ((first_line + place_x) * self.channels).cast_signed(),
                place: [place_y, place_x],
                source_step: cols.source_step * self.channels,
                place_step: cols.source_step,
                taps: &grid.taps[lines.start * per_line..lines.end * per_line],
                n_lines: lines.len(),
                per_line,
                used: (run.taps.start, run.taps.end),
                out: (first_out + x) * self.channels,
                out_step: cols.step * self.channels,
                count: run.outputs.len(),
                out_place: [y, x],
            });
        }
    }
}
