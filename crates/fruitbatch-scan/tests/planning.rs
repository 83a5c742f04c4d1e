//! What a query of the table plans, and above all what it doesn't read.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::common::stats::Precision;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::prelude::SessionContext;
use fruitbatch_scan::{ImageRow, ImageTable, ReadPhotosExec, ScanOptions};
use fruitbatch_storage::StorageOptions;
use support::session_with;

/// A table whose photos don't exist: planning must not mind.
fn table(count: usize) -> ImageTable {
    let rows = (0..count).map(|number| ImageRow {
        path: format!("{number:03}.jpg"),
        length: number as u64,
        label: Some(if number % 2 == 0 { "Apple" } else { "Orange" }.to_owned()),
        ..ImageRow::default()
    });
    let options = ScanOptions { rows_per_partition: 10, ..ScanOptions::default() };
    ImageTable::new("/nowhere/at/all".parse().unwrap(), StorageOptions::default(), rows.collect(), options)
}

async fn plan(session: &SessionContext, query: &str) -> Arc<dyn ExecutionPlan> {
    session.sql(query).await.unwrap().create_physical_plan().await.unwrap()
}

async fn plan_text(count: usize, query: &str) -> String {
    displayable(plan(&session_with(table(count)), query).await.as_ref()).indent(false).to_string()
}

fn find_read_node(plan: &Arc<dyn ExecutionPlan>) -> Option<&ReadPhotosExec> {
    plan.downcast_ref::<ReadPhotosExec>().or_else(|| plan.children().into_iter().find_map(find_read_node))
}

#[tokio::test]
async fn only_columns_of_the_bytes_plan_reads() {
    for query in
        ["SELECT path, label, length, etag, split, modification_time FROM images", "SELECT label FROM images"]
    {
        assert!(!plan_text(25, query).await.contains("ReadPhotosExec"), "{query}");
    }
    for query in [
        "SELECT content FROM images",
        "SELECT path, read_reason FROM images",
        "SELECT read_detail FROM images",
    ] {
        assert!(plan_text(25, query).await.contains("ReadPhotosExec"), "{query}");
    }
}

#[tokio::test]
async fn columns_that_are_not_asked_for_are_not_made() {
    let session = session_with(table(5));
    let plan = plan(&session, "SELECT content IS NULL FROM images").await;
    assert_eq!(find_read_node(&plan).unwrap().columns(), ["content"]);
}

#[tokio::test]
async fn filters_on_the_listing_stand_below_the_read() {
    for condition in
        ["label = 'Apple'", "path LIKE '00%'", "length > 3", "label = 'Apple' AND length BETWEEN 2 AND 9"]
    {
        let text = plan_text(25, &format!("SELECT path, content FROM images WHERE {condition}")).await;
        let read = text.find("ReadPhotosExec").expect("the query reads");
        let filter = text.find("FilterExec").expect("the query filters");
        assert!(read < filter, "{condition}: the read must be above the filter\n{text}");
    }
}

#[tokio::test]
async fn filters_on_the_bytes_stand_above_the_read() {
    for condition in
        ["content IS NOT NULL", "content > X'00' OR length = 3", "random() < 2 AND read_reason IS NULL"]
    {
        let text = plan_text(25, &format!("SELECT path FROM images WHERE {condition}")).await;
        let read = text.find("ReadPhotosExec").expect("the query reads");
        assert!(text.find("FilterExec").is_some_and(|filter| filter < read), "{condition}\n{text}");
    }
}

#[tokio::test]
async fn a_limit_shortens_the_listing() {
    // One partition of ten rows, and not three.
    let text = plan_text(25, "SELECT content FROM images LIMIT 7").await;
    assert!(text.contains("ReadPhotosExec"), "{text}");
    assert!(text.contains("partitions=1,"), "{text}");
    let rows = session_with(table(25))
        .sql("SELECT path FROM images LIMIT 7")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(rows.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum::<usize>(), 7);
}

#[tokio::test]
async fn a_limit_behind_a_filter_takes_nothing_away_too_early() {
    let query = "SELECT path FROM images WHERE label = 'Orange' ORDER BY path LIMIT 8";
    let rows = session_with(table(25)).sql(query).await.unwrap().collect().await.unwrap();
    let paths: Vec<&str> =
        rows.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect();
    assert_eq!(
        paths,
        ["001.jpg", "003.jpg", "005.jpg", "007.jpg", "009.jpg", "011.jpg", "013.jpg", "015.jpg"]
    );

    let query = "SELECT path FROM images WHERE label = 'Orange' LIMIT 8";
    let rows = session_with(table(25)).sql(query).await.unwrap().collect().await.unwrap();
    assert_eq!(rows.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum::<usize>(), 8);
}

#[tokio::test]
async fn filters_and_projections_of_the_listing_give_the_right_rows() {
    let session = session_with(table(25));
    for (query, expected) in [
        ("SELECT path FROM images WHERE length >= 20", 5),
        ("SELECT label, path FROM images i WHERE i.label = 'Apple' AND i.length < 4", 2),
        ("SELECT 1 FROM images", 25),
        ("SELECT 1 FROM images WHERE label = 'Orange'", 12),
        ("SELECT path FROM images WHERE label IN (SELECT label FROM images WHERE length = 0)", 13),
    ] {
        let rows = session.sql(query).await.unwrap().collect().await.unwrap();
        assert_eq!(
            rows.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum::<usize>(),
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn partitions_are_as_long_as_asked_and_counted_exactly() {
    let session = session_with(table(25));
    let plan = plan(&session, "SELECT path, content FROM images").await;
    let read = find_read_node(&plan).unwrap();
    assert_eq!(read.properties().output_partitioning().partition_count(), 3);
    let statistics = StatisticsContext::new();
    for (partition, rows) in [(None, 25), (Some(0), 10), (Some(2), 5)] {
        let found = statistics.compute(read, &StatisticsArgs::new().with_partition(partition)).unwrap();
        assert_eq!(found.num_rows, Precision::Exact(rows), "partition {partition:?}");
    }
}

#[tokio::test]
async fn a_table_without_photos_is_an_empty_table() {
    let session = session_with(table(0));
    for query in ["SELECT * FROM images", "SELECT path FROM images WHERE label = 'Apple'"] {
        let rows = session.sql(query).await.unwrap().collect().await.unwrap();
        assert_eq!(
            rows.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum::<usize>(),
            0,
            "{query}"
        );
    }
}

#[tokio::test]
async fn explain_tells_where_and_how_photos_are_read() {
    let text = plan_text(25, "SELECT path, content FROM images").await;
    let node = text.lines().find(|line| line.contains("ReadPhotosExec")).unwrap();
    for part in ["/nowhere/at/all", "columns=[path, content]", "read_concurrency=16", "batch_rows=8"] {
        assert!(node.contains(part), "`{part}` is missing in: {node}");
    }
}

#[tokio::test]
async fn options_out_of_range_are_named() {
    let good = ScanOptions::default();
    for (name, options) in [
        ("rows_per_partition", ScanOptions { rows_per_partition: 0, ..good }),
        ("read_concurrency", ScanOptions { read_concurrency: 0, ..good }),
        ("batch_rows", ScanOptions { batch_rows: 0, ..good }),
        ("batch_bytes", ScanOptions { batch_bytes: 1 << 31, ..good }),
        ("max_photo_bytes", ScanOptions { max_photo_bytes: 0, ..good }),
    ] {
        assert!(options.validate().unwrap_err().to_string().contains(name), "{name}");
        let table =
            ImageTable::new("/nowhere".parse().unwrap(), StorageOptions::default(), Vec::new(), options);
        let error =
            session_with(table).sql("SELECT path FROM images").await.unwrap().collect().await.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn photos_are_sorted_by_the_columns_that_were_meant() {
    for query in [
        "SELECT content, path FROM images ORDER BY path",
        "SELECT * FROM images ORDER BY label, length DESC",
        "SELECT path, content FROM images ORDER BY content",
    ] {
        // Planning checks that each node has its input in the order it needs.
        let text = plan_text(25, query).await;
        let sort = text.find("SortExec").expect("the query sorts");
        let read = text.find("ReadPhotosExec").expect("the query reads");
        assert!(sort < read, "below the read, columns have other places\n{text}");
    }
}
