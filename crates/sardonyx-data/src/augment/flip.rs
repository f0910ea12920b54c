use super::{Job, Spec};

pub(super) static SPEC: Spec = Spec {
    name: "flip",
    amount: "a probability from 0 to 1",
    default: Some(0.5),
    is_valid: |probability| (0.0..=1.0).contains(&probability),
    apply,
};

fn apply(job: &Job<'_>, out: &mut [f32]) {
    if job.uniform(0) < job.amount {
        for row in out.chunks_exact_mut(job.width) {
            row.reverse();
        }
    }
}
