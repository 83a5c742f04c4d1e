//! TLS as servers and clients of this crate speak it to each other.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fruitbatch_net::{
    ClientTls, Connector, HealthError, ServerTls, TlsError, TlsFiles, check_health, health_routes, listen,
    serve,
};
use fruitbatch_testkit::certificates::{Authority, CertificateFiles};

/// A server over TLS, by its address.
fn server(files: &TlsFiles) -> String {
    let (listener, address) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let router =
        Router::new().route("/secret", get(|| async { "told" })).merge(health_routes(|| true, "never\n"));
    serve(&tokio::runtime::Handle::current(), listener, router, ServerTls::new(files).unwrap());
    address.to_string()
}

fn server_files(own: &CertificateFiles, client_ca: Option<&Path>) -> TlsFiles {
    TlsFiles {
        cert: Some(own.cert.clone()),
        key: Some(own.key.clone()),
        client_ca: client_ca.map(Path::to_owned),
        ..TlsFiles::default()
    }
}

fn client(ca: &Path, own: Option<&CertificateFiles>) -> Connector {
    let files = TlsFiles {
        cert: own.map(|own| own.cert.clone()),
        key: own.map(|own| own.key.clone()),
        ca: Some(ca.to_owned()),
        ..TlsFiles::default()
    };
    Connector::new(ClientTls::new(&files).unwrap())
}

#[tokio::test]
async fn a_server_is_known_by_its_authority_and_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "others"));
    let address = server(&server_files(&ours.issue("server", &["127.0.0.1"]), None));
    check_health(&client(ours.file(), None), &address, "/secret").await.unwrap();

    for stranger in [client(others.file(), None), Connector::default()] {
        let refused = check_health(&stranger, &address, "/secret").await.unwrap_err();
        assert!(!matches!(refused, HealthError::NotHealthy { .. }), "{refused}");
    }
    // The right authority, but a certificate for somebody else.
    let elsewhere = server(&server_files(&ours.issue("elsewhere", &["elsewhere.example"]), None));
    check_health(&client(ours.file(), None), &elsewhere, "/secret").await.unwrap_err();
    let files = TlsFiles {
        ca: Some(ours.file().to_owned()),
        server_name: Some("elsewhere.example".to_owned()),
        ..TlsFiles::default()
    };
    let by_name = Connector::new(ClientTls::new(&files).unwrap());
    check_health(&by_name, &elsewhere, "/secret").await.unwrap();
}

#[tokio::test]
async fn with_mutual_tls_only_health_is_told_to_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "others"));
    let own = ours.issue("server", &["127.0.0.1"]);
    let address = server(&server_files(&own, Some(ours.file())));

    let known = client(ours.file(), Some(&ours.issue("driver", &["driver"])));
    for path in ["/secret", "/healthz", "/readyz"] {
        check_health(&known, &address, path).await.unwrap();
    }
    let nobody = client(ours.file(), None);
    check_health(&nobody, &address, "/healthz").await.unwrap();
    let refused = check_health(&nobody, &address, "/secret").await.unwrap_err();
    assert!(
        matches!(&refused, HealthError::NotHealthy { status, .. } if status.as_u16() == 403),
        "{refused}"
    );
    // What isn't there is nobody's business either.
    let refused = check_health(&nobody, &address, "/nowhere").await.unwrap_err();
    assert!(
        matches!(&refused, HealthError::NotHealthy { status, .. } if status.as_u16() == 403),
        "{refused}"
    );

    let impostor = client(ours.file(), Some(&others.issue("impostor", &["driver"])));
    let refused = check_health(&impostor, &address, "/healthz").await.unwrap_err();
    assert!(!matches!(refused, HealthError::NotHealthy { .. }), "{refused}");
}

#[tokio::test]
async fn new_certificates_are_taken_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(folder.path(), "old"), Authority::new(folder.path(), "new"));
    let address = server(&server_files(&old.issue("server", &["127.0.0.1"]), None));
    let (trusts_old, trusts_new) = (client(old.file(), None), client(new.file(), None));
    check_health(&trusts_old, &address, "/secret").await.unwrap();

    // Garbage changes nothing.
    let key = folder.path().join("server.key.pem");
    std::fs::write(&key, "not a key").unwrap();
    // The same files, from another authority.
    new.issue("server", &["127.0.0.1"]);
    let renewed = async {
        while check_health(&trusts_new, &address, "/secret").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), renewed).await.expect("it takes the new certificate");
    check_health(&trusts_old, &address, "/secret").await.unwrap_err();
    // And the client reads its own for each connection.
    let its_authority = folder.path().join("trusted.pem");
    std::fs::copy(old.file(), &its_authority).unwrap();
    let client = client(&its_authority, None);
    check_health(&client, &address, "/secret").await.unwrap_err();
    std::fs::copy(new.file(), &its_authority).unwrap();
    check_health(&client, &address, "/secret").await.unwrap();
}

#[test]
fn incomplete_or_wrong_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ours");
    let own = authority.issue("own", &["127.0.0.1"]);
    let whole = TlsFiles { ca: Some(authority.file().to_owned()), ..server_files(&own, None) };
    assert!(whole.both_sides().unwrap().0.is_some());
    assert!(TlsFiles::default().both_sides().unwrap().0.is_none());

    let without = |change: fn(&mut TlsFiles)| {
        let mut files = whole.clone();
        change(&mut files);
        files.both_sides().unwrap_err()
    };
    assert!(matches!(without(|files| files.key = None), TlsError::Incomplete { .. }));
    assert!(matches!(without(|files| files.ca = None), TlsError::Incomplete { .. }));
    assert!(matches!(without(|files| (files.cert, files.key) = (None, None)), TlsError::Incomplete { .. }));
    assert!(matches!(without(|files| files.ca = Some("/nowhere".into())), TlsError::File { .. }));
    assert!(matches!(without(|files| files.key = files.cert.clone()), TlsError::File { .. }));
    assert!(matches!(without(|files| files.cert = files.key.clone()), TlsError::File { .. }));
    let other_key = TlsFiles { key: Some(authority.issue("other", &["x"]).key), ..whole.clone() };
    assert!(matches!(other_key.both_sides().unwrap_err(), TlsError::Identity { .. }));
    // Whatever is wrong, keys are never told.
    let told = format!("{:?}", ServerTls::new(&whole).unwrap());
    assert!(!told.contains("PRIVATE") && !told.contains("BEGIN"), "{told}");
}
