//! Photos (any bytes will do: nothing here decodes them) in a folder or on an S3 server of the test's own.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::sync::Arc;

use datafusion::prelude::{SessionConfig, SessionContext};
use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
use fruitbatch_storage::{ListOptions, Location, Storage, StorageOptions};
use fruitbatch_testkit::s3_server::S3Server;

/// The bytes of photo `number`, different for every photo and of different lengths.
pub(crate) fn photo_bytes(number: usize) -> Vec<u8> {
    format!("photo {number} ").into_bytes().repeat(1 + number % 7)
}

pub(crate) fn photo_path(number: usize) -> String {
    format!("label {}/photo {number:05}.jpg", number % 3)
}

pub(crate) struct PhotoFolder {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) root: Location,
    pub(crate) rows: Vec<ImageRow>,
}

impl PhotoFolder {
    pub(crate) async fn with(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..count {
            let file = folder.path().join(photo_path(number));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, photo_bytes(number)).unwrap();
        }
        let root: Location = folder.path().to_str().unwrap().parse().unwrap();
        let rows = list(&root, &StorageOptions::default()).await;
        assert_eq!(rows.len(), count);
        Self { folder, root, rows }
    }

    pub(crate) fn file(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn table(&self, options: ScanOptions) -> ImageTable {
        ImageTable::new(self.root.clone(), StorageOptions::default(), self.rows.clone(), options)
    }
}

pub(crate) struct PhotoBucket {
    pub(crate) server: S3Server,
    pub(crate) root: Location,
    pub(crate) storage: StorageOptions,
    pub(crate) rows: Vec<ImageRow>,
}

impl PhotoBucket {
    pub(crate) async fn with(count: usize) -> Self {
        let server = S3Server::start();
        for number in 0..count {
            server.put_object("fruits", &format!("all/{}", photo_path(number)), photo_bytes(number));
        }
        server.allow_anonymous_reads("fruits");
        let storage = StorageOptions {
            endpoint_url: Some(server.endpoint_url().to_owned()),
            region: Some("us-east-1".to_owned()),
            no_sign_request: true,
            ..StorageOptions::default()
        };
        let root: Location = "s3://fruits/all/".parse().unwrap();
        let rows = list(&root, &storage).await;
        assert_eq!(rows.len(), count);
        Self { server, root, storage, rows }
    }

    pub(crate) fn table(&self, options: ScanOptions) -> ImageTable {
        ImageTable::new(self.root.clone(), self.storage.clone(), self.rows.clone(), options)
    }

    /// How many photos have been asked for since the server started.
    pub(crate) fn reads(&self) -> usize {
        self.server.requests().iter().filter(|request| request.operation == "GetObject").count()
    }
}

async fn list(root: &Location, storage: &StorageOptions) -> Vec<ImageRow> {
    let listing = Storage::new(storage.clone()).list(root, &ListOptions::default()).await.unwrap();
    let row = |photo: fruitbatch_storage::ListedPhoto| ImageRow {
        label: photo.path.split_once('/').map(|(folder, _)| folder.to_owned()),
        ..photo.into()
    };
    listing.photos.into_iter().map(row).collect()
}

/// A session with the table `images`.
pub(crate) fn session_with(table: ImageTable) -> SessionContext {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    session.register_table("images", Arc::new(table)).unwrap();
    session
}
