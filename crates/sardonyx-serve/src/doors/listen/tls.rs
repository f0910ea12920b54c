//! TLS, and clients known by their certificates, from files that may change while serving.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::super::watch::Reload;
use crate::error::{Code, Result, ServeError};

/// The files of TLS, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Roots of clients' certificates; clients without one are turned away. None asks for none.
    pub client_roots: Option<PathBuf>,
    /// Whether a client may do without a certificate although there are `client_roots`.
    pub is_client_optional: bool,
}

/// What the files of TLS say, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsTexts {
    /// The server's certificate, then those between it and the root.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// Roots of clients' certificates; clients without one are turned away. None asks for none.
    pub client_roots: Option<String>,
}

/// Where PEM comes from, with a name for messages.
struct Pem {
    name: String,
    bytes: Vec<u8>,
}

impl Pem {
    fn file(path: &Path) -> Result<Pem> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| wrong(&name, error))?;
        Ok(Pem { name, bytes })
    }

    fn text(name: &str, text: &str) -> Pem {
        Pem {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
        }
    }
}

/// TLS as it is configured now.
#[derive(Debug)]
pub struct Tls {
    /// None when they were given as they are: then they stay.
    files: Option<TlsFiles>,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// TLS from these files.
    ///
    /// # Errors
    /// When a file cannot be read or they do not belong together.
    pub fn load(files: TlsFiles) -> Result<Tls> {
        let config = RwLock::new(Arc::new(from_files(&files)?));
        let files = Some(files);
        Ok(Tls { files, config })
    }

    /// TLS from these texts.
    ///
    /// # Errors
    /// When they are not PEM or do not belong together.
    pub fn from_texts(texts: &TlsTexts) -> Result<Tls> {
        let certificate = Pem::text("the server's certificate", &texts.certificate);
        let key = Pem::text("the server's key", &texts.key);
        let roots = texts.client_roots.as_deref();
        let roots = roots.map(|roots| Pem::text("the clients' roots", roots));
        let config = config(
            &certificate,
            &key,
            roots.as_ref().map(|roots| (roots, false)),
        )?;
        Ok(Tls {
            files: None,
            config: RwLock::new(Arc::new(config)),
        })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

impl Reload for Tls {
    fn files(&self) -> Vec<PathBuf> {
        let Some(files) = &self.files else {
            return Vec::new();
        };
        let roots = files.client_roots.iter();
        [&files.certificate, &files.key]
            .into_iter()
            .chain(roots)
            .cloned()
            .collect()
    }

    fn reload(&self) -> Result<()> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let new = Arc::new(from_files(files)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn from_files(files: &TlsFiles) -> Result<ServerConfig> {
    let roots = files.client_roots.as_deref().map(Pem::file).transpose()?;
    let roots = roots
        .as_ref()
        .map(|roots| (roots, files.is_client_optional));
    config(
        &Pem::file(&files.certificate)?,
        &Pem::file(&files.key)?,
        roots,
    )
}

/// The configuration; clients may do without a certificate where it is said of their roots.
fn config(certificate: &Pem, key: &Pem, roots: Option<(&Pem, bool)>) -> Result<ServerConfig> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ServeError::new(Code::Internal, error.to_string()))?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some((pem, is_optional)) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(pem)? {
                roots.add(root).map_err(|error| wrong(&pem.name, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if is_optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier = verifier.build().map_err(|error| wrong(&pem.name, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(&key.bytes);
    let secret = secret.map_err(|error| wrong(&key.name, error))?;
    let mut config = builder
        .with_single_cert(chain, secret)
        .map_err(|error| wrong(&key.name, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(&pem.bytes);
    let found: Vec<_> = found
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&pem.name, error))?;
    if found.is_empty() {
        return Err(wrong(&pem.name, "no certificate in it"));
    }
    Ok(found)
}

fn wrong(name: &str, error: impl std::fmt::Display) -> ServeError {
    let message = format!("{name}: {error}; hint: a PEM file is expected");
    ServeError::new(Code::FailedPrecondition, message)
}
