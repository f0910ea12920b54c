use super::sample::resample;
use super::{Job, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "translate",
    amount: "a number of pixels from 0 to 1024",
    default: None,
    is_valid: |pixels| (0.0..=1024.0).contains(&pixels),
    apply,
};

fn apply(job: &Job<'_>, out: &mut [f32]) {
    let (dy, dx) = (job.amount * job.symmetric(0), job.amount * job.symmetric(1));
    resample(job, out, |y, x| (y + dy, x + dx));
}
