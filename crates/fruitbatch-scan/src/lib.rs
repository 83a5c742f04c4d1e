//! The table `images`: photos under a folder or an S3 prefix as rows of a DataFusion table, for one process and for a
//! cluster alike; and [`PartTable`], the rows of Parquet files, in the same way.
//!
//! # Columns
//! As Spark's `binaryFile` (`path`, `modificationTime`, `length`, `content`), and a few more:
//!
//! | column | type | null | meaning |
//! |---|---|---|---|
//! | `path` | `Utf8` | no | relative to the table's root, `/` between folders, unique |
//! | `modification_time` | `Timestamp(µs, UTC)` | no | last change |
//! | `length` | `Int64` | no | bytes, as listed |
//! | `content` | `Binary` | yes | the photo's bytes; null where they couldn't be read |
//! | `etag` | `Utf8` | no | the store's mark for this version of the photo |
//! | `label` | `Utf8` | yes | the photo's label |
//! | `split` | `Utf8` | yes | its part of a divided data set (`Training`, `Test`, ...) |
//! | `read_reason` | `Utf8` | yes | why `content` is null, one word: `vanished`, `changed`, `access-denied`, `archived`, `too-large` |
//! | `read_detail` | `Utf8` | yes | the same in words |
//!
//! # What is read
//! The listing is part of the [`ImageTable`], or lies in Parquet files ([`listing_parts`]) where it is too long to travel
//! with a plan. Only a query that uses `content`, `read_reason` or `read_detail` reads
//! photos; filters on the other columns and limits are applied to the listing first, so photos they leave out are never
//! read. A photo is read only in the version that was listed.
//!
//! Reading runs ahead of computing on a task of its own ([`ReadRuntime`]), within the memory bound that [`ScanOptions`]
//! states.
//!
//! # Which failures are whose
//! A photo that can't be read is a row like any other, with null `content` and a reason. A fault of network or server
//! says nothing about the photo: it fails the task with an I/O error, which Ballista tries again ([`StorageFault`]). A place
//! that can't be read at all fails the task for good.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use datafusion::prelude::*;
//! use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
//! use fruitbatch_storage::StorageOptions;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("apple.jpg"), b"not really a photo")?;
//!
//! let photo = ImageRow { path: "apple.jpg".to_owned(), length: 18, ..ImageRow::default() };
//! let root = folder.path().to_str().expect("the folder's name is UTF-8").parse()?;
//! let images = ImageTable::new(root, StorageOptions::default(), vec![photo], ScanOptions::default());
//!
//! let session = SessionContext::new();
//! session.register_table("images", Arc::new(images))?;
//! let rows = session.sql("SELECT path, content FROM images").await?.collect().await?;
//! assert_eq!(rows[0].num_rows(), 1);
//! # Ok(())
//! # }
//! ```

pub mod codec;
mod error;
mod image_row;
mod options;
mod part_table;
pub mod plan_node;
mod read_ahead;
mod read_parts_exec;
mod read_photos_exec;
pub mod schema;
mod table;
mod task_environment;

pub use error::{ScanError, StorageFault};
pub use image_row::{ImageRow, listing_parts};
pub use options::ScanOptions;
pub use part_table::{Part, PartFiles, PartTable};
pub use read_parts_exec::ReadPartsExec;
pub use read_photos_exec::ReadPhotosExec;
pub use schema::image_schema;
pub use table::ImageTable;
pub use task_environment::{PhotoMeter, ReadLimit, ReadRuntime, TaskStop};
