//! The heap of a program that moves weights about. Memory that is touched for the first time costs
//! more than to fill it, and loading a model fills as much as its weights take several times over:
//! what is given back is kept for what comes next.

/// Bytes that the heap takes from the operating system at a time; untouched, they cost nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const STEP_BYTES: libc::c_int = 64 << 20;

/// The largest piece that the C library lets come from its heap, rather than be mapped by itself
/// and unmapped when it is given back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST_BYTES: libc::c_int = 32 << 20;

/// Sets the heap up for large pieces that come and go. For the start of a program; where the
/// operating system or its C library is another, nothing happens.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn prepare_heap() {
    let settings = [
        (libc::M_MMAP_THRESHOLD, LARGEST_BYTES),
        (libc::M_TRIM_THRESHOLD, STEP_BYTES),
        (libc::M_TOP_PAD, STEP_BYTES),
    ];
    for (setting, bytes) in settings {
        // SAFETY: these settings only say where pieces come from and when they go back. One that
        // is refused stays as it was.
        unsafe { libc::mallopt(setting, bytes) };
    }
}

/// Does nothing here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn prepare_heap() {}

/// Gives the operating system back what the heap keeps for later, for the start of long work in
/// memory of its own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn release_heap() {
    // SAFETY: only pages that hold nothing are given back.
    unsafe { libc::malloc_trim(0) };
}

/// Does nothing here.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn release_heap() {}
