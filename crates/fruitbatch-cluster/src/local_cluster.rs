//! A whole cluster inside this process.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use fruitbatch_net::Connector;
use prometheus_client::registry::Registry;

use crate::error::ClusterError;
use crate::executor::{Executor, ExecutorOptions};
use crate::scheduler::{FOR_EVER, Scheduler, SchedulerOptions};
use crate::session::connect;

/// What a [`LocalCluster`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalClusterOptions {
    /// Tasks that run at the same time, each on a thread of its own. Default: as many as this process has cores.
    pub slots: NonZeroUsize,
    /// Where the folder for intermediate results is made (and removed again at the end). Default: the system's folder
    /// for temporary files.
    pub work_dir: Option<PathBuf>,
    /// The most bytes of photos that are read into one batch. Default: what the plan says.
    pub read_batch_bytes: Option<u64>,
}

impl Default for LocalClusterOptions {
    fn default() -> Self {
        Self {
            slots: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            work_dir: None,
            read_batch_bytes: None,
        }
    }
}

/// A [`Scheduler`] and one [`Executor`] in this process, talking over gRPC and Arrow Flight on loopback ports: the same
/// plans, codecs and functions as with a remote cluster.
///
/// Several jobs may run at the same time. The services and the reading of photos have runtimes of their own, tasks another
/// one with a thread for each slot, so that computing starves neither of them nor the caller's.
///
/// Dropping it stops everything at once; [`LocalCluster::shutdown`] waits for the end. Either way the work folder is
/// removed.
pub struct LocalCluster {
    session: SessionContext,
    address: String,
    executor: Executor,
    scheduler: Scheduler,
}

impl fmt::Debug for LocalCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCluster")
            .field("scheduler", &self.scheduler)
            .field("executor", &self.executor)
            .finish_non_exhaustive()
    }
}

impl LocalCluster {
    /// Starts scheduler and executor, both knowing `functions` beside DataFusion's own, and returns when the executor
    /// has registered.
    ///
    /// # Errors
    /// [`ClusterError::Start`] or [`ClusterError::Bind`] if a port, a thread or the work folder can't be had.
    pub async fn start(
        options: LocalClusterOptions,
        functions: Vec<Arc<ScalarUDF>>,
    ) -> Result<Self, ClusterError> {
        let any_port = (Ipv4Addr::LOCALHOST, 0).into();
        // Its parts can't lose each other, but the whole process may be asleep for days (a closed laptop), after which
        // everybody's last sign of life is old.
        let scheduler = SchedulerOptions {
            bind: any_port,
            executor_timeout: FOR_EVER,
            driver_timeout: FOR_EVER,
            ..SchedulerOptions::default()
        };
        let scheduler = Scheduler::start(scheduler, functions.clone(), Registry::default()).await?;
        let address = format!("df://{}", scheduler.address());
        let executor = ExecutorOptions {
            bind: any_port,
            slots: options.slots,
            work_dir: options.work_dir,
            read_batch_bytes: options.read_batch_bytes,
            timeout: FOR_EVER,
            ..ExecutorOptions::new(&address)
        };
        let executor = Executor::start(executor, functions.clone(), Registry::default()).await?;
        executor.joined().await?;
        let session = connect(&address, &Connector::default(), &functions).await?;
        Ok(Self { session, address, executor, scheduler })
    }

    /// A session whose queries run on this cluster, as [`connect`] makes it. All sessions of a cluster share their
    /// tables and settings.
    pub fn session(&self) -> SessionContext {
        self.session.clone()
    }

    /// Where the scheduler listens, `df://127.0.0.1:PORT`, for [`connect`].
    pub fn scheduler(&self) -> &str {
        &self.address
    }

    /// Stops everything and waits until it has stopped; what still runs is cancelled.
    pub async fn shutdown(self) {
        let Self { executor, scheduler, .. } = self;
        executor.shutdown().await;
        if tokio::task::spawn_blocking(move || scheduler.stop()).await.is_err() {
            tracing::warn!("the scheduler did not end properly");
        }
    }
}
