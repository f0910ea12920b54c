use super::Job;

/// Writes to each pixel of `out` the value of the source at `place(y, x)`, bilinear between pixel
/// centres and zero outside the image.
pub(super) fn resample(job: &Job<'_>, out: &mut [f32], place: impl Fn(f32, f32) -> (f32, f32)) {
    let (height, width) = (job.height, job.width);
    let area = height * width;
    for y in 0..height {
        for x in 0..width {
            let (source_y, source_x) = place(y as f32, x as f32);
            let (top, down) = floor(source_y);
            let (left, right) = floor(source_x);
            let weights = [
                (1.0 - down) * (1.0 - right),
                (1.0 - down) * right,
                down * (1.0 - right),
                down * right,
            ];
            let pixel = y * width + x;
            let is_inside =
                top >= 0 && left >= 0 && top + 1 < height as isize && left + 1 < width as isize;
            let planes = job
                .source
                .chunks_exact(area)
                .zip(out.chunks_exact_mut(area));
            if is_inside {
                let corner = top as usize * width + left as usize;
                let corners = [corner, corner + 1, corner + width, corner + width + 1];
                for (plane, out) in planes {
                    out[pixel] = (weights[0] * plane[corners[0]] + weights[1] * plane[corners[1]])
                        + (weights[2] * plane[corners[2]] + weights[3] * plane[corners[3]]);
                }
                continue;
            }
            let at = |plane: &[f32], dy: isize, dx: isize| {
                let (y, x) = (top + dy, left + dx);
                let is_pixel =
                    (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
                if is_pixel {
                    plane[y as usize * width + x as usize]
                } else {
                    0.0
                }
            };
            for (plane, out) in planes {
                out[pixel] = (weights[0] * at(plane, 0, 0) + weights[1] * at(plane, 0, 1))
                    + (weights[2] * at(plane, 1, 0) + weights[3] * at(plane, 1, 1));
            }
        }
    }
}

/// The next lower whole number and what is over it. `f32::floor` would be a call where the target
/// has no instruction for it; places lie within the image's size of it, far from overflow.
fn floor(value: f32) -> (isize, f32) {
    let truncated = value as isize;
    let below = truncated - isize::from(value < truncated as f32);
    (below, value - below as f32)
}
