//! Computes the items of a weight gradient.

use super::core::pooled_len;
use super::stage::{Patch, Pooled, SplitJob, Stager};
use super::weight_plan::{Part, Strip, WeightPlan, WeightSum, WeightTile};
use super::window::Grid;
use crate::product::micro::{MAX_ROWS, Micro, Segment, Start, Tile};
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
    plan: WeightPlan,
    micro: Micro,
    stager: Stager,
    add_rows: unsafe fn(&AddRows),
}

/// A thread's scratch: what is staged of one strip.
struct Room {
    /// For each kernel position the lines that it reads.
    taps: *mut TapLines,
    segments: *mut Segment,
    /// Gradients, panel by panel.
    dy: *mut f32,
    dy_panel_len: usize,
    /// Inputs: block of channels by block, or pixel by pixel where tiles mix kernel positions.
    x: *mut f32,
    x_block_len: usize,
}

/// The outputs for which a kernel position lies within the image: segments of the strip's rows,
/// all as long as each other.
#[derive(Debug, Clone, Copy)]
struct TapLines {
    first: usize,
    count: usize,
    run: usize,
}

/// The terms of a tile's sums: where rows start, and how they step.
struct Terms<'a> {
    starts: [*const f32; MAX_ROWS],
    segments: &'a [Segment],
    run: usize,
    a_step: usize,
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
                for (slot, panel) in part.panels.clone().enumerate() {
                    let to = room.dy.add(slot * room.dy_panel_len);
                    self.stage_dy(operands, &part, panel, &strip, to);
                    if part.tiles.start == 0 && !operands.db.is_null() {
                        self.add_bias(operands, &part, panel, (to, strip.pixels()), replace);
                    }
                }
                if self.plan.mixed {
                    self.stage_x(operands, &part, &strip, room.x);
                    self.mixed_lines(&strip, &room);
                } else {
                    self.stage_blocks(operands, &part, &strip, &room);
                    self.tap_lines(&strip, &room);
                }
                for tile in &self.plan.tiles[part.tiles.clone()] {
                    let terms = self.terms(&part, tile, &strip, &room);
                    self.add_tile(operands, &part, tile, (&terms, &room), replace);
                }
            }
        }
        if part.strips.is_empty() && !self.plan.sum.accumulate {
            // SAFETY: weights and bias of this part belong to the item.
            unsafe { self.clear(operands, &part) }
        }
    }

    /// Adds one strip's terms to a tile of weights, panel by panel.
    unsafe fn add_tile(
        &self,
        operands: &WeightOperands,
        part: &Part,
        tile: &WeightTile,
        (terms, room): (&Terms<'_>, &Room),
        replace: bool,
    ) {
        let width = self.micro.panel_width;
        let outs: [usize; MAX_ROWS] = std::array::from_fn(|row| row * width);
        for (slot, panel) in part.panels.clone().enumerate() {
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
                b: room.dy.wrapping_add(slot * room.dy_panel_len),
                b_step: width,
                start: Start {
                    bias: std::ptr::null(),
                    add: if replace { std::ptr::null() } else { c },
                },
                clip: None,
            };
            // SAFETY: rows lead into scratch or the input, as `terms` made them; the caller
            // vouches for the weights. Lanes that a narrow tile leaves out are zero.
            unsafe {
                family.tiles[tile.k.len() - 1](&job);
                if replace && family.width < width {
                    for out in &outs[..tile.k.len()] {
                        c.add(out + family.width)
                            .write_bytes(0, width - family.width);
                    }
                }
            }
        }
    }

    /// Where a tile's rows start and how they step.
    unsafe fn terms<'a>(
        &self,
        part: &Part,
        tile: &WeightTile,
        strip: &Strip,
        room: &Room,
    ) -> Terms<'a> {
        let (sum, inner) = (&self.plan.sum, self.plan.sum.weights.inner);
        // SAFETY: the strip's lines were written before.
        let (lines, segments) = unsafe {
            let lines = *room.taps.add(tile.tap);
            let segments = room.segments.add(lines.first).cast_const();
            (lines, std::slice::from_raw_parts(segments, lines.count))
        };
        let mut starts = [std::ptr::null(); MAX_ROWS];
        if !self.plan.mixed {
            let slot = tile.block - self.plan.blocks_of(part).start;
            let block = room.x.wrapping_add(slot * room.x_block_len).cast_const();
            for (row, start) in starts.iter_mut().enumerate() {
                *start = block.wrapping_add(row);
            }
            let a_step = sum.cols.axis.source_step * SplitJob::BLOCK;
            return Terms {
                starts,
                segments,
                run: lines.run,
                a_step,
            };
        }
        let line = self.plan.reach(strip)[1].len() * inner;
        let (y_taps, x_taps) = (&sum.rows.taps, &sum.cols.taps);
        for (start, k) in starts.iter_mut().zip(tile.k.clone()) {
            let (tap, channel) = (k / inner, k % inner);
            let (_, y) = y_taps[tap / x_taps.len()];
            let (_, x) = x_taps[tap % x_taps.len()];
            let (down, right) = (y - y_taps[0].1, x - x_taps[0].1);
            let offset = down.unsigned_abs() * line + right.unsigned_abs() * inner + channel;
            *start = room.x.wrapping_add(offset).cast_const();
        }
        Terms {
            starts,
            segments,
            run: lines.run,
            a_step: sum.cols.axis.source_step * inner,
        }
    }

    /// The lines of every kernel position, over blocks of channels.
    unsafe fn tap_lines(&self, strip: &Strip, room: &Room) {
        let (sum, width) = (&self.plan.sum, self.micro.panel_width);
        let [source_rows, source_cols] = self.plan.reach(strip);
        let mut at = 0;
        for tap in 0..sum.weights.taps {
            let (ky, kx) = (tap / sum.cols.taps.len(), tap % sum.cols.taps.len());
            let rows = sum.rows.outputs_of(ky, &strip.rows, sum.x.height);
            let cols = sum.cols.outputs_of(kx, &strip.cols, sum.x.width);
            let first = at;
            let lines = if cols.is_empty() { 0..0 } else { rows };
            for image in 0..strip.images.len() {
                for row in lines.clone() {
                    let y = sum.rows.source(ky, row) - source_rows.start.unsigned_abs();
                    let x = sum.cols.source(kx, cols.start) - source_cols.start.unsigned_abs();
                    let source = (image * source_rows.len() + y) * source_cols.len() + x;
                    let line = image * strip.rows.len() + row - strip.rows.start;
                    let output = line * strip.cols.len() + cols.start - strip.cols.start;
                    let segment = Segment {
                        a: source * SplitJob::BLOCK,
                        b: output * width,
                    };
                    // SAFETY: the scratch has room for every line of every kernel position.
                    unsafe { room.segments.add(at).write(segment) };
                    at += 1;
                }
            }
            let lines = TapLines {
                first,
                count: at - first,
                run: cols.len(),
            };
            // SAFETY: the scratch has room for every kernel position.
            unsafe { room.taps.add(tap).write(lines) };
        }
    }

    /// The lines of a strip, over a patch with zeros around it.
    unsafe fn mixed_lines(&self, strip: &Strip, room: &Room) {
        let sum = &self.plan.sum;
        let [rows, cols] = self.plan.reach(strip);
        let line = cols.len() * sum.weights.inner;
        let count = strip.images.len() * strip.rows.len();
        for index in 0..count {
            let (image, row) = (index / strip.rows.len(), index % strip.rows.len());
            let a = image * rows.len() * line + row * sum.rows.axis.source_step * line;
            let b = index * strip.cols.len() * self.micro.panel_width;
            // SAFETY: the scratch has room for every line of the strip.
            unsafe { room.segments.add(index).write(Segment { a, b }) };
        }
        let lines = TapLines {
            first: 0,
            count,
            run: strip.cols.len(),
        };
        // SAFETY: the scratch has room for one kernel position.
        unsafe { room.taps.write(lines) };
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
        (rows, count): (*const f32, usize),
        replace: bool,
    ) {
        let job = AddRows {
            rows,
            width: self.micro.panel_width,
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
/// For the function below: `count` rows of `width` floats can be read, and `cols` (at most
/// `width`) floats read and written at `to`.
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
        // SAFETY: the caller keeps the contract of `AddRows`; `width` is a multiple of the lanes.
        unsafe {
            let whole = job.count - job.count % 4;
            for row in (0..whole).step_by(4) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = s.add(*sum, s.load(job.rows.add((row + i) * job.width + first)));
                }
            }
            for row in whole..job.count {
                sums[0] = s.add(sums[0], s.load(job.rows.add(row * job.width + first)));
            }
            let mut sum = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
            if !job.replace {
                sum = s.add(sum, s.load_first(left, job.to.add(first)));
            }
            s.store_first(left, job.to.add(first), sum);
        }
    }
}
