//! The client's side of a connection.

use std::error::Error;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::tls::{TlsError, TlsFiles, read};

/// A client's side of TLS: the files are read for every connection, so that renewed ones are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    files: TlsFiles,
}

impl ClientTls {
    /// `None` if no files are named.
    ///
    /// # Errors
    /// If the servers' authority isn't named, a certificate without its key, or a file can't be read.
    pub fn new(files: &TlsFiles) -> Result<Option<Self>, TlsError> {
        if files.is_empty() {
            return Ok(None);
        }
        if files.ca.is_none() {
            return Err(TlsError::Incomplete {
                needed: "the authority that the servers' certificates are signed by",
            });
        }
        if files.cert.is_some() != files.key.is_some() {
            return Err(TlsError::Incomplete { needed: "a certificate and its key" });
        }
        let tls = Self { files: files.clone() };
        tls.config()?;
        Ok(Some(tls))
    }

    /// What a connection that is made now needs.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn config(&self) -> Result<ClientTlsConfig, TlsError> {
        let mut config = ClientTlsConfig::new();
        if let Some(ca) = &self.files.ca {
            config = config.ca_certificate(Certificate::from_pem(read(ca)?));
        }
        if let (Some(cert), Some(key)) = (&self.files.cert, &self.files.key) {
            config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &self.files.server_name {
            config = config.domain_name(name);
        }
        Ok(config)
    }
}

/// Why a server can't be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// That is no address.
    #[error("`{address}` is no address: expected HOST:PORT")]
    Address {
        /// What was given.
        address: String,
    },
    /// The files of one's own side are no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody listens there, the network is down, or one side doesn't trust the other.
    #[error("`{address}` can't be reached: {problem}")]
    Unreachable {
        /// Where.
        address: String,
        /// What went wrong.
        problem: String,
    },
}

/// Connects to servers, over TLS if there is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connector {
    tls: Option<ClientTls>,
}

impl Connector {
    /// Over TLS, or without for `None`.
    pub fn new(tls: Option<ClientTls>) -> Self {
        Self { tls }
    }

    /// Whether connections are over TLS.
    pub fn uses_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The way to `address` (`HOST:PORT`), for more settings.
    ///
    /// # Errors
    /// If that is no address, or a file of TLS can't be read or is wrong.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, ConnectError> {
        let scheme = if self.uses_tls() { "https" } else { "http" };
        let wrong = |_| ConnectError::Address { address: address.to_owned() };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(wrong)?;
        self.secure(endpoint)
    }

    /// An endpoint over `https` with what this side knows of TLS; without TLS it stays what it is.
    ///
    /// # Errors
    /// If a file of TLS can't be read or is wrong.
    pub fn secure(&self, endpoint: Endpoint) -> Result<Endpoint, ConnectError> {
        let Some(tls) = &self.tls else { return Ok(endpoint) };
        let address = endpoint.uri().to_string();
        endpoint
            .tls_config(tls.config()?)
            .map_err(|error| ConnectError::Unreachable { address, problem: root_of(&error) })
    }

    /// Connects now.
    ///
    /// # Errors
    /// As [`endpoint`](Self::endpoint), and if nobody answers there.
    pub async fn connect(&self, address: &str) -> Result<Channel, ConnectError> {
        let endpoint = self.endpoint(address)?;
        endpoint.connect().await.map_err(|error| ConnectError::Unreachable {
            address: address.to_owned(),
            problem: root_of(&error),
        })
    }
}

/// The innermost cause, which says what happened: those around it only say `transport error`.
pub fn root_of(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
