//! Photos (any bytes will do: nothing here decodes them), a function that stands for a model, and clusters to run it on.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use fruitbatch_cluster::{LocalCluster, LocalClusterOptions};
use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
use fruitbatch_storage::{ListOptions, Location, Storage, StorageOptions};
use fruitbatch_testkit::s3_server::S3Server;

/// The bytes of photo `number`; their count is different for neighbouring photos.
pub(crate) fn photo_bytes(number: usize) -> Vec<u8> {
    vec![b'x'; 1 + number % 251]
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
        for label in 0..3 {
            std::fs::create_dir(folder.path().join(format!("label {label}"))).unwrap();
        }
        for number in 0..count {
            std::fs::write(folder.path().join(photo_path(number)), photo_bytes(number)).unwrap();
        }
        let root: Location = folder.path().to_str().unwrap().parse().unwrap();
        let rows = list(&root, &StorageOptions::default()).await;
        assert_eq!(rows.len(), count);
        Self { folder, root, rows }
    }

    /// The first `count` photos.
    pub(crate) fn table(&self, count: usize, options: ScanOptions) -> Arc<ImageTable> {
        let rows = self.rows[..count].to_vec();
        Arc::new(ImageTable::new(self.root.clone(), StorageOptions::default(), rows, options))
    }
}

pub(crate) async fn list(root: &Location, storage: &StorageOptions) -> Vec<ImageRow> {
    let listing = Storage::new(storage.clone()).list(root, &ListOptions::default()).await.unwrap();
    listing.photos.into_iter().map(ImageRow::from).collect()
}

/// How a server's public buckets are reached, without any credentials.
pub(crate) fn unsigned(server: &S3Server) -> StorageOptions {
    StorageOptions {
        endpoint_url: Some(server.endpoint_url().to_owned()),
        region: Some("us-east-1".to_owned()),
        no_sign_request: true,
        ..StorageOptions::default()
    }
}

/// What a [`measure`] function does before each batch it is given.
pub(crate) type BeforeBatch = dyn Fn(usize) -> Result<()> + Send + Sync;

/// A function `measure(content)` of photos: their number of bytes, null for null. `before_batch` gets the number of rows.
pub(crate) fn measure(before_batch: impl Fn(usize) -> Result<()> + Send + Sync + 'static) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Measure {
        signature: Signature::exact(vec![DataType::Binary], Volatility::Immutable),
        before_batch: Arc::new(before_batch),
    }))
}

#[derive(Clone)]
struct Measure {
    signature: Signature,
    before_batch: Arc<BeforeBatch>,
}

impl std::fmt::Debug for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Measure")
    }
}

impl PartialEq for Measure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.before_batch, &other.before_batch)
    }
}

impl Eq for Measure {}

impl std::hash::Hash for Measure {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        "measure".hash(state);
    }
}

impl ScalarUDFImpl for Measure {
    fn name(&self) -> &'static str {
        "measure"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let photos = arrays[0].as_binary::<i32>();
        (self.before_batch)(photos.len())?;
        let lengths = photos.iter().map(|photo| photo.map(|bytes| bytes.len() as i64));
        Ok(ColumnarValue::Array(Arc::new(lengths.collect::<Int64Array>()) as ArrayRef))
    }
}

pub(crate) async fn cluster(slots: usize, functions: Vec<Arc<ScalarUDF>>) -> LocalCluster {
    let options =
        LocalClusterOptions { slots: NonZeroUsize::new(slots).unwrap(), ..LocalClusterOptions::default() };
    LocalCluster::start(options, functions).await.unwrap()
}

/// `SELECT path, measure(content) FROM table`
pub(crate) fn measure_all(session: &SessionContext, table: Arc<ImageTable>) -> DataFrame {
    use datafusion::prelude::col;
    let function = session.state().scalar_functions()["measure"].clone();
    let frame = session.read_table(table).unwrap();
    frame.select(vec![col("path"), function.call(vec![col("content")])]).unwrap()
}

/// Checks that exactly the first `count` photos came, each once and with its own bytes.
pub(crate) fn assert_exact(batches: &[RecordBatch], count: usize, what: &str) {
    let mut found: Vec<(String, i64)> = Vec::new();
    for batch in batches {
        let paths = batch.column(0).as_string::<i32>();
        let lengths = batch.column(1).as_primitive::<datafusion::arrow::datatypes::Int64Type>();
        assert_eq!(lengths.null_count(), 0, "{what}");
        found.extend((0..batch.num_rows()).map(|row| (paths.value(row).to_owned(), lengths.value(row))));
    }
    found.sort();
    assert_eq!(found.len(), count, "{what}");
    let numbered = found.iter().map(|(path, length)| {
        let number: usize = path[path.len() - 9..path.len() - 4].parse().unwrap();
        (number, path, length)
    });
    for (number, path, length) in numbered {
        assert_eq!((path, *length), (&photo_path(number), photo_bytes(number).len() as i64), "{what}");
    }
    found.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(found.len(), count, "{what}: a path came twice");
}
