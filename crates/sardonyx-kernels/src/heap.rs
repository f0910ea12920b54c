//! The heap of a program that moves weights about: memory that is given back is kept for what
//! comes next, and comes in large pages. A page that is touched for the first time costs more
//! than to fill it, and loading a model fills as much memory several times over.

/// Bytes that the heap takes from the operating system at a time; untouched, they cost nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const STEP_BYTES: usize = 128 << 20;

/// The largest piece that the C library lets come from its heap.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST_BYTES: usize = 32 << 20;

/// Sets the heap up for large pieces that come and go. For the start of a program that has one
/// thread yet; where the operating system or its C library is another, nothing happens.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn prepare_heap() {
    let settings = [
        (libc::M_MMAP_THRESHOLD, LARGEST_BYTES),
        (libc::M_TRIM_THRESHOLD, 2 * STEP_BYTES),
        (libc::M_TOP_PAD, STEP_BYTES),
    ];
    for (setting, bytes) in settings {
        // SAFETY: these settings only say where pieces come from. One that is refused stays as it
        // was.
        unsafe { libc::mallopt(setting, bytes as libc::c_int) };
    }
    // A piece that the heap has no room for yet makes it grow by a step.
    let piece = vec![0u8; 1 << 20];
    let start = std::hint::black_box(piece.as_ptr()).addr();
    // SAFETY: moving the end by nothing tells where it is.
    let end = unsafe { libc::sbrk(0) }.addr();
    if end.saturating_sub(start) > STEP_BYTES / 2 && end - start < 2 * STEP_BYTES {
        let page = 4096;
        let first = start.next_multiple_of(page);
        let len = (end - first) / page * page;
        let first = piece.as_ptr().with_addr(first).cast_mut().cast();
        // SAFETY: the range is mapped: it lies between a piece of the heap and the heap's end. The
        // advice changes the size of pages, not what they hold.
        unsafe { libc::madvise(first, len, libc::MADV_HUGEPAGE) };
    }
}

/// Does nothing here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn prepare_heap() {}
