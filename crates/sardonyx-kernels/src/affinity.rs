//! Binding threads to processors; where the operating system does not offer it, nothing happens.

/// The processors that the calling thread may run on; none where that is not known.
#[cfg(target_os = "linux")]
pub(crate) fn allowed() -> Vec<usize> {
    // SAFETY: a set of processors is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the set is as large as the call is told; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: every index is below the number of bits in the set.
    (0..8 * size)
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
        .collect()
}

/// Binds the calling thread to one of the processors in `cpus`, counting around; a refusal leaves
/// it unbound.
#[cfg(target_os = "linux")]
pub(crate) fn bind_to(cpus: &[usize], index: usize) {
    if cpus.is_empty() {
        return;
    }
    // SAFETY: a set of processors is plain bits, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the processor came from a set of the same size; 0 is the calling thread.
    unsafe {
        libc::CPU_SET(cpus[index % cpus.len()], &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// None.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allowed() -> Vec<usize> {
    Vec::new()
}

/// Does nothing here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bind_to(_cpus: &[usize], _index: usize) {}
