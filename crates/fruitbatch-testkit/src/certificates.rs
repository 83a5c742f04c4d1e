//! Certificates for the length of a test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority that signs certificates, with its own in a folder: `NAME.ca.pem`.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new one of this name.
    ///
    /// # Panics
    /// If the files can't be written.
    pub fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("it can sign itself");
        let file = folder.join(format!("{name}.ca.pem"));
        std::fs::write(&file, certificate.pem()).expect("the folder can be written to");
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), file }
    }

    /// Its own certificate, PEM.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A certificate for these host names and addresses, for servers and clients alike, in the files `NAME.pem` and
    /// `NAME.key.pem`; those that are there are replaced.
    ///
    /// # Panics
    /// If the names are none, or the files can't be written.
    pub fn issue(&self, name: &str, hosts: &[&str]) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key can be made");
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>();
        let params = CertificateParams::new(hosts).expect("these are names or addresses");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        let files = CertificateFiles {
            cert: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key.pem")),
        };
        std::fs::write(&files.cert, certificate.pem()).expect("the folder can be written to");
        std::fs::write(&files.key, key.serialize_pem()).expect("the folder can be written to");
        files
    }
}
