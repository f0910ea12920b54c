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

/// TLS as it is configured now.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// TLS from these files.
    ///
    /// # Errors
    /// When a file cannot be read or they do not belong together.
    pub fn load(files: TlsFiles) -> Result<Tls> {
        let config = RwLock::new(Arc::new(config(&files)?));
        Ok(Tls { files, config })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

impl Reload for Tls {
    fn files(&self) -> Vec<PathBuf> {
        let TlsFiles {
            certificate, key, ..
        } = &self.files;
        let roots = self.files.client_roots.iter();
        [certificate, key]
            .into_iter()
            .chain(roots)
            .cloned()
            .collect()
    }

    fn reload(&self) -> Result<()> {
        let new = Arc::new(config(&self.files)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn config(files: &TlsFiles) -> Result<ServerConfig> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ServeError::new(Code::Internal, error.to_string()))?;
    let builder = match &files.client_roots {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| wrong(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if files.is_client_optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier = verifier.build().map_err(|error| wrong(path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error))?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&files.key, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, error))?;
    let found: Vec<_> = found
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, error))?;
    if found.is_empty() {
        return Err(wrong(path, "no certificate in it"));
    }
    Ok(found)
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> ServeError {
    let message = format!("{}: {error}; hint: a PEM file is expected", path.display());
    ServeError::new(Code::FailedPrecondition, message)
}
