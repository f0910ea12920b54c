//! Walks the tiles of one work item: panel by panel, and within a panel in pieces of `k`, so that a
//! piece of a panel stays in the first-level cache while all rows of the item pass by.

use std::ops::Range;

use super::edge::{Buffer, EdgeTile};
use super::micro::{Ahead, Family, Finish, MAX_ROWS, Micro, Segment, Start, Tile};
use crate::Run;

/// Bytes of a panel's piece that should stay in the first-level cache.
const PIECE_BYTES: usize = 32 * 1024;

/// Rows so many bytes apart share a set of the first-level cache, which has room for that many of
/// them beside what passes by.
const SET_BYTES: usize = 4096;
const CONTENDING_ROWS: usize = 10;

/// Tiles that share the work of bringing the next piece of a panel to the second-level cache.
const FETCHING_TILES: usize = 4;

/// A piece of the sum over `k`: segments of equal length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    segments: Vec<Segment>,
    run: usize,
}

impl Piece {
    /// A sum that is not cut.
    pub(crate) fn whole(segments: Vec<Segment>, run: usize) -> Piece {
        Piece { segments, run }
    }
}

/// Cuts the sum over `k`, given as segments of `run` steps each (`a_step` floats apart in A,
/// `panel_width` in B), into pieces of at most [`PIECE_BYTES`] of panel.
pub(crate) fn pieces(
    segments: &[Segment],
    run: usize,
    a_step: usize,
    panel_width: usize,
) -> Vec<Piece> {
    let most = (PIECE_BYTES / (4 * panel_width)).max(1);
    if run == 0 || segments.is_empty() {
        return vec![Piece {
            segments: Vec::new(),
            run: 0,
        }];
    }
    if run <= most {
        let groups = segments.len().div_ceil((most / run).max(1));
        return even_parts(segments.len(), groups)
            .map(|part| Piece {
                segments: segments[part].to_vec(),
                run,
            })
            .collect();
    }
    let parts = run.div_ceil(most);
    let cut = segments.iter().flat_map(|segment| {
        even_parts(run, parts).map(|part| Piece {
            segments: vec![Segment {
                a: segment.a + part.start * a_step,
                b: segment.b + part.start * panel_width,
            }],
            run: part.len(),
        })
    });
    cut.collect()
}

/// `0..total` in `parts` ranges whose lengths differ by at most one, longer ones first.
pub(crate) fn even_parts(
    total: usize,
    parts: usize,
) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..parts).map(move |part| even_part(total, parts, part))
}

/// Range `part` of [`even_parts`].
pub(crate) fn even_part(total: usize, parts: usize, part: usize) -> Range<usize> {
    let (each, longer) = (total / parts, total % parts);
    let start = part * each + part.min(longer);
    start..start + each + usize::from(part < longer)
}

/// Whether [`even_parts`] of `total` differ little in length.
pub(crate) const fn is_even(total: usize, parts: usize) -> bool {
    total.is_multiple_of(parts) || total / parts >= 8
}

/// The tiles of one item: a range of panels, to be multiplied with rows of A.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep<'a> {
    pub(crate) micro: &'a Micro,
    pub(crate) c: *mut f32,
    pub(crate) a_step: usize,
    /// First panel of the item.
    pub(crate) b: *const f32,
    pub(crate) b_step: usize,
    /// Floats from one panel to the next.
    pub(crate) panel_len: usize,
    /// Columns of the item, from the start of the output rows on.
    pub(crate) cols: usize,
    pub(crate) start: Start,
    pub(crate) finish: Finish,
}

/// Rows of A that share a sum over `k`, and where each output row starts, in floats from `c`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SweepRows<'a> {
    pub(crate) starts: &'a [*const f32],
    pub(crate) outs: &'a [usize],
    pub(crate) pieces: &'a [Piece],
}

impl Sweep<'_> {
    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.cols.div_ceil(self.micro.panel_width)
    }

    /// Computes all tiles of `rows`.
    ///
    /// # Safety
    /// As for [`Sweep::panel`], for all panels.
    pub(crate) unsafe fn run(&self, rows: SweepRows<'_>) {
        for panel in 0..self.panels() {
            // SAFETY: the caller vouches for all tiles.
            unsafe { self.panel(panel, rows) }
        }
    }

    /// Computes the tiles of one panel.
    ///
    /// # Safety
    /// The contracts of [`Tile`] and [`EdgeTile`] for all rows and pieces; panels have their full
    /// width, whatever the number of columns.
    pub(crate) unsafe fn panel(&self, panel: usize, rows: SweepRows<'_>) {
        let last = rows.pieces.len() - 1;
        let width = self.micro.panel_width;
        let at = panel * width;
        let bias = self.start.bias;
        let first = Start {
            bias: if bias.is_null() {
                bias
            } else {
                bias.wrapping_add(at)
            },
            add: self.start.add,
        };
        let again = Start {
            bias: std::ptr::null(),
            add: self.c,
        };
        for (index, piece) in rows.pieces.iter().enumerate() {
            let tile = Tile {
                rows: rows.starts.as_ptr(),
                outs: rows.outs.as_ptr(),
                c: self.c,
                at,
                segments: &piece.segments,
                run: piece.run,
                a_step: self.a_step,
                b: self.b.wrapping_add(panel * self.panel_len),
                b_step: self.b_step,
                start: if index == 0 { first } else { again },
                clip: None,
                ahead: Ahead {
                    from: self.next(panel, index, rows.pieces),
                    step: width,
                },
            };
            let finish = if index == last {
                self.finish
            } else {
                Finish::default()
            };
            // SAFETY: the caller vouches for all tiles.
            unsafe { self.run_rows(rows, tile, finish, width.min(self.cols - at)) };
        }
    }

    /// Where the piece of a panel lies that is read after piece `index` of panel `panel`; behind
    /// the last one, where the panels of the next item lie, if there are more.
    fn next(&self, panel: usize, index: usize, pieces: &[Piece]) -> *const f32 {
        let (panel, index) = match index + 1 {
            next if next < pieces.len() => (panel, next),
            _ => (panel + 1, 0),
        };
        let segment = pieces[index].segments.first();
        let at = panel * self.panel_len + segment.map_or(0, |segment| segment.b);
        self.b.wrapping_add(at)
    }

    /// One panel of one piece, over all rows.
    unsafe fn run_rows(&self, rows: SweepRows<'_>, tile: Tile<'_>, finish: Finish, cols: usize) {
        let family = self.micro.family(cols);
        // SAFETY: the caller vouches for all tiles.
        unsafe {
            match finish.activation.clip() {
                Some(clip) if cols == family.width && finish.gate.is_none() => {
                    run_direct(rows, Tile { clip, ..tile }, &family);
                }
                _ => self.run_edge(
                    rows,
                    tile,
                    &EdgeJob {
                        finish,
                        family,
                        cols,
                    },
                ),
            }
        }
    }

    unsafe fn run_edge(&self, rows: SweepRows<'_>, tile: Tile<'_>, job: &EdgeJob) {
        let EdgeJob {
            finish,
            family,
            cols,
        } = *job;
        let mut buffer = std::mem::MaybeUninit::<Buffer>::uninit();
        let buffer = buffer.as_mut_ptr().cast::<f32>();
        let offsets: [usize; MAX_ROWS] = std::array::from_fn(|row| row * family.width);
        let tiles = tiles_of(rows.starts, &family);
        let ahead = shares(tile, tiles.len());
        for (part, ahead) in tiles.zip(ahead) {
            let edge = EdgeTile {
                buffer,
                width: family.width,
                rows: part.len(),
                cols,
                outs: rows.outs[part.clone()].as_ptr(),
                c: self.c,
                at: tile.at,
                start: tile.start,
                finish,
            };
            let sums = Tile {
                rows: rows.starts[part.clone()].as_ptr(),
                outs: offsets.as_ptr(),
                c: buffer,
                at: 0,
                start: Start {
                    bias: std::ptr::null(),
                    add: buffer,
                },
                ahead,
                ..tile
            };
            // SAFETY: the caller vouches for all tiles; the buffer holds the largest one.
            unsafe {
                (self.micro.edge.begin)(&edge);
                family.tiles[part.len() - 1](&sums);
                (self.micro.edge.end)(&edge);
            }
        }
    }
}

/// How tiles are finished that pass through a buffer.
struct EdgeJob {
    finish: Finish,
    family: Family,
    cols: usize,
}

/// Rows in tiles of nearly equal height.
fn tiles_of(
    starts: &[*const f32],
    family: &Family,
) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
    let most = match starts {
        [first, second, ..] if contends(first.addr(), second.addr()) => CONTENDING_ROWS,
        _ => MAX_ROWS,
    };
    let most = family.tiles.len().min(most);
    even_parts(starts.len(), starts.len().div_ceil(most))
}

/// What each of `count` tiles brings of the piece that comes next, which begins where that of
/// `tile` says and is as long as its own.
fn shares<'a>(tile: Tile<'a>, count: usize) -> impl Iterator<Item = Ahead> + use<'a> {
    let (steps, parts) = (tile.segments.len() * tile.run, count.min(FETCHING_TILES));
    let step = tile.ahead.step / parts.max(1);
    (0..).map(move |index: usize| match index < parts {
        true => Ahead {
            from: tile.ahead.from.wrapping_add(index * steps * step),
            step,
        },
        false => Ahead {
            from: tile.b,
            step: 0,
        },
    })
}

/// Whether rows at these addresses, and others as far apart, share sets of the first-level cache.
fn contends(first: usize, second: usize) -> bool {
    second.wrapping_sub(first).is_multiple_of(SET_BYTES)
}

/// Tiles that start and finish in registers.
unsafe fn run_direct(rows: SweepRows<'_>, mut tile: Tile<'_>, family: &Family) {
    let tiles = tiles_of(rows.starts, family);
    let ahead = shares(tile, tiles.len());
    for (part, ahead) in tiles.zip(ahead) {
        tile.ahead = ahead;
        tile.rows = rows.starts[part.clone()].as_ptr();
        tile.outs = rows.outs[part.clone()].as_ptr();
        // SAFETY: the caller vouches for all tiles.
        unsafe { family.tiles[part.len() - 1](&tile) };
    }
}

/// Room for the rows of a sweep in a thread's scratch, and what is left behind it. Returns row
/// pointers, output offsets, and the rest of the scratch, 64-byte aligned.
///
/// # Safety
/// The scratch has at least [`rows_scratch`] bytes and nothing else uses it while these live.
#[expect(clippy::mut_from_ref, reason = "the scratch is the running item's own")]
pub(crate) unsafe fn split_scratch<'a>(
    cx: &'a Run<'_>,
    rows: usize,
) -> (&'a mut [*const f32], &'a mut [usize], *mut f32) {
    let (scratch, bytes) = cx.scratch::<u8>();
    assert!(bytes >= rows_scratch(rows));
    // SAFETY: the caller vouches for the bytes; any bytes are a pointer or a number.
    unsafe {
        let rows_at = std::slice::from_raw_parts_mut(scratch.cast::<*const f32>(), rows);
        let outs_at = scratch.add(rows * size_of::<*const f32>()).cast::<usize>();
        let outs_at = std::slice::from_raw_parts_mut(outs_at, rows);
        (rows_at, outs_at, scratch.add(rows_scratch(rows)).cast())
    }
}

/// Bytes of scratch that [`split_scratch`] takes for `rows` rows.
pub(crate) const fn rows_scratch(rows: usize) -> usize {
    (rows * (size_of::<*const f32>() + size_of::<usize>())).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_step_once_and_fit() {
        for (count, run, width) in [
            (1, 1, 32),
            (3, 96, 32),
            (9, 1000, 16),
            (1, 4097, 8),
            (25, 3, 32),
        ] {
            let segments: Vec<Segment> = (0..count)
                .map(|i| Segment {
                    a: i * 10_000,
                    b: i * run * width,
                })
                .collect();
            let mut seen: Vec<usize> = Vec::new();
            for piece in pieces(&segments, run, 2, width) {
                assert!(piece.segments.len() * piece.run * width * 4 <= PIECE_BYTES);
                for segment in &piece.segments {
                    for step in 0..piece.run {
                        assert_eq!(segment.a % 10_000, (segment.b / width % run) * 2);
                        seen.push(segment.b / width + step);
                    }
                }
            }
            assert_eq!(seen, (0..count * run).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_empty_sum_is_one_empty_piece() {
        assert_eq!(
            pieces(&[], 0, 1, 32),
            vec![Piece {
                segments: vec![],
                run: 0
            }]
        );
    }
}
