//! Certificates and keys, and servers that take new ones while they serve.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{AddExtension, Next};
use axum::response::{IntoResponse, Response};
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tower_layer::Layer;

use crate::client::{ClientTls, Connector};
use crate::health::{LIVE, READY};

/// How often a server looks whether its files have changed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The files, all PEM, that say who one is and whom one trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// One's own certificate, followed by those between it and the authority.
    pub cert: Option<PathBuf>,
    /// The private key of that certificate.
    pub key: Option<PathBuf>,
    /// The authority that the certificates of servers must be signed by.
    pub ca: Option<PathBuf>,
    /// The authority that the certificates of clients must be signed by: makes a server want them.
    pub client_ca: Option<PathBuf>,
    /// The name that servers' certificates must be for, where that isn't the one they are called by.
    pub server_name: Option<String>,
}

impl TlsFiles {
    /// Whether nothing is named, so that there is no TLS.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both sides of somebody who serves and connects to others that serve: with TLS on both, or on none.
    ///
    /// # Errors
    /// If one side has TLS and the other hasn't, or as [`ServerTls::new`] and [`ClientTls::new`].
    pub fn both_sides(&self) -> Result<(Option<ServerTls>, Connector), TlsError> {
        let (server, client) = (ServerTls::new(self)?, ClientTls::new(self)?);
        if server.is_some() != client.is_some() {
            return Err(TlsError::Incomplete { needed: "a certificate and its key" });
        }
        Ok((server, Connector::new(client)))
    }
}

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Some of the files are named, but not all that are needed.
    #[error("TLS needs {needed}")]
    Incomplete {
        /// What is needed, in words.
        needed: &'static str,
    },
    /// A file isn't what it should be.
    #[error("`{}` is no use for TLS: {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate and key don't work together, or aren't of a kind that is known.
    #[error("`{}` and its key are no use for TLS: {problem}", cert.display())]
    Identity {
        /// The certificate's file.
        cert: PathBuf,
        /// What is wrong with them.
        problem: String,
    },
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| TlsError::File { file: file.to_owned(), problem: error.to_string() })
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem: String| TlsError::File { file: file.to_owned(), problem };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

/// A server's side of TLS. Clones share the certificates in use.
#[derive(Debug, Clone)]
pub struct ServerTls {
    files: ServerFiles,
    seen: ServerPem,
    current: RustlsConfig,
}

#[derive(Debug, Clone)]
struct ServerFiles {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The files' contents. No `Debug` output: one of them is a secret.
#[derive(Clone, PartialEq, Eq)]
struct ServerPem {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for ServerPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerPem").finish_non_exhaustive()
    }
}

impl ServerFiles {
    fn read(&self) -> Result<ServerPem, TlsError> {
        Ok(ServerPem {
            cert: read(&self.cert)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, pem: &ServerPem) -> Result<ServerConfig, TlsError> {
        let identity =
            |error: rustls::Error| TlsError::Identity { cert: self.cert.clone(), problem: error.to_string() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(identity)?;
        let builder = match (&self.client_ca, &pem.client_ca) {
            (Some(file), Some(pem)) => {
                let wrong = |problem: String| TlsError::File { file: file.clone(), problem };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file, pem)? {
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
                // A certificate is checked here if there is one; that there is one, request by request.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| wrong(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_slice(&pem.key)
            .map_err(|error| TlsError::File { file: self.key.clone(), problem: error.to_string() })?;
        let mut config =
            builder.with_single_cert(certificates(&self.cert, &pem.cert)?, key).map_err(identity)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ServerTls {
    /// Reads the files; `None` if none are named.
    ///
    /// # Errors
    /// If a certificate is named without its key or the other way round, or a file is missing or wrong.
    pub fn new(files: &TlsFiles) -> Result<Option<Self>, TlsError> {
        let (cert, key) = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (None, None) if files.client_ca.is_none() => return Ok(None),
            _ => return Err(TlsError::Incomplete { needed: "a certificate and its key" }),
        };
        let files = ServerFiles { cert, key, client_ca: files.client_ca.clone() };
        let seen = files.read()?;
        let current = RustlsConfig::from_config(Arc::new(files.config(&seen)?));
        Ok(Some(Self { files, seen, current }))
    }

    pub(crate) fn wants_client_certificates(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Takes new certificates when the files change; those in use stay for as long as the new ones are no use.
    pub(crate) async fn keep_up_to_date(mut self) {
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            let renewed = self.files.read().and_then(|pem| {
                if pem == self.seen {
                    return Ok(());
                }
                self.current.reload_from_config(Arc::new(self.files.config(&pem)?));
                tracing::info!(certificate = %self.files.cert.display(), "new certificates are in use");
                self.seen = pem;
                Ok(())
            });
            // Certificate and key are rarely replaced in the same instant: an error is told when it stays.
            let problem = renewed.err();
            if let Some(problem) = &problem
                && told.as_ref() == Some(problem)
            {
                tracing::warn!(%problem, "the last good certificates stay in use");
            }
            told = problem;
        }
    }
}

/// Whether a connection's client has shown a certificate that the server's authority signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientIsCertified(bool);

/// Ends TLS, and notes whether there was a client's certificate.
#[derive(Clone)]
pub(crate) struct CertificateCheck(RustlsAcceptor);

impl CertificateCheck {
    pub(crate) fn new(tls: &ServerTls) -> Self {
        Self(RustlsAcceptor::new(tls.current.clone()))
    }
}

type TlsStream = <RustlsAcceptor as Accept<TcpStream, ()>>::Stream;
type Accepted<S> = io::Result<(TlsStream, AddExtension<S, ClientIsCertified>)>;

impl<S: Send + 'static> Accept<TcpStream, S> for CertificateCheck {
    type Stream = TlsStream;
    type Service = AddExtension<S, ClientIsCertified>;
    type Future = Pin<Box<dyn Future<Output = Accepted<S>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let handshake = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = handshake.await?;
            let certified = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
            Ok((stream, axum::Extension(ClientIsCertified(certified)).layer(service)))
        })
    }
}

/// Lets only those through who have shown a certificate, but for health checks.
pub(crate) async fn require_certificate(request: Request, next: Next) -> Response {
    let certified = request.extensions().get::<ClientIsCertified>().is_some_and(|client| client.0);
    if certified || matches!(request.uri().path(), LIVE | READY) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "a client certificate is needed\n").into_response()
}
