//! How resizing samples one axis: where an output element lies on the input's axis, and with what
//! weights it is made of the elements around. Formulas are those of the ONNX operator's definition.

use sardonyx_ir::Node;

use crate::Result;

/// What is asked of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// Length of the input.
    pub(super) from: usize,
    /// Length of the output.
    pub(super) to: usize,
    /// Their ratio as asked for, of which `to / from` may be a rounding.
    pub(super) scale: f64,
    /// Start and end of the region of interest, in lengths of the input.
    pub(super) region: (f64, f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coordinates {
    AlignCorners,
    Asymmetric,
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    CropAndResize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Floor,
    Ceil,
    PreferFloor,
    PreferCeil,
}

/// How elements are sampled, on all axes alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampling {
    filter: Filter,
    coordinates: Coordinates,
    rounding: Rounding,
    cubic: f64,
    antialias: bool,
    exclude_outside: bool,
}

/// Elements and weights that each output element is made of; `None` outside of what can be
/// sampled.
pub(super) type Weights = Vec<Option<Vec<(usize, f64)>>>;

impl Sampling {
    /// As the attributes say; nodes of before version 11 have their own fixed coordinates.
    pub(super) fn of(node: &Node, old: bool) -> Result<Sampling> {
        let wrong = |name: &str| Err(node.attribute_error(name, "has an unknown value").into());
        let filter = match node.text("mode", "nearest")? {
            "nearest" => Filter::Nearest,
            "linear" | "bilinear" => Filter::Linear,
            "cubic" => Filter::Cubic,
            _ => return wrong("mode"),
        };
        let default = if old { "asymmetric" } else { "half_pixel" };
        let coordinates = match node.text("coordinate_transformation_mode", default)? {
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "tf_crop_and_resize" => Coordinates::CropAndResize,
            _ => return wrong("coordinate_transformation_mode"),
        };
        let default = if old { "floor" } else { "round_prefer_floor" };
        let rounding = match node.text("nearest_mode", default)? {
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            "round_prefer_floor" => Rounding::PreferFloor,
            "round_prefer_ceil" => Rounding::PreferCeil,
            _ => return wrong("nearest_mode"),
        };
        Ok(Sampling {
            filter,
            coordinates,
            rounding,
            cubic: f64::from(node.float("cubic_coeff_a", -0.75)?),
            antialias: node.flag("antialias", false)?,
            exclude_outside: node.flag("exclude_outside", false)?,
        })
    }

    /// Whether the region of interest matters.
    pub(super) fn crops(self) -> bool {
        self.coordinates == Coordinates::CropAndResize
    }

    /// What each output element of an axis is made of. The axis must not be empty.
    pub(super) fn weights(self, axis: Axis) -> Weights {
        assert!(axis.from > 0, "an empty axis has nothing to sample");
        (0..axis.to).map(|index| self.sample(axis, index)).collect()
    }

    fn sample(self, axis: Axis, index: usize) -> Option<Vec<(usize, f64)>> {
        let at = self.position(axis, index as f64);
        let last = axis.from as f64 - 1.0;
        if self.crops() && !(0.0..=last).contains(&at) {
            return None;
        }
        // The element to the left is strictly left, so that the ratio is in (0, 1].
        let left = at.ceil() - 1.0;
        let mut taps = self.taps(at - left, axis.scale);
        if self.exclude_outside {
            taps.retain(|tap| (0.0..=last).contains(&(left + tap.0 as f64)));
            let sum: f64 = taps.iter().map(|tap| tap.1).sum();
            taps.iter_mut().for_each(|tap| tap.1 /= sum);
        }
        let place = |tap: (i64, f64)| ((left + tap.0 as f64).clamp(0.0, last) as usize, tap.1);
        Some(
            taps.into_iter()
                .map(place)
                .filter(|tap| tap.1 != 0.0)
                .collect(),
        )
    }

    /// Where output element `index` lies on the input's axis.
    fn position(self, axis: Axis, index: f64) -> f64 {
        let (from, to) = (axis.from as f64, axis.scale * axis.from as f64);
        let half_pixel = (index + 0.5) / axis.scale - 0.5;
        match self.coordinates {
            Coordinates::AlignCorners if to == 1.0 => 0.0,
            Coordinates::AlignCorners => index * (from - 1.0) / (to - 1.0),
            Coordinates::Asymmetric => index / axis.scale,
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                half_pixel + from / 2.0 * (1.0 - axis.to as f64 / to)
            }
            Coordinates::PytorchHalfPixel if to == 1.0 => -0.5,
            Coordinates::PytorchHalfPixel => half_pixel,
            Coordinates::CropAndResize => {
                let (start, end) = axis.region;
                let span = (end - start) * (from - 1.0);
                let offset = if to == 1.0 {
                    span / 2.0
                } else {
                    index * span / (to - 1.0)
                };
                start * (from - 1.0) + offset
            }
        }
    }

    /// Offsets from the element to the left, and weights.
    fn taps(self, ratio: f64, scale: f64) -> Vec<(i64, f64)> {
        let reach = match self.filter {
            Filter::Nearest => {
                let right = match self.rounding {
                    _ if ratio == 1.0 => true,
                    Rounding::Floor => false,
                    Rounding::Ceil => true,
                    Rounding::PreferFloor => ratio > 0.5,
                    Rounding::PreferCeil => ratio >= 0.5,
                };
                return vec![(i64::from(right), 1.0)];
            }
            Filter::Linear => 1.0,
            Filter::Cubic => 2.0,
        };
        // Against aliasing, a filter is widened as far as the axis shrinks.
        let scale = if self.antialias { scale.min(1.0) } else { 1.0 };
        let start = (-reach / scale).floor() as i64 + 1;
        let weight = |offset: i64| {
            let distance = ((offset as f64 - ratio) * scale).abs();
            match self.filter {
                Filter::Cubic => cubic(distance, self.cubic),
                _ => (1.0 - distance).max(0.0),
            }
        };
        let mut taps: Vec<_> = (start..2 - start)
            .map(|offset| (offset, weight(offset)))
            .collect();
        if self.antialias {
            let sum: f64 = taps.iter().map(|tap| tap.1).sum();
            taps.iter_mut().for_each(|tap| tap.1 /= sum);
        }
        taps
    }
}

/// The cubic convolution kernel (Keys, "Cubic convolution interpolation for digital image
/// processing", 1981), with parameter `a`, at distance `x >= 0`.
fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}
