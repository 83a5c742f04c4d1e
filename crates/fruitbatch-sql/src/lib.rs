//! SQL over photos, features and results, on the cluster of this process or on a fleet.
//!
//! # Tables
//! A query reads what it names in its table functions, and nothing else:
//!
//! | table function | rows | columns |
//! |---|---|---|
//! | `images('PLACE')` | the photos of a folder, a glob or `s3://BUCKET/PREFIX/` | those of [`fruitbatch_scan`] |
//! | `features('OUT')` | the features of a run | `path`, `label`, `etag`, `size`, `features` |
//! | `results('OUT')` | its clusters | those of `results.parquet` |
//!
//! OUT must be that of a complete run, and its files those that the run wrote: each is checked against its digest when it is
//! read, by whoever reads it. Photos and files of OUT are read by executors, each with credentials of its own; a plan holds
//! names alone. A listing of more than [`LISTED_IN_PLAN`] photos goes into Parquet files for the time of the query.
//!
//! # Functions
//! [`sql_functions`] are, beside DataFusion's own:
//!
//! | function | gives | |
//! |---|---|---|
//! | `embed(content, 'MODEL')` | `FixedSizeList<Float32>` | a photo's features, see [`fruitbatch_vision::embed_functions`] |
//! | `cosine_similarity(a, b)` | `Float64` | from -1 to 1, null for a vector without direction |
//! | `cluster_of(features, 'OUT')` | `Int32` | the cluster of the run's model |
//! | `distance_of(features, 'OUT')` | `Float64` | the distance to that cluster's centre |
//! | `nearest_label_of(features, 'OUT')` | `Utf8` | the label whose mean is nearest |
//!
//! The last three have the whole fitted model in the plan, at most 16 MiB, in place of OUT's name: executors need no way to
//! OUT for them.
//!
//! # Answers
//! An [`Answer`] comes batch by batch and is never whole in memory. [`print_table`] shows the first rows of one,
//! [`write_answer`] writes all of it. The cluster keeps a job's result on the executors' disks until it is fetched.
//!
//! # Example
//! ```
//! use std::num::NonZeroUsize;
//! use std::sync::Arc;
//! use fruitbatch_sql::{Query, SqlOptions, SqlSession, print_table};
//! use fruitbatch_vision::{CachedModelFiles, Catalogue, ModelSessions};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let photos = tempfile::tempdir()?;
//! std::fs::create_dir(photos.path().join("Orange"))?;
//! std::fs::write(photos.path().join("Orange/1.jpg"), b"not really a photo")?;
//!
//! let files = Arc::new(CachedModelFiles::new(photos.path().join("no model is needed")));
//! let models = ModelSessions::new(files.clone(), Catalogue::compiled_in(), NonZeroUsize::MIN);
//! let session = SqlSession::start(SqlOptions::default(), Arc::new(models), files).await?;
//!
//! let place = photos.path().display();
//! let query: Query = format!("SELECT label, count(*) AS photos FROM images('{place}') GROUP BY ALL").parse()?;
//! let mut answer = session.query(&query, None).await?;
//! let mut table = Vec::new();
//! print_table(&mut answer, 10, &mut table).await?;
//! answer.close().await;
//! assert!(String::from_utf8(table)?.contains("Orange"));
//! session.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod cosine;
mod dialect;
mod error;
mod fitted;
mod formats;
mod functions;
mod query;
mod resolved;
mod run_output;
mod scratch;
mod session;
mod table_view;
mod vectors;

pub use error::SqlError;
pub use formats::{Format, write_answer};
pub use functions::sql_functions;
pub use query::Query;
pub use resolved::LISTED_IN_PLAN;
pub use session::{Answer, SqlOptions, SqlSession};
pub use table_view::print_table;
