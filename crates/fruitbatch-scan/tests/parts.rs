//! Rows in files of their own: read as they were written, and only if nobody has changed them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use fruitbatch_scan::codec::{decode_node, decode_provider, encode_node, encode_provider};
use fruitbatch_scan::{
    ImageRow, ImageTable, PartFiles, PartTable, ReadPartsExec, ScanError, ScanOptions, listing_parts,
};
use fruitbatch_storage::{Location, StorageOptions};
use support::PhotoFolder;

/// A listing of photos that don't exist, in files of 10.
struct Listing {
    folder: tempfile::TempDir,
    rows: Vec<ImageRow>,
    files: PartFiles,
}

impl Listing {
    fn of(rows: Vec<ImageRow>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let parts = listing_parts(&rows, NonZeroUsize::new(10).unwrap()).map(|part| {
            let (part, bytes) = part.unwrap();
            std::fs::write(folder.path().join(&part.file), bytes).unwrap();
            part
        });
        let parts = parts.collect();
        let root: Location = folder.path().to_str().unwrap().parse().unwrap();
        let files = PartFiles { root, storage: StorageOptions::default(), parts };
        Self { folder, rows, files }
    }

    fn of_numbers(count: usize) -> Self {
        let row = |number: usize| ImageRow {
            path: format!("{number:03}.jpg"),
            length: number as u64,
            label: (!number.is_multiple_of(3)).then(|| format!("label {}", number % 3)),
            ..ImageRow::default()
        };
        Self::of((0..count).map(row).collect())
    }

    /// The listing's own columns, as any table of files has them.
    fn table(&self) -> PartTable {
        let full = fruitbatch_scan::image_schema();
        let columns: Vec<usize> =
            ["path", "length", "label"].iter().map(|name| full.index_of(name).unwrap()).collect();
        PartTable::new(self.files.clone(), Arc::new(full.project(&columns).unwrap()))
    }
}

fn session(table: impl TableProvider + 'static) -> SessionContext {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    session.register_table("t", Arc::new(table)).unwrap();
    session
}

async fn ask(session: &SessionContext, query: &str) -> Vec<RecordBatch> {
    session.sql(query).await.unwrap().collect().await.unwrap()
}

async fn shown(session: &SessionContext, query: &str) -> String {
    pretty_format_batches(&ask(session, query).await).unwrap().to_string()
}

#[tokio::test]
async fn rows_come_back_as_they_were_written() {
    let listing = Listing::of_numbers(35);
    assert_eq!(listing.files.parts.len(), 4);
    let session = session(listing.table());
    let batches = ask(&session, "SELECT length, path FROM t ORDER BY path").await;
    let rows: Vec<(i64, String)> = batches
        .iter()
        .flat_map(|batch| {
            let lengths = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
            let paths = batch.column(1).as_string::<i32>().iter().map(|path| path.unwrap().to_owned());
            lengths.into_iter().zip(paths.collect::<Vec<_>>())
        })
        .collect();
    let expected: Vec<(i64, String)> =
        listing.rows.iter().map(|row| (row.length as i64, row.path.clone())).collect();
    assert_eq!(rows, expected);
    let counted =
        shown(&session, "SELECT count(*), count(label), sum(length) FROM t WHERE length >= 5").await;
    // 5 to 34 are 30 photos with 3 + ... of them without a label: 6, 9, ..., 33, which are 10.
    assert!(counted.contains("| 30       | 20             | 585           |"), "{counted}");
    assert_eq!(listing.table().statistics().unwrap().num_rows, Precision::Exact(35));
}

#[tokio::test]
async fn a_limit_opens_no_more_files_than_it_needs() {
    let listing = Listing::of_numbers(35);
    for file in &listing.files.parts[2..] {
        std::fs::remove_file(listing.folder.path().join(&file.file)).unwrap();
    }
    let session = session(listing.table());
    for limit in [1, 10, 11, 20] {
        let rows: usize = ask(&session, &format!("SELECT * FROM t LIMIT {limit}"))
            .await
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        assert_eq!(rows, limit);
    }
    let failed = session.sql("SELECT * FROM t LIMIT 21").await.unwrap().collect().await.unwrap_err();
    assert!(failed.to_string().contains("part-00002.parquet` can't be read: it isn't there"), "{failed}");
}

#[tokio::test]
async fn a_file_that_changed_is_not_read() {
    let listing = Listing::of_numbers(15);
    let session = session(listing.table());
    let file = listing.folder.path().join("part-00001.parquet");
    let other = std::fs::read(listing.folder.path().join("part-00000.parquet")).unwrap();
    std::fs::write(&file, other).unwrap();
    let failed = session.sql("SELECT * FROM t").await.unwrap().collect().await.unwrap_err();
    assert!(failed.to_string().contains("isn't the file that the query was planned with"), "{failed}");
}

#[tokio::test]
async fn a_listing_in_files_gives_the_answers_of_one_in_the_plan() {
    let photos = PhotoFolder::with(33).await;
    let listing = Listing::of(photos.rows.clone());
    let in_plan = session(photos.table(ScanOptions::default()));
    let in_files = session(ImageTable::listed_in_parts(
        photos.root.clone(),
        StorageOptions::default(),
        listing.files.clone(),
        ScanOptions::default(),
    ));
    for query in [
        "SELECT * FROM t ORDER BY path",
        "SELECT label, count(*), sum(length) FROM t GROUP BY label ORDER BY label",
        "SELECT path, content FROM t WHERE label = 'label 1' AND length > 20 ORDER BY path",
        "SELECT count(*), sum(length) FROM t WHERE content IS NOT NULL AND length > 10",
        "SELECT count(*) FROM (SELECT content FROM t LIMIT 12)",
        "SELECT path FROM t WHERE false",
    ] {
        assert_eq!(shown(&in_files, query).await, shown(&in_plan, query).await, "{query}");
    }
}

#[tokio::test]
async fn tables_and_nodes_survive_the_way_through_bytes() {
    let listing = Listing::of_numbers(35);
    let before = listing.table();
    let bytes = encode_provider(&before).unwrap().unwrap();
    let after = decode_provider(&bytes).unwrap();
    let after = after.downcast_ref::<PartTable>().unwrap();
    assert_eq!((after.files(), after.schema()), (before.files(), before.schema()));

    let images = ImageTable::listed_in_parts(
        "s3://fruits/".parse().unwrap(),
        StorageOptions::default(),
        listing.files.clone(),
        ScanOptions::default(),
    );
    let decoded = decode_provider(&encode_provider(&images).unwrap().unwrap()).unwrap();
    assert_eq!(decoded.downcast_ref::<ImageTable>().unwrap().listing_files(), Some(&listing.files));

    let session = session(listing.table());
    let mut plan = session.sql("SELECT length FROM t").await.unwrap().create_physical_plan().await.unwrap();
    while !plan.is::<ReadPartsExec>() {
        plan = Arc::clone(plan.children()[0]);
    }
    let node = encode_node(plan.as_ref()).unwrap().unwrap();
    let decoded = decode_node(&node, Arc::clone(plan.children()[0])).unwrap();
    let text = |plan: &dyn ExecutionPlan| displayable(plan).indent(true).to_string();
    assert_eq!(text(decoded.as_ref()), text(plan.as_ref()));
    assert!(encode_node(plan.children()[0].as_ref()).unwrap().is_none(), "that one isn't ours");
    // Over what doesn't name files, it makes no plan.
    assert!(matches!(decode_node(&node, decoded), Err(ScanError::Codec { .. })));

    for length in 0..bytes.len() {
        // Cut between two of its fields, it may be a table of fewer files.
        if let Ok(shorter) = decode_provider(&bytes[..length]) {
            let shorter = shorter.downcast_ref::<PartTable>().unwrap();
            assert!(listing.files.parts.starts_with(&shorter.files().parts));
        }
    }
}
