//! One PNG or JPEG file.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use crate::error::{DataError, Result};
use crate::limits::Limits;

use super::source::{check, open_file, plausible_bytes};

/// What a decoder may allocate for each pixel, with room for 16 bits, alpha and row buffers.
const ALLOCATED_PER_PIXEL: u64 = 16;

/// What a decoder may allocate besides pixels.
const ALLOCATED_BASE: u64 = 16 << 20;

/// Most pixels for one byte of a JPEG file: every block of 8 x 8 takes a bit at least, for its
/// difference of the mean.
const JPEG_PIXELS_PER_BYTE: u64 = 8 * 64;

/// Whether a file with these first bytes is PNG or JPEG.
pub(crate) fn is_picture(head: &[u8]) -> bool {
    head.starts_with(b"\x89PNG\r\n\x1a\n") || head.starts_with(&[0xff, 0xd8, 0xff])
}

/// What the header of an image file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureHeader {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) is_gray: bool,
}

/// The form that images are brought into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureForm {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Reads the header only.
pub(crate) fn header(path: &Path, limits: &Limits) -> Result<PictureHeader> {
    let (file, n_bytes) = open_picture(path)?;
    open(path, file, n_bytes, limits).map(|(_, header)| header)
}

/// Refuses a form that no image can be brought into.
pub(crate) fn check_form(path: &Path, form: PictureForm, limits: &Limits) -> Result<()> {
    let pixels = (form.height as u64).saturating_mul(form.width as u64);
    check(
        "the number of pixels",
        "image_pixels",
        path,
        pixels,
        limits.image_pixels,
    )?;
    let max_side = u64::from(u32::MAX);
    check(
        "a side in pixels",
        "image_pixels",
        path,
        form.height as u64,
        max_side,
    )?;
    check(
        "a side in pixels",
        "image_pixels",
        path,
        form.width as u64,
        max_side,
    )?;
    if pixels > 0 {
        return Ok(());
    }
    Err(DataError::Setting {
        setting: "image size",
        value: format!("{} x {}", form.height, form.width),
        problem: "an image has pixels".into(),
        hint: "1 x 1 or more".into(),
    })
}

/// Decodes, brings to `form` and appends to `out`, channel by channel.
///
/// Grey from colour is PIL's `convert("L")` (ITU-R BT.601); alpha is dropped. Resizing is bilinear
/// with a support that grows with the reduction, as PIL's.
pub(crate) fn decode_into(
    path: &Path,
    form: PictureForm,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<()> {
    let (file, n_bytes) = open_picture(path)?;
    let (decoder, _) = open(path, file, n_bytes, limits)?;
    decode(path, decoder, form, out)
}

/// As [`decode_into`], for a file whose bytes are at hand; `name` stands for it in errors.
pub(crate) fn decode_bytes_into(
    name: &Path,
    bytes: &[u8],
    form: PictureForm,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<()> {
    let (decoder, _) = open(name, Cursor::new(bytes), bytes.len() as u64, limits)?;
    decode(name, decoder, form, out)
}

fn decode(
    path: &Path,
    decoder: impl ImageDecoder,
    form: PictureForm,
    out: &mut Vec<u8>,
) -> Result<()> {
    let picture = DynamicImage::from_decoder(decoder).map_err(|error| image_error(path, &error))?;
    let (height, width) = (form.height as u32, form.width as u32);
    if form.channels == 1 {
        let gray = to_gray(picture);
        let gray = if (gray.height(), gray.width()) == (height, width) {
            gray
        } else {
            imageops::resize(&gray, width, height, FilterType::Triangle)
        };
        out.extend_from_slice(gray.as_raw());
        return Ok(());
    }
    let rgb: RgbImage = picture.into_rgb8();
    let rgb = if (rgb.height(), rgb.width()) == (height, width) {
        rgb
    } else {
        imageops::resize(&rgb, width, height, FilterType::Triangle)
    };
    for channel in 0..3 {
        out.extend(rgb.as_raw().iter().skip(channel).step_by(3));
    }
    Ok(())
}

fn to_gray(picture: DynamicImage) -> GrayImage {
    if !picture.color().has_color() {
        return picture.into_luma8();
    }
    let rgb = picture.into_rgb8();
    let luma = rgb
        .pixels()
        .map(|pixel| {
            let [r, g, b] = pixel.0.map(u32::from);
            ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8
        })
        .collect();
    GrayImage::from_raw(rgb.width(), rgb.height(), luma).expect("one value for each pixel")
}

fn open_picture(path: &Path) -> Result<(BufReader<File>, u64)> {
    let (file, n_bytes) = open_file(path)?;
    Ok((BufReader::new(file), n_bytes))
}

fn open<'a, R: BufRead + Seek + 'a>(
    path: &Path,
    mut file: R,
    n_bytes: u64,
    limits: &Limits,
) -> Result<(impl ImageDecoder + use<'a, R>, PictureHeader)> {
    check(
        "the size in bytes",
        "image_bytes",
        path,
        n_bytes,
        limits.image_bytes,
    )?;
    let head = file
        .fill_buf()
        .map_err(|error| DataError::io(path, error))?;
    let head = &head[..head.len().min(8)];
    let format = if !is_picture(head) {
        return Err(DataError::corrupt(
            path,
            "the first bytes",
            format!("{head:02x?} start neither a PNG nor a JPEG file"),
            "save the image as PNG or JPEG, or remove it",
        ));
    } else if head.starts_with(b"\x89PNG") {
        ImageFormat::Png
    } else {
        ImageFormat::Jpeg
    };
    let mut reader = ImageReader::with_format(file, format);
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_alloc =
        Some(limits.image_pixels.saturating_mul(ALLOCATED_PER_PIXEL) + ALLOCATED_BASE);
    reader.limits(decoder_limits);
    let decoder = reader
        .into_decoder()
        .map_err(|error| image_error(path, &error))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    check(
        "the number of pixels",
        "image_pixels",
        path,
        pixels,
        limits.image_pixels,
    )?;
    // A decoder makes room for all pixels before it looks for them.
    let bits = u64::from(decoder.original_color_type().bits_per_pixel());
    let is_possible = match format {
        ImageFormat::Png => pixels * bits / 8 <= plausible_bytes(n_bytes),
        _ => pixels <= n_bytes.saturating_mul(JPEG_PIXELS_PER_BYTE),
    };
    if !is_possible {
        return Err(DataError::corrupt(
            path,
            "the header",
            format!("claims {height} x {width} pixels, more than {n_bytes} bytes can hold"),
            "open and save it again as PNG or JPEG, or remove it",
        ));
    }
    let header = PictureHeader {
        height: height as usize,
        width: width as usize,
        is_gray: !decoder.color_type().has_color(),
    };
    Ok((decoder, header))
}

fn image_error(path: &Path, error: &image::ImageError) -> DataError {
    DataError::corrupt(
        path,
        "the image data",
        error.to_string(),
        "open and save it again as PNG or JPEG, or remove it",
    )
}
