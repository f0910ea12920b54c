use sardonyx_tensor::{Philox, element_count};

use crate::augment::{self, Augmentation, Draw, MAX_AUGMENTATIONS};
use crate::dataset::{Kind, Target};
use crate::error::{DataError, Result};
use crate::view::View;

/// What stands in the label buffer after the last sample of an incomplete batch.
pub const PADDING_LABEL: i64 = -1;

/// Names the random streams of shuffling; the low half is the epoch.
const STREAM: u64 = 0x5348_5546 << 32;

/// How a view is cut into batches.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchOptions {
    /// Samples in a batch.
    pub batch_len: usize,
    /// Whether each epoch has an order of its own; otherwise it is the view's.
    pub shuffle: bool,
    /// Whether the samples that do not fill a batch at an epoch's end are left out.
    pub drop_last: bool,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Random changes of each image, applied in this order to the raw pixels.
    pub augment: Vec<Augmentation>,
}

impl BatchOptions {
    /// Every sample once, in the view's order, unchanged: for evaluation.
    pub fn in_order(batch_len: usize) -> BatchOptions {
        BatchOptions {
            batch_len,
            shuffle: false,
            drop_last: false,
            seed: 0,
            augment: Vec::new(),
        }
    }

    /// Shuffled by `seed`, whole batches only: for training.
    pub fn shuffled(batch_len: usize, seed: u64) -> BatchOptions {
        BatchOptions {
            shuffle: true,
            drop_last: true,
            seed,
            ..BatchOptions::in_order(batch_len)
        }
    }
}

/// A place in the endless sequence of batches: the next one to be had. Saving it is enough to
/// resume exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    /// Passes over the view that are complete.
    pub epoch: u64,
    /// Batches of the present pass that are done.
    pub batch_idx: usize,
}

/// Gathers the raw samples of a view, batch by batch, into buffers of the caller.
///
/// The content of a batch is a function of (view, options, epoch, batch index). Nothing is
/// allocated after construction.
#[derive(Debug, Clone)]
pub struct Batches {
    view: View,
    options: BatchOptions,
    cursor: Cursor,
    /// The epoch that `order` belongs to.
    ordered: Option<u64>,
    order: Vec<usize>,
    scratch: Vec<f32>,
}

impl Batches {
    /// Cuts `view` into batches.
    ///
    /// # Errors
    /// When the view is empty, the batch length is zero or past the limits of a tensor, every
    /// sample would be left out, or augmentation is asked for anything but images.
    pub fn new(view: &View, options: BatchOptions) -> Result<Batches> {
        let setting = |setting, value: String, problem: &str, hint: &str| DataError::Setting {
            setting,
            value,
            problem: problem.into(),
            hint: hint.into(),
        };
        let batch_len = options.batch_len.to_string();
        let n = view.len();
        if options.batch_len == 0 {
            return Err(setting(
                "batch",
                batch_len,
                "a batch has samples",
                "1 or more",
            ));
        }
        if n == 0 || (options.drop_last && n < options.batch_len) {
            return Err(setting(
                "batch",
                batch_len,
                &format!("{n} samples do not fill a batch"),
                "choose a smaller batch or keep the incomplete one",
            ));
        }
        let kind = view.dataset().kind();
        let mut shape = vec![options.batch_len];
        shape.extend(kind.sample_shape());
        element_count(&shape)?;
        let is_image = matches!(kind, Kind::Image { .. });
        if let (Some(first), false) = (options.augment.first(), is_image) {
            return Err(setting(
                "augment",
                first.to_string(),
                "the samples are not images",
                "leave augmentation out for tables",
            ));
        }
        if options.augment.len() > MAX_AUGMENTATIONS {
            return Err(setting(
                "augment",
                options.augment.len().to_string(),
                "too many augmentations",
                &format!("{MAX_AUGMENTATIONS} at most"),
            ));
        }
        let scratch_len = if options.augment.is_empty() {
            0
        } else {
            kind.sample_len()
        };
        Ok(Batches {
            order: view.rows().to_vec(),
            view: view.clone(),
            options,
            cursor: Cursor::default(),
            ordered: None,
            scratch: vec![0.0; scratch_len],
        })
    }

    /// The view that is cut.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How it is cut.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// Batches in an epoch.
    pub fn n_batches(&self) -> usize {
        if self.options.drop_last {
            self.view.len() / self.options.batch_len
        } else {
            self.view.len().div_ceil(self.options.batch_len)
        }
    }

    /// Length of the input buffer of [`Batches::fill`].
    pub fn x_len(&self) -> usize {
        self.options.batch_len * self.view.dataset().kind().sample_len()
    }

    /// Shape of a batch of inputs, `[batch_len, C, H, W]` or `[batch_len, F]`.
    pub fn x_shape(&self) -> Vec<usize> {
        let mut shape = vec![self.options.batch_len];
        shape.extend(self.view.dataset().kind().sample_shape());
        shape
    }

    /// The batch that [`Batches::next_batch`] gives next.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues at `cursor`.
    ///
    /// # Errors
    /// When an epoch has no such batch.
    pub fn seek(&mut self, cursor: Cursor) -> Result<()> {
        self.check_batch(cursor.batch_idx)?;
        self.cursor = cursor;
        Ok(())
    }

    /// Rows in the data set of the samples of a batch, in their order.
    ///
    /// # Errors
    /// When an epoch has no such batch.
    pub fn rows(&mut self, epoch: u64, batch_idx: usize) -> Result<&[usize]> {
        self.check_batch(batch_idx)?;
        if self.options.shuffle && self.ordered != Some(epoch) {
            self.order.copy_from_slice(self.view.rows());
            Philox::new(self.options.seed, STREAM.wrapping_add(epoch)).shuffle(&mut self.order);
            self.ordered = Some(epoch);
        }
        let start = batch_idx * self.options.batch_len;
        let end = (start + self.options.batch_len).min(self.order.len());
        Ok(&self.order[start..end])
    }

    /// Writes a batch: raw inputs as `f32` into `x` (row-major, [`Batches::x_len`] numbers) and
    /// class ids into `labels` (`batch_len`). Gives the number of samples; what follows them in an
    /// epoch's incomplete last batch is filled with zeros and [`PADDING_LABEL`].
    ///
    /// # Errors
    /// When an epoch has no such batch, a buffer has another length, or the targets are not
    /// classes.
    pub fn fill(
        &mut self,
        epoch: u64,
        batch_idx: usize,
        x: &mut [f32],
        labels: &mut [i64],
    ) -> Result<usize> {
        self.check_len(labels.len(), self.options.batch_len, "labels")?;
        let n_valid = self.fill_x(epoch, batch_idx, x)?;
        let Target::Classes(ids) = self.view.dataset().target() else {
            return Err(self.wrong_target("classes"));
        };
        let start = batch_idx * self.options.batch_len;
        labels.fill(PADDING_LABEL);
        for (label, &row) in labels.iter_mut().zip(&self.order[start..start + n_valid]) {
            *label = i64::from(ids[row]);
        }
        Ok(n_valid)
    }

    /// As [`Batches::fill`] for regression; the padding is NaN, so that it cannot pass unnoticed.
    ///
    /// # Errors
    /// As [`Batches::fill`], when the targets are not numbers.
    pub fn fill_values(
        &mut self,
        epoch: u64,
        batch_idx: usize,
        x: &mut [f32],
        values: &mut [f32],
    ) -> Result<usize> {
        self.check_len(values.len(), self.options.batch_len, "values")?;
        let n_valid = self.fill_x(epoch, batch_idx, x)?;
        let Target::Values(targets) = self.view.dataset().target() else {
            return Err(self.wrong_target("values"));
        };
        let start = batch_idx * self.options.batch_len;
        values.fill(f32::NAN);
        for (value, &row) in values.iter_mut().zip(&self.order[start..start + n_valid]) {
            *value = targets[row];
        }
        Ok(n_valid)
    }

    /// [`Batches::fill`] at the cursor, which then moves on; gives the batch's own place too.
    ///
    /// # Errors
    /// As [`Batches::fill`]; the cursor then stays.
    pub fn next_batch(&mut self, x: &mut [f32], labels: &mut [i64]) -> Result<(Cursor, usize)> {
        let here = self.cursor;
        let n_valid = self.fill(here.epoch, here.batch_idx, x, labels)?;
        self.cursor = self.after(here);
        Ok((here, n_valid))
    }

    /// The place after `cursor`.
    pub fn after(&self, cursor: Cursor) -> Cursor {
        if cursor.batch_idx + 1 < self.n_batches() {
            Cursor {
                batch_idx: cursor.batch_idx + 1,
                ..cursor
            }
        } else {
            Cursor {
                epoch: cursor.epoch.wrapping_add(1),
                batch_idx: 0,
            }
        }
    }

    fn fill_x(&mut self, epoch: u64, batch_idx: usize, x: &mut [f32]) -> Result<usize> {
        self.check_len(x.len(), self.x_len(), "inputs")?;
        let n_valid = self.rows(epoch, batch_idx)?.len();
        let kind = self.view.dataset().kind();
        let sample_len = kind.sample_len();
        let (filled, padding) = x.split_at_mut(n_valid * sample_len);
        padding.fill(0.0);
        let start = batch_idx * self.options.batch_len;
        let rows = &self.order[start..start + n_valid];
        for (out, &sample) in filled.chunks_exact_mut(sample_len).zip(rows) {
            self.view.dataset().copy_row(sample, out);
            if let (Kind::Image { height, width, .. }, false) =
                (kind, self.options.augment.is_empty())
            {
                let draw = Draw {
                    seed: self.options.seed,
                    epoch,
                    sample,
                };
                let chain = &self.options.augment;
                augment::apply(chain, draw, (height, width), out, &mut self.scratch);
            }
        }
        Ok(n_valid)
    }

    fn check_batch(&self, batch_idx: usize) -> Result<()> {
        if batch_idx < self.n_batches() {
            return Ok(());
        }
        Err(DataError::shape(
            self.view.dataset().source(),
            format!("there is no batch {batch_idx}, only {}", self.n_batches()),
            "count batches from 0 in each epoch",
        ))
    }

    fn check_len(&self, found: usize, expected: usize, what: &str) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(DataError::shape(
            self.view.dataset().source(),
            format!("a buffer of {found} {what}"),
            format!("{expected} are needed"),
        ))
    }

    fn wrong_target(&self, asked: &str) -> DataError {
        DataError::shape(
            self.view.dataset().source(),
            format!("the targets are not {asked}"),
            "use `fill` for classes and `fill_values` for regression",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::table;
    use crate::digits;

    fn epoch_of(batches: &mut Batches, epoch: u64) -> Vec<usize> {
        (0..batches.n_batches())
            .flat_map(|b| batches.rows(epoch, b).expect("a batch").to_vec())
            .collect()
    }

    #[test]
    fn an_epoch_is_a_permutation_of_the_view() {
        let parts = digits().view().split(&[0.5, 0.5], 1).expect("large");
        let options = BatchOptions {
            drop_last: false,
            ..BatchOptions::shuffled(64, 9)
        };
        let mut batches = Batches::new(&parts[0], options).expect("valid");
        let (first, second) = (epoch_of(&mut batches, 0), epoch_of(&mut batches, 1));
        assert_ne!(first, second);
        assert_eq!(
            first,
            epoch_of(&mut batches, 0),
            "an epoch can be had again"
        );
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, parts[0].rows());
        }
    }

    #[test]
    fn the_last_batch_is_padded_or_dropped() {
        let view = table(&[0, 1, 0, 1, 1], 2).view();
        let mut batches = Batches::new(&view, BatchOptions::in_order(2)).expect("valid");
        assert_eq!((batches.n_batches(), batches.x_shape()), (3, vec![2, 1]));
        let (mut x, mut labels) = ([9f32; 2], [9i64; 2]);
        assert_eq!(batches.fill(0, 1, &mut x, &mut labels).expect("a batch"), 2);
        assert_eq!((x, labels), ([2.0, 3.0], [0, 1]));
        assert_eq!(batches.fill(0, 2, &mut x, &mut labels).expect("a batch"), 1);
        assert_eq!((x, labels), ([4.0, 0.0], [1, PADDING_LABEL]));
        assert!(batches.fill(0, 3, &mut x, &mut labels).is_err());
        assert!(batches.fill(0, 0, &mut x[..1], &mut labels).is_err());
        assert!(batches.fill(0, 0, &mut x, &mut labels[..1]).is_err());
        let dropping = Batches::new(&view, BatchOptions::shuffled(2, 0)).expect("valid");
        assert_eq!(dropping.n_batches(), 2);
        for bad in [
            BatchOptions::in_order(0),
            BatchOptions::in_order(usize::MAX),
            BatchOptions::shuffled(6, 0),
        ] {
            assert!(Batches::new(&view, bad).is_err());
        }
        let augmented = BatchOptions {
            augment: vec!["flip".parse().expect("known")],
            ..BatchOptions::in_order(2)
        };
        assert!(
            Batches::new(&view, augmented).is_err(),
            "rows cannot be flipped"
        );
    }

    #[test]
    fn resuming_at_any_cursor_gives_the_same_batches() {
        let options = BatchOptions {
            augment: vec![
                "flip".parse().expect("known"),
                "crop:1".parse().expect("known"),
            ],
            ..BatchOptions::shuffled(500, 4)
        };
        let mut whole = Batches::new(&digits().view(), options.clone()).expect("valid");
        let mut x = vec![0f32; whole.x_len()];
        let mut labels = vec![0i64; 500];
        let mut seen = Vec::new();
        for _ in 0..7 {
            let cursor = whole.cursor();
            let (at, n_valid) = whole.next_batch(&mut x, &mut labels).expect("endless");
            assert_eq!((at, n_valid), (cursor, 500));
            seen.push((cursor, x.clone(), labels.clone()));
        }
        assert_eq!(
            seen[3].0,
            Cursor {
                epoch: 1,
                batch_idx: 0
            }
        );
        for (cursor, expected_x, expected_labels) in seen.iter().rev() {
            let mut fresh = Batches::new(&digits().view(), options.clone()).expect("valid");
            fresh.seek(*cursor).expect("a batch of the epoch");
            fresh.next_batch(&mut x, &mut labels).expect("endless");
            assert_eq!((&x, &labels), (expected_x, expected_labels));
        }
        assert!(
            whole
                .seek(Cursor {
                    epoch: 0,
                    batch_idx: 3
                })
                .is_err()
        );
    }

    /// The same sample gets the same picture in any batch size and any view.
    #[test]
    fn augmentation_does_not_depend_on_the_batch() {
        let view = digits().view();
        let options = |batch_len| BatchOptions {
            augment: vec!["rotate:15".parse().expect("known")],
            ..BatchOptions::in_order(batch_len)
        };
        let mut large = Batches::new(&view, options(100)).expect("valid");
        let mut small = Batches::new(&view, options(10)).expect("valid");
        let (mut x, mut y) = (vec![0f32; 6400], vec![0f32; 640]);
        large.fill(2, 0, &mut x, &mut [0; 100]).expect("a batch");
        small.fill(2, 7, &mut y, &mut [0; 10]).expect("a batch");
        assert_eq!(x[70 * 64..80 * 64], y);
        large.fill(3, 0, &mut x, &mut [0; 100]).expect("a batch");
        assert_ne!(x[70 * 64..80 * 64], y, "epochs differ");
    }

    #[test]
    fn batches_do_not_allocate() {
        let options = BatchOptions {
            augment: ["crop:1", "flip", "rotate:5", "translate:1"]
                .map(|text| text.parse().expect("known"))
                .to_vec(),
            ..BatchOptions::shuffled(100, 4)
        };
        let mut batches = Batches::new(&digits().view(), options).expect("valid");
        let (mut x, mut labels) = (vec![0f32; 6400], vec![0; 100]);
        let counted = allocation_counter::measure(|| {
            for _ in 0..40 {
                batches.next_batch(&mut x, &mut labels).expect("endless");
            }
        });
        assert!(
            batches.cursor().epoch == 2,
            "epochs were shuffled on the way"
        );
        assert_eq!(counted.count_total, 0);
    }
}
