use sha2::{Digest, Sha256};

use sardonyx_tensor::Data;

use crate::dataset::{Dataset, Target};

/// Digest of a data set's content; lengths go before what they count, so that no two data sets
/// give the same stream of bytes.
pub(crate) fn content(dataset: &Dataset) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"sardonyx dataset 1\n");
    let shape = dataset.x().shape();
    count(&mut hasher, shape.len());
    for &dim in shape {
        count(&mut hasher, dim);
    }
    text(&mut hasher, dataset.x().dtype().name());
    match dataset.x().data() {
        Data::U8(values) => hasher.update(values),
        Data::F32(values) => words(&mut hasher, values.iter().map(|v| v.to_bits())),
        _ => unreachable!("a data set holds u8 or f32 only"),
    }
    match dataset.target() {
        Target::Classes(ids) => {
            text(&mut hasher, "classes");
            words(&mut hasher, ids.iter().copied());
        }
        Target::Values(values) => {
            text(&mut hasher, "values");
            words(&mut hasher, values.iter().map(|v| v.to_bits()));
        }
    }
    for names in [dataset.class_names(), dataset.feature_names()] {
        count(&mut hasher, names.len());
        for name in names {
            text(&mut hasher, name);
        }
    }
    hasher.finalize().into()
}

/// 128 bits of the digest of each sample's inputs, in order. Equal samples have equal hashes;
/// minus zero is taken for zero.
pub(crate) fn rows(dataset: &Dataset) -> Vec<u128> {
    let len = dataset.kind().sample_len();
    let mut bytes = Vec::new();
    match dataset.x().data() {
        Data::U8(values) => values.chunks_exact(len).map(short).collect(),
        Data::F32(values) => values
            .chunks_exact(len)
            .map(|row| {
                bytes.clear();
                bytes.extend(row.iter().flat_map(|v| (v + 0.0).to_le_bytes()));
                short(&bytes)
            })
            .collect(),
        _ => unreachable!("a data set holds u8 or f32 only"),
    }
}

fn short(bytes: &[u8]) -> u128 {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let half: [u8; 16] = digest[..16].try_into().expect("half of 32 bytes");
    u128::from_le_bytes(half)
}

fn words(hasher: &mut Sha256, values: impl Iterator<Item = u32>) {
    let mut buffer = Vec::with_capacity(1 << 14);
    for value in values {
        buffer.extend_from_slice(&value.to_le_bytes());
        if buffer.len() == 1 << 14 {
            hasher.update(&buffer);
            buffer.clear();
        }
    }
    hasher.update(&buffer);
}

fn count(hasher: &mut Sha256, value: usize) {
    hasher.update((value as u64).to_le_bytes());
}

fn text(hasher: &mut Sha256, value: &str) {
    count(hasher, value.len());
    hasher.update(value.as_bytes());
}
