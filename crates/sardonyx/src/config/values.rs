//! Values that are more than a number or a text.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Part of the data: a share of the training data, or a path of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Portion {
    /// Share of the samples, above 0 and below 1 (0 for a validation part: none is set apart).
    Share(f64),
    /// A folder or file.
    Path(String),
}

/// Height and width of images in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Serialize for Portion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Portion::Share(share) => serializer.serialize_f64(*share),
            Portion::Path(path) => serializer.serialize_str(path),
        }
    }
}

impl<'de> Deserialize<'de> for Portion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Portion, D::Error> {
        struct PortionVisitor;
        impl Visitor<'_> for PortionVisitor {
            type Value = Portion;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share (a number) or a path (text)")
            }
            fn visit_f64<E>(self, share: f64) -> Result<Portion, E> {
                Ok(Portion::Share(share))
            }
            fn visit_u64<E>(self, share: u64) -> Result<Portion, E> {
                Ok(Portion::Share(share as f64))
            }
            fn visit_i64<E>(self, share: i64) -> Result<Portion, E> {
                Ok(Portion::Share(share as f64))
            }
            fn visit_str<E>(self, path: &str) -> Result<Portion, E> {
                Ok(Portion::Path(path.to_owned()))
            }
        }
        deserializer.deserialize_any(PortionVisitor)
    }
}

impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.height == self.width {
            true => self.height.serialize(serializer),
            false => [self.height, self.width].serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ImageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ImageSize, D::Error> {
        struct SizeVisitor;
        impl<'de> Visitor<'de> for SizeVisitor {
            type Value = ImageSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a side, or [height, width]")
            }
            fn visit_u64<E: serde::de::Error>(self, side: u64) -> Result<ImageSize, E> {
                let side = usize::try_from(side).map_err(|_| E::custom("the side is too long"))?;
                Ok(ImageSize {
                    height: side,
                    width: side,
                })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ImageSize, A::Error> {
                let sides = (seq.next_element()?, seq.next_element()?);
                match (sides, seq.next_element::<usize>()?) {
                    ((Some(height), Some(width)), None) => Ok(ImageSize { height, width }),
                    _ => Err(A::Error::custom("a size has two numbers: [height, width]")),
                }
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

pub(super) mod scaling {
    //! A scaling as the word that the table of keys lists.
    use sardonyx_data::Scaling;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        scaling: &Option<Scaling>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match scaling {
            None => s.serialize_none(),
            Some(Scaling::None) => s.serialize_str("none"),
            Some(Scaling::Unit) => s.serialize_str("unit"),
            Some(Scaling::SymmetricUnit) => s.serialize_str("symmetric"),
            Some(Scaling::Standardize) => s.serialize_str("standardize"),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Scaling>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

pub(super) mod augmentations {
    //! Augmentations as their text forms.
    use sardonyx_data::Augmentation;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        chain: &[Augmentation],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_seq(chain.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Vec<Augmentation>, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        let parsed = texts.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}
