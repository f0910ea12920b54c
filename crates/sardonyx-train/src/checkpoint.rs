//! The state of a run in one file, for a resume that is exact to the bit.
//!
//! The file is a plain safetensors file: named tensors (weights, optimizer state, counters) and,
//! in its metadata, one entry [`METADATA_KEY`] that holds a CRC-32C of the content and a JSON
//! object (position, schedule and early-stopping state, hash of the configuration, ...). The same
//! content always gives the same bytes. Damage is found by the checksum before anything is used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use sardonyx_tensor::{Data, Tensor, bf16, f16};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::error::{Result, TrainError};

/// Name of the metadata entry: what the file is, and the version of its layout.
const METADATA_KEY: &str = "sardonyx.checkpoint.v1";
/// What safetensors calls its own metadata; no tensor can have this name.
const RESERVED_NAME: &str = "__metadata__";

/// Most bytes that [`Checkpoint::load`] reads when the caller has no limit of its own: 64 GiB.
pub const MAX_CHECKPOINT_BYTES: u64 = 64 << 30;

/// The state of a run: named tensors and named values.
///
/// Numbers among the values survive exactly when they are finite (JSON has no NaN and no infinity:
/// they become null); series that may hold those belong in a tensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// Weights, optimizer state, counters: any element type but strings.
    pub tensors: BTreeMap<String, Tensor>,
    /// Everything else.
    pub metadata: Map<String, Value>,
}

impl Checkpoint {
    /// Stores a value under a name.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn put<T: Serialize>(&mut self, name: &str, value: &T) -> Result<()> {
        let value = serde_json::to_value(value).map_err(|source| TrainError::Json {
            what: "a value of the checkpoint",
            source,
        })?;
        self.metadata.insert(name.to_owned(), value);
        Ok(())
    }

    /// Reads the value of a name.
    ///
    /// # Errors
    /// When it is missing or of another form.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self
            .metadata
            .get(name)
            .ok_or_else(|| damaged(format!("it has no value `{name}`")))?;
        serde_json::from_value(value.clone())
            .map_err(|error| damaged(format!("its value `{name}` has another form: {error}")))
    }

    /// The tensor of a name.
    ///
    /// # Errors
    /// When it is missing.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| damaged(format!("it has no tensor `{name}`")))
    }

    /// The content as bytes of a safetensors file.
    ///
    /// # Errors
    /// When a tensor holds strings or has a reserved name.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut raw = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            if name == RESERVED_NAME {
                return Err(damaged(format!("`{name}` cannot name a tensor")));
            }
            let (dtype, bytes) = encode(tensor.data())
                .ok_or_else(|| damaged(format!("tensor `{name}` holds strings")))?;
            raw.insert(name.as_str(), (dtype, tensor.shape(), bytes));
        }
        let json = serde_json::to_string(&self.metadata).map_err(|source| TrainError::Json {
            what: "the checkpoint's values",
            source,
        })?;
        let views = raw
            .iter()
            .map(|(name, (dtype, shape, bytes))| {
                Ok((*name, TensorView::new(*dtype, shape.to_vec(), bytes)?))
            })
            .collect::<Result<BTreeMap<_, _>, SafeTensorError>>()
            .map_err(unreadable)?;
        let entry = format!("{:08x} {json}", checksum(&json, &views));
        let entries = [(METADATA_KEY.to_owned(), entry)].into_iter().collect();
        safetensors::serialize(views, Some(entries)).map_err(unreadable)
    }

    /// Reads the bytes of a checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] for anything that [`Checkpoint::to_bytes`] did not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let entry = header
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA_KEY))
            .ok_or_else(|| damaged("it is not a checkpoint of this version of Sardonyx"))?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let views: BTreeMap<&str, TensorView<'_>> = file.iter().collect();
        let (expected, json) = entry
            .split_once(' ')
            .ok_or_else(|| damaged("its checksum is missing"))?;
        if format!("{:08x}", checksum(json, &views)) != expected {
            return Err(damaged("its content is not what was written (checksum)"));
        }
        let metadata = serde_json::from_str(json)
            .map_err(|error| damaged(format!("its values are not JSON: {error}")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in views {
            let data = decode(view.dtype(), view.data())
                .ok_or_else(|| damaged(format!("tensor `{name}` has an unknown element type")))?;
            tensors.insert(name.to_owned(), Tensor::from_data(view.shape(), data)?);
        }
        Ok(Checkpoint { tensors, metadata })
    }

    /// Writes the checkpoint; a kill at any moment leaves the old file or the new.
    ///
    /// # Errors
    /// As [`Checkpoint::to_bytes`], or when the system refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(sardonyx_onnx::write_atomic(path, &self.to_bytes()?)?)
    }

    /// Reads a checkpoint of at most `limit` bytes.
    ///
    /// # Errors
    /// When the file cannot be read, is larger, or is not an undamaged checkpoint.
    pub fn load(path: &Path, limit: u64) -> Result<Checkpoint> {
        let file = File::open(path).map_err(TrainError::io("read", path))?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(TrainError::io("read", path))?;
        if bytes.len() as u64 > limit {
            return Err(TrainError::TooLarge {
                path: path.to_owned(),
                what: "a checkpoint",
                limit,
            });
        }
        Checkpoint::from_bytes(&bytes)
    }
}

fn damaged(reason: impl Into<String>) -> TrainError {
    TrainError::Checkpoint {
        reason: reason.into(),
    }
}

fn unreadable(error: SafeTensorError) -> TrainError {
    damaged(error.to_string())
}

/// Over the values, then each tensor's name, type, shape and bytes in the order of the names, every
/// part preceded by its length so that no two contents read alike.
fn checksum(json: &str, views: &BTreeMap<&str, TensorView<'_>>) -> u32 {
    let part = |sum: u32, bytes: &[u8]| {
        let sum = crc32c::crc32c_append(sum, &(bytes.len() as u64).to_le_bytes());
        crc32c::crc32c_append(sum, bytes)
    };
    let mut sum = part(0, json.as_bytes());
    for (name, view) in views {
        sum = part(sum, name.as_bytes());
        sum = part(
            sum,
            format!("{:?} {:?}", view.dtype(), view.shape()).as_bytes(),
        );
        sum = part(sum, view.data());
    }
    sum
}

/// Element type and little-endian bytes; `None` for strings.
fn encode(data: &Data) -> Option<(Dtype, Vec<u8>)> {
    fn bytes<T: Copy, const N: usize>(values: &[T], to_le: fn(T) -> [u8; N]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(values.len() * N);
        for &value in values {
            bytes.extend_from_slice(&to_le(value));
        }
        bytes
    }
    Some(match data {
        Data::F32(v) => (Dtype::F32, bytes(v, f32::to_le_bytes)),
        Data::F64(v) => (Dtype::F64, bytes(v, f64::to_le_bytes)),
        Data::F16(v) => (Dtype::F16, bytes(v, f16::to_le_bytes)),
        Data::Bf16(v) => (Dtype::BF16, bytes(v, bf16::to_le_bytes)),
        Data::I8(v) => (Dtype::I8, bytes(v, i8::to_le_bytes)),
        Data::I16(v) => (Dtype::I16, bytes(v, i16::to_le_bytes)),
        Data::I32(v) => (Dtype::I32, bytes(v, i32::to_le_bytes)),
        Data::I64(v) => (Dtype::I64, bytes(v, i64::to_le_bytes)),
        Data::U8(v) => (Dtype::U8, v.clone()),
        Data::U16(v) => (Dtype::U16, bytes(v, u16::to_le_bytes)),
        Data::U32(v) => (Dtype::U32, bytes(v, u32::to_le_bytes)),
        Data::U64(v) => (Dtype::U64, bytes(v, u64::to_le_bytes)),
        Data::Bool(v) => (Dtype::BOOL, bytes(v, |x| [u8::from(x)])),
        Data::String(_) => return None,
    })
}

/// The elements of little-endian bytes; `None` for a type that [`encode`] never writes. The length
/// was checked against the shape already.
fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Data> {
    fn values<T, const N: usize>(bytes: &[u8], from_le: fn([u8; N]) -> T) -> Vec<T> {
        bytes
            .as_chunks::<N>()
            .0
            .iter()
            .map(|&chunk| from_le(chunk))
            .collect()
    }
    Some(match dtype {
        Dtype::F32 => Data::F32(values(bytes, f32::from_le_bytes)),
        Dtype::F64 => Data::F64(values(bytes, f64::from_le_bytes)),
        Dtype::F16 => Data::F16(values(bytes, f16::from_le_bytes)),
        Dtype::BF16 => Data::Bf16(values(bytes, bf16::from_le_bytes)),
        Dtype::I8 => Data::I8(values(bytes, i8::from_le_bytes)),
        Dtype::I16 => Data::I16(values(bytes, i16::from_le_bytes)),
        Dtype::I32 => Data::I32(values(bytes, i32::from_le_bytes)),
        Dtype::I64 => Data::I64(values(bytes, i64::from_le_bytes)),
        Dtype::U8 => Data::U8(bytes.to_vec()),
        Dtype::U16 => Data::U16(values(bytes, u16::from_le_bytes)),
        Dtype::U32 => Data::U32(values(bytes, u32::from_le_bytes)),
        Dtype::U64 => Data::U64(values(bytes, u64::from_le_bytes)),
        Dtype::BOOL => Data::Bool(values(bytes, |[x]: [u8; 1]| x != 0)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sardonyx_tensor::{DType, Philox};
    use serde_json::json;

    fn sample() -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        let weights = vec![
            1.5f32,
            f32::NAN,
            -0.0,
            f32::MIN_POSITIVE,
            f32::INFINITY,
            1e-45,
        ];
        let weights = Tensor::new([2, 3], weights).expect("fits");
        checkpoint.tensors.insert("weight".into(), weights);
        let history = Tensor::vector(vec![0.1f64, f64::NAN]);
        checkpoint.tensors.insert("history".into(), history);
        checkpoint
            .tensors
            .insert("step".into(), Tensor::scalar(12i64));
        checkpoint.put("best", &0.1f64.sqrt()).expect("put");
        checkpoint
            .put("name", &"a \"quoted\" name, π")
            .expect("put");
        checkpoint
    }

    #[test]
    fn what_is_written_is_read_to_the_bit() {
        let sample = sample();
        let bytes = sample.to_bytes().expect("written");
        assert_eq!(
            bytes,
            super::tests::sample().to_bytes().expect("written"),
            "same content, same bytes"
        );
        let read = Checkpoint::from_bytes(&bytes).expect("read");
        assert_eq!(read.to_bytes().expect("written"), bytes);
        let bits = |c: &Checkpoint| -> Vec<u32> {
            let values = c
                .tensor("weight")
                .expect("there")
                .values::<f32>()
                .expect("f32");
            values.iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&read), bits(&sample));
        assert_eq!(read.metadata, sample.metadata);
        assert_eq!(read.get::<f64>("best").expect("there"), 0.1f64.sqrt());
        assert!(read.get::<f64>("none").is_err() && read.get::<u64>("name").is_err());
        assert!(read.tensor("none").is_err());
    }

    #[test]
    fn every_number_survives() {
        let mut rng = Philox::new(1, 0);
        let mut checkpoint = Checkpoint::default();
        let mut numbers = Vec::new();
        while numbers.len() < 2000 {
            numbers.extend(Some(f64::from_bits(rng.next_u64())).filter(|x| x.is_finite()));
        }
        checkpoint.put("numbers", &numbers).expect("put");
        for dtype in DType::ALL
            .into_iter()
            .filter(|&dtype| dtype != DType::String)
        {
            for shape in [vec![], vec![0], vec![3, 1, 5]] {
                let tensor = Tensor::zeros(dtype, shape.clone()).expect("fits");
                checkpoint
                    .tensors
                    .insert(format!("{dtype} {shape:?}"), tensor);
            }
        }
        let bytes = checkpoint.to_bytes().expect("written");
        let read = Checkpoint::from_bytes(&bytes).expect("read");
        assert_eq!(read.tensors, checkpoint.tensors);
        let found: Vec<f64> = read.get("numbers").expect("there");
        assert!(
            found
                .iter()
                .zip(&numbers)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }

    #[test]
    fn damage_is_found() {
        let bytes = sample().to_bytes().expect("written");
        for length in 0..bytes.len() {
            assert!(
                Checkpoint::from_bytes(&bytes[..length]).is_err(),
                "cut to {length} bytes"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Checkpoint::from_bytes(&longer).is_err());
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[index] ^= 1 << bit;
                // A space between two tokens of the header may become another blank, and so on:
                // what counts is that nothing else than what was written is ever read.
                if let Ok(read) = Checkpoint::from_bytes(&changed) {
                    assert_eq!(
                        read.to_bytes().expect("written"),
                        bytes,
                        "byte {index}, bit {bit}"
                    );
                }
            }
        }
    }

    #[test]
    fn other_files_are_refused() {
        let check = |bytes: &[u8], expect: &str| {
            let message = Checkpoint::from_bytes(bytes)
                .expect_err("refused")
                .to_string();
            assert!(message.contains(expect), "{message}");
        };
        let plain = |header: &str, data: &[u8]| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.extend(data);
            bytes
        };
        check(b"", "not usable");
        check(&[0xff; 64], "header too large");
        check(&plain("{}", b""), "not a checkpoint of this version");
        let giant =
            r#"{"x":{"dtype":"F64","shape":[18446744073709551615,2],"data_offsets":[0,8]}}"#;
        check(&plain(giant, &[0; 8]), "not usable");
        let deep = "[".repeat(100_000);
        check(&plain(&deep, b""), "not usable");
        let mut strings = Checkpoint::default();
        strings
            .tensors
            .insert("s".into(), Tensor::vector(vec!["x".to_owned()]));
        assert!(strings.to_bytes().is_err());
        let mut reserved = Checkpoint::default();
        reserved
            .tensors
            .insert(RESERVED_NAME.into(), Tensor::scalar(1f32));
        assert!(reserved.to_bytes().is_err());
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("last.safetensors");
        let sample = sample();
        sample.save(&path).expect("saved");
        let size = std::fs::metadata(&path).expect("there").len();
        let read = Checkpoint::load(&path, size).expect("read");
        assert_eq!(read.metadata["best"], json!(0.1f64.sqrt()));
        let error = Checkpoint::load(&path, size - 1)
            .expect_err("refused")
            .to_string();
        assert!(error.contains("over the limit"), "{error}");
        assert!(
            Checkpoint::load(folder.path(), size).is_err(),
            "a directory"
        );
        assert!(Checkpoint::load(&folder.path().join("none"), size).is_err());
    }
}
