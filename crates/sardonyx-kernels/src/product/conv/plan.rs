//! How the outputs of a convolution are cut into blocks, and blocks into items.

use std::ops::Range;

use super::stage::{Images, Patch};
use super::window::{Grid, Zone};
use crate::product::micro::Micro;
use crate::product::panels::PanelShape;
use crate::product::sweep::{Piece, even_part, is_even, pieces};

/// Multiply-adds in the time that handing out an item takes, and what it needs before it computes.
const ITEM_COST: f64 = 65_536.0;

/// The same for an output pixel of an item, for which rows of a tile are pointed at it.
const PIXEL_COST: f64 = 64.0;

/// Output pixels in the time that reading a panel takes, for one channel of the source.
const PANEL_COST: f64 = 2.0;

/// Numbers of threads among which items should be shared out evenly, and how much each matters.
const THREADS: [(usize, f64); 4] = [(2, 4.0), (4, 2.0), (8, 1.0), (16, 1.0)];

/// What smaller blocks must bring: they also read more borders.
const WORTH: f64 = 0.99;

/// Output pixels of a block: enough to use a piece of a panel often once it is cached, and to fill
/// tiles in every zone.
const BLOCK_PIXELS: usize = 1024;

/// Rows below which a tile waits for its own sums instead of keeping the units busy.
const LEAST_ROWS: usize = 4;

/// Bytes of source that a block should not exceed: a part of the second-level cache.
const STRIP_BYTES: usize = 256 * 1024;

/// What one item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// Whatever serves caches and threads best.
    Auto,
    /// So many whole images.
    Images(usize),
    /// So many rows of the only image.
    Rows(usize),
}

/// What a convolution reads and writes, whatever its direction.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    pub(super) batch: usize,
    pub(super) source: Images,
    /// Outputs before any pooling.
    pub(super) target: Images,
    pub(super) weights: PanelShape,
    pub(super) grids: Vec<Grid>,
    /// Window over which the outputs are max-pooled.
    pub(super) pool: Option<[usize; 2]>,
    /// Window over which the source is unpooled.
    pub(super) unpool: Option<[usize; 2]>,
    pub(super) split: Split,
}

impl Geometry {
    /// Rows and columns of the source behind which there are zeros: unpooling fills whole windows.
    fn extent(&self) -> [usize; 2] {
        let ([high, wide], source) = (self.unpool.unwrap_or([1, 1]), &self.source);
        [source.height / high * high, source.width / wide * wide]
    }
}

/// A grid, cut into zones and blocks.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) grid: Grid,
    /// Zones of the grid, with their sums over `k`.
    pub(super) zones: Vec<(Zone, Vec<Piece>)>,
    /// Whether a block's source is brought to scratch first, and if so, with zeros around it.
    pub(super) staged: bool,
    halo: bool,
    /// Floats from one pixel, one row to the next in what rows point into.
    pub(super) pixel: usize,
    pub(super) row: usize,
    pub(super) images_per_block: usize,
    /// Rows of the grid in one block.
    pub(super) rows_per_block: usize,
    panel_blocks: usize,
}

/// One block of outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) images: Range<usize>,
    /// Rows of the grid.
    pub(super) rows: Range<usize>,
    pub(super) group: usize,
    /// Output channels within the group.
    pub(super) cols: Range<usize>,
}

impl Plan {
    pub(super) fn new(geometry: &Geometry, grid: &Grid, micro: &Micro) -> Plan {
        let source = &geometry.source;
        let mut plan = Plan {
            grid: grid.clone(),
            zones: Vec::new(),
            staged: geometry.unpool.is_some(),
            halo: false,
            pixel: 0,
            row: 0,
            images_per_block: 1,
            rows_per_block: 1,
            panel_blocks: 1,
        };
        plan.choose_block(geometry, BLOCK_PIXELS);
        let [height, width] = geometry.extent();
        let mut zones = grid.zones(height, width);
        let whole = grid.whole();
        if plan.cost(&whole, micro) <= zones.iter().map(|zone| plan.cost(zone, micro)).sum() {
            plan.halo = zones != [whole.clone()];
            plan.staged |= plan.halo;
            zones = vec![whole];
        }
        let inner = geometry.weights.inner;
        plan.pixel = if plan.staged { inner } else { source.channels };
        let across = if plan.halo {
            Grid::reach(&grid.cols, &(0..grid.cols.axis.count)).len()
        } else {
            source.width
        };
        plan.row = across * plan.pixel;
        let cut = |zone: Zone| {
            let strides = (plan.row, plan.pixel);
            let (segments, run) = grid.segments(&zone, strides, inner, micro.panel_width);
            (zone, pieces(&segments, run, 1, micro.panel_width))
        };
        plan.zones = zones.into_iter().map(cut).collect();
        plan
    }

    /// Time of a zone's tiles, in steps of a full vector unit per channel and panel: tiles of few
    /// rows wait for their own sums.
    fn cost(&self, zone: &Zone, micro: &Micro) -> usize {
        let rows = zone.rows.outputs.len().min(self.rows_per_block);
        let blocks = zone.rows.outputs.len().div_ceil(rows.max(1));
        let pixels = self.images_per_block * rows * zone.cols.outputs.len();
        let tiles = pixels.div_ceil(micro.rows());
        let taps = zone.rows.taps.len() * zone.cols.taps.len();
        blocks * tiles * (pixels.div_ceil(tiles.max(1))).max(LEAST_ROWS) * taps
    }

    /// What a block reads of each image.
    pub(super) fn patch(&self, geometry: &Geometry, block: &Block) -> Patch {
        let grid = &self.grid;
        let mut rows = Grid::reach(&grid.rows, &block.rows);
        let mut cols = Grid::reach(&grid.cols, &(0..grid.cols.axis.count));
        if !self.halo {
            let height = geometry.source.height.cast_signed();
            rows = rows.start.clamp(0, height)..rows.end.clamp(0, height);
            cols = 0..geometry.source.width.cast_signed();
        }
        let inner = geometry.weights.inner;
        Patch {
            top: rows.start,
            left: cols.start,
            rows: rows.len(),
            cols: cols.len(),
            channels: block.group * inner..(block.group + 1) * inner,
            pixel: self.pixel,
        }
    }

    /// Most floats that [`Plan::patch`] of one image takes.
    pub(super) fn patch_len(&self) -> usize {
        Grid::reach(&self.grid.rows, &(0..self.rows_per_block)).len() * self.row
    }

    /// Makes blocks smaller, or gives them fewer panels, until they are shared out evenly.
    pub(super) fn share_out(&mut self, geometry: &Geometry, micro: &Micro) {
        let panels = geometry.weights.n.div_ceil(micro.panel_width);
        let (mut best, mut least) = ((BLOCK_PIXELS, 1), f64::INFINITY);
        let mut most = BLOCK_PIXELS;
        while most >= micro.rows() {
            self.choose_block(geometry, most);
            for parts in (1..=panels).filter(|&parts| is_even(panels, parts)) {
                self.panel_blocks = parts;
                let time = self.shared_time(geometry, micro.panel_width);
                if time < WORTH * least {
                    (best, least) = ((most, parts), time);
                }
            }
            most /= 2;
        }
        self.choose_block(geometry, best.0);
        self.panel_blocks = best.1;
    }

    /// Time of all blocks on several numbers of threads, in multiply-adds.
    fn shared_time(&self, geometry: &Geometry, width: usize) -> f64 {
        let panels = geometry.weights.n.div_ceil(width);
        let taps = self.grid.rows.taps.len() * self.grid.cols.taps.len();
        let pixels = self.images_per_block * self.rows_per_block * self.grid.cols.axis.count;
        let block_panels = panels.div_ceil(self.panel_blocks);
        let per_pixel = block_panels * width * geometry.weights.inner * taps;
        let (pixels, per_pixel) = (pixels as f64, per_pixel as f64);
        let item = (pixels + PANEL_COST) * per_pixel + pixels * PIXEL_COST + ITEM_COST;
        let items = self.blocks(geometry);
        let time = |(threads, weight)| weight * (items.div_ceil(threads) * threads) as f64 * item;
        THREADS.map(time).iter().sum()
    }

    /// Blocks of all images, rows, groups and panels.
    pub(super) fn blocks(&self, geometry: &Geometry) -> usize {
        self.image_blocks(geometry)
            * self.row_blocks()
            * geometry.weights.groups
            * self.panel_blocks
    }

    /// Block number `index` of [`Plan::blocks`].
    pub(super) fn block(&self, geometry: &Geometry, micro: &Micro, index: usize) -> Block {
        let width = micro.panel_width;
        let panels = geometry.weights.n.div_ceil(width);
        let part = even_part(panels, self.panel_blocks, index % self.panel_blocks);
        let index = index / self.panel_blocks;
        let group = index % geometry.weights.groups;
        let index = index / geometry.weights.groups;
        let rows = self.rows_at(index % self.row_blocks(), 0..self.grid.rows.axis.count);
        let first = index / self.row_blocks() * self.images_per_block;
        Block {
            images: first..geometry.batch.min(first + self.images_per_block),
            rows,
            group,
            cols: part.start * width..geometry.weights.n.min(part.end * width),
        }
    }

    /// The blocks of an item that is a number of images or rows.
    pub(super) fn blocks_of_item(
        &self,
        geometry: &Geometry,
        item: usize,
    ) -> impl Iterator<Item = Block> {
        let all_rows = self.grid.rows.axis.count;
        let (images, rows) = match geometry.split {
            Split::Auto => (0..geometry.batch, 0..all_rows),
            Split::Images(n) => (item * n..geometry.batch.min((item + 1) * n), 0..all_rows),
            Split::Rows(n) => (0..geometry.batch, item * n..all_rows.min((item + 1) * n)),
        };
        let (groups, n) = (geometry.weights.groups, geometry.weights.n);
        let row_blocks = rows.len().div_ceil(self.rows_per_block.max(1));
        let image_blocks = images.len().div_ceil(self.images_per_block);
        (0..image_blocks * row_blocks * groups).map(move |index| {
            let (group, rest) = (index % groups, index / groups);
            let first = images.start + rest / row_blocks * self.images_per_block;
            Block {
                images: first..images.end.min(first + self.images_per_block),
                rows: self.rows_at(rest % row_blocks, rows.clone()),
                group,
                cols: 0..n,
            }
        })
    }

    fn image_blocks(&self, geometry: &Geometry) -> usize {
        geometry.batch.div_ceil(self.images_per_block)
    }

    fn row_blocks(&self) -> usize {
        self.grid.rows.axis.count.div_ceil(self.rows_per_block)
    }

    fn rows_at(&self, block: usize, within: Range<usize>) -> Range<usize> {
        let first = within.start + block * self.rows_per_block;
        first..within.end.min(first + self.rows_per_block)
    }

    /// Blocks of about `most` outputs whose strip fits the second-level cache.
    fn choose_block(&mut self, geometry: &Geometry, most: usize) {
        let multiple = geometry.pool.map_or(1, |window| window[0]);
        let (all, cols) = (
            self.grid.rows.axis.count.max(1),
            self.grid.cols.axis.count.max(1),
        );
        let row = geometry.source.width * geometry.weights.inner;
        let fits = |rows: usize, images: usize| {
            let read = Grid::reach(&self.grid.rows, &(0..rows)).len();
            images * read * row * 4 <= STRIP_BYTES
        };
        let mut blocks = (all * cols).div_ceil(most).clamp(1, all);
        let rows_in = |blocks: usize| all.div_ceil(blocks).next_multiple_of(multiple);
        while blocks < all && !fits(rows_in(blocks), 1) {
            blocks += 1;
        }
        let rows = rows_in(blocks);
        let mut images = 1;
        if rows >= all {
            images = (most / (all * cols)).clamp(1, geometry.batch.max(1));
            while images > 1 && !fits(rows, images) {
                images -= 1;
            }
        }
        if let Split::Images(limit) = geometry.split {
            images = images.min(limit);
        }
        (self.rows_per_block, self.images_per_block) = (rows, images);
    }
}
