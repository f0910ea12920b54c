//! Jobs into one batch, and its outputs back to each job.

use sardonyx_tensor::{Tensor, map_data};

use super::queue::Job;
use crate::error::{Code, Result, ServeError, internal};

/// The inputs of `jobs` one after the other along the first axis, with zeros up to `rows` samples.
///
/// # Errors
/// When the jobs differ in more than their number of samples.
pub(super) fn join(jobs: &[Job], rows: usize) -> Result<Vec<Tensor>> {
    let first = jobs.first().map_or(&[][..], |job| &job.inputs);
    (0..first.len())
        .map(|input| {
            let parts: Vec<&Tensor> = jobs.iter().map(|job| &job.inputs[input]).collect();
            join_one(&parts, rows)
        })
        .collect()
}

fn join_one(parts: &[&Tensor], rows: usize) -> Result<Tensor> {
    let first = parts[0];
    let mut shape = first.shape().to_vec();
    shape[0] = rows;
    let sample: usize = shape[1..].iter().product();
    let data = map_data!(first.data(), values => {
        let mut all = Vec::with_capacity(rows * sample);
        all.extend_from_slice(values);
        for part in &parts[1..] {
            all.extend_from_slice(part.values().map_err(internal)?);
        }
        all.resize(rows * sample, Default::default());
        all
    });
    Tensor::from_data(shape, data).map_err(internal)
}

/// The part of each job of a batch's outputs; `counts` are the jobs' samples, in order.
///
/// # Errors
/// When an output does not have the batch's samples along its first axis.
pub(super) fn split(outputs: &[Tensor], counts: &[usize], rows: usize) -> Result<Vec<Vec<Tensor>>> {
    let mut start = 0;
    counts
        .iter()
        .map(|&count| {
            let range = start..start + count;
            start += count;
            outputs
                .iter()
                .map(|output| part(output, range.clone(), rows))
                .collect()
        })
        .collect()
}

fn part(output: &Tensor, range: std::ops::Range<usize>, rows: usize) -> Result<Tensor> {
    if output.shape().first() != Some(&rows) {
        let message = format!(
            "the model made an output of shape {:?} from a batch of {rows} samples; hint: serve it \
             with max_batch_size = 1",
            output.shape()
        );
        return Err(ServeError::new(Code::Internal, message));
    }
    let mut shape = output.shape().to_vec();
    shape[0] = range.len();
    let sample: usize = shape[1..].iter().product();
    let range = range.start * sample..range.end * sample;
    let data = map_data!(output.data(), values => values[range].to_vec());
    Tensor::from_data(shape, data).map_err(internal)
}
