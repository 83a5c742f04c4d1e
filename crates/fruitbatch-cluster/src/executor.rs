//! An executor: takes tasks from a scheduler, runs them, and hands their results out.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use ballista_executor::flight_service::BallistaFlightService;
use datafusion::logical_expr::ScalarUDF;
use fruitbatch_net::{TlsFiles, health_routes, listen, metrics_routes, serve};
use fruitbatch_scan::ReadLimit;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::error::{ClusterError, not_bound, not_started};
use crate::executor_metrics::ExecutorCollector;
use crate::executor_service::{CurrentName, ExecutorService};
use crate::job_data::JobData;
use crate::membership::{Member, Membership};
use crate::scheduler::DEFAULT_EXECUTOR_TIMEOUT;
use crate::session::{MESSAGE_LIMIT, SchedulerAddress};
use crate::task_runner::TaskRunner;
use crate::threads::Threads;

/// The port that an executor listens on unless told otherwise.
pub const EXECUTOR_PORT: u16 = 50051;

/// Threads for an executor's services and the reading of photos. None of them computes.
const SERVICE_THREADS: usize = 2;

/// How long stopping waits until no task runs any more.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How an [`Executor`] is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorOptions {
    /// The scheduler it works for: `HOST:PORT`, with or without `df://`.
    pub scheduler: String,
    /// Where it listens for the scheduler and for whoever fetches results. Default: 127.0.0.1, port [`EXECUTOR_PORT`];
    /// port 0 is any that is free.
    pub bind: SocketAddr,
    /// The name or address under which the scheduler reaches it. Default: the address it listens on, and if that is every
    /// address (0.0.0.0), the one that the scheduler sees it come from.
    pub advertise_host: Option<String>,
    /// Tasks that run at the same time, each on a thread of its own. Default: as many as this process has cores.
    pub slots: NonZeroUsize,
    /// Where the folder for intermediate results is made (and removed again at the end). Default: the system's folder for
    /// temporary files.
    pub work_dir: Option<PathBuf>,
    /// After so long without an answer from the scheduler it takes itself for given up: it drops what it has and joins
    /// anew. Default: 10 s; the scheduler must be told the same.
    pub timeout: Duration,
    /// The most bytes of photos that are read into one batch. Default: what the plan says.
    pub read_batch_bytes: Option<u64>,
    /// Certificates for its port, and for its way to the scheduler. Default: none, so no TLS.
    pub tls: TlsFiles,
}

impl ExecutorOptions {
    /// The defaults, for the scheduler at this address.
    pub fn new(scheduler: &str) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            bind: (Ipv4Addr::LOCALHOST, EXECUTOR_PORT).into(),
            advertise_host: None,
            slots: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            work_dir: None,
            timeout: DEFAULT_EXECUTOR_TIMEOUT,
            read_batch_bytes: None,
            tls: TlsFiles::default(),
        }
    }
}

/// A running executor.
///
/// It stays with its scheduler: when that goes away it waits until it is back, and when it was silent for too long itself
/// it joins anew, as an executor without any task. Dropping it stops it at once; [`Executor::drain`] lets it leave in
/// peace.
///
/// On its port are Ballista's services for the scheduler and for whoever fetches results, and over HTTP `/healthz` (it
/// lives), `/readyz` (it has joined) and `/metrics`.
pub struct Executor {
    address: SocketAddr,
    state: watch::Receiver<ExecutorState>,
    drain_until: watch::Sender<Option<Instant>>,
    tasks: Arc<TaskRunner>,
    // Dropped in this order: the folder goes when nobody is left to begin something new in it.
    services: Threads,
    task_threads: Threads,
    work_dir: TempDir,
}

/// What an executor is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorState {
    /// How it stands with the scheduler.
    pub membership: Membership,
    /// Tasks that run.
    pub running_tasks: usize,
    /// Jobs whose results lie here.
    pub held_jobs: usize,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("address", &self.address)
            .field("work_dir", &self.work_dir.path())
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// Starts one that knows `functions` beside DataFusion's own. Returns as soon as it listens; it joins the scheduler
    /// when it can, see [`state`](Self::state). Its metrics are told together with those of `registry`.
    ///
    /// # Errors
    /// [`ClusterError::Bind`] if the port can't be had, [`ClusterError::SchedulerAddress`], [`ClusterError::Tls`], and
    /// [`ClusterError::Start`] if a thread or the work folder can't be had.
    pub async fn start(
        options: ExecutorOptions,
        functions: Vec<Arc<ScalarUDF>>,
        mut registry: Registry,
    ) -> Result<Self, ClusterError> {
        let (tls, connector) = options.tls.both_sides()?;
        let scheduler: SchedulerAddress = options.scheduler.parse()?;
        let work_dir = make_work_dir(options.work_dir.as_deref())?;
        let services = Threads::start("fruitbatch-executor", SERVICE_THREADS)?;
        let task_threads = Threads::start("fruitbatch-task", options.slots.get())?;
        let (outcome_sender, outcomes) = mpsc::unbounded_channel();
        let tasks = Arc::new(TaskRunner::new(
            &functions,
            &connector,
            work_dir.path().to_owned(),
            services.handle(),
            task_threads.handle(),
            options.read_batch_bytes.map(|batch_bytes| ReadLimit { batch_bytes }),
            outcome_sender,
        )?);

        let name = Arc::new(CurrentName::default());
        let data = JobData { work_dir: work_dir.path().to_owned() };
        let first_state = ExecutorState {
            membership: Membership::Joining { problem: None },
            running_tasks: 0,
            held_jobs: 0,
        };
        let (publish, state) = watch::channel(first_state);
        let (drain_until, drain_requests) = watch::channel(None);
        let service =
            ExecutorService { name: Arc::clone(&name), tasks: Arc::clone(&tasks), data: data.clone() };
        tasks.register(&mut registry);
        registry.register_collector(Box::new(ExecutorCollector {
            slots: options.slots,
            tasks: Arc::clone(&tasks),
            state: state.clone(),
        }));
        let router = router(service, utf8(work_dir.path())?, state.clone()).merge(metrics_routes(registry));
        let threads = services.handle();
        let bind = options.bind;
        let address = services
            .run(async move {
                let (listener, address) = listen(bind).map_err(|error| not_bound(bind, &error))?;
                serve(&threads, listener, router, tls);
                Ok(address)
            })
            .await?;
        let advertise_host = options
            .advertise_host
            .or_else(|| (!address.ip().is_unspecified()).then(|| address.ip().to_string()));
        let member = Member {
            scheduler,
            connector,
            advertise_host,
            port: address.port(),
            slots: options.slots,
            timeout: options.timeout,
            name,
            tasks: Arc::clone(&tasks),
            data,
            outcomes,
            publish,
            drain_requests,
        };
        services.handle().spawn(member.stay());
        Ok(Self { address, state, drain_until, tasks, services, task_threads, work_dir })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is about, now and whenever that changes.
    pub fn state(&self) -> watch::Receiver<ExecutorState> {
        self.state.clone()
    }

    /// Waits until it has joined.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] if the scheduler won't have it.
    pub async fn joined(&self) -> Result<(), ClusterError> {
        let mut state = self.state();
        let decided = state
            .wait_for(|state| matches!(state.membership, Membership::Joined | Membership::Refused { .. }))
            .await;
        match decided.map(|state| state.membership.clone()) {
            Ok(Membership::Refused { message }) => Err(ClusterError::Refused { message }),
            Ok(_) => Ok(()),
            Err(_) => Err(ClusterError::Start { problem: "the executor has ended".to_owned() }),
        }
    }

    /// Waits until a task fails because the disk with the work folder is full. Every other task would fail as well, and
    /// quickly, so that this executor would be given them all: it should [`drain`](Self::drain) then.
    pub async fn disk_full(&self) {
        let mut disk_full = self.tasks.disk_full();
        if disk_full.wait_for(|full| *full).await.is_err() {
            // Nobody is left to find out.
            std::future::pending::<()>().await;
        }
    }

    /// Leaves in peace: takes no new task, ends those that run, goes on handing out the results of jobs that aren't over,
    /// tells the scheduler, and stops. It waits for all that for at most `patience`.
    pub async fn drain(self, patience: Duration) {
        self.drain_until.send_replace(Some(Instant::now() + patience));
        let mut state = self.state();
        // An error means that nobody is left to publish anything.
        let _ = state
            .wait_for(|state| matches!(state.membership, Membership::Left | Membership::Refused { .. }))
            .await;
        self.shutdown().await;
    }

    /// Stops it and waits until it has stopped; what still runs is cancelled.
    pub async fn shutdown(self) {
        let Self { tasks, services, task_threads, work_dir, .. } = self;
        tasks.cancel_jobs(|_| true);
        drop(tasks);
        let removed = tokio::task::spawn_blocking(move || {
            services.stop();
            task_threads.stop();
            work_dir.close()
        });
        match tokio::time::timeout(STOP_PATIENCE * 3, removed).await {
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the folder for intermediate results could not be removed");
            }
            Ok(_) => {}
            Err(_) => tracing::warn!("the executor did not end in time and is left where it is"),
        }
    }
}

fn router(service: ExecutorService, work_dir: String, state: watch::Receiver<ExecutorState>) -> Router {
    let mut services = tonic::service::Routes::builder();
    services
        .add_service(
            ExecutorGrpcServer::new(service)
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
        )
        .add_service(
            FlightServiceServer::new(BallistaFlightService::new(work_dir))
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
        );
    let is_ready = move || state.borrow().membership == Membership::Joined;
    services.routes().into_axum_router().merge(health_routes(is_ready, "not joined\n"))
}

fn make_work_dir(parent: Option<&Path>) -> Result<TempDir, ClusterError> {
    let mut folder = tempfile::Builder::new();
    folder.prefix("fruitbatch-");
    let folder = match parent {
        Some(parent) => folder.tempdir_in(parent),
        None => folder.tempdir(),
    };
    folder.map_err(|error| not_started("no folder for intermediate results")(error.into()))
}

fn utf8(folder: &Path) -> Result<String, ClusterError> {
    match folder.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => {
            Err(ClusterError::Start { problem: format!("the name of `{}` is not UTF-8", folder.display()) })
        }
    }
}
