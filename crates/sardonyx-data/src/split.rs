use sardonyx_tensor::Philox;

use crate::dataset::Target;
use crate::error::{DataError, Result};
use crate::view::View;

/// Names the random streams of splitting; the low half is the class.
const STREAM: u64 = 0x5350_4c54 << 32;

/// What fractions may exceed 1 by, because 0.7 + 0.2 + 0.1 is not 1 in binary.
const SUM_TOLERANCE: f64 = 1e-9;

impl View {
    /// Parts of the view that do not overlap, of `fractions` of its size, classes in proportion.
    ///
    /// The parts are a function of the rows' targets, the fractions and the seed. Rows of a part
    /// stay in the view's order. What the fractions leave over of 1 is in no part. For regression
    /// targets, all rows count as one class.
    ///
    /// Rounding: of a class with `n` rows, part `p` first gets `floor(n * fraction[p])`; each row
    /// left goes to the part that so far, over this class and those before it, has fallen furthest
    /// behind its share (the earlier of equals), at most one to each part. Then every part without
    /// a row of the class takes one from the part that has most of them, as long as that one has
    /// more than one: a class with at least as many rows as there are parts is in every part, a
    /// rarer one is in the earlier parts first.
    ///
    /// # Errors
    /// [`DataError::Split`] when there is no fraction, one is not a positive number, they add up
    /// to more than 1, or a part would be empty.
    pub fn split(&self, fractions: &[f64], seed: u64) -> Result<Vec<View>> {
        check_fractions(fractions, self.len())?;
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); fractions.len()];
        let mut quota = Quota::new(fractions);
        for (class, mut positions) in self.positions_by_class().into_iter().enumerate() {
            if positions.is_empty() {
                continue;
            }
            Philox::new(seed, STREAM | class as u64).shuffle(&mut positions);
            let counts = quota.take(positions.len());
            let mut rest = positions.as_slice();
            for (part, count) in parts.iter_mut().zip(counts) {
                let (taken, left) = rest.split_at(count);
                part.extend_from_slice(taken);
                rest = left;
            }
        }
        if let Some(part) = parts.iter().position(Vec::is_empty) {
            return Err(DataError::Split {
                problem: format!(
                    "part {part} ({} of {} samples) would be empty",
                    fractions[part],
                    self.len()
                ),
                hint: "give more samples, fewer parts or larger fractions",
            });
        }
        Ok(parts
            .into_iter()
            .map(|mut positions| {
                positions.sort_unstable();
                let rows = positions.iter().map(|&p| self.rows()[p]).collect();
                View::from_known_rows(self.dataset(), rows)
            })
            .collect())
    }

    fn positions_by_class(&self) -> Vec<Vec<usize>> {
        match self.target() {
            Target::Values(_) => vec![(0..self.len()).collect()],
            Target::Classes(ids) => {
                let mut classes = vec![Vec::new(); self.dataset().n_classes()];
                for (position, id) in ids.into_iter().enumerate() {
                    classes[id as usize].push(position);
                }
                classes
            }
        }
    }
}

fn check_fractions(fractions: &[f64], n_rows: usize) -> Result<()> {
    let problem = if fractions.is_empty() {
        "there is no fraction".to_owned()
    } else if let Some(bad) = fractions.iter().find(|f| !(f.is_finite() && **f > 0.0)) {
        format!("the fraction {bad} is not a positive number")
    } else if fractions.iter().sum::<f64>() > 1.0 + SUM_TOLERANCE {
        format!("the fractions {fractions:?} add up to more than 1")
    } else if fractions.len() > n_rows {
        format!("{n_rows} samples cannot fill {} parts", fractions.len())
    } else {
        return Ok(());
    };
    Err(DataError::Split {
        problem,
        hint: "give one positive fraction for each part, together at most 1, such as 0.8,0.1,0.1",
    })
}

/// Shares out classes one after the other and remembers what rounding has withheld so far.
struct Quota {
    /// Fractions of the parts, then what is left over for no part.
    fractions: Vec<f64>,
    n_parts: usize,
    /// Ideal less given rows, over the classes so far.
    behind: Vec<f64>,
}

impl Quota {
    fn new(fractions: &[f64]) -> Quota {
        let sum: f64 = fractions.iter().sum();
        let left_over = (1.0 - sum).max(0.0);
        let mut all: Vec<f64> = fractions.iter().map(|f| f / sum.max(1.0)).collect();
        all.push(if left_over > SUM_TOLERANCE {
            left_over
        } else {
            0.0
        });
        Quota {
            behind: vec![0.0; all.len()],
            n_parts: fractions.len(),
            fractions: all,
        }
    }

    /// Rows of the next class, which has `n_rows`, for each part.
    fn take(&mut self, n_rows: usize) -> Vec<usize> {
        let ideal: Vec<f64> = self.fractions.iter().map(|f| f * n_rows as f64).collect();
        // A product such as 0.1 * 30 may come out a hair below the whole number it stands for.
        let mut counts: Vec<usize> = ideal
            .iter()
            .map(|share| (share + SUM_TOLERANCE).floor() as usize)
            .collect();
        let given: usize = counts.iter().sum();
        let mut open: Vec<usize> = (0..ideal.len())
            .filter(|&p| ideal[p] > counts[p] as f64 + SUM_TOLERANCE)
            .collect();
        for _ in given..n_rows {
            let lag = |p: usize| self.behind[p] + ideal[p] - counts[p] as f64;
            // `max_by` keeps the last of equals; reversed, that is the earliest part.
            let Some(slot) = (0..open.len())
                .rev()
                .max_by(|&a, &b| lag(open[a]).total_cmp(&lag(open[b])))
            else {
                counts[0] += 1;
                continue;
            };
            counts[open.remove(slot)] += 1;
        }
        self.represent(&mut counts);
        for (part, count) in counts.iter().enumerate() {
            self.behind[part] += ideal[part] - *count as f64;
        }
        debug_assert_eq!(counts.iter().sum::<usize>(), n_rows);
        counts.truncate(self.n_parts);
        counts
    }

    /// Gives each part without a row one of the part with most; what is over goes first.
    fn represent(&self, counts: &mut [usize]) {
        let rest = self.n_parts;
        for part in 0..self.n_parts {
            if counts[part] > 0 {
                continue;
            }
            let richest = (0..self.n_parts)
                .rev()
                .max_by_key(|&p| counts[p])
                .expect("there is a part");
            let later = (part + 1..self.n_parts).rev().find(|&p| counts[p] > 0);
            let donor = if counts[rest] > 0 {
                rest
            } else if counts[richest] > 1 {
                richest
            } else if let Some(later) = later {
                later
            } else {
                return;
            };
            counts[donor] -= 1;
            counts[part] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::table;
    use crate::digits;

    fn labels(counts: &[usize]) -> Vec<u32> {
        counts
            .iter()
            .enumerate()
            .flat_map(|(class, &n)| std::iter::repeat_n(class as u32, n))
            .collect()
    }

    #[test]
    fn parts_are_disjoint_whole_stratified_and_repeatable() {
        let mut rng = Philox::new(1, 1);
        for case in 0..200u64 {
            let n_classes = 1 + rng.below(12) as usize;
            let counts: Vec<usize> = (0..n_classes).map(|_| 3 + rng.below(60) as usize).collect();
            let data = table(&labels(&counts), n_classes).view();
            let fractions =
                [[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.5, 0.25, 0.25]][case as usize % 3];
            let parts = data.split(&fractions, case).expect("enough rows");
            let mut all: Vec<usize> = parts.iter().flat_map(|p| p.rows().to_vec()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..data.len()).collect::<Vec<_>>());
            let again = data.split(&fractions, case).expect("as before");
            for (part, (view, fraction)) in parts.iter().zip(fractions).enumerate() {
                assert_eq!(view.rows(), again[part].rows());
                let mut total = 0.0;
                for (class, &count) in view.class_counts().iter().enumerate() {
                    let ideal = counts[class] as f64 * fraction;
                    total += ideal;
                    assert!(count >= 1, "class {class} is in part {part}");
                    // Two parts at most take a row each from a third for their representation.
                    assert!(
                        (count as f64 - ideal).abs() < 3.0,
                        "{count} against {ideal}"
                    );
                    if counts[class] as f64 * 0.1 >= 1.0 {
                        assert!(
                            (count as f64 - ideal).abs() < 1.0,
                            "{count} against {ideal}"
                        );
                    }
                }
                if counts.iter().all(|&n| n >= 10) {
                    assert!((view.len() as f64 - total).abs() < 2.0);
                }
            }
        }
    }

    #[test]
    fn the_digits_split_as_documented() {
        let parts = digits().view().split(&[0.8, 0.1, 0.1], 7).expect("large");
        let sizes: Vec<usize> = parts.iter().map(View::len).collect();
        assert_eq!(sizes, [1438, 180, 179]);
        let other = digits().view().split(&[0.8, 0.1, 0.1], 8).expect("large");
        assert_ne!(parts[0].rows(), other[0].rows());
    }

    #[test]
    fn rare_classes_go_to_the_earlier_parts() {
        let view = table(&labels(&[40, 1, 2, 3]), 4).view();
        let parts = view.split(&[0.5, 0.25, 0.25], 0).expect("enough rows");
        let counts: Vec<Vec<usize>> = parts.iter().map(View::class_counts).collect();
        assert_eq!(counts[0][1..], [1, 1, 1]);
        assert_eq!(counts[1][1..], [0, 1, 1]);
        assert_eq!(counts[2][1..], [0, 0, 1]);
    }

    #[test]
    fn a_fraction_may_be_left_over() {
        let view = table(&labels(&[50, 50]), 2).view();
        let parts = view.split(&[0.1, 0.1], 0).expect("enough rows");
        assert_eq!(parts[0].class_counts(), [5, 5]);
        assert_eq!(parts[1].class_counts(), [5, 5]);
    }

    #[test]
    fn impossible_splits_are_refused() {
        let view = table(&labels(&[5]), 1).view();
        for bad in [
            &[][..],
            &[0.0, 1.0],
            &[-0.5, 0.5],
            &[f64::NAN],
            &[0.6, 0.6],
            &[0.1; 6],
        ] {
            assert!(
                matches!(view.split(bad, 0), Err(DataError::Split { .. })),
                "{bad:?}"
            );
        }
        let empty = table(&[], 1).view();
        assert!(empty.split(&[1.0], 0).is_err());
    }
}
