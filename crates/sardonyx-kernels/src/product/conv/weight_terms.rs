//! What a tile's sums run over: which lines of the staged inputs meet which gradients, and where
//! the rows of a tile start.

use super::stage::SplitJob;
use super::weight_plan::{Part, Strip, WeightTile};
use super::weight_run::{WeightCore, WeightOperands};
use crate::product::micro::{MAX_ROWS, Segment};

/// A thread's scratch: what is staged of one strip.
pub(super) struct Room {
    /// For each kernel position the lines that it reads.
    pub(super) taps: *mut TapLines,
    pub(super) segments: *mut Segment,
    /// Gradients, panel by panel.
    pub(super) dy: *mut f32,
    pub(super) dy_panel_len: usize,
    /// Inputs: block of channels by block, or pixel by pixel where tiles mix kernel positions.
    pub(super) x: *mut f32,
    pub(super) x_block_len: usize,
}

/// The outputs for which a kernel position lies within the image: segments of the strip's rows,
/// all as long as each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct TapLines {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) run: usize,
}

/// The terms of a tile's sums: where rows start, and how they step.
pub(super) struct Terms<'a> {
    pub(super) starts: [*const f32; MAX_ROWS],
    pub(super) segments: &'a [Segment],
    pub(super) run: usize,
    pub(super) a_step: usize,
    /// Whether rows start one float after the other.
    pub(super) is_adjacent: bool,
}

impl WeightCore {
    /// Where a tile's rows start and how they step.
    pub(super) unsafe fn terms<'a>(
        &self,
        operands: &WeightOperands,
        (part, tile): (&Part, &WeightTile),
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
            let a_step;
            if self.plan.flat {
                let first = part.group * inner + tile.k.start;
                let at = self.plan.first_pixel(strip) * sum.x.channels + first;
                (starts[0], a_step) = (operands.x.wrapping_add(at), sum.x.channels);
            } else {
                let slot = tile.block - self.plan.blocks_of(part).start;
                let block = room.x.wrapping_add(slot * room.x_block_len);
                starts[0] = block.cast_const();
                a_step = sum.cols.axis.source_step * SplitJob::BLOCK;
            }
            return Terms {
                starts,
                segments,
                run: lines.run,
                a_step,
                is_adjacent: true,
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
            is_adjacent: false,
        }
    }

    /// All pixels of the strip in one line.
    pub(super) unsafe fn flat_line(&self, strip: &Strip, room: &Room) {
        let lines = TapLines {
            first: 0,
            count: 1,
            run: strip.pixels(),
        };
        // SAFETY: the scratch has room for one line and one kernel position.
        unsafe {
            room.segments.write(Segment { a: 0, b: 0 });
            room.taps.write(lines);
        }
    }

    /// The lines of every kernel position, over blocks of channels.
    pub(super) unsafe fn tap_lines(&self, strip: &Strip, room: &Room) {
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
    pub(super) unsafe fn mixed_lines(&self, strip: &Strip, room: &Room) {
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
}
