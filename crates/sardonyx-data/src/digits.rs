use std::io::Read;

use flate2::read::GzDecoder;
use sardonyx_tensor::Tensor;

use crate::dataset::{Dataset, DatasetParts, Target};

static FILE: &[u8] = include_bytes!("../data/digits.csv.gz");
const N_SAMPLES: usize = 1_797;
const N_PIXELS: usize = 64;

/// Credit that whoever passes the digits on must give (CC BY 4.0).
pub const DIGITS_ATTRIBUTION: &str = "Optical Recognition of Handwritten Digits, E. Alpaydin and \
C. Kaynak (1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, licensed under \
CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). The 1,797 samples are the set's test \
part as scikit-learn distributes it, unchanged.";

/// The UCI optical digits: 1,797 grey images of 8 x 8 pixels, values 0 to 16, ten classes.
///
/// Inputs are `[1797, 1, 8, 8]` of `u8`. The data lies in the program itself; see
/// [`DIGITS_ATTRIBUTION`] for its origin.
pub fn digits() -> Dataset {
    let mut text = String::new();
    GzDecoder::new(FILE)
        .read_to_string(&mut text)
        .expect("the embedded file is intact");
    let mut pixels = Vec::with_capacity(N_SAMPLES * N_PIXELS);
    let mut labels = Vec::with_capacity(N_SAMPLES);
    for line in text.lines() {
        let mut numbers = line.split(',').map(|cell| {
            cell.parse::<u8>()
                .expect("the embedded cells are small integers")
        });
        pixels.extend(numbers.by_ref().take(N_PIXELS));
        labels.extend(numbers.map(u32::from));
    }
    let x = Tensor::new([N_SAMPLES, 1, 8, 8], pixels).expect("64 pixels a sample");
    Dataset::new(DatasetParts {
        x,
        target: Target::Classes(labels),
        class_names: (0..10).map(|digit| digit.to_string()).collect(),
        schema: None,
        nominal_range: Some((0.0, 16.0)),
        source: "UCI optical digits".into(),
    })
    .expect("the embedded data set is consistent")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts and sums of `sklearn.datasets.load_digits()`.
    #[test]
    fn the_digits_are_those_of_scikit_learn() {
        let digits = digits();
        assert_eq!(digits.x().shape(), [1797, 1, 8, 8]);
        assert_eq!(
            digits.view().class_counts(),
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        );
        let pixels = digits.x().values::<u8>().expect("u8 pixels");
        assert_eq!(pixels.iter().map(|&p| u64::from(p)).sum::<u64>(), 561_718);
        assert_eq!(pixels.iter().max(), Some(&16));
        assert_eq!(&pixels[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
        assert_eq!(
            digits.labels().map(|l| &l[1792..]),
            Some(&[9, 0, 8, 9, 8][..])
        );
    }
}
