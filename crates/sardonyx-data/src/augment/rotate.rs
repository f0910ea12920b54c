use super::sample::resample;
use super::{Job, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "rotate",
    amount: "an angle in degrees from 0 to 180",
    default: None,
    is_valid: |degrees| (0.0..=180.0).contains(&degrees),
    apply,
};

fn apply(job: &Job<'_>, out: &mut [f32]) {
    let (sin, cos) = (job.amount * job.symmetric(0)).to_radians().sin_cos();
    let centre_y = (job.height - 1) as f32 / 2.0;
    let centre_x = (job.width - 1) as f32 / 2.0;
    resample(job, out, |y, x| {
        let (y, x) = (y - centre_y, x - centre_x);
        (centre_y + cos * y - sin * x, centre_x + sin * y + cos * x)
    });
}
