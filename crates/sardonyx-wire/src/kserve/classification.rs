//! Triton's classification extension: the highest classes in place of all scores.

use std::cmp::Ordering;

use sardonyx_tensor::{Data, Tensor, with_data};

use crate::{Result, WireError};

/// The `top` highest classes of every example as strings `value:index` or, where there is a label
/// of that index, `value:index:label`. The first dimension of a tensor of two or more is that of
/// the examples, and the shape of the result is `[examples, top]`; else it is one example, and the
/// shape is `[top]`. An example of fewer classes than `top` gives all of them.
///
/// # Errors
/// [`crate::Code::InvalidArgument`] when the elements are not numbers.
pub fn classify(tensor: &Tensor, top: usize, labels: &[String]) -> Result<Tensor> {
    let scores = tensor
        .to_f64()
        .map_err(|_| WireError::invalid("classification is of numbers only"))?;
    let shown = Shown {
        data: tensor.data(),
        labels,
    };
    let is_batch = tensor.rank() >= 2;
    let n_examples = if is_batch { tensor.shape()[0] } else { 1 };
    let n_classes = scores.len().checked_div(n_examples).unwrap_or(0);
    let top = top.min(n_classes);
    let mut found = Vec::with_capacity(n_examples * top);
    for example in 0..n_examples {
        let start = example * n_classes;
        let scores = &scores[start..start + n_classes];
        let mut order: Vec<usize> = (0..n_classes).collect();
        order.sort_by(|&a, &b| higher(scores[a], scores[b]).then(a.cmp(&b)));
        let classes = order.iter().take(top);
        found.extend(classes.map(|&class| shown.text(start + class, class)));
    }
    let shape = if is_batch {
        vec![n_examples, top]
    } else {
        vec![top]
    };
    Tensor::new(shape, found).map_err(|error| WireError::invalid(error.to_string()))
}

/// Highest first, what is no number last.
fn higher(a: f64, b: f64) -> Ordering {
    a.is_nan()
        .cmp(&b.is_nan())
        .then(b.partial_cmp(&a).unwrap_or(Ordering::Equal))
}

struct Shown<'a> {
    data: &'a Data,
    labels: &'a [String],
}

impl Shown<'_> {
    /// The class `class`, whose score is element `element`.
    fn text(&self, element: usize, class: usize) -> String {
        let value = match self.data {
            Data::F32(v) => format!("{:.6}", v[element]),
            Data::F64(v) => format!("{:.6}", v[element]),
            Data::F16(v) => format!("{:.6}", v[element].to_f32()),
            Data::Bf16(v) => format!("{:.6}", v[element].to_f32()),
            data => with_data!(data, values => values[element].to_string()),
        };
        match self.labels.get(class) {
            Some(label) => format!("{value}:{class}:{label}"),
            None => format!("{value}:{class}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_come_first() {
        let scores = vec![
            6.491_35f32,
            -2.58,
            f32::NAN,
            -0.883_851_05,
            6.0,
            6.0,
            7.0,
            1.0,
        ];
        let tensor = Tensor::new([2, 4], scores).expect("a tensor");
        let labels = ["cat".to_owned()];
        let top = classify(&tensor, 2, &labels).expect("numbers");
        let expected = [
            "6.491350:0:cat",
            "-0.883851:3",
            "7.000000:2",
            "6.000000:0:cat",
        ];
        assert_eq!(top.shape(), [2, 2]);
        assert_eq!(
            top.values::<String>().map(<[String]>::to_vec),
            Ok(expected.map(str::to_owned).to_vec())
        );
        let counts = Tensor::vector(vec![3i64, 9]);
        let top = classify(&counts, 5, &[]).expect("numbers");
        assert_eq!(
            top,
            Tensor::vector(vec!["9:1".to_owned(), "3:0".to_owned()])
        );
        assert!(classify(&Tensor::vector(vec![String::new()]), 1, &[]).is_err());
    }
}
