//! Zeroed, 64-byte-aligned memory that a program's regions point into.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::{Element, Region};

/// From this size on an arena is mapped rather than taken from the heap, so that the operating
/// system can back it by huge pages.
const MAP_THRESHOLD_BYTES: usize = 2 << 20;

/// Alignment of every arena and of every region in it: one cache line, one 512-bit vector.
pub(crate) const ALIGN_BYTES: usize = 64;

/// A block of bytes, zero at first, aligned to 64 bytes, of fixed length and address.
#[derive(Debug)]
pub struct Arena {
    base: NonNull<u8>,
    len: usize,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Heap(Layout),
    Map { _map: memmap2::MmapMut },
}

// SAFETY: an arena owns its bytes as a `Box<[u8]>` does; shared access only reads them.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// `len` zero bytes. Aborts like any allocation where memory runs out.
    pub fn zeroed(len: usize) -> Arena {
        if len >= MAP_THRESHOLD_BYTES
            && let Ok(mut map) = memmap2::MmapMut::map_anon(len)
        {
            #[cfg(target_os = "linux")]
            let _advice_is_optional = map.advise(memmap2::Advice::HugePage);
            let base = NonNull::new(map.as_mut_ptr()).expect("a mapping has an address");
            return Arena {
                base,
                len,
                storage: Storage::Map { _map: map },
            };
        }
        let layout = Layout::from_size_align(len.max(1), ALIGN_BYTES).expect("64 is a power of 2");
        // SAFETY: the layout has a size of at least one byte.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) });
        let base = base.unwrap_or_else(|| handle_alloc_error(layout));
        Arena {
            base,
            len,
            storage: Storage::Heap(layout),
        }
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements of `region`, which is taken to lie in this arena.
    ///
    /// # Panics
    /// When the region ends behind the arena's end or is not aligned for `T`: a bug of the plan.
    pub fn view<T: Element>(&self, region: Region) -> &[T] {
        let (pointer, count) = self.locate::<T>(region);
        // SAFETY: `locate` checked bounds and alignment, any bytes are a `T`, and no one writes
        // the arena while it is borrowed.
        unsafe { std::slice::from_raw_parts(pointer, count) }
    }

    /// As [`Arena::view`], for writing.
    ///
    /// # Panics
    /// As [`Arena::view`].
    pub fn view_mut<T: Element>(&mut self, region: Region) -> &mut [T] {
        let (pointer, count) = self.locate::<T>(region);
        // SAFETY: as in `view`; the arena is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(pointer, count) }
    }

    /// [`Arena::view`] of `f32`.
    ///
    /// # Panics
    /// As [`Arena::view`].
    pub fn f32s(&self, region: Region) -> &[f32] {
        self.view(region)
    }

    /// [`Arena::view_mut`] of `f32`.
    ///
    /// # Panics
    /// As [`Arena::view`].
    pub fn f32s_mut(&mut self, region: Region) -> &mut [f32] {
        self.view_mut(region)
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the arena owns `len` initialised bytes at `base`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// All bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the arena is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// Address of the first byte. Writing through it needs the exclusive right to the arena.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    fn locate<T: Element>(&self, region: Region) -> (*mut T, usize) {
        let end = region
            .offset
            .checked_add(region.len)
            .expect("a region's end fits usize");
        assert!(
            end <= self.len,
            "region ends at {end} of {} bytes",
            self.len
        );
        assert!(
            region.offset.is_multiple_of(align_of::<T>()),
            "misaligned {}",
            region.offset
        );
        // SAFETY: the offset is at most the arena's length.
        let pointer = unsafe { self.base.as_ptr().add(region.offset) };
        (pointer.cast(), region.len / size_of::<T>())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Storage::Heap(layout) = self.storage {
            // SAFETY: the block came from `alloc_zeroed` with this layout.
            unsafe { dealloc(self.base.as_ptr(), layout) }
        }
    }
}
