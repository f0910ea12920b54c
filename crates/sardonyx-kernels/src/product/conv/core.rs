//! Runs the grids of a convolution: cuts them into blocks, stages what a block reads, sweeps it.

use std::ops::Range;

use super::plan::{Block, Geometry, Plan, Split};
use super::pool_tile::{PoolFn, PoolTile, pool_function};
use super::stage::{Images, Patch, Pooled, Stager};
use crate::product::micro::{Finish, Micro, Start};
use crate::product::sweep::{Sweep, SweepRows, rows_scratch, split_scratch};
use crate::{Isa, Run};

/// Addresses of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands {
    pub(super) source: *const f32,
    /// Indices of the source's windows; null where it is dense.
    pub(super) source_argmax: *const u8,
    pub(super) weights: *const f32,
    pub(super) start: Start,
    pub(super) finish: Finish,
    pub(super) target: *mut f32,
    /// Indices of the target's windows; null where they are not wanted.
    pub(super) target_argmax: *mut u8,
}

/// A convolution, planned.
#[derive(Debug)]
pub(super) struct Core {
    geometry: Geometry,
    micro: Micro,
    stager: Stager,
    pool: PoolFn,
    plans: Vec<Plan>,
    items: usize,
}

impl Core {
    pub(super) fn new(isa: Isa, geometry: Geometry) -> Core {
        let micro = Micro::new(isa);
        let mut plans: Vec<Plan> = geometry
            .grids
            .iter()
            .map(|grid| Plan::new(&geometry, grid, &micro))
            .collect();
        let items = match geometry.split {
            Split::Images(images) => geometry.batch.div_ceil(images),
            Split::Rows(rows) => geometry.target.height.div_ceil(rows),
            Split::Auto => {
                plans
                    .iter_mut()
                    .for_each(|plan| plan.share_out(&geometry, &micro));
                plans.iter().map(|plan| plan.blocks(&geometry)).sum()
            }
        };
        Core {
            geometry,
            micro,
            stager: Stager::new(isa),
            pool: pool_function(isa),
            plans,
            items,
        }
    }

    pub(super) fn items(&self) -> usize {
        self.items
    }

    pub(super) fn scratch_len(&self) -> usize {
        let width = self.micro.panel_width;
        let len = |plan: &Plan| {
            let images = plan.images_per_block;
            let rows = images * plan.rows_per_block * plan.grid.cols.axis.count;
            let strip = if plan.staged {
                images * plan.patch_len()
            } else {
                0
            };
            let pool = if self.geometry.pool.is_some() {
                4 * rows * width
            } else {
                0
            };
            2 * rows_scratch(rows) + 4 * strip.next_multiple_of(16) + pool
        };
        self.plans.iter().map(len).max().unwrap_or(0)
    }

    /// The part of a source (or target) operand that an item touches, with `len` elements per
    /// image, where items are blocks of images or of rows.
    pub(super) fn part(&self, item: usize, len: usize) -> Option<Range<usize>> {
        let (units, all, per_unit) = match self.geometry.split {
            Split::Auto => return None,
            Split::Images(images) => (images, self.geometry.batch, len),
            Split::Rows(rows) => {
                let height = self.geometry.target.height;
                (rows, height, len / height.max(1))
            }
        };
        Some(item * units * per_unit..all.min((item + 1) * units) * per_unit)
    }

    /// Computes one item.
    ///
    /// # Safety
    /// The operands have the sizes of the geometry, and no one else works on this item.
    pub(super) unsafe fn run(&self, cx: &Run<'_>, operands: &Operands, item: usize) {
        if self.geometry.split != Split::Auto {
            for plan in &self.plans {
                for block in plan.blocks_of_item(&self.geometry, item) {
                    // SAFETY: the blocks of an item are the item's own.
                    unsafe { self.run_block(cx, operands, plan, &block) };
                }
            }
            return;
        }
        let mut index = item;
        for plan in &self.plans {
            let blocks = plan.blocks(&self.geometry);
            if index < blocks {
                let block = plan.block(&self.geometry, &self.micro, index);
                // SAFETY: a block is one item.
                return unsafe { self.run_block(cx, operands, plan, &block) };
            }
            index -= blocks;
        }
    }

    unsafe fn run_block(&self, cx: &Run<'_>, operands: &Operands, plan: &Plan, block: &Block) {
        let count = block.images.len() * block.rows.len() * plan.grid.cols.axis.count;
        if count == 0 || block.cols.is_empty() {
            return;
        }
        // SAFETY: the scratch length covers the largest block.
        let (starts, outs, rest) = unsafe { split_scratch(cx, count) };
        // SAFETY: as above; windows are no more than outputs.
        let windows = unsafe { std::slice::from_raw_parts_mut(rest.cast::<usize>(), count) };
        let strip = rest.wrapping_byte_add(rows_scratch(count));
        let patch = plan.patch(&self.geometry, block);
        let patch_len = patch.rows * patch.cols * patch.pixel;
        let place = if plan.staged {
            // SAFETY: the scratch has room for the patches of the largest block.
            unsafe { self.stage(operands, block, &patch, strip) };
            let (base, image) = (strip.cast_const(), patch_len);
            Place {
                base,
                image,
                top: patch.top,
                left: patch.left,
            }
        } else {
            let image = self.geometry.source.len();
            let first = block.images.start * image + block.group * self.geometry.weights.inner;
            Place {
                base: operands.source.wrapping_add(first),
                image,
                top: 0,
                left: 0,
            }
        };
        self.point(plan, block, &place, (starts, outs));
        let sweep = self.sweep(operands, block);
        let Some(window) = self.geometry.pool else {
            for panel in 0..sweep.panels() {
                // SAFETY: the pointers lead to what the caller vouches for.
                unsafe { sweep_zones(&sweep, panel, plan, block, (starts, outs)) }
            }
            return;
        };
        self.point_windows(plan, block, windows);
        let strip_len = if plan.staged {
            block.images.len() * patch_len
        } else {
            0
        };
        let sums = strip.wrapping_add(strip_len.next_multiple_of(16));
        for panel in 0..sweep.panels() {
            let tile = PoolTile {
                sums,
                width: self.micro.panel_width,
                window: window[0] * window[1],
                count: count / (window[0] * window[1]),
                cols: self
                    .micro
                    .panel_width
                    .min(sweep.cols - panel * self.micro.panel_width),
                outs: windows.as_ptr(),
                at: panel * self.micro.panel_width,
                to: operands.target,
                argmax: operands.target_argmax,
                activation: operands.finish.activation,
            };
            // SAFETY: the sums have their own room in scratch; the pointers lead to what the
            // caller vouches for.
            unsafe {
                sweep_zones(
                    &pooled_sweep(&sweep, panel, sums),
                    0,
                    plan,
                    block,
                    (starts, outs),
                );
                (self.pool)(&tile);
            }
        }
    }

    fn sweep(&self, operands: &Operands, block: &Block) -> Sweep<'_> {
        let (weights, width) = (self.geometry.weights, self.micro.panel_width);
        let panel_len = weights.taps * weights.inner * width;
        let panel = block.group * weights.n.div_ceil(width) + block.cols.start / width;
        let (first, bias) = (
            block.group * weights.n + block.cols.start,
            operands.start.bias,
        );
        Sweep {
            micro: &self.micro,
            c: operands.target,
            a_step: 1,
            b: operands.weights.wrapping_add(panel * panel_len),
            b_step: width,
            panel_len,
            cols: block.cols.len(),
            start: Start {
                bias: if bias.is_null() {
                    bias
                } else {
                    bias.wrapping_add(first)
                },
                add: operands.start.add,
            },
            finish: operands.finish,
        }
    }

    /// Brings what the block reads to scratch, image after image.
    unsafe fn stage(&self, operands: &Operands, block: &Block, patch: &Patch, to: *mut f32) {
        let source = &self.geometry.source;
        for (index, image) in block.images.clone().enumerate() {
            let to = to.wrapping_add(index * patch.rows * patch.cols * patch.pixel);
            // SAFETY: the caller vouches for the source and for room behind `to`.
            unsafe {
                if let Some(window) = self.geometry.unpool {
                    let pooled_len = pooled_len(source, window);
                    let pooled = Pooled {
                        values: operands.source.add(image * pooled_len),
                        argmax: operands.source_argmax.add(image * pooled_len),
                        window,
                    };
                    self.stager.unpool(source, &pooled, patch, to);
                } else {
                    let from = operands.source.add(image * source.len());
                    self.stager.copy(source, from, patch, to);
                }
            }
        }
    }

    /// Where every output of the block starts reading and where it is written, zone by zone:
    /// behind the element of its window where outputs are pooled.
    fn point(
        &self,
        plan: &Plan,
        block: &Block,
        place: &Place,
        (starts, outs): (&mut [*const f32], &mut [usize]),
    ) {
        let grid = &plan.grid;
        let (rows, cols, target) = (&grid.rows.axis, &grid.cols.axis, &self.geometry.target);
        let right = (cols.source_step * plan.pixel, cols.step * target.channels);
        let line = target.width * target.channels;
        let down = (rows.source_step * plan.row, rows.step * line);
        let mut at = 0;
        for (zone, _) in &plan.zones {
            let rows = intersection(&zone.rows.outputs, &block.rows);
            let cols = zone.cols.outputs.clone();
            for index in 0..block.images.len() {
                let line = |row: usize| {
                    let (y, x) = grid.first_tap(zone, row, cols.start);
                    let offset = (y - place.top) * plan.row.cast_signed()
                        + (x - place.left) * plan.pixel.cast_signed();
                    let image = place.base.wrapping_add(index * place.image);
                    image.wrapping_offset(offset)
                };
                let target = |row: usize| self.target_at(plan, block, [index, row, cols.start]);
                if cols.len() == 1 && self.geometry.pool.is_none() {
                    let (end, first) = (at + rows.len(), rows.start);
                    let (from, to) = (line(first), target(first));
                    spaced(&mut starts[at..end], |i| from.wrapping_add(i * down.0));
                    spaced(&mut outs[at..end], |i| to + i * down.1);
                    at = end;
                    continue;
                }
                for row in rows.clone() {
                    let (end, from) = (at + cols.len(), line(row));
                    spaced(&mut starts[at..end], |i| from.wrapping_add(i * right.0));
                    let outs = &mut outs[at..end];
                    if let Some(window) = self.geometry.pool {
                        self.point_to_sums(plan, block, window, [index, row, cols.start], outs);
                    } else {
                        let to = target(row);
                        spaced(outs, |i| to + i * right.1);
                    }
                    at = end;
                }
            }
        }
    }

    /// Where an output of the block is written.
    fn target_at(&self, plan: &Plan, block: &Block, [index, row, col]: [usize; 3]) -> usize {
        let (rows, cols, target) = (
            &plan.grid.rows.axis,
            &plan.grid.cols.axis,
            &self.geometry.target,
        );
        let (y, x) = (rows.first + row * rows.step, cols.first + col * cols.step);
        let pixel = ((block.images.start + index) * target.height + y) * target.width + x;
        pixel * target.channels + block.group * self.geometry.weights.n + block.cols.start
    }

    /// Where the sums of neighbouring outputs of one row go among those of their block, window by
    /// window.
    fn point_to_sums(
        &self,
        plan: &Plan,
        block: &Block,
        [height, width]: [usize; 2],
        [image, row, col]: [usize; 3],
        outs: &mut [usize],
    ) {
        let across = plan.grid.cols.axis.count / width;
        let down = block.rows.len() / height;
        let row = row - block.rows.start;
        let mut window = (image * down + row / height) * across + col / width;
        let (line, mut element) = (row % height * width, col % width);
        for out in outs {
            *out = (window * height * width + line + element) * self.micro.panel_width;
            element += 1;
            if element == width {
                (element, window) = (0, window + 1);
            }
        }
    }

    /// Where every pooled output of the block is written.
    fn point_windows(&self, plan: &Plan, block: &Block, windows: &mut [usize]) {
        let [height, width] = self.geometry.pool.unwrap_or([1, 1]);
        let target = &self.geometry.target;
        let (target_h, target_w) = (target.height / height, target.width / width);
        let first = block.group * self.geometry.weights.n + block.cols.start;
        let across = plan.grid.cols.axis.count / width;
        let rows = block.rows.start / height..block.rows.end / height;
        let mut at = 0;
        for image in block.images.clone() {
            for y in rows.clone() {
                for x in 0..across {
                    let pixel = (image * target_h + y) * target_w + x;
                    windows[at] = pixel * target.channels + first;
                    at += 1;
                }
            }
        }
    }
}

/// Fills `all` with what `one` makes of their numbers.
fn spaced<T>(all: &mut [T], one: impl Fn(usize) -> T) {
    let all = all.iter_mut().enumerate();
    all.for_each(|(index, place)| *place = one(index));
}

/// Where the source's pixels lie: `top` and `left` are the coordinates of the pixel at `base`.
struct Place {
    base: *const f32,
    /// Floats from one image to the next.
    image: usize,
    top: isize,
    left: isize,
}

/// One panel of a sweep whose sums go to a buffer, to be pooled from there.
fn pooled_sweep<'a>(sweep: &Sweep<'a>, panel: usize, sums: *mut f32) -> Sweep<'a> {
    let width = sweep.micro.panel_width;
    let bias = sweep.start.bias;
    Sweep {
        c: sums,
        b: sweep.b.wrapping_add(panel * sweep.panel_len),
        cols: width.min(sweep.cols - panel * width),
        start: Start {
            bias: if bias.is_null() {
                bias
            } else {
                bias.wrapping_add(panel * width)
            },
            add: std::ptr::null(),
        },
        finish: Finish::default(),
        ..*sweep
    }
}

/// Computes one panel of all zones of a block.
///
/// # Safety
/// As for [`Sweep::panel`], for the rows as [`Core::point`] made them.
unsafe fn sweep_zones(
    sweep: &Sweep<'_>,
    panel: usize,
    plan: &Plan,
    block: &Block,
    (starts, outs): (&[*const f32], &[usize]),
) {
    let mut first = 0;
    for (zone, pieces) in &plan.zones {
        let rows = intersection(&zone.rows.outputs, &block.rows).len();
        let end = first + block.images.len() * rows * zone.cols.outputs.len();
        let rows = SweepRows {
            starts: &starts[first..end],
            outs: &outs[first..end],
            pieces,
        };
        // SAFETY: the caller vouches for all tiles.
        unsafe { sweep.panel(panel, rows) };
        first = end;
    }
}

fn intersection(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// Floats of one image after pooling.
pub(super) fn pooled_len(images: &Images, window: [usize; 2]) -> usize {
    images.height / window[0] * (images.width / window[1]) * images.channels
}
