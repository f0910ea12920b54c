//! A call of a plain function over bytes, for what no kernel exists for: the function sees copies
//! of nothing and touches memory through [`HostRun`] alone, so it may be any safe code.

use std::fmt;
use std::ops::Range;

use crate::{Kernel, OperandSpec, Run};

/// What a [`HostCall`]'s function works with.
#[derive(Debug)]
pub struct HostRun<'a, 'b> {
    cx: &'a Run<'b>,
    specs: &'a [OperandSpec],
}

impl HostRun<'_, '_> {
    /// The bytes of read operand `index`; `None` where it is left out.
    ///
    /// # Panics
    /// When the operand is written.
    pub fn read(&self, index: usize) -> Option<&[u8]> {
        assert!(
            !self.specs[index].access.writes(),
            "operand {index} is written"
        );
        let len = self.bytes_of(index);
        // SAFETY: the operand is only read by this call, and a call of one item has no other
        // thread; the program keeps written operands of the same call apart.
        self.cx
            .has(index)
            .then(|| unsafe { self.cx.slice::<u8>(index, 0..len) })
    }

    /// Copies `bytes` to the start of written operand `index`; nothing where it is left out.
    ///
    /// # Panics
    /// When the operand is read only, or shorter.
    pub fn write(&self, index: usize, bytes: &[u8]) {
        assert!(
            self.specs[index].access.writes(),
            "operand {index} is read only"
        );
        if self.cx.has(index) {
            // SAFETY: the operand may be written, and this call has one item, hence one thread.
            unsafe { self.cx.slice_mut::<u8>(index, 0..bytes.len()) }.copy_from_slice(bytes);
        }
    }

    fn bytes_of(&self, index: usize) -> usize {
        let spec = &self.specs[index];
        let size = spec.dtype.size_bytes().unwrap_or(0);
        self.cx.len::<u8>(index).min(spec.len * size)
    }
}

/// The function of a [`HostCall`].
pub type HostFunction = dyn Fn(&HostRun<'_, '_>) + Send + Sync;

/// Calls a function on one thread.
///
/// Operands: as given.
pub struct HostCall {
    specs: Vec<OperandSpec>,
    function: Box<HostFunction>,
}

impl HostCall {
    /// The call of `function` over operands that are `specs`.
    pub fn new(specs: Vec<OperandSpec>, function: Box<HostFunction>) -> HostCall {
        HostCall { specs, function }
    }
}

impl fmt::Debug for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCall")
            .field("specs", &self.specs)
            .finish_non_exhaustive()
    }
}

impl Kernel for HostCall {
    fn name(&self) -> &'static str {
        "host"
    }

    fn items(&self) -> usize {
        1
    }

    fn operands(&self) -> Vec<OperandSpec> {
        self.specs.clone()
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, cx: &Run<'_>, items: Range<usize>) {
        if !items.is_empty() {
            (self.function)(&HostRun {
                cx,
                specs: &self.specs,
            });
        }
    }
}
