//! Results to PostgreSQL and DynamoDB: rows as Arrow batches go into a table, keyed by their `path`, and going there twice
//! changes nothing.
//!
//! | to do | use |
//! |---|---|
//! | read where to | [`Target`], [`TableName`] |
//! | write to PostgreSQL | [`export_to_postgres`], [`PostgresOptions`] |
//! | write to DynamoDB | [`export_to_dynamodb`], [`DynamoDbOptions`] |
//! | say what was done | [`ExportSummary`] |
//!
//! ```no_run
//! use fruitbatch_export::{PostgresOptions, Target, export_to_postgres};
//! use futures::stream;
//! # use std::sync::Arc;
//! # use arrow::array::{ArrayRef, Int32Array, StringArray};
//! # use arrow::record_batch::RecordBatch;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let paths: ArrayRef = Arc::new(StringArray::from(vec!["apple/1.jpg", "plum/1.jpg"]));
//! let clusters: ArrayRef = Arc::new(Int32Array::from(vec![0, 1]));
//! let batch = RecordBatch::try_from_iter([("path", paths), ("cluster", clusters)])?;
//!
//! // The password, if there is one, is found where libpq finds it.
//! let Target::Postgres(target) = "postgres://ada@db.example/fruits".parse()? else { unreachable!() };
//! let options = PostgresOptions { prune: true, ..PostgresOptions::default() };
//! let schema = batch.schema();
//! let batches = stream::iter([Ok(batch)]);
//! let summary = export_to_postgres(&target, &options, &schema, batches, &|rows| println!("{rows}")).await?;
//! println!("{summary:?}");
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! | | PostgreSQL | DynamoDB |
//! |---|---|---|
//! | the same export again | changes nothing, and writes no row | writes the same items again |
//! | readers during an export | see the old rows | see old and new ones |
//! | an export that ends before its end | leaves the old rows | leaves old and new ones; doing it again completes it |
//! | rows that are not in the results any more | stay, or go with `prune` | stay, or go with `prune` |
//! | attributes that the results don't have | stay (columns with a default) | go: the item is replaced |
//! | memory | one batch | one batch; all paths with `prune` |
//!
//! # Columns
//!
//! Texts, 32 and 64 bit integers, 32 and 64 bit floats and booleans, null or not, in any number that the target's rows can
//! hold. `path` is a text, never null, and occurs once.
//!
//! # Passwords
//!
//! A [`Target`] holds none: a URL with one is refused. PostgreSQL's comes from `PGPASSWORD`, or from `~/.pgpass` or
//! the file that `PGPASSFILE` names; AWS's credentials are those of the configuration that is handed in. No error's text
//! or `Debug` form shows any. TLS is rustls over ring.

mod columns;
mod dynamodb;
mod dynamodb_failure;
mod dynamodb_item;
mod error;
mod postgres;
mod postgres_copy;
mod postgres_failure;
mod postgres_table;
mod summary;
mod target;

pub use dynamodb::{DynamoDbOptions, export_to_dynamodb};
pub use error::{ExportError, TableNameError};
pub use postgres::{PostgresOptions, export_to_postgres};
pub use postgres_table::TableName;
pub use summary::{ExportSummary, RowChanges};
pub use target::{DynamoDbTarget, PostgresTarget, Target, TargetError};
