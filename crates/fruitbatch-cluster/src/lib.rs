//! Ballista as fruitbatch uses it: sessions, codecs, schedulers and executors, and a whole cluster inside one process.
//!
//! # One way of running
//! A query is always planned by a Ballista scheduler and run by Ballista executors, which get it as bytes over gRPC and
//! hand its results out over Arrow Flight. [`Scheduler`] and [`Executor`] are the two roles; [`LocalCluster`] is one of
//! each inside this process, on loopback ports; [`connect`] reaches any other. Both give a [`SessionContext`](datafusion::prelude::SessionContext) with the same
//! behaviour, so what works here works on a fleet.
//!
//! # Jobs
//! Every query is a job, and several may run at the same time:
//! - Its stream yields record batches as the executors hand them out, **in no particular order**.
//! - Dropping the stream cancels the job; its tasks stop at their next batch, and their slots are free again.
//! - A task that failed for a storage fault is tried again, four times in all; results of the failed attempts are not
//!   part of the result. Anything else fails the job at once.
//! - What a stream reports is a [`ClusterError`] inside DataFusion's error; [`ClusterError::from`] takes it out, and
//!   [`ClusterError::is_retryable`] says whether the same job may succeed later.
//!
//! # Who may go away when
//! - An executor that is silent for [`SchedulerOptions::executor_timeout`] is lost, and all it did for jobs that aren't over
//!   is done again by others. It notices that by the same clock, drops everything, and joins anew.
//! - An executor that is asked to leave ([`Executor::drain`]) finishes its tasks and hands out their results first.
//! - A driver that is silent for [`SchedulerOptions::driver_timeout`] has its jobs cancelled. [`FleetWatch`] is its sign of
//!   life.
//! - A scheduler that goes away takes its jobs along; executors wait for it to come back, and drivers submit anew.
//! - A job during which eight executors were lost is cancelled: it may be what kills them.
//!
//! # Functions
//! Functions travel by name: driver, scheduler and executors each hold their own copy of the same functions, and what
//! they need to know beside their arguments they get as literal arguments. [`EXECUTOR_HOST`] is everywhere.
//!
//! # Example
//! ```
//! use std::num::NonZeroUsize;
//! use std::sync::Arc;
//! use fruitbatch_cluster::{LocalCluster, LocalClusterOptions};
//! use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
//! use fruitbatch_storage::StorageOptions;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("apple.jpg"), b"not really a photo")?;
//! let photo = ImageRow { path: "apple.jpg".to_owned(), length: 18, ..ImageRow::default() };
//! let root = folder.path().to_str().expect("the folder's name is UTF-8").parse()?;
//! let images = ImageTable::new(root, StorageOptions::default(), vec![photo], ScanOptions::default());
//!
//! let options = LocalClusterOptions { slots: NonZeroUsize::MIN, ..LocalClusterOptions::default() };
//! let cluster = LocalCluster::start(options, Vec::new()).await?;
//! let session = cluster.session();
//! session.register_table("images", Arc::new(images))?;
//! let rows = session.sql("SELECT path, content FROM images").await?.collect().await?;
//! assert_eq!(rows[0].num_rows(), 1);
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Quiet
//! Nothing is written to stdout or stderr. Ballista logs through `log`, this crate through `tracing`.

mod codecs;
mod error;
mod executor;
mod executor_host;
mod executor_metrics;
mod executor_service;
mod fleet_book;
mod fleet_protocol;
mod fleet_watch;
mod job_book;
mod job_client;
mod job_data;
mod job_planner;
mod local_cluster;
mod membership;
mod scheduler;
mod scheduler_metrics;
mod scheduler_services;
mod session;
mod task_failure;
mod task_runner;
mod threads;

pub use ballista_core::BALLISTA_VERSION;
pub use codecs::{LogicalCodec, PhysicalCodec};
pub use error::ClusterError;
pub use executor::{EXECUTOR_PORT, Executor, ExecutorOptions, ExecutorState};
pub use executor_host::EXECUTOR_HOST;
pub use fleet_protocol::FleetExecutor;
pub use fleet_watch::{FleetState, FleetWatch};
pub use local_cluster::{LocalCluster, LocalClusterOptions};
pub use membership::Membership;
pub use scheduler::{FleetSnapshot, SCHEDULER_PORT, Scheduler, SchedulerOptions};
pub use session::{MESSAGE_LIMIT, connect};
