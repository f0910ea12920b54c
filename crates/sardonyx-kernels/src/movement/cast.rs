//! Conversion between element types.

use std::ops::Range;

use crate::{DType, Kernel, KernelError, OperandSpec, Result, Run};

/// Elements of one item.
const ITEM_LEN: usize = 16 * 1024;

type Convert = unsafe fn(*const u8, *mut u8, usize);

/// Converts elements among `F32`, `F64`, `I8`, `I32`, `I64`, `U8` and `Bool`.
///
/// Floats lose their fraction on the way to integers, saturate, and NaN becomes 0; integers wrap
/// on the way to narrower ones; everything but 0 is true, NaN too.
///
/// Operands: 0 `x` (read), 1 `y` (written).
#[derive(Debug)]
pub struct Cast {
    from: DType,
    to: DType,
    len: usize,
    convert: Convert,
}

impl Cast {
    /// The conversion of `len` elements.
    ///
    /// # Errors
    /// [`KernelError::Geometry`] for any other type.
    pub fn new(from: DType, to: DType, len: usize) -> Result<Cast> {
        let convert = convert_for(from, to).ok_or_else(|| KernelError::Geometry {
            kernel: "cast",
            problem: format!("{from} is not converted to {to}"),
        })?;
        Ok(Cast {
            from,
            to,
            len,
            convert,
        })
    }

    fn range(&self, item: usize) -> Range<usize> {
        item * ITEM_LEN..self.len.min((item + 1) * ITEM_LEN)
    }
}

/// The loop from one type to the other, over typed elements at byte addresses.
fn convert_for(from: DType, to: DType) -> Option<Convert> {
    macro_rules! sweep {
        ($from:ty, $to:ty, |$x:ident| $convert:expr) => {{
            unsafe fn sweep(x: *const u8, y: *mut u8, len: usize) {
                let (x, y) = (x.cast::<$from>(), y.cast::<$to>());
                for index in 0..len {
                    // SAFETY: the caller vouches for `len` elements at both.
                    unsafe {
                        let $x = *x.add(index);
                        *y.add(index) = $convert;
                    }
                }
            }
            sweep as Convert
        }};
    }
    macro_rules! to {
        ($from:ty: $($variant:ident => $to:ty),*) => {
            match to {
                $(DType::$variant => sweep!($from, $to, |x| x as $to),)*
                DType::Bool => sweep!($from, u8, |x| u8::from(x != (0 as $from))),
                _ => return None,
            }
        };
    }
    macro_rules! from {
        ($($variant:ident => $ty:ty),*) => {
            match from {
                $(DType::$variant => to!(
                    $ty: F32 => f32, F64 => f64, I8 => i8, I32 => i32, I64 => i64, U8 => u8
                ),)*
                _ => return None,
            }
        };
    }
    Some(from!(
        F32 => f32, F64 => f64, I8 => i8, I32 => i32, I64 => i64, U8 => u8, Bool => u8
    ))
}

impl Kernel for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn items(&self) -> usize {
        self.len.div_ceil(ITEM_LEN)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.from, self.len),
            OperandSpec::write("y", self.to, self.len),
        ]
    }

    fn flops(&self) -> u64 {
        self.len as u64
    }

    fn in_place(&self, read: usize, written: usize) -> bool {
        (read, written) == (0, 1) && self.from.size_bytes() == self.to.size_bytes()
    }

    fn part(&self, _operand: usize, item: usize) -> Option<Range<usize>> {
        Some(self.range(item))
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        let [from, to] = [self.from, self.to].map(|dtype| dtype.size_bytes().unwrap_or(0));
        for item in items {
            let range = self.range(item);
            let x = cx.ptr::<u8>(0).wrapping_add(range.start * from);
            let y = cx.ptr_mut::<u8>(1).wrapping_add(range.start * to);
            // SAFETY: both operands have `len` elements of these types, and items are disjoint
            // ranges of them; elements of the same size may be converted where they are.
            unsafe { (self.convert)(x, y, range.len()) };
        }
    }
}
