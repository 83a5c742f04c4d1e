//! What the tests of both targets share: results as a run writes them.

// Each test program uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use futures::{Stream, stream};

/// Paths and labels that SQL, CSV, COPY and JSON like to stumble over.
pub(crate) const ODD_TEXTS: &[&str] = &[
    "quote\"'`;--.jpg",
    "comma, and\ttab.jpg",
    "line\nfeed\r.jpg",
    "back\\slash\\N.jpg",
    "\\N",
    "\\.",
    "NULL",
    "$1 %s {} ${x}.jpg",
    "🍎/苹果 é.jpg",
    "\u{1}\u{7f}\u{feff}.jpg",
    " spaces ",
];

/// Rows with these numbers and so many components. Some have no label, some are in no cluster.
pub(crate) fn results(rows: Range<usize>, components: usize) -> RecordBatch {
    let text = |row: usize| match ODD_TEXTS.get(row) {
        Some(text) => (*text).to_owned(),
        None => format!("Apple Braeburn/{row:06}.jpg"),
    };
    let label = |row: usize| (row % 7 != 3).then(|| text(row % 20));
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![
        ("path".to_owned(), Arc::new(StringArray::from_iter_values(rows.clone().map(text))), false),
        ("label".to_owned(), Arc::new(rows.clone().map(label).collect::<StringArray>()), true),
        (
            "label_index".to_owned(),
            Arc::new(rows.clone().map(|row| label(row).map(|_| row as i32 % 20)).collect::<Int32Array>()),
            true,
        ),
        (
            "cluster".to_owned(),
            Arc::new(Int32Array::from_iter_values(rows.clone().map(|row| row as i32 % 5 - 1))),
            false,
        ),
    ];
    for column in 0..=components {
        let name = if column == 0 { "distance".to_owned() } else { format!("pc_{column}") };
        let value = |row: usize| (row as f64 + 0.1) / (column as f64 + 3.0) - 100.0;
        columns.push((name, Arc::new(Float64Array::from_iter_values(rows.clone().map(value))), false));
    }
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The same columns with the values of a later run: other clusters for every third row.
pub(crate) fn later_results(rows: Range<usize>, components: usize) -> RecordBatch {
    let batch = results(rows.clone(), components);
    let cluster = |row: usize| row as i32 % 5 - 1 + i32::from(row.is_multiple_of(3)) * 100;
    let mut columns = batch.columns().to_vec();
    columns[3] = Arc::new(Int32Array::from_iter_values(rows.map(cluster)));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Rows `a` to `e` with a column of each type that results don't have: doubles and singles by these names, whole numbers and
/// truths.
pub(crate) fn odd_values(doubles: &str, singles: &str) -> RecordBatch {
    let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 0.1 + 0.2];
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("path", Arc::new(StringArray::from_iter_values(["a", "b", "c", "d", "e"])), false),
        (doubles, Arc::new(Float64Array::from_iter_values(numbers)), true),
        (singles, Arc::new(Float32Array::from_iter_values(numbers.map(|number| number as f32))), true),
        (
            "long",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None, Some(0), Some(-1)])),
            true,
        ),
        (
            "truth",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false)])),
            true,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// In batches of so many rows.
pub(crate) fn in_batches(
    batch: &RecordBatch,
    rows: usize,
) -> impl Stream<Item = Result<RecordBatch, ArrowError>> + Send + use<> {
    let starts = (0..batch.num_rows()).step_by(rows);
    let slice = |start| Ok(batch.slice(start, rows.min(batch.num_rows() - start)));
    stream::iter(starts.map(slice).collect::<Vec<_>>())
}

/// One batch, and then an error in place of the rest.
pub(crate) fn cut_short(batch: RecordBatch) -> impl Stream<Item = Result<RecordBatch, ArrowError>> + Send {
    stream::iter([Ok(batch), Err(ArrowError::ParquetError("cut".to_owned()))])
}

pub(crate) fn joined(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(batches[0].schema_ref(), batches).unwrap()
}

/// An address of 127.0.0.1 at which nobody listens.
pub(crate) fn silent_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// For exports of which nobody looks at the progress.
pub(crate) fn unseen(_: u64) {}
