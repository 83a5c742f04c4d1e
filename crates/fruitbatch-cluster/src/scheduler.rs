//! A scheduler: Ballista's, with the fleet's own service beside it, on one port.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::flight_proxy_service::BallistaFlightProxyService;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::{BallistaCluster, ClusterStateEvent};
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion::logical_expr::ScalarUDF;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use futures::StreamExt;
use tokio::runtime::Handle;

use crate::codecs::{LogicalCodec, PhysicalCodec};
use crate::error::{ClusterError, not_started};
use crate::fleet_book::FleetBook;
use crate::fleet_protocol::FleetServer;
use crate::job_book::JobBook;
use crate::scheduler_services::{FleetService, SchedulerService};
use crate::serve::{health_routes, listen, serve};
use crate::session::{MESSAGE_LIMIT, session_config, session_state};
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
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            bind: (Ipv4Addr::LOCALHOST, SCHEDULER_PORT).into(),
            executor_timeout: DEFAULT_EXECUTOR_TIMEOUT,
            driver_timeout: Duration::from_mins(1),
        }
    }
}

/// What scheduler and executors take for a sign of death unless told otherwise. With a sign of life each second, and one
/// look in two, a killed executor is noticed within 13 s.
pub(crate) const DEFAULT_EXECUTOR_TIMEOUT: Duration = Duration::from_secs(10);

/// A running scheduler. Dropping it stops it at once; the jobs it had are gone with it.
///
/// On its port are Ballista's service for drivers and executors, a proxy by which drivers fetch results from executors
/// they can't reach, the fleet's own service, and over HTTP `/healthz` (it lives) and `/readyz` (it has an executor).
/// Ballista's REST interface is not there.
pub struct Scheduler {
    address: SocketAddr,
    threads: Threads,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// Starts one that knows `functions` beside DataFusion's own, and returns when it listens.
    ///
    /// # Errors
    /// [`ClusterError::Bind`] if the port can't be had, [`ClusterError::Start`] for anything else.
    pub async fn start(
        options: SchedulerOptions,
        functions: Vec<Arc<ScalarUDF>>,
    ) -> Result<Self, ClusterError> {
        let threads = Threads::start("fruitbatch-scheduler", SERVICE_THREADS)?;
        let address = threads.run(start(options, functions, threads.handle())).await?;
        Ok(Self { address, threads })
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
    threads: Handle,
) -> Result<SocketAddr, ClusterError> {
    let (listener, address) = listen(options.bind)?;
    let (jobs, fleet) = (Arc::new(JobBook::default()), Arc::new(FleetBook::new(options.executor_timeout)));
    let ballista = start_ballista(&options, address, functions, Arc::clone(&jobs)).await?;
    threads.spawn(watch_executors(ballista.clone(), Arc::clone(&jobs), Arc::clone(&fleet)));
    threads.spawn(watch_drivers(ballista.clone(), Arc::clone(&jobs), options.driver_timeout));

    let flight_proxy = BallistaFlightProxyService::new(MESSAGE_LIMIT, MESSAGE_LIMIT, false, None);
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
    serve(&threads, listener, services.routes().into_axum_router().merge(health));
    Ok(address)
}

/// It pushes tasks to executors: only so can it cancel them, and a task starts when a slot is free and not when an executor
/// next asks.
async fn start_ballista(
    options: &SchedulerOptions,
    address: SocketAddr,
    functions: Vec<Arc<ScalarUDF>>,
    jobs: Arc<JobBook>,
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
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        job_id_generator: Some(jobs),
        ..SchedulerConfig::default()
    }
    // Executors report to where they were told to, not to this name.
    .with_hostname(address.ip().to_string())
    .with_port(address.port())
    .with_scheduler_policy(TaskSchedulingPolicy::PushStaged)
    .with_grpc_server_max_decoding_message_size(message_limit)
    .with_grpc_server_max_encoding_message_size(message_limit)
    .with_grpc_client_max_message_size(message_limit)
    .with_override_config_producer(Arc::new(session_config))
    .with_override_session_builder(Arc::new(move |config| session_state(config, &functions)));
    let config = Arc::new(config);
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(not_started("no scheduler"))?;
    create_scheduler(cluster, config).await.map_err(not_started("no scheduler"))
}

/// Tells of executors that come and go, and ends the jobs that too many were lost with.
async fn watch_executors(ballista: BallistaScheduler, jobs: Arc<JobBook>, fleet: Arc<FleetBook>) {
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
                tracing::info!(executor_id, "an executor joined");
            }
            ClusterStateEvent::RemovedExecutor { executor_id } => {
                let Some(last) = fleet.remove(&executor_id) else { continue };
                if last.draining && last.running_tasks == 0 {
                    tracing::info!(executor_id, host = last.host_name, "an executor left");
                    continue;
                }
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
