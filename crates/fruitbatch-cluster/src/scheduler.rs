//! A scheduler: Ballista's, with the fleet's own service beside it, on one port.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::flight_proxy_service::BallistaFlightProxyService;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::{BallistaCluster, ClusterStateEvent};
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion::logical_expr::ScalarUDF;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use fruitbatch_net::{Connector, TlsFiles, health_routes, listen, metrics_routes, serve};
use futures::StreamExt;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

use crate::codecs::{LogicalCodec, PhysicalCodec};
use crate::error::{ClusterError, not_bound, not_started};
use crate::fleet_book::FleetBook;
use crate::fleet_protocol::{FleetExecutor, FleetServer};
use crate::job_book::JobBook;
use crate::scheduler_metrics::{BooksCollector, SchedulerMetrics};
use crate::scheduler_services::{FleetService, SchedulerService};
use crate::session::{MESSAGE_LIMIT, endpoint_override, session_config, session_state};
use crate::threads::Threads;

/// The port that a scheduler listens on unless told otherwise.
pub const SCHEDULER_PORT: u16 = 50050;

/// Ballista's scheduler as it is used here: logical and physical plans as DataFusion writes them.
pub(crate) type BallistaScheduler = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Threads of a scheduler. It computes nothing but plans.
const SERVICE_THREADS: usize = 2;

/// How often it is looked for executors and drivers that are gone.
const LOOK_FOR_THE_LOST: Duration = Duration::from_secs(2);

/// For what Ballista would give up on its own (drivers decide how long they wait for executors), and for what can't be lost
/// in a cluster of one process.
pub(crate) const FOR_EVER: Duration = Duration::from_hours(8760);

/// How a [`Scheduler`] is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerOptions {
    /// Where it listens, with one port for everything. Default: 127.0.0.1, port [`SCHEDULER_PORT`]; port 0 is any that is
    /// free.
    pub bind: SocketAddr,
    /// After so long without a sign of life an executor is lost, and its work is given to others. Default: 10 s.
    /// Executors must be told the same.
    pub executor_timeout: Duration,
    /// After so long without a sign of life of a driver its jobs are cancelled. Default: 60 s.
    pub driver_timeout: Duration,
    /// Certificates for its port, and for its way to the executors. Default: none, so no TLS.
    pub tls: TlsFiles,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            bind: (Ipv4Addr::LOCALHOST, SCHEDULER_PORT).into(),
            executor_timeout: DEFAULT_EXECUTOR_TIMEOUT,
            driver_timeout: Duration::from_mins(1),
            tls: TlsFiles::default(),
        }
    }
}

/// What scheduler and executors take for a sign of death unless told otherwise. With a sign of life each second, and one
/// look in two, a killed executor is noticed within 13 s.
pub(crate) const DEFAULT_EXECUTOR_TIMEOUT: Duration = Duration::from_secs(10);

/// A running scheduler. Dropping it stops it at once; the jobs it had are gone with it.
///
/// On its port are Ballista's service for drivers and executors, a proxy by which drivers fetch results from executors
/// they can't reach, the fleet's own service, and over HTTP `/healthz` (it lives), `/readyz` (it has an executor) and
/// `/metrics`.
/// Ballista's REST interface is not there.
pub struct Scheduler {
    address: SocketAddr,
    books: Books,
    threads: Threads,
}

/// What a scheduler knows of its fleet and its jobs.
#[derive(Clone)]
struct Books {
    jobs: Arc<JobBook>,
    fleet: Arc<FleetBook>,
    metrics: SchedulerMetrics,
}

/// The fleet at one moment, as its scheduler sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSnapshot {
    /// The executors, by host name.
    pub executors: Vec<FleetExecutor>,
    /// Jobs that somebody still wants something of.
    pub open_jobs: usize,
    /// Tasks that wait for a free slot.
    pub pending_tasks: u64,
    /// Photos done since the scheduler started, those of tasks that were tried again each time.
    pub photos: u64,
    /// Their files' bytes.
    pub bytes: u64,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// Starts one that knows `functions` beside DataFusion's own, and returns when it listens. Its metrics are told
    /// together with those of `registry`.
    ///
    /// # Errors
    /// [`ClusterError::Bind`] if the port can't be had, [`ClusterError::Tls`] if the certificates are no use,
    /// [`ClusterError::Start`] for anything else.
    pub async fn start(
        options: SchedulerOptions,
        functions: Vec<Arc<ScalarUDF>>,
        registry: Registry,
    ) -> Result<Self, ClusterError> {
        let threads = Threads::start("fruitbatch-scheduler", SERVICE_THREADS)?;
        let books = Books {
            jobs: Arc::default(),
            fleet: Arc::new(FleetBook::new(options.executor_timeout)),
            metrics: SchedulerMetrics::default(),
        };
        let starting = start(options, functions, books.clone(), registry, threads.handle());
        let address = threads.run(starting).await?;
        Ok(Self { address, books, threads })
    }

    /// The fleet, now.
    pub fn fleet(&self) -> FleetSnapshot {
        let Books { jobs, fleet, metrics } = &self.books;
        let (photos, bytes) = fleet.totals();
        FleetSnapshot {
            executors: fleet.view(None, 0).executors,
            open_jobs: jobs.open_jobs(),
            pending_tasks: metrics.pending_tasks(),
            photos,
            bytes,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it; not for async code.
    pub(crate) fn stop(self) {
        self.threads.stop();
    }
}

async fn start(
    options: SchedulerOptions,
    functions: Vec<Arc<ScalarUDF>>,
    books: Books,
    mut registry: Registry,
    threads: Handle,
) -> Result<SocketAddr, ClusterError> {
    let (tls, connector) = options.tls.both_sides()?;
    let (listener, address) = listen(options.bind).map_err(|error| not_bound(options.bind, &error))?;
    let ballista = start_ballista(&options, address, functions, &books, &connector).await?;
    threads.spawn(watch_executors(ballista.clone(), books.clone()));
    threads.spawn(watch_drivers(ballista.clone(), Arc::clone(&books.jobs), options.driver_timeout));

    let Books { jobs, fleet, metrics } = books;
    metrics.register(&mut registry);
    registry
        .register_collector(Box::new(BooksCollector { fleet: Arc::clone(&fleet), jobs: Arc::clone(&jobs) }));
    let secure =
        endpoint_override(&connector).map(|secure| Arc::new(BallistaConfigGrpcEndpoint::new(secure)));
    let flight_proxy =
        BallistaFlightProxyService::new(MESSAGE_LIMIT, MESSAGE_LIMIT, connector.uses_tls(), secure);
    let mut services = tonic::service::Routes::builder();
    services
        .add_service(
            SchedulerGrpcServer::new(SchedulerService { ballista, jobs: Arc::clone(&jobs) })
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
        )
        .add_service(
            FlightServiceServer::new(flight_proxy)
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
        )
        .add_service(FleetServer::new(FleetService { jobs, fleet: Arc::clone(&fleet) }));
    let health = health_routes(move || fleet.executors() > 0, "no executor has joined\n");
    let router = services.routes().into_axum_router().merge(health).merge(metrics_routes(registry));
    serve(&threads, listener, router, tls);
    Ok(address)
}

/// It pushes tasks to executors: only so can it cancel them, and a task starts when a slot is free and not when an executor
/// next asks.
async fn start_ballista(
    options: &SchedulerOptions,
    address: SocketAddr,
    functions: Vec<Arc<ScalarUDF>>,
    books: &Books,
    connector: &Connector,
) -> Result<BallistaScheduler, ClusterError> {
    let message_limit = u32::try_from(MESSAGE_LIMIT).unwrap_or(u32::MAX);
    let config = SchedulerConfig {
        bind_host: address.ip().to_string(),
        executor_timeout_seconds: options.executor_timeout.as_secs(),
        // Of an executor that drains: it goes on giving signs of life until it leaves.
        executor_termination_grace_period: options.executor_timeout.as_secs(),
        expire_dead_executor_interval_seconds: LOOK_FOR_THE_LOST.as_secs(),
        no_executors_grace_period_seconds: FOR_EVER.as_secs(),
        enable_embedded_flight_proxy: true,
        job_id_generator: Some(Arc::clone(&books.jobs) as _),
        override_create_grpc_client_endpoint: endpoint_override(connector),
        use_tls: connector.uses_tls(),
        ..SchedulerConfig::default()
    }
    // Executors report to where they were told to, not to this name.
    .with_hostname(address.ip().to_string())
    .with_port(address.port())
    .with_scheduler_policy(TaskSchedulingPolicy::PushStaged)
    .with_grpc_server_max_decoding_message_size(message_limit)
    .with_grpc_server_max_encoding_message_size(message_limit)
    .with_grpc_client_max_message_size(message_limit)
    .with_override_config_producer(Arc::new({
        let connector = connector.clone();
        move || session_config(&connector)
    }))
    .with_override_session_builder(Arc::new(move |config| session_state(config, &functions)));
    let config = Arc::new(config);
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(not_started("no scheduler"))?;
    let codec = BallistaCodec::new(Arc::new(LogicalCodec::default()), Arc::new(PhysicalCodec::default()));
    let metrics = Arc::new(books.metrics.clone());
    let mut scheduler =
        BallistaScheduler::new(config.scheduler_endpoint(), cluster, codec, Arc::clone(&config), metrics);
    scheduler.init().await.map_err(not_started("no scheduler"))?;
    Ok(scheduler)
}

/// Tells of executors that come and go, and ends the jobs that too many were lost with.
async fn watch_executors(ballista: BallistaScheduler, books: Books) {
    let Books { jobs, fleet, metrics } = books;
    let mut events = match ballista.cluster_state_events().await {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(%error, "executors that are lost can't be counted");
            return;
        }
    };
    while let Some(event) = events.next().await {
        match event {
            ClusterStateEvent::RegisteredExecutor { executor_id } => {
                metrics.executors_joined.inc();
                tracing::info!(executor_id, "an executor joined");
            }
            ClusterStateEvent::RemovedExecutor { executor_id } => {
                let Some(last) = fleet.remove(&executor_id) else { continue };
                if last.draining && last.running_tasks == 0 {
                    tracing::info!(executor_id, host = last.host_name, "an executor left");
                    continue;
                }
                metrics.executors_lost.inc();
                tracing::warn!(
                    executor_id,
                    host = last.host_name,
                    tasks = last.running_tasks,
                    "an executor was lost; its work is given to others"
                );
                for job in jobs.lost_executor(&last.running_jobs) {
                    tracing::error!(
                        job,
                        "too many executors were lost while they worked on a job: it is cancelled"
                    );
                    cancel(&ballista, job).await;
                }
            }
        }
    }
}

/// Ends the jobs of drivers that are gone.
async fn watch_drivers(ballista: BallistaScheduler, jobs: Arc<JobBook>, patience: Duration) {
    let mut ticker = tokio::time::interval(LOOK_FOR_THE_LOST.min(patience));
    loop {
        ticker.tick().await;
        for driver in jobs.take_silent(patience) {
            if !driver.jobs.is_empty() {
                tracing::warn!(jobs = driver.jobs.len(), "a driver is gone, and its jobs are cancelled");
            }
            for job in driver.jobs {
                cancel(&ballista, job).await;
            }
            if let Some(session) = driver.session
                && let Err(error) = ballista.state.session_manager.remove_session(&session).await
            {
                tracing::debug!(%error, "a session was gone before its driver");
            }
        }
    }
}

async fn cancel(ballista: &BallistaScheduler, job: String) {
    if let Err(error) = ballista.cancel_job(job.into()).await {
        tracing::error!(%error, "a job could not be cancelled");
    }
}
