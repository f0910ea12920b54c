//! The samples that the model got most wrong, as pictures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::html::{Escaped, count, percent, put, shortened};
use super::{Mistake, Picture};
use crate::error::{Result, TrainError};
use crate::metrics::Probabilities;

/// Longest side of a picture in a report, in pixels.
const MAX_SIDE: usize = 1024;
/// Most pictures in a report.
const MAX_PICTURES: usize = 96;

/// A sample that was not recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Miss {
    /// Its position in the set.
    pub sample: usize,
    /// Its class.
    pub label: usize,
    /// The class it was held for.
    pub predicted: usize,
    /// Probability given to the class it was held for.
    pub probability: f64,
    /// Probability given to its own class.
    pub label_probability: f64,
}

/// The `limit` misses with the least probability for the true class, worst first; of equals the
/// earlier sample first.
pub fn worst_misses(probabilities: &Probabilities<'_>, limit: usize) -> Vec<Miss> {
    let labels = probabilities.labels();
    let rows = probabilities.rows().zip(probabilities.predictions());
    let mut misses: Vec<Miss> = rows
        .enumerate()
        .filter(|&(sample, (_, predicted))| predicted != labels[sample])
        .map(|(sample, (row, predicted))| Miss {
            sample,
            label: labels[sample],
            predicted,
            probability: row[predicted],
            label_probability: row[labels[sample]],
        })
        .collect();
    misses.sort_by(|a, b| a.label_probability.total_cmp(&b.label_probability));
    misses.truncate(limit);
    misses
}

pub(super) fn render(out: &mut String, mistakes: &[Mistake], names: &[String]) -> Result<()> {
    out.push_str("<div class=\"mistakes\">\n");
    for (index, mistake) in mistakes.iter().take(MAX_PICTURES).enumerate() {
        let Miss {
            sample,
            label,
            predicted,
            probability,
            label_probability,
        } = mistake.miss;
        let png =
            encode(&mistake.picture).map_err(|reason| TrainError::Picture { index, reason })?;
        let name = |class: usize| names.get(class).map_or("?", String::as_str);
        let (label, predicted) = (name(label), name(predicted));
        put!(
            out,
            "<figure title=\"sample {}: {} taken for {} ({}), own class {}\">\
             <img alt=\"sample {sample}\" src=\"data:image/png;base64,{}\"/>\
             <figcaption>{} <i>→</i> <em>{}</em><small>{}</small></figcaption></figure>\n",
            count(sample as u64),
            Escaped(label),
            Escaped(predicted),
            percent(Some(probability), 1),
            percent(Some(label_probability), 1),
            STANDARD.encode(png),
            Escaped(&shortened(label, 18)),
            Escaped(&shortened(predicted, 18)),
            percent(Some(probability), 0)
        );
    }
    out.push_str("</div>\n");
    Ok(())
}

fn encode(picture: &Picture) -> Result<Vec<u8>, String> {
    let color = match picture.channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        n => return Err(format!("{n} channels; it must be 1 (gray) or 3 (RGB)")),
    };
    let (width, height) = (picture.width, picture.height);
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return Err(format!(
            "{width} x {height} pixels; a side must be 1 to {MAX_SIDE}"
        ));
    }
    let expected = width * height * picture.channels;
    if picture.pixels.len() != expected {
        let found = picture.pixels.len();
        return Err(format!("{found} bytes where {expected} belong"));
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer
        .write_image_data(&picture.pixels)
        .and_then(|()| writer.finish())
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Scores;

    #[test]
    fn a_picture_reads_back() {
        let pixels: Vec<u8> = (0..24).map(|i| i * 10).collect();
        let picture = Picture {
            width: 4,
            height: 2,
            channels: 3,
            pixels: pixels.clone(),
        };
        let bytes = encode(&picture).expect("encoded");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("a PNG");
        let mut read = vec![0; 24];
        let info = reader.next_frame(&mut read).expect("a frame");
        assert_eq!(
            (info.width, info.height, info.color_type),
            (4, 2, png::ColorType::Rgb)
        );
        assert_eq!(read, pixels);
    }

    #[test]
    fn odd_pictures_are_refused() {
        let check = |width, height, channels, n, expect: &str| {
            let picture = Picture {
                width,
                height,
                channels,
                pixels: vec![0; n],
            };
            let reason = encode(&picture).expect_err("refused");
            assert!(reason.contains(expect), "{reason}");
        };
        check(2, 2, 1, 3, "3 bytes where 4 belong");
        check(0, 2, 1, 0, "a side must be");
        check(usize::MAX, 2, 1, 0, "a side must be");
        check(2, 2, 4, 16, "4 channels");
    }

    #[test]
    fn the_worst_misses_come_first() {
        let values = [0.9, 0.1, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6];
        let scores = Scores::new(&[0, 0, 0, 1], &values, 2, None).expect("valid");
        let misses = worst_misses(&scores.probabilities().expect("probabilities"), 5);
        let samples: Vec<usize> = misses.iter().map(|miss| miss.sample).collect();
        assert_eq!(samples, [1, 2]);
        assert_eq!(misses[0].probability, 0.8);
        assert_eq!(misses[0].label_probability, 0.2);
    }
}
