//! The file of keys.
//!
//! ```toml
//! [[keys]]
//! name = "team-vision"           # shown in logs
//! sha256 = "9f86d0..."           # of the key, in hexadecimal: printf %s KEY | sha256sum
//! models = ["mnist*"]            # all when absent; * stands for any text
//! verbs = ["infer", "metadata"]  # all when absent; also metrics, repository
//!
//! [[certificates]]
//! name = "edge"
//! dns = "edge.internal"          # a name that the certificate is for, or
//! sha256 = "2c26b4..."           # the certificate itself: openssl x509 -fingerprint -sha256
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use rustls_pki_types::ServerName;
use serde::Deserialize;

use super::Verb;
use crate::error::{Code, Result, ServeError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<KeyEntry>,
    #[serde(default)]
    certificates: Vec<CertificateEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: String,
    sha256: Option<String>,
    models: Option<Vec<String>>,
    verbs: Option<Vec<VerbName>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    name: String,
    sha256: Option<String>,
    dns: Option<String>,
    models: Option<Vec<String>>,
    verbs: Option<Vec<VerbName>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum VerbName {
    Infer,
    Metadata,
    Metrics,
    Repository,
}

impl VerbName {
    fn verb(self) -> Verb {
        match self {
            VerbName::Infer => Verb::Infer,
            VerbName::Metadata => Verb::Metadata,
            VerbName::Metrics => Verb::Metrics,
            VerbName::Repository => Verb::Repository,
        }
    }
}

/// Who holds a key or a certificate, and what it is for.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) key_sha256: Option<[u8; 32]>,
    pub(super) certificate_sha256: Option<[u8; 32]>,
    pub(super) certificate_name: Option<ServerName<'static>>,
    models: Option<Vec<String>>,
    verbs: Option<Vec<VerbName>>,
}

impl Holder {
    pub(super) fn may(&self, verb: Verb, model: Option<&str>) -> bool {
        let may_verb = |verbs: &Vec<VerbName>| verbs.iter().any(|name| name.verb() == verb);
        let may_model = |models: &Vec<String>| {
            model.is_none_or(|model| models.iter().any(|pattern| matches(pattern, model)))
        };
        self.verbs.as_ref().is_none_or(may_verb) && self.models.as_ref().is_none_or(may_model)
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<Holder>> {
    let wrong = |error: &dyn std::fmt::Display| {
        let message = format!("{}: {error}", path.display());
        ServeError::new(Code::FailedPrecondition, message)
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let file: File = toml::from_str(&text).map_err(|error| wrong(&error))?;
    let keys = file.keys.into_iter().map(of_key);
    let certificates = file.certificates.into_iter().map(of_certificate);
    let all = keys.chain(certificates);
    let holders: Vec<Holder> = all
        .collect::<Result<_, String>>()
        .map_err(|error| wrong(&error))?;
    let mut names = BTreeSet::new();
    if let Some(twice) = holders.iter().find(|holder| !names.insert(&holder.name)) {
        return Err(wrong(&format!("'{}' is there twice", twice.name)));
    }
    Ok(holders)
}

fn of_key(entry: KeyEntry) -> Result<Holder, String> {
    let Some(hash) = &entry.sha256 else {
        return Err(format!(
            "key '{}' has no sha256; hint: printf %s KEY | sha256sum",
            entry.name
        ));
    };
    Ok(Holder {
        key_sha256: Some(digest(&entry.name, hash)?),
        certificate_sha256: None,
        certificate_name: None,
        name: entry.name,
        models: entry.models,
        verbs: entry.verbs,
    })
}

fn of_certificate(entry: CertificateEntry) -> Result<Holder, String> {
    if entry.sha256.is_none() && entry.dns.is_none() {
        return Err(format!(
            "certificate '{}' has neither dns nor sha256",
            entry.name
        ));
    }
    let hash = entry.sha256.as_ref();
    let dns = entry.dns.map(|dns| {
        ServerName::try_from(dns).map_err(|error| format!("certificate '{}': {error}", entry.name))
    });
    Ok(Holder {
        key_sha256: None,
        certificate_sha256: hash.map(|hash| digest(&entry.name, hash)).transpose()?,
        certificate_name: dns.transpose()?,
        name: entry.name,
        models: entry.models,
        verbs: entry.verbs,
    })
}

/// 32 bytes from hexadecimal digits, which may have colons between them.
fn digest(name: &str, text: &str) -> Result<[u8; 32], String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let bytes: Option<Vec<u8>> = digits.filter(|digits| digits.len() == 64).map(|digits| {
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    });
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("sha256 of '{name}' must be 64 hexadecimal digits"))
}

/// Whether `text` is what `pattern` says; `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        let yes = [
            ("*", ""),
            ("*", "a"),
            ("a*", "ab"),
            ("*b", "ab"),
            ("a*c*e", "abcde"),
            ("ab", "ab"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        let no = [
            ("", "a"),
            ("a*", "b"),
            ("a*a", "a"),
            ("a*c*e", "abde"),
            ("ab", "abc"),
            ("*b", "bc"),
        ];
        for (pattern, text) in no {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
