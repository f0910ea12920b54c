//! Softmax cross entropy with integer labels: loss, log-probabilities and gradient in one pass.

use std::ops::Range;

use super::exponent::{Peak, of_line, of_lines};
use super::{GROUP, Group, Groups};
use crate::simd::line::{each_piece, load, store};
use crate::simd::{Simd, math, simd_entry};
use crate::{AxisShape, DType, Isa, Kernel, KernelError, OperandSpec, Result, Run};

/// What a cross entropy is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossEntropyOptions {
    /// `I64` or `I32`.
    pub label_dtype: DType,
    /// Lines with this label have loss and gradient 0.
    pub ignore_index: Option<i64>,
    /// Whether operand `scale` has an element per line, not one for all of them.
    pub scale_per_line: bool,
}

/// `-w[label] log softmax(logits)[label]` per line along the axis of classes, and the gradient of
/// the logits: `(softmax(logits) - onehot(label)) w[label] scale / divisor`.
///
/// Operands (all but the labels f32; those after 1 optional):
/// 0. `logits` (read): the whole shape;
/// 1. `labels` (read): one per line;
/// 2. `class_weight` (read): `w`, one per class; 1 where absent;
/// 3. `scale` (read): gradient from above, one or one per line; 1 where absent;
/// 4. `divisor` (read): one, as [`LabelWeight`] makes it for a mean; 1 where absent;
/// 5. `loss` (written): one per line;
/// 6. `log_prob` (written): the whole shape; may be `logits`;
/// 7. `gradient` (written): the whole shape; may be `logits`.
///
/// A label outside the classes makes its line's loss and gradient NaN.
#[derive(Debug)]
pub struct CrossEntropy {
    groups: Groups,
    options: CrossEntropyOptions,
    map: unsafe fn(&Lines),
}

/// Sum over all labels of their class weights (1 where there are none), without ignored ones: what
/// the mean of a cross entropy divides by.
///
/// Operands: 0 `labels` (read), 1 `class_weight` (read, f32, one per class, optional), 2 `total`
/// (written, one f32).
#[derive(Debug)]
pub struct LabelWeight {
    labels: usize,
    classes: usize,
    options: CrossEntropyOptions,
}

/// A group of lines on its way through the vector part.
#[derive(Debug)]
struct Lines {
    logits: *const f32,
    /// Null where it is not wanted.
    log_prob: *mut f32,
    /// Null where it is not wanted.
    gradient: *mut f32,
    len: usize,
    stride: usize,
    count: usize,
    scale: [f32; GROUP],
    /// Made: the largest element and the logarithm of the sum of exponentials less it.
    largest: *mut [f32; GROUP],
    log_sum: *mut [f32; GROUP],
}

/// What a label says of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Class(usize),
    Ignored,
    Outside,
}

simd_entry! {
    fn line_for(of: &Lines) = line
}
simd_entry! {
    fn lines_for(of: &Lines) = lines
}

impl CrossEntropyOptions {
    fn check(self, kernel: &'static str) -> Result<()> {
        if matches!(self.label_dtype, DType::I64 | DType::I32) {
            return Ok(());
        }
        let problem = format!("labels are of type {}, not i64 or i32", self.label_dtype);
        Err(KernelError::Geometry { kernel, problem })
    }

    /// # Safety
    /// `label` is an index into the labels in operand `operand`, which no one writes.
    unsafe fn target(self, cx: &Run<'_>, operand: usize, label: usize, classes: usize) -> Target {
        // SAFETY: the caller vouches for the index.
        let found = unsafe {
            match self.label_dtype {
                DType::I64 => *cx.ptr::<i64>(operand).add(label),
                _ => i64::from(*cx.ptr::<i32>(operand).add(label)),
            }
        };
        if self.ignore_index == Some(found) {
            return Target::Ignored;
        }
        match usize::try_from(found) {
            Ok(class) if class < classes => Target::Class(class),
            _ => Target::Outside,
        }
    }
}

impl CrossEntropy {
    /// Cross entropy along the axis of `shape`.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] when labels are not of an integer type that is known here.
    pub fn new(isa: Isa, shape: AxisShape, options: CrossEntropyOptions) -> Result<CrossEntropy> {
        options.check("cross_entropy")?;
        let map = if shape.inner == 1 {
            line_for
        } else {
            lines_for
        };
        Ok(CrossEntropy {
            groups: Groups::new(shape),
            options,
            map: map(isa),
        })
    }

    /// # Safety
    /// The group belongs to the item at hand.
    unsafe fn run_group(&self, cx: &Run<'_>, group: Group) {
        let AxisShape { len, inner, .. } = self.groups.shape;
        let at = |pointer: *mut f32| {
            if pointer.is_null() {
                pointer
            } else {
                pointer.wrapping_add(group.start)
            }
        };
        let (mut largest, mut log_sum) = ([0.0; GROUP], [0.0; GROUP]);
        let mut lines = Lines {
            logits: cx.ptr::<f32>(0).wrapping_add(group.start),
            log_prob: at(cx.ptr_mut(6)),
            gradient: at(cx.ptr_mut(7)),
            len,
            stride: inner,
            count: group.lines,
            scale: [0.0; GROUP],
            largest: &raw mut largest,
            log_sum: &raw mut log_sum,
        };
        let mut targets = [Target::Ignored; GROUP];
        let (mut weights, mut logits) = ([0.0f32; GROUP], [0.0f32; GROUP]);
        // SAFETY: lines of the group lie within the operands; classes below their number.
        unsafe {
            for lane in 0..group.lines {
                let line = group.line + lane;
                targets[lane] = self.options.target(cx, 1, line, len);
                weights[lane] = match targets[lane] {
                    Target::Class(class) => {
                        logits[lane] = *lines.logits.add(class * inner + lane);
                        if cx.has(2) {
                            *cx.ptr::<f32>(2).add(class)
                        } else {
                            1.0
                        }
                    }
                    Target::Ignored => 0.0,
                    Target::Outside => f32::NAN,
                };
                lines.scale[lane] = weights[lane] * self.scale(cx, line);
            }
            (self.map)(&lines);
        }
        for lane in 0..group.lines {
            let surprise = (largest[lane] - logits[lane]) + log_sum[lane];
            let loss = match targets[lane] {
                Target::Ignored => 0.0,
                _ => weights[lane] * surprise,
            };
            // SAFETY: as above; losses and gradients of the group are this item's own.
            unsafe {
                if cx.has(5) {
                    *cx.ptr_mut::<f32>(5).add(group.line + lane) = loss;
                }
                if !lines.gradient.is_null() {
                    finish_gradient(&lines, lane, targets[lane]);
                }
            }
        }
    }

    /// # Safety
    /// There is such a line.
    unsafe fn scale(&self, cx: &Run<'_>, line: usize) -> f32 {
        let index = if self.options.scale_per_line { line } else { 0 };
        // SAFETY: the caller vouches for the line; the others have one element.
        unsafe {
            let scale = if cx.has(3) {
                *cx.ptr::<f32>(3).add(index)
            } else {
                1.0
            };
            let divisor = if cx.has(4) { *cx.ptr::<f32>(4) } else { 1.0 };
            scale / divisor
        }
    }
}

/// Takes the label's part off the gradient of one line.
///
/// # Safety
/// `lane` is below the number of lines, whose gradient may be written.
unsafe fn finish_gradient(lines: &Lines, lane: usize, target: Target) {
    let gradient = lines.gradient.wrapping_add(lane);
    // SAFETY: classes are below the line's length.
    unsafe {
        match target {
            Target::Class(class) => *gradient.add(class * lines.stride) -= lines.scale[lane],
            Target::Outside => {}
            // Whatever the logits are, an ignored line has no part in the gradient.
            Target::Ignored => {
                (0..lines.len).for_each(|class| *gradient.add(class * lines.stride) = 0.0);
            }
        }
    }
}

impl Kernel for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn items(&self) -> usize {
        self.groups.items()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let shape = self.groups.shape;
        let (all, lines) = (shape.elements(), shape.lines());
        let scales = if self.options.scale_per_line {
            lines
        } else {
            1
        };
        vec![
            OperandSpec::read("logits", DType::F32, all),
            OperandSpec::read("labels", self.options.label_dtype, lines),
            OperandSpec::read("class_weight", DType::F32, shape.len).or_absent(),
            OperandSpec::read("scale", DType::F32, scales).or_absent(),
            OperandSpec::read("divisor", DType::F32, 1).or_absent(),
            OperandSpec::write("loss", DType::F32, lines).or_absent(),
            OperandSpec::write("log_prob", DType::F32, all).or_absent(),
            OperandSpec::write("gradient", DType::F32, all).or_absent(),
        ]
    }

    fn flops(&self) -> u64 {
        14 * self.groups.shape.elements() as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        read == 0 && matches!(written, 6 | 7)
    }

    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        match operand {
            0 | 6 | 7 => self.groups.part(item),
            1 | 5 if self.groups.shape.inner == 1 => Some(self.groups.group_range(item)),
            _ => None,
        }
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        for group in items.flat_map(|item| self.groups.of_item(item)) {
            // SAFETY: the group is of one of this call's items.
            unsafe { self.run_group(cx, group) };
        }
    }
}

impl LabelWeight {
    /// The weight of `labels` labels of `classes` classes.
    ///
    /// # Errors
    /// As [`CrossEntropy::new`].
    pub fn new(labels: usize, classes: usize, options: CrossEntropyOptions) -> Result<LabelWeight> {
        options.check("label_weight")?;
        Ok(LabelWeight {
            labels,
            classes,
            options,
        })
    }
}

impl Kernel for LabelWeight {
    fn name(&self) -> &'static str {
        "label_weight"
    }

    fn items(&self) -> usize {
        1
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("labels", self.options.label_dtype, self.labels),
            OperandSpec::read("class_weight", DType::F32, self.classes).or_absent(),
            OperandSpec::write("total", DType::F32, 1),
        ]
    }

    fn flops(&self) -> u64 {
        self.labels as u64
    }

    fn run(&self, cx: &Run<'_>, _items: Range<usize>) {
        let mut total = 0.0f64;
        for label in 0..self.labels {
            // SAFETY: labels and classes are below their numbers.
            unsafe {
                if let Target::Class(class) = self.options.target(cx, 0, label, self.classes) {
                    let weight = if cx.has(1) {
                        *cx.ptr::<f32>(1).add(class)
                    } else {
                        1.0
                    };
                    total += f64::from(weight);
                }
            }
        }
        // SAFETY: the operand has one element, and the call one item.
        unsafe { *cx.ptr_mut::<f32>(2) = total as f32 };
    }
}

impl Lines {
    /// Where exponentials may be kept until they become the gradient: nowhere while the logits,
    /// whose place that may be, are still needed.
    fn powers(&self) -> *mut f32 {
        if self.log_prob.is_null() {
            self.gradient
        } else {
            std::ptr::null_mut()
        }
    }
}

#[inline(always)]
unsafe fn line<S: Simd>(s: S, of: &Lines) {
    let powers = of.powers();
    // SAFETY: the line lies within the operands; outputs are at the logits or elsewhere.
    unsafe {
        let Peak { largest, sum } = of_line(s, of.logits, powers, of.len);
        let log_sum = math::ln(s, s.splat(sum));
        let (peak, scale) = (s.splat(largest), s.splat(of.scale[0] / sum));
        if !powers.is_null() {
            each_piece!(of.len, |at, count| {
                let power = load(s, count, powers.add(at));
                store(s, count, powers.add(at), s.mul(power, scale));
            });
        } else if !of.log_prob.is_null() {
            each_piece!(of.len, |at, count| {
                let centred = s.sub(load(s, count, of.logits.add(at)), peak);
                store(s, count, of.log_prob.add(at), s.sub(centred, log_sum));
                if !of.gradient.is_null() {
                    let share = s.mul(math::exp(s, centred), scale);
                    store(s, count, of.gradient.add(at), share);
                }
            });
        }
        (*of.largest)[0] = largest;
        // As many lanes as a vector has: less would keep the number from being read at once.
        s.store(of.log_sum.cast(), log_sum);
    }
}

#[inline(always)]
unsafe fn lines<S: Simd>(s: S, of: &Lines) {
    let size = [of.len, of.stride];
    // SAFETY: the lines lie within the operands; outputs are at the logits or elsewhere; the
    // arrays have room for as many lines as a group has.
    unsafe {
        each_piece!(of.count, |column, count| {
            let logits = of.logits.add(column);
            let mut powers = of.powers();
            if !powers.is_null() {
                powers = powers.add(column);
            }
            let Peak { largest, sum } = of_lines(s, logits, powers, size, count);
            let log_sum = math::ln(s, sum);
            let scale = s.div(load(s, count, of.scale.as_ptr().add(column)), sum);
            for at in (0..of.len).map(|at| at * of.stride) {
                if !powers.is_null() {
                    let power = load(s, count, powers.add(at));
                    store(s, count, powers.add(at), s.mul(power, scale));
                } else if !of.log_prob.is_null() {
                    let centred = s.sub(load(s, count, logits.add(at)), largest);
                    let to = of.log_prob.add(column + at);
                    store(s, count, to, s.sub(centred, log_sum));
                    if !of.gradient.is_null() {
                        let share = s.mul(math::exp(s, centred), scale);
                        store(s, count, of.gradient.add(column + at), share);
                    }
                }
            }
            store(s, count, of.largest.cast::<f32>().add(column), largest);
            store(s, count, of.log_sum.cast::<f32>().add(column), log_sum);
        });
    }
}
