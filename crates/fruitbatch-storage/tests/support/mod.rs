//! What the tests of S3 share.

// Each test program uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::time::Duration;

use fruitbatch_storage::{Location, Patience, Storage, StorageOptions};
use fruitbatch_testkit::s3_server::S3Server;

/// Names that stores, URLs and patterns like to stumble over; all of them photos.
pub(crate) const ODD_KEYS: &[&str] = &[
    "#1/100%.jpg",
    "Apple Braeburn/0 100.jpg",
    "_DSC1234.JPG",
    "a&b=c?d.jpg",
    "a+b c.jpg",
    "a//b.jpg",
    "a/b.jpg",
    "apple#12 100%+ü.jpg",
    "back\\slash.jpg",
    "back\\xe9.jpg",
    "percent%20encoded.jpg",
    "quote\"'<>&amp;.jpg",
    "tilde~!$*(),;:@[]{}^`|.jpg",
    "trailing space ",
    "🍎/苹果.jpg",
];

/// How to reach the server, with a region so that none is looked up.
pub(crate) fn options_for(server: &S3Server) -> StorageOptions {
    StorageOptions {
        endpoint_url: Some(server.endpoint_url().to_owned()),
        region: Some("us-east-1".to_owned()),
        ..StorageOptions::default()
    }
}

/// With waits so short that a test may make a lot of trouble.
pub(crate) fn storage_for(server: &S3Server) -> Storage {
    Storage::with_static_keys(options_for(server), server.access_key(), server.secret_key())
        .with_patience(impatient())
}

/// As many attempts as ever.
pub(crate) fn impatient() -> Patience {
    Patience {
        first_backoff: Duration::from_millis(2),
        max_backoff: Duration::from_millis(20),
        first_byte_timeout: Duration::from_millis(1500),
        stall_timeout: Duration::from_millis(1500),
        upload_timeout: Duration::from_millis(1500),
        ..Patience::default()
    }
}

pub(crate) fn location(text: &str) -> Location {
    text.parse().unwrap()
}
