//! Random changes of training images, each a pure function of (seed, epoch, sample): the same
//! picture comes out whatever the batch size, the number of threads or the point of resumption.
//!
//! An augmentation is one file with a [`Spec`] and one line in [`SPECS`].

mod crop;
mod flip;
mod rotate;
mod sample;
mod translate;

use std::fmt;
use std::str::FromStr;

use sardonyx_tensor::Philox;

use crate::error::{DataError, Result, nearest_hint};

/// Every augmentation, sorted by name.
const SPECS: [&Spec; 4] = [&crop::SPEC, &flip::SPEC, &rotate::SPEC, &translate::SPEC];

/// Most augmentations in one chain; each has its own random numbers for each sample.
pub const MAX_AUGMENTATIONS: usize = 16;

/// Names the random streams of augmentation; the low half is the epoch.
const STREAM: u64 = 0x4155_474d << 32;

/// What an augmentation is: the row of the table.
struct Spec {
    name: &'static str,
    /// What the number after the colon means, for messages.
    amount: &'static str,
    default: Option<f32>,
    is_valid: fn(f32) -> bool,
    /// Reads `source`, writes every element of `out`.
    apply: fn(&Job<'_>, out: &mut [f32]),
}

/// One application: `source` is `[channels, height, width]`.
struct Job<'a> {
    source: &'a [f32],
    height: usize,
    width: usize,
    amount: f32,
    random: [u32; 4],
}

impl Job<'_> {
    /// Uniform in `[0, 1)`, from word `index` of the four.
    fn uniform(&self, index: usize) -> f32 {
        (self.random[index] >> 8) as f32 / 16_777_216.0
    }

    /// Uniform in `[-1, 1)`.
    fn symmetric(&self, index: usize) -> f32 {
        2.0 * self.uniform(index) - 1.0
    }
}

/// A random change of images, made from its text form.
///
/// | text | change |
/// |---|---|
/// | `crop:P` | a window of the image's own size, anywhere in it and a border of `P` zero pixels |
/// | `flip`, `flip:P` | left and right swapped with probability `P` (0.5) |
/// | `rotate:D` | turned about the centre by up to `D` degrees either way, bilinear |
/// | `translate:P` | moved by up to `P` pixels along each axis, fractions too, bilinear |
///
/// What comes in from outside the image is zero.
#[derive(Clone, Copy)]
pub struct Augmentation {
    spec: &'static Spec,
    amount: f32,
}

impl Augmentation {
    /// Name without the amount.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The number after the colon, or its default.
    pub fn amount(&self) -> f32 {
        self.amount
    }
}

impl FromStr for Augmentation {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Augmentation> {
        let (name, amount) = match text.trim().split_once(':') {
            Some((name, amount)) => (name.trim(), Some(amount.trim())),
            None => (text.trim(), None),
        };
        let error = |problem: String, hint: String| DataError::Setting {
            setting: "augment",
            value: text.to_owned(),
            problem,
            hint,
        };
        let Some(spec) = SPECS.iter().find(|spec| spec.name == name) else {
            return Err(error(
                "there is no such augmentation".into(),
                nearest_hint(name, &SPECS.map(|spec| spec.name)),
            ));
        };
        let syntax = format!("write `{name}:N`, N {}", spec.amount);
        let amount = match amount {
            None => spec
                .default
                .ok_or_else(|| error("the number is missing".into(), syntax.clone()))?,
            Some(amount) => amount
                .parse::<f32>()
                .ok()
                .filter(|&amount| amount.is_finite() && (spec.is_valid)(amount))
                .ok_or_else(|| error(format!("`{amount}` does not fit"), syntax.clone()))?,
        };
        Ok(Augmentation { spec, amount })
    }
}

impl fmt::Display for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.spec.default == Some(self.amount) {
            f.write_str(self.spec.name)
        } else {
            write!(f, "{}:{}", self.spec.name, self.amount)
        }
    }
}

impl fmt::Debug for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Augmentation({self})")
    }
}

impl PartialEq for Augmentation {
    fn eq(&self, other: &Augmentation) -> bool {
        self.spec.name == other.spec.name && self.amount == other.amount
    }
}

/// Which draw of a sample this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    pub(crate) sample: usize,
}

/// Applies a chain to one image of `size` (height, width) in place; `scratch` is as long as the
/// image.
pub(crate) fn apply(
    chain: &[Augmentation],
    draw: Draw,
    (height, width): (usize, usize),
    image: &mut [f32],
    scratch: &mut [f32],
) {
    assert!(
        chain.len() <= MAX_AUGMENTATIONS,
        "the loader checks the length of the chain"
    );
    assert_eq!(
        image.len(),
        scratch.len(),
        "the scratch buffer holds one image"
    );
    for (position, augmentation) in chain.iter().enumerate() {
        let index = (draw.sample * MAX_AUGMENTATIONS + position) as u64;
        scratch.copy_from_slice(image);
        let job = Job {
            source: scratch,
            height,
            width,
            amount: augmentation.amount,
            random: Philox::block(draw.seed, STREAM.wrapping_add(draw.epoch), index),
        };
        (augmentation.spec.apply)(&job, image);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(sample: usize) -> Draw {
        Draw {
            seed: 3,
            epoch: 1,
            sample,
        }
    }

    fn run(text: &str, sample: usize, image: &[f32], size: (usize, usize)) -> Vec<f32> {
        let chain = [text.parse().expect("a known augmentation")];
        let mut out = image.to_vec();
        apply(
            &chain,
            draw(sample),
            size,
            &mut out,
            &mut vec![0.0; image.len()],
        );
        out
    }

    fn ramp(n: usize) -> Vec<f32> {
        (1..=n).map(|i| i as f32).collect()
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(SPECS.is_sorted_by_key(|spec| spec.name));
    }

    #[test]
    fn text_form_round_trips_and_mistakes_are_named() {
        for text in ["flip", "flip:0.25", "crop:2", "translate:1.5", "rotate:10"] {
            assert_eq!(text.parse::<Augmentation>().expect(text).to_string(), text);
        }
        let error = |text: &str| text.parse::<Augmentation>().expect_err(text).to_string();
        assert_eq!(
            error("filp"),
            "augment `filp`: there is no such augmentation; hint: did you mean `flip`?"
        );
        assert!(error("blur").ends_with("hint: there are: crop, flip, rotate, translate"));
        for bad in [
            "crop",
            "crop:",
            "crop:x",
            "crop:1.5",
            "crop:-1",
            "flip:2",
            "rotate:NaN",
        ] {
            assert!(error(bad).contains("hint: write `"), "{bad}");
        }
    }

    #[test]
    fn a_flip_is_a_mirror_half_the_time() {
        let image = ramp(12);
        let mirrored: Vec<f32> = image
            .chunks(3)
            .flat_map(|r| r.iter().rev().copied())
            .collect();
        let mut n_flipped = 0;
        for sample in 0..1000 {
            let out = run("flip", sample, &image, (2, 3));
            assert!(out == image || out == mirrored);
            n_flipped += usize::from(out == mirrored);
        }
        assert!((420..580).contains(&n_flipped), "{n_flipped}");
        assert_eq!(run("flip:1", 0, &image, (2, 3)), mirrored);
        assert_eq!(run("flip:0", 0, &image, (2, 3)), image);
    }

    /// Every window of the padded image occurs and nothing else does.
    #[test]
    fn a_crop_is_a_window_of_the_padded_image() {
        let image = ramp(2 * 4 * 5);
        let window = |dy: isize, dx: isize| -> Vec<f32> {
            let at = |c: usize, y: isize, x: isize| {
                let inside = (0..4).contains(&y) && (0..5).contains(&x);
                if inside {
                    image[c * 20 + (y * 5 + x) as usize]
                } else {
                    0.0
                }
            };
            (0..40)
                .map(|i| at(i / 20, (i % 20 / 5) as isize + dy, (i % 5) as isize + dx))
                .collect()
        };
        let windows: Vec<Vec<f32>> = (-2..=2)
            .flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)))
            .map(|(a, b)| window(a, b))
            .collect();
        let mut seen = [0; 25];
        for sample in 0..1000 {
            let out = run("crop:2", sample, &image, (4, 5));
            let index = windows.iter().position(|w| *w == out).expect("a window");
            seen[index] += 1;
        }
        assert!(seen.iter().all(|&n| n > 15), "{seen:?}");
    }

    #[test]
    fn nothing_moves_by_nothing() {
        let image = ramp(3 * 7 * 6);
        for text in ["rotate:0", "translate:0", "crop:0"] {
            let out = run(text, 5, &image, (7, 6));
            for (a, b) in out.iter().zip(&image) {
                assert!((a - b).abs() < 1e-3, "{text}: {a} {b}");
            }
        }
    }

    /// A plane of constant slope stays one, away from the border, and is shifted by what the
    /// centre says.
    #[test]
    fn translation_and_rotation_interpolate() {
        let (h, w) = (15, 15);
        let plane: Vec<f32> = (0..h * w).map(|i| 10.0 + (i % w) as f32).collect();
        let at = |image: &[f32], y: usize, x: usize| image[y * w + x];
        let mut shifts = Vec::new();
        for sample in 0..50 {
            let out = run("translate:2", sample, &plane, (h, w));
            let shift = at(&out, 7, 7) - at(&plane, 7, 7);
            assert!(shift.abs() <= 2.0);
            shifts.push(shift);
            assert!((at(&out, 5, 9) - at(&plane, 5, 9) - shift).abs() < 1e-4);

            let out = run("rotate:20", sample, &plane, (h, w));
            assert!((at(&out, 7, 7) - 17.0).abs() < 1e-4, "the centre stays");
            let slope_x = at(&out, 7, 8) - at(&out, 7, 7);
            let slope_y = at(&out, 8, 7) - at(&out, 7, 7);
            assert!(
                (slope_x.hypot(slope_y) - 1.0).abs() < 1e-3,
                "turning keeps the slope"
            );
            assert!(slope_x >= 20f32.to_radians().cos() - 1e-3);
        }
        assert!(shifts.iter().any(|s| *s > 0.5) && shifts.iter().any(|s| *s < -0.5));
        assert!(
            shifts.iter().any(|s| (s - s.round()).abs() > 0.1),
            "fractions occur"
        );
    }

    #[test]
    fn samples_and_epochs_differ_and_repeat() {
        let image = ramp(64);
        assert_eq!(
            run("rotate:30", 1, &image, (8, 8)),
            run("rotate:30", 1, &image, (8, 8))
        );
        assert_ne!(
            run("rotate:30", 1, &image, (8, 8)),
            run("rotate:30", 2, &image, (8, 8))
        );
    }
}
