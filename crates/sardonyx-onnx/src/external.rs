//! The one resolver for tensors whose data is in another file.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use prost::bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::element_type_name;
use crate::error::{ExternalError, OnnxError, Result, quoted, shortened};
use crate::folder::{Folder, OpenFile, components, read_up_to};
use crate::layout;
use crate::limits::{SHARED_BYTES_PER_BYTE, SHARED_FLOOR_BYTES};
use crate::load::LoadOptions;
use crate::proto::{DataLocation, SparseTensorProto, StringStringEntryProto, TensorProto};
use crate::sparse;
use crate::walk::{Role, Visitor};

/// What a tensor says of its data in another file.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    /// Normalized: names joined by `/`.
    location: String,
    offset: u64,
    length: Option<u64>,
    /// SHA-1 of the whole file, lower-case hexadecimal.
    checksum: Option<String>,
}

/// What has been read of one file.
#[derive(Debug, Default)]
struct Seen {
    /// Data already read: tensors with the same range share it.
    ranges: BTreeMap<(u64, u64), Bytes>,
    /// Bytes asked for, shared ranges counted each time.
    claimed: u64,
    sha1: Option<String>,
}

/// Brings the data of every visited tensor into the message, and checks the result.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    folder: Option<&'a Folder>,
    options: &'a LoadOptions,
    /// The last file, open: tensors mostly come in the order of their data, and a model may have
    /// more files than a process may hold open.
    current: Option<(String, OpenFile)>,
    seen: BTreeMap<String, Seen>,
    read_bytes: u64,
}

impl Visitor for Resolver<'_> {
    fn tensor(&mut self, tensor: &mut TensorProto, _: Role) -> Result<()> {
        self.resolve(tensor)?;
        layout::check(tensor).map(|_| ())
    }

    fn sparse(&mut self, sparse: &SparseTensorProto) -> Result<()> {
        sparse::check(sparse)
    }
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(folder: Option<&'a Folder>, options: &'a LoadOptions) -> Resolver<'a> {
        Resolver {
            folder,
            options,
            current: None,
            seen: BTreeMap::new(),
            read_bytes: 0,
        }
    }

    /// Names of the files that were read, sorted.
    pub(crate) fn into_files(self) -> Vec<String> {
        self.seen.into_keys().collect()
    }

    fn resolve(&mut self, tensor: &mut TensorProto) -> Result<()> {
        match tensor.data_location {
            None | Some(0) if tensor.external_data.is_empty() => return Ok(()),
            None | Some(0) => return Err(ExternalError::Unmarked.into()),
            Some(1) => {}
            Some(other) => return Err(ExternalError::Location(other).into()),
        }
        refuse_contradictions(tensor)?;
        let folder = self.folder.ok_or(ExternalError::NoFolder)?;
        let needed = layout::raw_bytes(tensor)?
            .ok_or_else(|| ExternalError::ElementType(element_type_name(tensor.data_type())))?;
        let reference = Reference::parse(&tensor.external_data)?;
        let data = self
            .fetch(folder, &reference, needed)
            .map_err(|error| error.at(format!("external data {}", quoted(&reference.location))))?;
        tensor.raw_data = Some(data);
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    }

    /// The bytes of a reference. Nothing is allocated before all of it has been checked.
    fn fetch(&mut self, folder: &Folder, reference: &Reference, needed: u64) -> Result<Bytes> {
        if let Some(found) = reference.length.filter(|&length| length != needed) {
            let expected = needed;
            return Err(ExternalError::Length { found, expected }.into());
        }
        let location = &reference.location;
        let size = self.open(folder, location)?;
        let end = reference.offset.checked_add(needed);
        if end.is_none_or(|end| end > size) {
            return Err(out_of_range(reference, needed, size));
        }
        self.claim(location, needed, size)?;
        if let Some(expected) = &reference.checksum {
            self.verify(location, expected)?;
        }
        let range = (reference.offset, needed);
        let shared = self
            .seen
            .get(location)
            .and_then(|seen| seen.ranges.get(&range));
        if let Some(data) = shared {
            return Ok(data.clone());
        }
        self.read(reference, needed, size)
    }

    /// Opens a file, if it is not the one that is open, and gives its size.
    fn open(&mut self, folder: &Folder, location: &str) -> Result<u64> {
        if let Some((name, open)) = &self.current
            && name == location
        {
            return Ok(open.size);
        }
        let open = folder.open_beneath(location)?;
        if open.links > 1 && !self.options.allow_hardlinks {
            return Err(ExternalError::HardLink {
                location: shortened(location),
                links: open.links,
            }
            .into());
        }
        let size = open.size;
        self.current = Some((location.to_owned(), open));
        Ok(size)
    }

    fn claim(&mut self, location: &str, bytes: u64, size: u64) -> Result<(), ExternalError> {
        let seen = self.seen.entry(location.to_owned()).or_default();
        seen.claimed = seen.claimed.saturating_add(bytes);
        let max = SHARED_FLOOR_BYTES.saturating_add(size.saturating_mul(SHARED_BYTES_PER_BYTE));
        if seen.claimed > max {
            return Err(ExternalError::Claims {
                location: shortened(location),
                claimed: seen.claimed,
                max,
            });
        }
        Ok(())
    }

    /// Compares the SHA-1 of the whole open file, computed once.
    fn verify(&mut self, location: &str, expected: &str) -> Result<()> {
        let seen = self.seen.entry(location.to_owned()).or_default();
        if seen.sha1.is_none() {
            let (_, open) = self.current.as_mut().expect("open() came before");
            seen.sha1 = Some(sha1_hex(open).map_err(|error| read_error(location, error))?);
        }
        let found = seen.sha1.clone().unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(ExternalError::Checksum {
            location: shortened(location),
            expected: expected.to_owned(),
            found,
        }
        .into())
    }

    fn read(&mut self, reference: &Reference, length: u64, size: u64) -> Result<Bytes> {
        let bytes = self.read_bytes.saturating_add(length);
        let max = self.options.max_external_bytes;
        if bytes > max {
            return Err(ExternalError::TooLarge { bytes, max }.into());
        }
        let (_, open) = self.current.as_mut().expect("open() came before");
        let data = open
            .file
            .seek(SeekFrom::Start(reference.offset))
            .and_then(|_| read_up_to(&open.file, length, length))
            .map_err(|error| read_error(&reference.location, error))?;
        if data.len() as u64 != length {
            // The file has become shorter since it was opened.
            return Err(out_of_range(reference, length, size));
        }
        self.read_bytes = bytes;
        let data = Bytes::from(data);
        let seen = self.seen.entry(reference.location.clone()).or_default();
        seen.ranges.insert((reference.offset, length), data.clone());
        Ok(data)
    }
}

impl Reference {
    /// Reads the four keys that the format defines; any other is refused.
    fn parse(entries: &[StringStringEntryProto]) -> Result<Reference, ExternalError> {
        const KEYS: [&str; 4] = ["location", "offset", "length", "checksum"];
        let mut values: [Option<&str>; KEYS.len()] = [None; KEYS.len()];
        for entry in entries {
            let key = entry.key();
            let Some(place) = KEYS.iter().position(|&known| known == key) else {
                return Err(ExternalError::UnknownKey(shortened(key)));
            };
            if values[place].replace(entry.value()).is_some() {
                return Err(ExternalError::DuplicateKey(KEYS[place]));
            }
        }
        let [location, offset, length, checksum] = values;
        let names = components(location.ok_or(ExternalError::NoLocation)?)?;
        // The names are parts of a str, so they are UTF-8.
        let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
        Ok(Reference {
            location: names.join("/"),
            offset: offset.map_or(Ok(0), |value| number("offset", value))?,
            length: length.map(|value| number("length", value)).transpose()?,
            checksum: checksum.map(sha1_text).transpose()?,
        })
    }
}

fn refuse_contradictions(tensor: &TensorProto) -> Result<(), ExternalError> {
    if tensor.raw_data.as_ref().is_some_and(|raw| !raw.is_empty()) {
        return Err(ExternalError::Contradiction("raw_data"));
    }
    match layout::filled_fields(tensor).first() {
        Some((field, _)) => Err(ExternalError::Contradiction(field.name())),
        None => Ok(()),
    }
}

/// A decimal number without sign or space.
fn number(key: &'static str, value: &str) -> Result<u64, ExternalError> {
    Some(value)
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| ExternalError::BadValue {
            key,
            value: shortened(value),
            expected: "a number of bytes",
        })
}

fn sha1_text(value: &str) -> Result<String, ExternalError> {
    if value.len() == 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(value.to_ascii_lowercase());
    }
    Err(ExternalError::BadValue {
        key: "checksum",
        value: shortened(value),
        expected: "a SHA-1 in hexadecimal",
    })
}

fn sha1_hex(open: &mut OpenFile) -> std::io::Result<String> {
    let mut hash = Sha1::new();
    let mut buffer = vec![0; 1 << 16];
    open.file.seek(SeekFrom::Start(0))?;
    loop {
        match open.file.read(&mut buffer)? {
            0 => break,
            len => hash.update(&buffer[..len]),
        }
    }
    Ok(hex(&hash.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Marks a tensor as having its data in another file; the message's own data is dropped.
pub(crate) fn refer(tensor: &mut TensorProto, location: &str, offset: u64, length: u64) {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    tensor.raw_data = None;
    tensor.data_location = Some(DataLocation::External as i32);
    tensor.external_data = vec![
        entry("location", location.to_owned()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
}

fn out_of_range(reference: &Reference, length: u64, size: u64) -> OnnxError {
    ExternalError::OutOfRange {
        location: shortened(&reference.location),
        offset: reference.offset,
        length,
        size,
    }
    .into()
}

fn read_error(location: &str, error: std::io::Error) -> OnnxError {
    OnnxError::io("read", shortened(location).as_ref(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[(&str, &str)]) -> Result<Reference, ExternalError> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(key, value)| StringStringEntryProto {
                key: Some((*key).to_owned()),
                value: Some((*value).to_owned()),
            })
            .collect();
        Reference::parse(&entries)
    }

    #[test]
    fn a_reference_has_four_keys() {
        let sum = "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709";
        let reference = parse(&[
            ("location", "./sub/w.bin"),
            ("offset", "4096"),
            ("length", "8"),
            ("checksum", sum),
        ]);
        let expected = Reference {
            location: "sub/w.bin".to_owned(),
            offset: 4096,
            length: Some(8),
            checksum: Some(sum.to_ascii_lowercase()),
        };
        assert_eq!(reference, Ok(expected));
        assert_eq!(parse(&[("offset", "0")]), Err(ExternalError::NoLocation));
        assert_eq!(
            parse(&[("location", "w"), ("basepath", "/etc")]),
            Err(ExternalError::UnknownKey("basepath".to_owned()))
        );
        assert_eq!(
            parse(&[("location", "w"), ("location", "/etc/passwd")]),
            Err(ExternalError::DuplicateKey("location"))
        );
    }

    #[test]
    fn numbers_are_plain_digits() {
        for bad in [
            "-1",
            "+1",
            " 1",
            "1 ",
            "0x10",
            "1e3",
            "",
            "18446744073709551616",
        ] {
            for key in ["offset", "length"] {
                let result = parse(&[("location", "w"), (key, bad)]);
                assert!(
                    matches!(result, Err(ExternalError::BadValue { .. })),
                    "{key} {bad:?}"
                );
            }
        }
        assert!(parse(&[("location", "w"), ("checksum", "abc")]).is_err());
    }
}
