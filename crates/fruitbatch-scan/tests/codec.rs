//! Tables and nodes survive the way through bytes; other bytes are errors.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use fruitbatch_scan::codec::{decode_read_photos, decode_table, encode_read_photos, encode_table};
use fruitbatch_scan::{ImageRow, ImageTable, ReadPhotosExec, ScanError, ScanOptions};
use fruitbatch_storage::StorageOptions;
use support::session_with;

fn table() -> ImageTable {
    let rows = vec![
        ImageRow {
            path: "Äpfel/a b#1 100%+é.jpg".to_owned(),
            modification_time: -1,
            length: u64::MAX,
            etag: "\"0123\"".to_owned(),
            label: Some("Äpfel".to_owned()),
            split: Some("Training".to_owned()),
        },
        // An empty label is not the same as none.
        ImageRow { path: "b.jpg".to_owned(), label: Some(String::new()), ..ImageRow::default() },
        ImageRow { path: "c.jpg".to_owned(), ..ImageRow::default() },
    ];
    let storage = StorageOptions {
        endpoint_url: Some("http://127.0.0.1:9".to_owned()),
        request_payer: true,
        force_path_style: Some(false),
        ..StorageOptions::default()
    };
    let options = ScanOptions {
        rows_per_partition: 2,
        read_concurrency: 3,
        batch_rows: 4,
        batch_bytes: 5,
        max_photo_bytes: ScanOptions::LARGEST,
    };
    ImageTable::new("s3://fruits/all of them/".parse().unwrap(), storage, rows, options)
}

async fn read_node() -> Arc<dyn ExecutionPlan> {
    let session = session_with(table());
    let frame = session.sql("SELECT label, content, path FROM images").await.unwrap();
    let mut plan = frame.create_physical_plan().await.unwrap();
    while !plan.is::<ReadPhotosExec>() {
        plan = Arc::clone(plan.children()[0]);
    }
    plan
}

#[test]
fn a_table_survives() {
    let before = table();
    let after = decode_table(&encode_table(&before).unwrap()).unwrap();
    assert_eq!(after.root(), before.root());
    assert_eq!(after.storage_options(), before.storage_options());
    assert_eq!(after.options(), before.options());
    assert_eq!(after.photos(), before.photos());
}

#[tokio::test]
async fn a_node_survives() {
    let plan = read_node().await;
    let before = plan.downcast_ref::<ReadPhotosExec>().unwrap();
    let after = decode_read_photos(&encode_read_photos(before).unwrap(), Arc::clone(before.input())).unwrap();
    assert_eq!(after.storage_options(), before.storage_options());
    assert_eq!(after.schema(), before.schema());
    let text = |plan: &dyn ExecutionPlan| displayable(plan).indent(true).to_string();
    assert_eq!(text(&after), text(before));
}

#[test]
fn foreign_and_damaged_bytes_are_errors() {
    let good = encode_table(&table()).unwrap();
    for length in 0..good.len() {
        // A shorter listing may still be a whole message; it must then be a beginning of the listing.
        match decode_table(&good[..length]) {
            Err(ScanError::Codec { problem }) => assert!(!problem.is_empty()),
            Err(error) => panic!("{error}"),
            Ok(shorter) => assert_eq!(shorter.photos(), &table().photos()[..shorter.photos().len()]),
        }
    }
    for position in 0..good.len() {
        for bit in 0..8 {
            let mut damaged = good.clone();
            damaged[position] ^= 1 << bit;
            // Whatever comes out, it comes without a panic; the marks in front are checked to the last bit.
            let decoded = decode_table(&damaged);
            assert!(position >= 8 || decoded.is_err(), "bit {bit} of byte {position}");
        }
    }
    assert!(decode_table(b"").is_err());
    assert!(decode_table(b"PAR1").is_err());
}

#[tokio::test]
async fn another_version_or_kind_is_named() {
    let plan = read_node().await;
    let node = plan.downcast_ref::<ReadPhotosExec>().unwrap();
    let mut bytes = encode_read_photos(node).unwrap();
    assert!(decode_table(&bytes).unwrap_err().to_string().contains("another kind"));
    bytes[6] = 200;
    let error = decode_read_photos(&bytes, Arc::clone(node.input())).unwrap_err();
    assert!(error.to_string().contains("version 200"), "{error}");
}

#[tokio::test]
async fn a_node_over_the_wrong_input_is_an_error() {
    let plan = read_node().await;
    let node = plan.downcast_ref::<ReadPhotosExec>().unwrap();
    let bytes = encode_read_photos(node).unwrap();
    // Its own output is no listing: the etag is gone.
    assert!(matches!(decode_read_photos(&bytes, Arc::clone(&plan)), Err(ScanError::Codec { .. })));
}
