//! The words of a program: a kernel, a call of it over regions, chains and stages of calls.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::{DType, Tiles};

/// One of the arenas of a program, or the memory of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Read only while a program runs; may be shared between machines.
    Constants,
    /// As `Constants`: what programs of different shapes have in common.
    Shared,
    /// What outlives a run: parameters, optimizer state, running statistics.
    State,
    /// Activations and everything else that a run makes anew.
    Work,
    /// What lives within one tile of [`Tiles`], on one thread; no region of a program lies here.
    Tile,
}

impl Space {
    /// Whether calls only ever read here.
    pub const fn is_constant(self) -> bool {
        matches!(self, Space::Constants | Space::Shared)
    }
}

/// Number of spaces.
pub(crate) const SPACES: usize = 5;

/// Bytes of one arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region {
    /// Which arena.
    pub space: Space,
    /// First byte; a multiple of 64.
    pub offset: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Region {
    /// First byte behind the region.
    pub const fn end(self) -> usize {
        self.offset.saturating_add(self.len)
    }

    /// Whether the two regions share a byte.
    pub fn overlaps(self, other: Region) -> bool {
        let disjoint = self.end() <= other.offset || other.end() <= self.offset;
        self.space == other.space && !disjoint && self.len > 0 && other.len > 0
    }
}

/// What a kernel does with an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes it without having read it; elements that it leaves alone are said in its docs.
    Write,
    /// Reads and writes it.
    ReadWrite,
}

impl Access {
    /// Whether bytes may change.
    pub const fn writes(self) -> bool {
        !matches!(self, Access::Read)
    }
}

/// What a kernel asks of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperandSpec {
    /// Name, for messages.
    pub name: &'static str,
    /// Element type. Regions are bytes: this sets the size and says how the kernel reads them.
    pub dtype: DType,
    /// Fewest elements that the region must hold.
    pub len: usize,
    /// What the kernel does with it.
    pub access: Access,
    /// Whether a call may leave it out.
    pub optional: bool,
}

impl OperandSpec {
    /// An operand that is read.
    pub const fn read(name: &'static str, dtype: DType, len: usize) -> OperandSpec {
        OperandSpec {
            name,
            dtype,
            len,
            access: Access::Read,
            optional: false,
        }
    }

    /// An operand that is written.
    pub const fn write(name: &'static str, dtype: DType, len: usize) -> OperandSpec {
        OperandSpec {
            name,
            dtype,
            len,
            access: Access::Write,
            optional: false,
        }
    }

    /// An operand that is read and written.
    pub const fn update(name: &'static str, dtype: DType, len: usize) -> OperandSpec {
        OperandSpec {
            name,
            dtype,
            len,
            access: Access::ReadWrite,
            optional: false,
        }
    }

    /// The same operand where it is `needed`; otherwise one that is ignored and may be left out.
    pub const fn needed_if(self, needed: bool) -> OperandSpec {
        if needed {
            self
        } else {
            OperandSpec {
                len: 0,
                optional: true,
                ..self
            }
        }
    }

    /// The same operand, which a call may leave out.
    pub const fn or_absent(self) -> OperandSpec {
        OperandSpec {
            optional: true,
            ..self
        }
    }
}

/// A piece of arithmetic over regions, with its geometry and instruction set fixed.
///
/// # Contract
/// [`Kernel::run`] touches only bytes of its operands that [`Kernel::operands`] admits, and its
/// scratch. Distinct items write disjoint bytes and never read what another item of the same call
/// writes. The number of items and what each does depend on geometry alone. [`crate::Machine`]
/// relies on this for memory safety, which is why only this crate implements the trait (it is
/// sealed by [`Run`]'s unsafe accessors being all there is to work with).
pub trait Kernel: Send + Sync + fmt::Debug {
    /// Short name in snake case: `conv2d`.
    fn name(&self) -> &'static str;

    /// Number of independent pieces of work.
    fn items(&self) -> usize;

    /// Bytes of scratch that one thread needs; contents are undefined between items.
    fn scratch_len(&self) -> usize {
        0
    }

    /// What the operands must be, in order.
    fn operands(&self) -> Vec<OperandSpec>;

    /// Floating-point operations of one call (a fused multiply-add counts as two).
    fn flops(&self) -> u64;

    /// Whether operand `written` may be given exactly the region of operand `read`.
    fn in_place(&self, read: usize, written: usize) -> bool {
        let _ = (read, written);
        false
    }

    /// The elements of operand `operand` that `item` touches, where they are one range that grows
    /// with the item; `None` where they are not (or where any item may touch any of them). Calls
    /// of one chain may share a region only where this shows that items keep to themselves.
    fn part(&self, operand: usize, item: usize) -> Option<Range<usize>> {
        let _ = (operand, item);
        None
    }

    /// The calls that each item goes through, where a kernel is made of other kernels.
    fn tiles(&self) -> Option<&Tiles> {
        None
    }

    /// Does the items in `items`.
    fn run(&self, cx: &Run<'_>, items: Range<usize>);
}

/// A kernel with its regions, in the order of [`Kernel::operands`].
#[derive(Debug, Clone)]
pub struct Call {
    /// What to do.
    pub kernel: Arc<dyn Kernel>,
    /// On which bytes; `None` for an optional operand that is left out.
    pub operands: Vec<Option<Region>>,
}

impl Call {
    /// The calls that this one is made of, or itself, and how often each is done.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Call, usize)> {
        let tiles = self.kernel.tiles();
        let own = tiles.is_none().then_some((self, 1));
        let inner = tiles.map(|tiles| tiles.calls().map(|call| (call, tiles.items())));
        own.into_iter().chain(inner.into_iter().flatten())
    }

    /// How many calls this one counts as: those of a tile one by one.
    pub(crate) fn count(&self) -> usize {
        self.kernel.tiles().map_or(1, Tiles::len)
    }
}

/// Calls with the same number of items: an item goes through all of them before the next one
/// starts, so that what one call makes is still in cache for the next.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The calls, in order.
    pub calls: Vec<Call>,
}

impl Chain {
    /// How many calls there are, those of tiles counted one by one.
    pub(crate) fn count(&self) -> usize {
        self.calls.iter().map(Call::count).sum()
    }
}

/// Chains that are independent of each other. All of a stage is done before the next one starts.
#[derive(Debug, Clone, Default)]
pub struct Stage {
    /// The chains.
    pub chains: Vec<Chain>,
}

/// Element types that a region can be read as.
pub trait Element: Copy + Send + Sync + sealed::Sealed + 'static {
    /// Its name among the element types of tensors.
    const DTYPE: DType;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}

elements! {
    f32 => F32, f64 => F64, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
}

/// What a kernel works with: its operands' memory and its thread's scratch.
#[derive(Debug)]
pub struct Run<'a> {
    pub(crate) bases: [*mut u8; SPACES],
    pub(crate) operands: &'a [Option<Region>],
    pub(crate) scratch: *mut u8,
    pub(crate) scratch_len: usize,
}

impl Run<'_> {
    /// Whether the call has operand `index`.
    pub fn has(&self, index: usize) -> bool {
        self.operands[index].is_some()
    }

    /// Number of `T` in operand `index`; 0 where it is absent.
    pub fn len<T: Element>(&self, index: usize) -> usize {
        self.operands[index].map_or(0, |region| region.len / size_of::<T>())
    }

    /// Address of operand `index`, 64-byte aligned; null where it is absent.
    pub fn ptr<T: Element>(&self, index: usize) -> *const T {
        self.ptr_mut(index)
    }

    /// As [`Run::ptr`], for writing: only where the operand's access says so.
    pub fn ptr_mut<T: Element>(&self, index: usize) -> *mut T {
        self.operands[index].map_or(std::ptr::null_mut(), |region| {
            self.bases[region.space as usize]
                .wrapping_add(region.offset)
                .cast()
        })
    }

    /// Elements `range` of operand `index`.
    ///
    /// # Safety
    /// `T` is the operand's type, and while the slice lives no one writes these elements.
    ///
    /// # Panics
    /// When the range is not within the operand.
    pub unsafe fn slice<T: Element>(&self, index: usize, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.len::<T>(index));
        if range.is_empty() {
            return &[];
        }
        // SAFETY: the range is within the region, which the program checked against its arena;
        // the caller vouches for the absence of writers.
        unsafe { std::slice::from_raw_parts(self.ptr::<T>(index).add(range.start), range.len()) }
    }

    /// Elements `range` of operand `index`, for writing.
    ///
    /// # Safety
    /// `T` is the operand's type, the operand may be written, and while the slice lives no one
    /// else reads or writes these elements: they belong to the item at hand.
    ///
    /// # Panics
    /// When the range is not within the operand.
    #[expect(
        clippy::mut_from_ref,
        reason = "items own disjoint parts of one operand"
    )]
    pub unsafe fn slice_mut<T: Element>(&self, index: usize, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len::<T>(index));
        if range.is_empty() {
            return &mut [];
        }
        // SAFETY: as in `slice`; the caller vouches for exclusive use.
        unsafe {
            std::slice::from_raw_parts_mut(self.ptr_mut::<T>(index).add(range.start), range.len())
        }
    }

    /// The thread's scratch as `T`: address (64-byte aligned) and number of elements. It is the
    /// item's own until [`Kernel::run`] returns; its contents are undefined at first.
    pub fn scratch<T: Element>(&self) -> (*mut T, usize) {
        (self.scratch.cast(), self.scratch_len / size_of::<T>())
    }
}
