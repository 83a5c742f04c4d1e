//! A whole cluster inside this process.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::ids::new_instance_id;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::ExecutorRegistration;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};
use ballista_core::utils::{GrpcServerConfig, create_grpc_server};
use ballista_core::{BALLISTA_PROTOCOL_VERSION, ConfigProducer, RuntimeProducer};
use ballista_executor::executor::Executor;
use ballista_executor::executor_process::ExecutorProcessConfig;
use ballista_executor::executor_server;
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::health::ExecutorHealth;
use ballista_executor::metrics::{ExecutorMetricCollectionPolicy, LoggingMetricsCollector};
use ballista_executor::shutdown::ShutdownNotifier;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use fruitbatch_scan::ReadRuntime;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Handle, Runtime};
use tokio_stream::wrappers::TcpListenerStream;

use crate::codecs::{LogicalCodec, PhysicalCodec};
use crate::error::{ClusterError, not_started};
use crate::session::{MESSAGE_LIMIT, connect, session_config, session_state};
use crate::task_engine::TaskEngine;

/// Everything of a local cluster listens here and nowhere else.
const LOOPBACK: &str = "127.0.0.1";

/// Threads for the scheduler, the executor's services and the reading of photos. None of them computes.
const SERVICE_THREADS: usize = 2;

/// An executor in the scheduler's own process can't die alone, but the whole process may be asleep for days (a closed
/// laptop), after which its last sign of life is old: one year.
const EXECUTOR_TIMEOUT: Duration = Duration::from_hours(8760);

/// How often a port for the executor's task service is looked for. Ballista wants the number before it binds it, so that
/// another process may be quicker.
const PORT_ATTEMPTS: usize = 8;

/// Connections that may wait to be accepted: what tokio's own `bind` takes.
const CONNECTION_BACKLOG: u32 = 1024;

/// How long a shutdown waits for the services' loops to end.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// What a [`LocalCluster`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalClusterOptions {
    /// Tasks that run at the same time, each on a thread of its own. Default: as many as this process has cores.
    pub slots: NonZeroUsize,
    /// Where the folder for intermediate results is made (and removed again at the end). Default: the system's folder
    /// for temporary files.
    pub work_dir: Option<PathBuf>,
}

impl Default for LocalClusterOptions {
    fn default() -> Self {
        Self { slots: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN), work_dir: None }
    }
}

/// A Ballista scheduler and one executor in this process, talking over gRPC and Arrow Flight on loopback ports: the same
/// plans, codecs and functions as with a remote cluster.
///
/// Several jobs may run at the same time. The services and the reading of photos have a runtime of their own, tasks
/// another one with a thread for each slot, so that computing starves neither of them nor the caller's.
///
/// Dropping it stops everything at once; [`LocalCluster::shutdown`] waits for the end. Either way the work folder is
/// removed.
pub struct LocalCluster {
    session: SessionContext,
    scheduler: String,
    executor: ShutdownNotifier,
    // Dropped in this order: the folder goes when nobody is left to begin something new in it.
    services: Threads,
    tasks: Threads,
    work_dir: TempDir,
}

impl fmt::Debug for LocalCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCluster")
            .field("scheduler", &self.scheduler)
            .field("work_dir", &self.work_dir.path())
            .finish_non_exhaustive()
    }
}

impl LocalCluster {
    /// Starts scheduler and executor, both knowing `functions` beside DataFusion's own, and returns when the executor
    /// has registered.
    ///
    /// # Errors
    /// [`ClusterError::Start`] if a port, a thread or the work folder can't be had.
    pub async fn start(
        options: LocalClusterOptions,
        functions: Vec<Arc<ScalarUDF>>,
    ) -> Result<Self, ClusterError> {
        let mut folder = tempfile::Builder::new();
        folder.prefix("fruitbatch-");
        let work_dir = match &options.work_dir {
            Some(parent) => folder.tempdir_in(parent),
            None => folder.tempdir(),
        };
        let work_dir =
            work_dir.map_err(|error| not_started("no folder for intermediate results")(error.into()))?;
        let services = Threads::start("fruitbatch-cluster", SERVICE_THREADS)?;
        let tasks = Threads::start("fruitbatch-task", options.slots.get())?;

        let scheduler_port = services.run(start_scheduler(functions.clone())).await?;
        let executor = StartExecutor {
            slots: options.slots,
            functions: functions.clone(),
            work_dir: utf8(&work_dir)?,
            scheduler_port,
            services: services.handle(),
            tasks: tasks.handle(),
        };
        let executor = services.run(executor.start()).await?;

        let scheduler = format!("df://{LOOPBACK}:{scheduler_port}");
        let session = connect(&scheduler, &functions).await?;
        Ok(Self { session, scheduler, executor, services, tasks, work_dir })
    }

    /// A session whose queries run on this cluster, as [`connect`] makes it. All sessions of a cluster share their
    /// tables and settings.
    pub fn session(&self) -> SessionContext {
        self.session.clone()
    }

    /// Where the scheduler listens, `df://127.0.0.1:PORT`, for [`connect`].
    pub fn scheduler(&self) -> &str {
        &self.scheduler
    }

    /// Stops everything and waits until it has stopped; what still runs is cancelled.
    pub async fn shutdown(self) {
        let Self { mut executor, services, tasks, work_dir, .. } = self;
        // An error means that nobody listens: the executor has ended by itself.
        let _ = executor.notify_shutdown.send(());
        drop(executor.shutdown_complete_tx);
        let ended = tokio::time::timeout(SHUTDOWN_PATIENCE, executor.shutdown_complete_rx.recv()).await;
        if ended.is_err() {
            tracing::warn!("the executor's services did not end in time and are stopped where they are");
        }
        let removed = tokio::task::spawn_blocking(move || {
            services.stop();
            tasks.stop();
            work_dir.close()
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%error, "the folder for intermediate results could not be removed");
        }
    }
}

/// A runtime that ends when it is dropped, with all that runs on it: Ballista's services spawn loops that end in no other
/// way.
struct Threads(Option<Runtime>);

impl Threads {
    fn start(name: &str, count: usize) -> Result<Self, ClusterError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|error| not_started("no threads")(error.into()))?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().expect("taken only by stop and drop").handle().clone()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ClusterError>> + Send + 'static,
    ) -> Result<T, ClusterError> {
        match self.handle().spawn(work).await {
            Ok(finished) => finished,
            Err(error) => Err(ClusterError::Start { problem: error.to_string() }),
        }
    }

    /// Ends all that runs, and waits for it; not for async code.
    fn stop(mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
        }
    }
}

impl Drop for Threads {
    /// Without waiting: it may happen inside async code, where waiting is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn utf8(folder: &TempDir) -> Result<String, ClusterError> {
    match folder.path().to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(ClusterError::Start {
            problem: format!("the name of `{}` is not UTF-8", folder.path().display()),
        }),
    }
}

/// Listens on a port that is free.
///
/// Connections inherit the listener's `TCP_NODELAY`, which the servers would not set themselves: without it every answer
/// in two parts, and so every fetched result, waits 40 ms for the other side's delayed acknowledgement.
fn listen() -> Result<(TcpListener, u16), ClusterError> {
    let listen = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(CONNECTION_BACKLOG)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    listen().map_err(|error: std::io::Error| not_started("no port on 127.0.0.1")(error.into()))
}

/// Starts a scheduler on a port that is free, and returns the port.
///
/// It pushes tasks to the executor: only so can it cancel them, and a task starts when a slot is free and not when the
/// executor next asks.
async fn start_scheduler(functions: Vec<Arc<ScalarUDF>>) -> Result<u16, ClusterError> {
    let (listener, port) = listen()?;
    let message_limit = u32::try_from(MESSAGE_LIMIT).unwrap_or(u32::MAX);
    let config = SchedulerConfig {
        bind_host: LOOPBACK.to_owned(),
        executor_timeout_seconds: EXECUTOR_TIMEOUT.as_secs(),
        no_executors_grace_period_seconds: EXECUTOR_TIMEOUT.as_secs(),
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..SchedulerConfig::default()
    }
    .with_hostname(LOOPBACK)
    .with_port(port)
    .with_scheduler_policy(TaskSchedulingPolicy::PushStaged)
    .with_grpc_server_max_decoding_message_size(message_limit)
    .with_grpc_server_max_encoding_message_size(message_limit)
    .with_grpc_client_max_message_size(message_limit)
    .with_override_config_producer(Arc::new(session_config))
    .with_override_session_builder(Arc::new(move |config| session_state(config, &functions)));
    let config = Arc::new(config);
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(not_started("no scheduler"))?;
    let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, config)
        .await
        .map_err(not_started("no scheduler"))?;
    tokio::spawn(async move {
        if let Err(error) = start_grpc_service_with_listener(listener, scheduler).await {
            tracing::error!(%error, "the scheduler stopped");
        }
    });
    Ok(port)
}

struct StartExecutor {
    slots: NonZeroUsize,
    functions: Vec<Arc<ScalarUDF>>,
    work_dir: String,
    scheduler_port: u16,
    services: Handle,
    tasks: Handle,
}

impl StartExecutor {
    /// Starts the executor's two services and registers it with the scheduler; the notifier ends its loops.
    async fn start(self) -> Result<ShutdownNotifier, ClusterError> {
        let notifier = ShutdownNotifier::new();
        let flight_port = start_flight_service(self.work_dir.clone())?;
        let scheduler = self.scheduler().await?;
        let mut attempts = 0;
        loop {
            // Free at this moment; the service binds it in the next.
            let (_, task_port) = listen()?;
            let executor = Arc::new(self.executor(flight_port, task_port)?);
            match self.start_task_service(scheduler.clone(), executor, task_port, &notifier).await {
                Ok(()) => return Ok(notifier),
                Err(BallistaError::TonicError(_) | BallistaError::IoError(_)) if attempts < PORT_ATTEMPTS => {
                    attempts += 1;
                }
                Err(error) => return Err(not_started("no executor")(error)),
            }
        }
    }

    async fn scheduler(&self) -> Result<SchedulerGrpcClient<tonic::transport::Channel>, ClusterError> {
        let scheduler = SchedulerGrpcClient::connect(format!("http://{LOOPBACK}:{}", self.scheduler_port))
            .await
            .map_err(|error| not_started("no way to the scheduler")(error.into()))?;
        Ok(scheduler.max_encoding_message_size(MESSAGE_LIMIT).max_decoding_message_size(MESSAGE_LIMIT))
    }

    fn executor(&self, flight_port: u16, task_port: u16) -> Result<Executor, ClusterError> {
        let registration = ExecutorRegistration {
            id: new_instance_id(),
            host: Some(LOOPBACK.to_owned()),
            port: u32::from(flight_port),
            grpc_port: u32::from(task_port),
            specification: Some(
                ExecutorSpecification::default()
                    .with_vcores(u32::try_from(self.slots.get()).unwrap_or(u32::MAX))
                    .into(),
            ),
            os_info: Some(ExecutorOperatingSystemSpecification::default().into()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        };
        let no_state = |error: datafusion::error::DataFusionError| not_started("no executor")(error.into());
        let state = session_state(session_config(), &self.functions).map_err(no_state)?;
        let config = session_config().with_extension(Arc::new(ReadRuntime(self.services.clone())));
        let config: ConfigProducer = Arc::new(move || SessionConfig::clone(&config));
        let memory =
            RuntimeEnvBuilder::new().with_temp_file_path(&self.work_dir).build_arc().map_err(no_state)?;
        let memory: RuntimeProducer = Arc::new(move |_| Ok(Arc::clone(&memory)));
        Ok(Executor::new(
            registration,
            &self.work_dir,
            memory,
            config,
            Arc::new(BallistaFunctionRegistry::from(&state)),
            Arc::new(LoggingMetricsCollector::default()),
            self.slots.get(),
            Arc::new(TaskEngine::new(self.tasks.clone())),
        ))
    }

    async fn start_task_service(
        &self,
        scheduler: SchedulerGrpcClient<tonic::transport::Channel>,
        executor: Arc<Executor>,
        task_port: u16,
        notifier: &ShutdownNotifier,
    ) -> Result<(), BallistaError> {
        let message_limit = u32::try_from(MESSAGE_LIMIT).unwrap_or(u32::MAX);
        let config = ExecutorProcessConfig {
            bind_host: LOOPBACK.to_owned(),
            grpc_port: task_port,
            grpc_max_decoding_message_size: message_limit,
            grpc_max_encoding_message_size: message_limit,
            metric_collection_policy: ExecutorMetricCollectionPolicy::Off,
            ..ExecutorProcessConfig::default()
        };
        let codec: BallistaCodec<LogicalPlanNode, PhysicalPlanNode> =
            BallistaCodec::new(Arc::new(LogicalCodec::default()), Arc::new(PhysicalCodec::default()));
        // Nobody asks the executor to stop but its owner, by the notifier.
        let (stop_requests, _) = tokio::sync::mpsc::channel(1);
        executor_server::startup(
            scheduler,
            Arc::new(config),
            executor,
            codec,
            stop_requests,
            notifier,
            ExecutorHealth::new(),
        )
        .await
        .map(drop)
    }
}

/// Starts the service that hands out results, and returns its port.
fn start_flight_service(work_dir: String) -> Result<u16, ClusterError> {
    let (listener, port) = listen()?;
    let service = FlightServiceServer::new(BallistaFlightService::new(work_dir))
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    tokio::spawn(async move {
        let serving = create_grpc_server(&GrpcServerConfig::default())
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        if let Err(error) = serving.await {
            tracing::error!(%error, "the executor's flight service stopped");
        }
    });
    Ok(port)
}
