use super::{Job, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "crop",
    amount: "a whole number of pixels from 0 to 1024",
    default: None,
    is_valid: |pixels| pixels.fract() == 0.0 && (0.0..=1024.0).contains(&pixels),
    apply,
};

/// He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), section
/// 4.2: a window of the image's own size from the image padded with zeros.
fn apply(job: &Job<'_>, out: &mut [f32]) {
    let places = 2 * job.amount as u64 + 1;
    // The remainder favours no place by more than 2049 in 2^32.
    let offset =
        |index: usize| (u64::from(job.random[index]) % places) as isize - job.amount as isize;
    let (dy, dx) = (offset(0), offset(1));
    let (height, width) = (job.height, job.width);
    let planes = job.source.chunks_exact(height * width);
    for (plane, out) in planes.zip(out.chunks_exact_mut(height * width)) {
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let row = y
                .checked_add_signed(dy)
                .filter(|&y| y < height)
                .map(|y| &plane[y * width..(y + 1) * width]);
            for (x, out) in out.iter_mut().enumerate() {
                let value = row.and_then(|row| row.get(x.checked_add_signed(dx)?));
                *out = value.copied().unwrap_or(0.0);
            }
        }
    }
}
