//! Computes the items of a weight gradient.

use super::core::pooled_len;
use super::stage::{Patch, Pooled, SplitJob, Stager};
use super::weight_plan::{Part, Strip, WeightPlan, WeightSum, WeightTile};
use super::weight_terms::{Room, TapLines, Terms};
use super::window::Grid;
use crate::product::micro::{Ahead, MAX_ROWS, Micro, Segment, Start, Tile};
use crate::simd::{Simd, simd_entry};
use crate::{Isa, Run};

/// Addresses of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeightOperands {
    pub(crate) x: *const f32,
    pub(crate) dy: *const f32,
    /// Null where `dy` is dense.
    pub(crate) argmax: *const u8,
    pub(crate) dw: *mut f32,
    /// Null where it is not wanted.
    pub(crate) db: *mut f32,
}

/// A weight gradient, planned.
#[derive(Debug)]
pub(crate) struct WeightCore {
    pub(super) plan: WeightPlan,
    pub(super) micro: Micro,
    stager: Stager,
    add_rows: unsafe fn(&AddRows),
}

/// Gradients of a panel's columns, pixel after pixel.
#[derive(Debug, Clone, Copy)]
struct DyRows {
    first: *const f32,
    /// Floats from one pixel to the next.
    step: usize,
}

impl WeightCore {
    pub(crate) fn new(isa: Isa, sum: WeightSum, most_shards: usize) -> WeightCore {
        let micro = Micro::new(isa);
        WeightCore {
            plan: WeightPlan::new(sum, &micro, most_shards),
            micro,
            stager: Stager::new(isa),
            add_rows: add_rows_for(isa),
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.plan.shards
    }

    pub(crate) fn items(&self) -> usize {
        self.plan.items()
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.room_lens().into_iter().sum()
    }

    /// Bytes of each part of a [`Room`].
    fn room_lens(&self) -> [usize; 4] {
        let (plan, (strip, panels)) = (&self.plan, self.plan.largest());
        let taps = if plan.mixed { 1 } else { plan.sum.weights.taps };
        let segments = taps * strip.images.len() * strip.rows.len() * size_of::<Segment>();
        let dy = 4 * panels * strip.pixels() * self.micro.panel_width;
        // Unclipped: strips in the middle of an image reach over both of their ends.
        let rows = Grid::reach(&plan.sum.rows, &strip.rows).len();
        let cols = Grid::reach(&plan.sum.cols, &strip.cols).len();
        let pixels = strip.images.len() * rows * cols;
        let x = if plan.mixed {
            4 * pixels * plan.sum.weights.inner
        } else {
            4 * plan.blocks.len() * SplitJob::block_len(pixels)
        };
        [taps * size_of::<TapLines>(), segments, dy, x].map(|len| len.next_multiple_of(64))
    }

    fn room(&self, cx: &Run<'_>, strip: &Strip) -> Room {
        let [taps_len, segments_len, dy_len, x_len] = self.room_lens();
        let (scratch, len) = cx.scratch::<u8>();
        assert!(len >= taps_len + segments_len + dy_len + x_len);
        let [rows, cols] = self.plan.reach(strip);
        Room {
            taps: scratch.cast(),
            segments: scratch.wrapping_add(taps_len).cast(),
            dy: scratch.wrapping_add(taps_len + segments_len).cast(),
            dy_panel_len: strip.pixels() * self.micro.panel_width,
            x: scratch
                .wrapping_add(taps_len + segments_len + dy_len)
                .cast(),
            x_block_len: SplitJob::block_len(strip.images.len() * rows.len() * cols.len()),
        }
    }

    /// Computes one item.
    ///
    /// # Safety
    /// The operands have the sizes of the sum, and no one else works on this item.
    pub(crate) unsafe fn run(&self, cx: &Run<'_>, operands: &WeightOperands, item: usize) {
        let part = self.plan.part(item);
        for index in part.strips.clone() {
            let strip = self.plan.strip(index);
            let room = self.room(cx, &strip);
            let replace = index == part.strips.start && !self.plan.sum.accumulate;
            // SAFETY: the scratch has room for the largest strip; weights and bias of the part
            // belong to the item.
            unsafe {
                self.stage(operands, &part, &strip, &room);
                if part.tiles.start == 0 && !operands.db.is_null() {
                    for panel in part.panels.clone() {
                        let dy = self.dy_rows(operands, (&part, panel), &strip, &room);
                        self.add_bias(operands, &part, panel, (dy, strip.pixels()), replace);
                    }
                }
                for tile in &self.plan.tiles[part.tiles.clone()] {
                    let of = (&part, tile);
                    let terms = self.terms(operands, of, &strip, &room);
                    for panel in part.panels.clone() {
                        let dy = self.dy_rows(operands, (&part, panel), &strip, &room);
                        self.add_tile(operands, of, panel, (&terms, dy), replace);
                    }
                }
            }
        }
        if part.strips.is_empty() && !self.plan.sum.accumulate {
            // SAFETY: weights and bias of this part belong to the item.
            unsafe { self.clear(operands, &part) }
        }
    }

    /// Brings into scratch what the strip's tiles do not read where it lies.
    unsafe fn stage(&self, operands: &WeightOperands, part: &Part, strip: &Strip, room: &Room) {
        let plan = &self.plan;
        // SAFETY: the caller vouches for the operands and for room.
        unsafe {
            for (slot, panel) in part.panels.clone().enumerate() {
                if !plan.reads_dy(panel) {
                    let to = room.dy.add(slot * room.dy_panel_len);
                    self.stage_dy(operands, part, panel, strip, to);
                }
            }
            if plan.mixed {
                self.stage_x(operands, part, strip, room.x);
                self.mixed_lines(strip, room);
            } else if plan.flat {
                self.flat_line(strip, room);
            } else {
                self.stage_blocks(operands, part, strip, room);
                self.tap_lines(strip, room);
            }
        }
    }

    /// The strip's gradients of one panel, staged or where they lie.
    fn dy_rows(
        &self,
        operands: &WeightOperands,
        (part, panel): (&Part, usize),
        strip: &Strip,
        room: &Room,
    ) -> DyRows {
        let (sum, width) = (&self.plan.sum, self.micro.panel_width);
        if self.plan.reads_dy(panel) {
            let column = part.group * sum.weights.n + panel * width;
            let at = self.plan.first_pixel(strip) * sum.dy.channels + column;
            return DyRows {
                first: operands.dy.wrapping_add(at),
                step: sum.dy.channels,
            };
        }
        let slot = panel - part.panels.start;
        DyRows {
            first: room.dy.wrapping_add(slot * room.dy_panel_len).cast_const(),
            step: width,
        }
    }

    /// Adds one strip's terms to a tile of weights.
    unsafe fn add_tile(
        &self,
        operands: &WeightOperands,
        (part, tile): (&Part, &WeightTile),
        panel: usize,
        (terms, dy): (&Terms<'_>, DyRows),
        replace: bool,
    ) {
        let width = self.micro.panel_width;
        let outs: [usize; MAX_ROWS] = std::array::from_fn(|row| row * width);
        let at = self.plan.panel_offset(part, panel) + tile.k.start * width;
        let c = operands.dw.wrapping_add(at);
        let family = self.micro.family(self.plan.cols(panel));
        let job = Tile {
            rows: terms.starts.as_ptr(),
            outs: outs.as_ptr(),
            c,
            at: 0,
            segments: terms.segments,
            run: terms.run,
            a_step: terms.a_step,
            b: dy.first,
            b_step: dy.step,
            start: Start {
                bias: std::ptr::null(),
                add: if replace { std::ptr::null() } else { c },
            },
            clip: None,
            ahead: Ahead::NOTHING,
        };
        let tiles = if terms.is_adjacent {
            family.adjacent
        } else {
            family.tiles
        };
        // SAFETY: rows lead into scratch or the input, as `terms` made them; the caller vouches
        // for the weights. Lanes that a narrow tile leaves out are zero.
        unsafe {
            tiles[tile.k.len() - 1](&job);
            if replace && family.width < width {
                for out in &outs[..tile.k.len()] {
                    c.add(out + family.width)
                        .write_bytes(0, width - family.width);
                }
            }
        }
    }

    /// Splits what the part reads of the strip's inputs into blocks of channels.
    unsafe fn stage_blocks(
        &self,
        operands: &WeightOperands,
        part: &Part,
        strip: &Strip,
        room: &Room,
    ) {
        let sum = &self.plan.sum;
        let blocks = &self.plan.blocks[self.plan.blocks_of(part)];
        let [rows, cols] = self.plan.reach(strip);
        let left = cols.start.unsigned_abs();
        let first = part.group * sum.weights.inner;
        let mut at = 0;
        for image in strip.images.clone() {
            for y in rows.clone() {
                let pixel = (image * sum.x.height + y.unsigned_abs()) * sum.x.width + left;
                // SAFETY: the reach lies within the image; the scratch has room for its pixels
                // in every block.
                unsafe {
                    self.stager.split(&SplitJob {
                        from: operands.x.add(pixel * sum.x.channels + first),
                        from_pixel: sum.x.channels,
                        to: room.x.add(at * SplitJob::BLOCK),
                        to_block: room.x_block_len,
                        blocks,
                        count: cols.len(),
                    });
                }
                at += cols.len();
            }
        }
    }

    unsafe fn stage_x(&self, operands: &WeightOperands, part: &Part, strip: &Strip, to: *mut f32) {
        let (sum, inner) = (&self.plan.sum, self.plan.sum.weights.inner);
        let [rows, cols] = self.plan.reach(strip);
        let patch = Patch {
            top: rows.start,
            left: cols.start,
            rows: rows.len(),
            cols: cols.len(),
            channels: part.group * inner..(part.group + 1) * inner,
            pixel: inner,
        };
        let len = patch.rows * patch.cols * inner;
        for (index, image) in strip.images.clone().enumerate() {
            // SAFETY: the caller vouches for the images and for room.
            unsafe {
                let from = operands.x.add(image * sum.x.len());
                self.stager.copy(&sum.x, from, &patch, to.add(index * len));
            }
        }
    }

    unsafe fn stage_dy(
        &self,
        operands: &WeightOperands,
        part: &Part,
        panel: usize,
        strip: &Strip,
        to: *mut f32,
    ) {
        let (dy, width) = (&self.plan.sum.dy, self.micro.panel_width);
        let first = part.group * self.plan.sum.weights.n + panel * width;
        let patch = Patch {
            top: strip.rows.start.cast_signed(),
            left: strip.cols.start.cast_signed(),
            rows: strip.rows.len(),
            cols: strip.cols.len(),
            channels: first..first + self.plan.cols(panel),
            pixel: width,
        };
        let len = patch.rows * patch.cols * width;
        for (index, image) in strip.images.clone().enumerate() {
            let to = to.wrapping_add(index * len);
            // SAFETY: the caller vouches for the gradients and for room.
            unsafe {
                if let Some(window) = self.plan.sum.unpool {
                    let at = image * pooled_len(dy, window);
                    let pooled = Pooled {
                        values: operands.dy.add(at),
                        argmax: operands.argmax.add(at),
                        window,
                    };
                    self.stager.unpool(dy, &pooled, &patch, to);
                } else {
                    self.stager
                        .copy(dy, operands.dy.add(image * dy.len()), &patch, to);
                }
            }
        }
    }

    unsafe fn add_bias(
        &self,
        operands: &WeightOperands,
        part: &Part,
        panel: usize,
        (rows, count): (DyRows, usize),
        replace: bool,
    ) {
        let job = AddRows {
            rows: rows.first,
            width: rows.step,
            count,
            cols: self.plan.cols(panel),
            to: operands.db.wrapping_add(self.plan.bias_offset(part, panel)),
            replace,
        };
        // SAFETY: the caller vouches for the panel and the bias.
        unsafe { (self.add_rows)(&job) }
    }

    /// Zeros for a part of the sum that has no pixels.
    unsafe fn clear(&self, operands: &WeightOperands, part: &Part) {
        let width = self.micro.panel_width;
        for panel in part.panels.clone() {
            let dw = operands
                .dw
                .wrapping_add(self.plan.panel_offset(part, panel));
            // SAFETY: weights and bias of this part belong to the item.
            unsafe {
                for tile in &self.plan.tiles[part.tiles.clone()] {
                    dw.add(tile.k.start * width)
                        .write_bytes(0, tile.k.len() * width);
                }
                if part.tiles.start == 0 && !operands.db.is_null() {
                    let db = operands.db.add(self.plan.bias_offset(part, panel));
                    db.write_bytes(0, self.plan.cols(panel));
                }
            }
        }
    }
}

/// Sums of the columns of a few rows.
///
/// # Safety
/// For the function below: `cols` floats can be read in each of `count` rows, `width` floats apart,
/// and read and written at `to`.
#[derive(Debug, Clone, Copy)]
struct AddRows {
    rows: *const f32,
    width: usize,
    count: usize,
    cols: usize,
    to: *mut f32,
    replace: bool,
}

simd_entry! {
    /// Adds the sum of each column to `to`, or replaces it.
    fn add_rows_for(job: &AddRows) = add_rows
}

#[inline(always)]
unsafe fn add_rows<S: Simd>(s: S, job: &AddRows) {
    for first in (0..job.cols).step_by(S::LANES) {
        let left = (job.cols - first).min(S::LANES);
        let mut sums = [s.splat(0.0); 4];
        // SAFETY: the caller keeps the contract of `AddRows`; masked accesses touch `left`.
        unsafe {
            let whole = job.count - job.count % 4;
            for row in (0..whole).step_by(4) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let from = job.rows.add((row + i) * job.width + first);
                    *sum = s.add(*sum, s.load_first(left, from));
                }
            }
            for row in whole..job.count {
                let from = job.rows.add(row * job.width + first);
                sums[0] = s.add(sums[0], s.load_first(left, from));
            }
            let mut sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
            if !job.replace {
                sum = s.add(sum, s.load_first(left, job.to.add(first)));
            }
            s.store_first(left, job.to.add(first), sum);
        }
    }
}
