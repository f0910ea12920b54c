//! Packed weights: panels of a few columns, so that one step along `k` reads one short row.

use std::ops::Range;

use super::pack::{PanelFn, PanelJob, panel_function};
use crate::{DType, Isa, Kernel, OperandSpec, Run};

/// Size of a matrix (or of one per group) in panels: `[groups][ceil(n / width)][taps][inner][width]`
/// with the panel width of the instruction set and zeros behind column `n`. The `k` of a product
/// runs over `taps` x `inner`.
///
/// A dense `[K, N]` weight has one group, `n` = N, one tap, `inner` = K. A convolution's weight
/// has `n` = output channels per group, a tap per kernel position (row-major), `inner` = input
/// channels per group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanelShape {
    /// Independent matrices.
    pub groups: usize,
    /// Columns of one matrix.
    pub n: usize,
    /// Kernel positions.
    pub taps: usize,
    /// Rows of one matrix per kernel position.
    pub inner: usize,
}

impl PanelShape {
    /// One matrix of `k` rows and `n` columns.
    pub const fn dense(k: usize, n: usize) -> PanelShape {
        PanelShape {
            groups: 1,
            n,
            taps: 1,
            inner: k,
        }
    }

    /// Panels of one group.
    pub const fn panels(self, isa: Isa) -> usize {
        self.n.div_ceil(isa.panel_width())
    }

    /// Floats of one panel.
    pub const fn panel_len(self, isa: Isa) -> usize {
        self.taps * self.inner * isa.panel_width()
    }

    /// Floats of all panels.
    pub const fn len(self, isa: Isa) -> usize {
        self.groups * self.panels(isa) * self.panel_len(isa)
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.groups * self.n * self.taps * self.inner == 0
    }

    /// The shape of the transposed panels that an input gradient multiplies with: columns and
    /// `inner` change places.
    pub const fn transposed(self) -> PanelShape {
        PanelShape {
            n: self.inner,
            inner: self.n,
            ..self
        }
    }
}

/// Where the element `(group, n, tap, inner)` of a [`PanelShape`] lies in an unpacked tensor: the
/// sum of the indices times these strides, in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PanelMap {
    /// Sizes.
    pub shape: PanelShape,
    /// From one group to the next.
    pub group_stride: usize,
    /// From one column to the next.
    pub n_stride: usize,
    /// From one kernel position to the next.
    pub tap_stride: usize,
    /// From one row to the next within a kernel position.
    pub inner_stride: usize,
}

impl PanelMap {
    /// A row-major `[K, N]` matrix.
    pub const fn matrix(k: usize, n: usize) -> PanelMap {
        let shape = PanelShape::dense(k, n);
        PanelMap {
            shape,
            group_stride: 0,
            n_stride: 1,
            tap_stride: 0,
            inner_stride: n,
        }
    }

    /// A row-major `[N, K]` matrix, of which the product takes the transpose.
    pub const fn matrix_transposed(k: usize, n: usize) -> PanelMap {
        let shape = PanelShape::dense(k, n);
        PanelMap {
            shape,
            group_stride: 0,
            n_stride: k,
            tap_stride: 0,
            inner_stride: 1,
        }
    }

    /// A convolution's weight `[O, I / groups, KH, KW]` (ONNX order), `taps` = KH * KW.
    pub const fn convolution(
        groups: usize,
        out_channels: usize,
        in_channels_per_group: usize,
        taps: usize,
    ) -> PanelMap {
        let n = out_channels / groups;
        let n_stride = in_channels_per_group * taps;
        PanelMap {
            shape: PanelShape {
                groups,
                n,
                taps,
                inner: in_channels_per_group,
            },
            group_stride: n * n_stride,
            n_stride,
            tap_stride: 1,
            inner_stride: taps,
        }
    }

    /// Elements that an unpacked tensor must have.
    fn unpacked_len(self) -> usize {
        let shape = self.shape;
        if shape.is_empty() {
            return 0;
        }
        (shape.groups - 1) * self.group_stride
            + (shape.n - 1) * self.n_stride
            + (shape.taps - 1) * self.tap_stride
            + (shape.inner - 1) * self.inner_stride
            + 1
    }
}

/// Packs a weight. An item is one panel.
///
/// Operands: 0 unpacked (read, f32), 1 panels (written, [`PanelShape::len`] f32).
#[derive(Debug)]
pub struct PackPanels {
    map: PanelMap,
    isa: Isa,
}

impl PackPanels {
    /// The kernel for the weight that `map` describes.
    pub fn new(isa: Isa, map: PanelMap) -> PackPanels {
        PackPanels { map, isa }
    }
}

impl Kernel for PackPanels {
    fn name(&self) -> &'static str {
        "pack_panels"
    }

    fn items(&self) -> usize {
        self.map.shape.groups * self.map.shape.panels(self.isa)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("unpacked", DType::F32, self.map.unpacked_len()),
            OperandSpec::write("panels", DType::F32, self.map.shape.len(self.isa)),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let (width, len) = (self.isa.panel_width(), self.map.shape.panel_len(self.isa));
        // SAFETY: the operand is read only, and no other operand overlaps it.
        let unpacked = unsafe { cx.slice::<f32>(0, 0..self.map.unpacked_len()) };
        for item in items {
            // SAFETY: a panel belongs to one item.
            let panel = unsafe { cx.slice_mut::<f32>(1, item * len..(item + 1) * len) };
            let place = PanelPlace::new(&self.map, width, item);
            for (row, lanes) in panel.chunks_exact_mut(width).enumerate() {
                let base = place.row_base(row);
                for (lane, value) in lanes[..place.cols].iter_mut().enumerate() {
                    *value = unpacked[base + lane * self.map.n_stride];
                }
                lanes[place.cols..].fill(0.0);
            }
        }
    }
}

/// Unpacks a weight or its gradient. An item is one panel.
///
/// Operands: 0 panels (read, [`PanelShape::len`] f32), 1 unpacked (written, f32).
#[derive(Debug)]
pub struct UnpackPanels {
    map: PanelMap,
    isa: Isa,
}

impl UnpackPanels {
    /// The kernel for the weight that `map` describes.
    pub fn new(isa: Isa, map: PanelMap) -> UnpackPanels {
        UnpackPanels { map, isa }
    }
}

impl Kernel for UnpackPanels {
    fn name(&self) -> &'static str {
        "unpack_panels"
    }

    fn items(&self) -> usize {
        self.map.shape.groups * self.map.shape.panels(self.isa)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("panels", DType::F32, self.map.shape.len(self.isa)),
            OperandSpec::write("unpacked", DType::F32, self.map.unpacked_len()),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let (width, len) = (self.isa.panel_width(), self.map.shape.panel_len(self.isa));
        let (unpacked, count) = (cx.ptr_mut::<f32>(1), self.map.unpacked_len());
        for item in items {
            // SAFETY: the operand is read only, and no other operand overlaps it.
            let panel = unsafe { cx.slice::<f32>(0, item * len..(item + 1) * len) };
            let place = PanelPlace::new(&self.map, width, item);
            for (row, lanes) in panel.chunks_exact(width).enumerate() {
                let base = place.row_base(row);
                for (lane, value) in lanes[..place.cols].iter().enumerate() {
                    let at = base + lane * self.map.n_stride;
                    assert!(at < count, "strides stay within the unpacked length");
                    // SAFETY: `at` is within the operand; columns belong to one panel's item.
                    unsafe { *unpacked.add(at) = *value };
                }
            }
        }
    }
}

/// One panel of a [`PanelMap`]: where its rows lie in the unpacked tensor.
struct PanelPlace<'a> {
    map: &'a PanelMap,
    base: usize,
    cols: usize,
}

impl<'a> PanelPlace<'a> {
    fn new(map: &'a PanelMap, width: usize, item: usize) -> PanelPlace<'a> {
        let panels = map.shape.n.div_ceil(width);
        let (group, first) = (item / panels, item % panels * width);
        let base = group * map.group_stride + first * map.n_stride;
        PanelPlace {
            map,
            base,
            cols: width.min(map.shape.n - first),
        }
    }

    fn row_base(&self, row: usize) -> usize {
        let (tap, inner) = (row / self.map.shape.inner, row % self.map.shape.inner);
        self.base + tap * self.map.tap_stride + inner * self.map.inner_stride
    }
}

/// Makes the panels of an input gradient from packed weights: columns and rows change places, and
/// kernel positions come in reverse order. An item is one panel of the result.
///
/// Operands: 0 panels of `shape` (read, f32), 1 panels of [`PanelShape::transposed`] (written).
#[derive(Debug)]
pub struct TransposePanels {
    shape: PanelShape,
    isa: Isa,
    fill: PanelFn,
}

impl TransposePanels {
    /// The kernel for weights of `shape`.
    pub fn new(isa: Isa, shape: PanelShape) -> TransposePanels {
        TransposePanels {
            shape,
            isa,
            fill: panel_function(isa),
        }
    }
}

impl Kernel for TransposePanels {
    fn name(&self) -> &'static str {
        "transpose_panels"
    }

    fn items(&self) -> usize {
        self.shape.groups * self.shape.transposed().panels(self.isa)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("panels", DType::F32, self.shape.len(self.isa)),
            OperandSpec::write(
                "transposed",
                DType::F32,
                self.shape.transposed().len(self.isa),
            ),
        ]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let (shape, width) = (self.shape, self.isa.panel_width());
        let (panels, len) = (
            shape.transposed().panels(self.isa),
            shape.transposed().panel_len(self.isa),
        );
        let group_len = shape.panels(self.isa) * shape.panel_len(self.isa);
        for item in items {
            let (group, first) = (item / panels, item % panels * width);
            let from = cx.ptr::<f32>(0).wrapping_add(group * group_len);
            let to = cx.ptr_mut::<f32>(1).wrapping_add(item * len);
            let cols = width.min(shape.inner - first);
            for tap in 0..shape.taps {
                let rows = to.wrapping_add((shape.taps - 1 - tap) * shape.n * width);
                for n in (0..shape.n).step_by(width) {
                    let row = (n / width * shape.taps + tap) * shape.inner + first;
                    // SAFETY: the block of the panels lies within the operands, and a panel of
                    // the result belongs to one item.
                    unsafe {
                        (self.fill)(&PanelJob {
                            from: from.wrapping_add(row * width),
                            row: 1,
                            col: width,
                            rows: width.min(shape.n - n),
                            cols,
                            width,
                            scale: 1.0,
                            to: rows.wrapping_add(n * width),
                        });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Buffer, Rig};

    fn maps() -> Vec<PanelMap> {
        vec![
            PanelMap::matrix(5, 37),
            PanelMap::matrix_transposed(33, 64),
            PanelMap::matrix_transposed(7, 1),
            PanelMap::convolution(1, 40, 3, 9),
            PanelMap::convolution(3, 9, 17, 4),
            PanelMap::matrix(0, 4),
        ]
    }

    fn at(map: &PanelMap, width: usize, panels: &[f32], index: [usize; 4]) -> f32 {
        let [group, n, tap, inner] = index;
        let shape = map.shape;
        let panel = group * shape.n.div_ceil(width) + n / width;
        panels[((panel * shape.taps + tap) * shape.inner + inner) * width + n % width]
    }

    fn indices(shape: PanelShape) -> impl Iterator<Item = [usize; 4]> {
        let per_group = shape.n * shape.taps * shape.inner;
        (0..shape.groups * per_group).map(move |i| {
            let rest = i % per_group;
            let in_tap = rest % (shape.taps * shape.inner);
            [
                i / per_group,
                rest / (shape.taps * shape.inner),
                in_tap / shape.inner,
                in_tap % shape.inner,
            ]
        })
    }

    #[test]
    fn packing_places_every_element_and_unpacking_undoes_it() {
        for (isa, map) in Isa::available()
            .into_iter()
            .flat_map(|i| maps().into_iter().map(move |m| (i, m)))
        {
            let source = Rig::ramp(map.unpacked_len(), 5);
            let len = map.shape.len(isa);
            let packed = Rig::new(PackPanels::new(isa, map))
                .run(&[Buffer::f32s(&source), Buffer::unset(len)])[1]
                .to_f32s();
            for index in indices(map.shape) {
                let [group, n, tap, inner] = index;
                let from = group * map.group_stride
                    + n * map.n_stride
                    + tap * map.tap_stride
                    + inner * map.inner_stride;
                assert_eq!(at(&map, isa.panel_width(), &packed, index), source[from]);
            }
            let zeros = packed.iter().filter(|x| **x == 0.0).count();
            assert!(
                zeros >= len - source.len(),
                "lanes behind the last column are zero"
            );
            let back = Rig::new(UnpackPanels::new(isa, map))
                .run(&[Buffer::f32s(&packed), Buffer::unset(source.len())]);
            assert_eq!(back[1].to_f32s(), source);
        }
    }

    #[test]
    fn transposing_swaps_rows_and_columns_and_reverses_taps() {
        for (isa, map) in Isa::available()
            .into_iter()
            .flat_map(|i| maps().into_iter().map(move |m| (i, m)))
        {
            let (shape, width) = (map.shape, isa.panel_width());
            let source = Rig::ramp(map.unpacked_len(), 5);
            let packed = Rig::new(PackPanels::new(isa, map))
                .run(&[Buffer::f32s(&source), Buffer::unset(shape.len(isa))])[1]
                .clone();
            let turned = Rig::new(TransposePanels::new(isa, shape))
                .run(&[packed.clone(), Buffer::unset(shape.transposed().len(isa))])[1]
                .to_f32s();
            let packed = packed.to_f32s();
            let other = PanelMap {
                shape: shape.transposed(),
                ..map
            };
            for [group, n, tap, inner] in indices(shape) {
                assert_eq!(
                    at(
                        &other,
                        width,
                        &turned,
                        [group, inner, shape.taps - 1 - tap, n]
                    ),
                    at(&map, width, &packed, [group, n, tap, inner])
                );
            }
            let elements = source.len();
            assert!(turned.iter().all(|x| !x.is_nan()));
            assert!(turned.iter().filter(|x| **x == 0.0).count() >= turned.len() - elements);
        }
    }
}
