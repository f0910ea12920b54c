//! How the sum of a weight gradient is cut: pixels into strips, strips into shards, weights into
//! tiles and items.

use std::ops::Range;

use super::stage::Images;
use super::window::Grid;
use crate::axis::AxisTaps;
use crate::product::micro::Micro;
use crate::product::panels::PanelShape;
use crate::product::sweep::{even_part, even_parts};

/// Output pixels of a strip: a panel of their gradients and a tile of their inputs stay in the
/// first-level cache.
const STRIP_PIXELS: usize = 192;

/// Multiply-adds of an item that outweigh handing it out and staging what it reads, and most items
/// for the sake of sharing them out.
const ITEM_WORK: usize = 1 << 22;
const MOST_ITEMS: usize = 32;

/// Items that are wanted even where they stage more than [`STAGING_SHARE`] of what they compute.
const FEW_ITEMS: usize = 16;
const STAGING_SHARE: usize = 16;

/// Cycles, about, that a pixel takes: in a tile, to copy a panel's gradients (and to unpool them),
/// to copy a block of channels.
const TILE_CYCLES: usize = 14;
const PANEL_CYCLES: usize = 6;
const UNPOOL_CYCLES: usize = 24;
const BLOCK_CYCLES: usize = 4;

/// Strips of a shard that outweigh writing its weights.
const SHARD_STRIPS: usize = 4;

/// Most shards, and bytes that all of them together should not exceed.
const MOST_SHARDS: usize = 16;
const SHARD_BYTES: usize = 5 << 19;

/// Panels whose staged gradients fit the second-level cache.
const MOST_PANELS: usize = 8;

/// Channels from which on a tile of weights has one kernel position only.
const LEAST_CHANNELS: usize = 4;

/// `dw[tap, channel][column] = sum over pixels of x[pixel at tap][channel] * dy[pixel][column]`.
#[derive(Debug, Clone)]
pub(crate) struct WeightSum {
    pub(crate) batch: usize,
    pub(crate) x: Images,
    pub(crate) dy: Images,
    pub(crate) weights: PanelShape,
    /// Outputs along both axes, with the taps of the convolution.
    pub(crate) rows: AxisTaps,
    pub(crate) cols: AxisTaps,
    pub(crate) unpool: Option<[usize; 2]>,
    pub(crate) accumulate: bool,
}

impl WeightSum {
    /// Whether each output pixel reads the input pixel of the same place, and nothing else.
    fn is_flat(&self) -> bool {
        let same = |taps: &AxisTaps, len: usize| {
            taps.axis.count == len && taps.axis.source_step == 1 && taps.taps.len() == 1
        };
        self.unpool.is_none()
            && same(&self.rows, self.x.height)
            && same(&self.cols, self.x.width)
            && [self.x.height, self.x.width] == [self.dy.height, self.dy.width]
    }
}

/// Output pixels that are summed while their gradients are in cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strip {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
}

impl Strip {
    pub(super) fn pixels(&self) -> usize {
        self.images.len() * self.rows.len() * self.cols.len()
    }
}

/// Neighbouring rows of weights: a range of `k` = kernel position x channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WeightTile {
    pub(super) k: Range<usize>,
    /// Kernel position, and which block of channels; 0 where tiles mix kernel positions.
    pub(super) tap: usize,
    pub(super) block: usize,
}

/// One item: which strips it sums for which weights.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) shard: usize,
    pub(super) strips: Range<usize>,
    pub(super) group: usize,
    pub(super) panels: Range<usize>,
    pub(super) tiles: Range<usize>,
}

/// The sum, cut.
#[derive(Debug)]
pub(super) struct WeightPlan {
    pub(super) sum: WeightSum,
    /// Whether tiles mix kernel positions, over a copy of the input with zeros around it.
    pub(super) mixed: bool,
    /// Whether the strips' pixels lie one after the other in inputs and gradients alike. Then
    /// both are read where they lie: copying them first is slower, however often they are read.
    pub(super) flat: bool,
    /// Block of channels after block of channels, and in each kernel position after position.
    pub(super) tiles: Vec<WeightTile>,
    /// Channels of each block.
    pub(super) blocks: Vec<Range<usize>>,
    images_per_strip: usize,
    row_strips: usize,
    col_strips: usize,
    width: usize,
    /// Columns of the narrowest tile.
    vector: usize,
    pub(super) shards: usize,
    panel_blocks: usize,
    k_blocks: usize,
}

impl WeightPlan {
    pub(super) fn new(sum: WeightSum, micro: &Micro, most_shards: usize) -> WeightPlan {
        let (rows, cols) = (sum.rows.axis.count.max(1), sum.cols.axis.count.max(1));
        let col_strips = cols.div_ceil(STRIP_PIXELS + STRIP_PIXELS / 2);
        let row_strips = (rows * cols.div_ceil(col_strips))
            .div_ceil(STRIP_PIXELS)
            .min(rows);
        let whole = row_strips == 1 && col_strips == 1;
        let images = if whole {
            STRIP_PIXELS / (rows * cols)
        } else {
            1
        };
        let mixed = sum.weights.inner < LEAST_CHANNELS;
        let most = micro.family(sum.weights.n).tiles.len();
        let len = if mixed {
            sum.weights.taps * sum.weights.inner
        } else {
            sum.weights.inner
        };
        let blocks: Vec<_> = even_parts(len, len.div_ceil(most)).collect();
        let mut plan = WeightPlan {
            mixed,
            flat: !mixed && sum.is_flat() && (col_strips == 1 || rows == 1),
            tiles: tiles(&blocks, sum.weights, mixed),
            blocks,
            images_per_strip: images.clamp(1, sum.batch.max(1)),
            row_strips,
            col_strips,
            width: micro.panel_width,
            vector: micro.family(1).width,
            shards: 1,
            panel_blocks: 1,
            k_blocks: 1,
            sum,
        };
        plan.share_out(if most_shards == 0 {
            MOST_SHARDS
        } else {
            most_shards
        });
        plan
    }

    pub(super) fn items(&self) -> usize {
        self.shards * self.sum.weights.groups * self.panel_blocks * self.k_blocks
    }

    pub(super) fn part(&self, item: usize) -> Part {
        let (k_block, item) = (item % self.k_blocks, item / self.k_blocks);
        let (panel_block, item) = (item % self.panel_blocks, item / self.panel_blocks);
        let (group, shard) = (
            item % self.sum.weights.groups,
            item / self.sum.weights.groups,
        );
        Part {
            shard,
            strips: even_part(self.strips(), self.shards, shard),
            group,
            panels: even_part(self.panels(), self.panel_blocks, panel_block),
            tiles: even_part(self.tiles.len(), self.k_blocks, k_block),
        }
    }

    pub(super) fn strip(&self, index: usize) -> Strip {
        let (col, index) = (index % self.col_strips, index / self.col_strips);
        let (row, index) = (index % self.row_strips, index / self.row_strips);
        let first = index * self.images_per_strip;
        Strip {
            images: first..self.sum.batch.min(first + self.images_per_strip),
            rows: even_part(self.sum.rows.axis.count, self.row_strips, row),
            cols: even_part(self.sum.cols.axis.count, self.col_strips, col),
        }
    }

    /// A strip that no other one exceeds, and the most panels of an item.
    pub(super) fn largest(&self) -> (Strip, usize) {
        let images = 0..self.images_per_strip.min(self.sum.batch);
        let rows = even_part(self.sum.rows.axis.count, self.row_strips, 0);
        let cols = even_part(self.sum.cols.axis.count, self.col_strips, 0);
        (
            Strip { images, rows, cols },
            self.panels().div_ceil(self.panel_blocks),
        )
    }

    /// Source rows and columns that a strip's tiles read: within the image, unless tiles mix
    /// kernel positions and so read zeros around it.
    pub(super) fn reach(&self, strip: &Strip) -> [Range<isize>; 2] {
        let rows = Grid::reach(&self.sum.rows, &strip.rows);
        let cols = Grid::reach(&self.sum.cols, &strip.cols);
        if self.mixed {
            return [rows, cols];
        }
        let clip = |range: Range<isize>, len: usize| {
            let len = len.cast_signed();
            range.start.clamp(0, len)..range.end.clamp(0, len)
        };
        [clip(rows, self.sum.x.height), clip(cols, self.sum.x.width)]
    }

    /// Blocks of channels that a part reads.
    pub(super) fn blocks_of(&self, part: &Part) -> Range<usize> {
        match &self.tiles[part.tiles.clone()] {
            [first, .., last] => first.block..last.block + 1,
            [only] => only.block..only.block + 1,
            [] => 0..0,
        }
    }

    /// Whether tiles read a panel of the gradients where they lie: in flat strips, where a panel
    /// is as wide as its tiles.
    pub(super) fn reads_dy(&self, panel: usize) -> bool {
        self.flat && [self.width, self.vector].contains(&self.cols(panel))
    }

    /// Index of a strip's first pixel, where the strip is flat.
    pub(super) fn first_pixel(&self, strip: &Strip) -> usize {
        let row = strip.images.start * self.sum.rows.axis.count + strip.rows.start;
        row * self.sum.cols.axis.count + strip.cols.start
    }

    pub(super) fn panels(&self) -> usize {
        self.sum.weights.n.div_ceil(self.width)
    }

    /// Columns of a panel.
    pub(super) fn cols(&self, panel: usize) -> usize {
        self.width.min(self.sum.weights.n - panel * self.width)
    }

    /// Where a panel of the part's weights starts.
    pub(super) fn panel_offset(&self, part: &Part, panel: usize) -> usize {
        let index = (part.shard * self.sum.weights.groups + part.group) * self.panels() + panel;
        index * self.sum.weights.taps * self.sum.weights.inner * self.width
    }

    /// Where a panel of the part's bias starts.
    pub(super) fn bias_offset(&self, part: &Part, panel: usize) -> usize {
        let group = part.shard * self.sum.weights.groups + part.group;
        group * self.sum.weights.n + panel * self.width
    }

    fn strips(&self) -> usize {
        if self.sum.rows.axis.count * self.sum.cols.axis.count == 0 {
            return 0;
        }
        self.sum.batch.div_ceil(self.images_per_strip) * self.row_strips * self.col_strips
    }

    /// Cuts the sum into items: by pixels where the weights are few, then by weights.
    fn share_out(&mut self, most_shards: usize) {
        let weights = self.sum.weights;
        let k = weights.taps * weights.inner;
        let pixels = self.sum.batch * self.sum.rows.axis.count * self.sum.cols.axis.count;
        let work = pixels
            .saturating_mul(k)
            .saturating_mul(weights.n * weights.groups);
        let mut wanted = (work / ITEM_WORK)
            .clamp(1, MOST_ITEMS)
            .div_ceil(weights.groups);
        self.panel_blocks = self.panels().div_ceil(MOST_PANELS).max(1);
        let first_panels = self.panel_blocks;
        wanted = wanted.div_ceil(first_panels);
        let bytes = 4 * weights.groups * self.panels() * k * self.width;
        let fitting = (SHARD_BYTES / bytes.max(1)).clamp(1, most_shards);
        self.shards = fitting.min(self.strips() / SHARD_STRIPS).clamp(1, wanted);
        wanted = wanted.div_ceil(self.shards);
        let few = FEW_ITEMS.div_ceil(self.shards * weights.groups * first_panels);
        let (tiles, panels) = (self.tiles.len(), self.panels().max(1));
        loop {
            let pieces = self.k_blocks * (self.panel_blocks / first_panels);
            let (can_tiles, can_panels) = (self.k_blocks < tiles, self.panel_blocks < panels);
            if pieces >= wanted || !(can_tiles || can_panels) {
                return;
            }
            // What is staged once per block of tiles, and once per block of panels.
            let [dy, x] = self.staging();
            let by_tiles = can_tiles && (!can_panels || dy < x || (dy == x && tiles >= panels));
            let staged = if by_tiles { 2 * dy + x } else { dy + 2 * x };
            if pieces >= few && STAGING_SHARE * staged > TILE_CYCLES * tiles * panels {
                return;
            }
            if by_tiles {
                self.k_blocks = (2 * self.k_blocks).min(tiles);
            } else {
                self.panel_blocks = (2 * self.panel_blocks).min(panels);
            }
        }
    }

    /// Cycles per pixel that all items of a shard take to stage gradients and inputs.
    fn staging(&self) -> [usize; 2] {
        if self.flat {
            return [0, 0];
        }
        let panel = if self.sum.unpool.is_some() {
            UNPOOL_CYCLES
        } else {
            PANEL_CYCLES
        };
        let dy = self.k_blocks * self.panels() * panel;
        [dy, self.panel_blocks * self.blocks.len() * BLOCK_CYCLES]
    }
}

/// The rows of weights in tiles.
fn tiles(blocks: &[Range<usize>], weights: PanelShape, mixed: bool) -> Vec<WeightTile> {
    let taps = if mixed { 1 } else { weights.taps };
    let tile = |block: usize, tap: usize| {
        let (channels, first) = (&blocks[block], tap * weights.inner);
        WeightTile {
            k: first + channels.start..first + channels.end,
            tap,
            block,
        }
    };
    (0..blocks.len())
        .flat_map(|block| (0..taps).map(move |tap| tile(block, tap)))
        .collect()
}
