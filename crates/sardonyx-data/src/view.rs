use std::sync::Arc;

use sardonyx_tensor::Tensor;

use crate::dataset::{Dataset, Target};
use crate::error::{DataError, Result};

/// Some samples of a [`Dataset`], by index; the data itself is shared, not copied.
#[derive(Debug, Clone)]
pub struct View {
    dataset: Dataset,
    rows: Arc<[usize]>,
}

impl View {
    /// All samples of a data set, in order.
    pub fn all(dataset: &Dataset) -> View {
        View {
            dataset: dataset.clone(),
            rows: (0..dataset.len()).collect(),
        }
    }

    /// The samples at `rows`, in that order; a row may occur more than once.
    ///
    /// # Errors
    /// When a row is not in the data set.
    pub fn new(dataset: &Dataset, rows: Vec<usize>) -> Result<View> {
        if let Some(row) = rows.iter().find(|&&row| row >= dataset.len()) {
            return Err(DataError::shape(
                dataset.source(),
                format!("there is no sample {row}, only {}", dataset.len()),
                "count samples from 0",
            ));
        }
        Ok(View {
            dataset: dataset.clone(),
            rows: rows.into(),
        })
    }

    /// The same rows of another data set of the same length, such as the imputed one.
    ///
    /// # Errors
    /// When a row is not in it.
    pub fn rebase(&self, dataset: &Dataset) -> Result<View> {
        if dataset.len() == self.dataset.len() {
            return Ok(View {
                dataset: dataset.clone(),
                rows: Arc::clone(&self.rows),
            });
        }
        View::new(dataset, self.rows.to_vec())
    }

    /// The data set behind the view.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Index in the data set of each sample of the view.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Targets of the view's samples, in the view's order.
    pub fn target(&self) -> Target {
        match self.dataset.target() {
            Target::Classes(ids) => Target::Classes(self.rows.iter().map(|&r| ids[r]).collect()),
            Target::Values(values) => {
                Target::Values(self.rows.iter().map(|&r| values[r]).collect())
            }
        }
    }

    /// Samples of each class; empty for regression.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.dataset.n_classes()];
        if let Some(labels) = self.dataset.labels() {
            for &row in self.rows.iter() {
                counts[labels[row] as usize] += 1;
            }
        }
        counts
    }

    /// Raw inputs of the view's samples as one `f32` tensor, `[len, C, H, W]` or `[len, F]`.
    ///
    /// # Errors
    /// When the result would pass the limits of a tensor.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let kind = self.dataset.kind();
        let mut shape = vec![self.len()];
        shape.extend(kind.sample_shape());
        let mut values = vec![0f32; sardonyx_tensor::element_count(&shape)?];
        for (out, &row) in values
            .chunks_exact_mut(kind.sample_len())
            .zip(self.rows.iter())
        {
            self.dataset.copy_row(row, out);
        }
        Ok(Tensor::new(shape, values)?)
    }

    pub(crate) fn from_known_rows(dataset: &Dataset, rows: Vec<usize>) -> View {
        debug_assert!(rows.iter().all(|&row| row < dataset.len()));
        View {
            dataset: dataset.clone(),
            rows: rows.into(),
        }
    }
}
