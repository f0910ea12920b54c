//! Who may do what: bearer keys and client certificates, each with the models and verbs that it
//! is for.
//!
//! Keys are kept as SHA-256 hashes only; a key is a long random text, so a slow hash would only
//! slow the server. Without a file of keys everybody may do everything.

mod file;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use super::watch::Reload;
use crate::error::{Code, Result, ServeError};
use file::Holder;

/// What a request does, as scopes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Runs a model.
    Infer,
    /// Reads what a model is, or what there is.
    Metadata,
    /// Reads metrics and statistics.
    Metrics,
    /// Loads, unloads and configures.
    Repository,
}

impl Verb {
    /// Its name in the file of keys.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Infer => "infer",
            Verb::Metadata => "metadata",
            Verb::Metrics => "metrics",
            Verb::Repository => "repository",
        }
    }
}

/// The keys as they are now.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    holders: RwLock<Arc<Vec<Holder>>>,
}

/// Somebody who is known; asked whether they may do a thing.
#[derive(Debug, Clone)]
pub struct Principal {
    holders: Arc<Vec<Holder>>,
    index: usize,
}

impl Keys {
    /// Keys from a file.
    ///
    /// # Errors
    /// When it cannot be read or is wrong; says where.
    pub fn load(path: impl Into<PathBuf>) -> Result<Keys> {
        let path = path.into();
        let holders = RwLock::new(Arc::new(file::read(&path)?));
        Ok(Keys { path, holders })
    }

    /// Who asks, by the header `authorization` or else by their certificate.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] when nobody who is known.
    pub fn principal(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Result<Principal> {
        let holders = self.holders.read().unwrap_or_else(PoisonError::into_inner);
        let holders = Arc::clone(&holders);
        let found = match headers.get(AUTHORIZATION) {
            Some(header) => bearer(header.as_bytes()).and_then(|key| by_key(&holders, key)),
            None => certificate.and_then(|shown| by_certificate(&holders, shown)),
        };
        match found {
            Some(index) => Ok(Principal { holders, index }),
            None => Err(unknown(headers.contains_key(AUTHORIZATION))),
        }
    }
}

impl Reload for Keys {
    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn reload(&self) -> Result<()> {
        let new = Arc::new(file::read(&self.path)?);
        *self.holders.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

impl Principal {
    /// Their name in the file.
    pub fn name(&self) -> &str {
        &self.holders[self.index].name
    }

    /// Whether they may do `verb`, to `model` where there is one.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] when not.
    pub fn check(&self, verb: Verb, model: Option<&str>) -> Result<()> {
        let holder = &self.holders[self.index];
        if holder.may(verb, model) {
            return Ok(());
        }
        let of = model.map_or(String::new(), |model| format!(" on model '{model}'"));
        let message = format!("'{}' may not {}{of}", holder.name, verb.name());
        Err(ServeError::new(Code::PermissionDenied, message))
    }
}

fn unknown(has_tried: bool) -> ServeError {
    let message = if has_tried {
        "the credentials are not known"
    } else {
        "credentials are needed; hint: send the header 'authorization: Bearer KEY'"
    };
    ServeError::new(Code::Unauthenticated, message)
}

fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = header.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

/// Every key is compared whole, so that the time taken says nothing of how much was right.
fn by_key(holders: &[Holder], key: &[u8]) -> Option<usize> {
    let hash: [u8; 32] = Sha256::digest(key).into();
    let mut found = None;
    for (index, holder) in holders.iter().enumerate() {
        let Some(expected) = &holder.key_sha256 else {
            continue;
        };
        let pairs = expected.iter().zip(&hash);
        let difference = pairs.fold(0, |all, (left, right)| {
            std::hint::black_box(all | left ^ right)
        });
        if difference == 0 {
            found = Some(index);
        }
    }
    found
}

fn by_certificate(holders: &[Holder], shown: &CertificateDer<'_>) -> Option<usize> {
    let hash: [u8; 32] = Sha256::digest(shown.as_ref()).into();
    let leaf = webpki::EndEntityCert::try_from(shown).ok();
    holders.iter().position(|holder| {
        let by_name = holder.certificate_name.as_ref().zip(leaf.as_ref());
        holder.certificate_sha256 == Some(hash)
            || by_name
                .is_some_and(|(name, leaf)| leaf.verify_is_valid_for_subject_name(name).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Keys> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, text).expect("written");
        Keys::load(path)
    }

    fn headers(value: &str) -> HeaderMap {
        let value = value.parse().expect("a header value");
        [(AUTHORIZATION, value)].into_iter().collect()
    }

    /// The hash of `open sesame`.
    const FILE: &str = r#"
        [[keys]]
        name = "team"
        sha256 = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb"
        models = ["mnist*", "exact"]
        verbs = ["infer", "metadata"]
    "#;

    #[test]
    fn a_known_key_may_what_its_scopes_say() {
        let keys = keys(FILE).expect("a file of keys");
        for header in [
            "Bearer open sesame",
            "bearer open sesame ",
            "BEARER  open sesame",
        ] {
            let principal = keys.principal(&headers(header), None).expect("known");
            assert_eq!(principal.name(), "team");
            assert!(principal.check(Verb::Infer, Some("mnist-2")).is_ok());
            assert!(principal.check(Verb::Metadata, Some("exact")).is_ok());
            assert!(principal.check(Verb::Metadata, None).is_ok());
            for (verb, model) in [
                (Verb::Infer, Some("exactly")),
                (Verb::Infer, Some("other")),
                (Verb::Repository, Some("exact")),
                (Verb::Metrics, None),
            ] {
                let error = principal.check(verb, model).expect_err("out of scope");
                assert_eq!(error.code, Code::PermissionDenied);
            }
        }
    }

    #[test]
    fn nobody_else_is_let_in() {
        let keys = keys(FILE).expect("a file of keys");
        let wrong = [
            "Bearer open sesam",
            "Bearer ",
            "Basic open sesame",
            "open sesame",
            "",
        ];
        for header in wrong.map(headers).into_iter().chain([HeaderMap::new()]) {
            let error = keys.principal(&header, None).expect_err("unknown");
            assert_eq!(error.code, Code::Unauthenticated, "{header:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (text, expected) in [
            ("[[keys]]\nname = 'a'", "no sha256"),
            (
                "[[keys]]\nname = 'a'\nsha256 = 'ab'",
                "64 hexadecimal digits",
            ),
            ("[[keys]]\nname = 'a'\nkey = 'ab'", "unknown field `key`"),
            (&FILE.replace("infer", "inver"), "inver"),
            (&format!("{FILE}\n{FILE}"), "twice"),
        ] {
            let error = keys(text).expect_err("a wrong file");
            assert!(error.message.contains(expected), "{}", error.message);
        }
    }
}
