//! Pictures of floor plans: PNG, JPEG and SVG, each looked at before it is kept or shown.
//!
//! Of PNG and JPEG the header is read, never the pixels. SVG is a language that can do much more than draw: it is read
//! and written anew, with nothing in it but shapes, text and their looks ([`svg`]).

mod attributes;
mod css;
mod svg;
#[cfg(test)]
mod tests;
mod uses;

use std::fmt;

use crate::registry::PlanFormat;

/// The largest picture, in bytes.
pub const MAX_PLAN_BYTES: usize = 10 << 20;
/// The most pixels of PNG and JPEG: browsers need four bytes for each.
const MAX_PIXELS: u64 = 50_000_000;

/// A picture that is safe to show.
#[derive(Clone, PartialEq, Eq)]
pub struct PlanImage {
    /// Its format.
    pub format: PlanFormat,
    /// Width in pixels; for SVG, in user units.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The picture; of SVG what is left of it.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for PlanImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, width, height, bytes } = self;
        write!(f, "PlanImage({format:?}, {width} x {height}, {} bytes)", bytes.len())
    }
}

/// Why a picture is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanImageError {
    /// There is nothing.
    #[error("the picture is empty")]
    Empty,
    /// It has too many bytes.
    #[error("the picture has {} MiB, more than {} MiB; save it smaller, or as SVG", .0 >> 20, MAX_PLAN_BYTES >> 20)]
    TooLarge(usize),
    /// It has too many pixels.
    #[error("the picture has {width} x {height} pixels, more than {} megapixels; save it smaller", MAX_PIXELS / 1_000_000)]
    TooManyPixels {
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
    },
    /// It is none of the formats.
    #[error("this is no PNG, JPEG or SVG; export the plan as one of them")]
    UnknownFormat,
    /// Its header is broken.
    #[error("the {0} cannot be read: its header is broken; export it again")]
    Header(&'static str),
    /// The SVG cannot be made safe.
    #[error("the SVG cannot be read: {0}; export it again, as plain SVG")]
    Svg(String),
}

impl PlanImage {
    /// Looks at a picture, and makes it safe.
    ///
    /// # Errors
    /// [`PlanImageError`] where it is no picture, too large, or an SVG that is more than a picture.
    pub fn read(bytes: Vec<u8>) -> Result<Self, PlanImageError> {
        if bytes.is_empty() {
            return Err(PlanImageError::Empty);
        }
        if bytes.len() > MAX_PLAN_BYTES {
            return Err(PlanImageError::TooLarge(bytes.len()));
        }
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Self::pixels(PlanFormat::Png, "PNG", bytes);
        }
        if bytes.starts_with(b"\xff\xd8\xff") {
            return Self::pixels(PlanFormat::Jpeg, "JPEG", bytes);
        }
        let text = String::from_utf8(bytes).map_err(|_| PlanImageError::UnknownFormat)?;
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if !text.starts_with('<') {
            return Err(PlanImageError::UnknownFormat);
        }
        let svg::Safe { width, height, text } = svg::make_safe(text)?;
        if text.len() > MAX_PLAN_BYTES {
            return Err(PlanImageError::TooLarge(text.len()));
        }
        Ok(Self { format: PlanFormat::Svg, width, height, bytes: text.into_bytes() })
    }

    fn pixels(format: PlanFormat, name: &'static str, bytes: Vec<u8>) -> Result<Self, PlanImageError> {
        let size = imagesize::blob_size(&bytes).map_err(|_| PlanImageError::Header(name))?;
        let (Ok(width), Ok(height)) = (u32::try_from(size.width), u32::try_from(size.height)) else {
            return Err(PlanImageError::TooManyPixels { width: size.width, height: size.height });
        };
        if width == 0 || height == 0 {
            return Err(PlanImageError::Header(name));
        }
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(PlanImageError::TooManyPixels { width: size.width, height: size.height });
        }
        Ok(Self { format, width, height, bytes })
    }
}
