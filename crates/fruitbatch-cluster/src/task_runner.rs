//! An executor's tasks: started, stopped, and what became of them.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ballista_core::RuntimeProducer;
use ballista_core::error::BallistaError;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::{
    FailedTask, MultiTaskDefinition, SuccessfulTask, TaskStatus, task_status,
};
use ballista_core::serde::scheduler::from_proto::get_task_definition_vec;
use ballista_core::serde::scheduler::{TaskDefinition, TaskKey};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use fruitbatch_net::{Connector, Labels};
use fruitbatch_scan::{PhotoMeter, ReadLimit, ReadRuntime, TaskStop};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::codecs::{LogicalCodec, PhysicalCodec};
use crate::error::{ClusterError, not_started};
use crate::session::{session_config, session_state};
use crate::task_failure;

/// Sessions whose photos are counted at a time; the ones not used for longest are forgotten.
const MOST_SESSIONS: usize = 64;

/// What became of a task, and under which name of the executor it ran.
pub(crate) struct Outcome {
    pub(crate) executor_id: String,
    pub(crate) status: TaskStatus,
}

/// Runs tasks as Ballista's executor does, on threads of their own, with two differences: a cancelled task stops, and a
/// failed one says plainly why.
///
/// Ballista cancels a task by dropping the future that waits for it, but the work itself runs on tasks of its own, which
/// nobody drops: a cancelled job would go on reading and computing to its end. Here, cancelling also tells the task's
/// [`ReadPhotosExec`](fruitbatch_scan::ReadPhotosExec) nodes to end, and with them what stands above them. A call of a
/// function that is under way is finished first.
pub(crate) struct TaskRunner {
    engine: DefaultExecutionEngine,
    functions: BallistaFunctionRegistry,
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    work_dir: PathBuf,
    /// Wait for tasks.
    services: Handle,
    /// Run them: one thread a slot.
    task_threads: Handle,
    outcomes: UnboundedSender<Outcome>,
    running: Mutex<HashMap<TaskKey, CancellationToken>>,
    meters: Mutex<Meters>,
    outcome_counts: Family<Labels, Counter>,
    disk_full: watch::Sender<bool>,
}

#[derive(Default)]
struct Meters {
    by_session: HashMap<String, Arc<PhotoMeter>>,
    /// The session used last at the end.
    order: Vec<String>,
    /// What was counted for sessions that are forgotten.
    forgotten: PhotoMeter,
}

impl TaskRunner {
    pub(crate) fn new(
        functions: &[Arc<ScalarUDF>],
        connector: &Connector,
        work_dir: PathBuf,
        services: Handle,
        task_threads: Handle,
        read_limit: Option<ReadLimit>,
        outcomes: UnboundedSender<Outcome>,
    ) -> Result<Self, ClusterError> {
        let no_state = |error: DataFusionError| not_started("no executor")(error.into());
        let state = session_state(session_config(connector), functions).map_err(no_state)?;
        let mut config = session_config(connector).with_extension(Arc::new(ReadRuntime(services.clone())));
        if let Some(limit) = read_limit {
            config = config.with_extension(Arc::new(limit));
        }
        let runtime =
            RuntimeEnvBuilder::new().with_temp_file_path(&work_dir).build_arc().map_err(no_state)?;
        Ok(Self {
            engine: DefaultExecutionEngine::default(),
            functions: BallistaFunctionRegistry::from(&state),
            config,
            runtime,
            work_dir,
            services,
            task_threads,
            outcomes,
            running: Mutex::default(),
            meters: Mutex::default(),
            outcome_counts: Family::default(),
            disk_full: watch::Sender::new(false),
        })
    }

    /// Has tasks counted by what became of them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        for outcome in ["succeeded", "failed", "cancelled"] {
            drop(self.outcome_counts.get_or_create(&[("outcome", outcome)]));
        }
        registry.register("fruitbatch_tasks", "Tasks by what became of them", self.outcome_counts.clone());
    }

    /// Starts the tasks, which run as those of the executor called `executor_id`.
    ///
    /// # Errors
    /// If their plan can't be read; none is started then.
    pub(crate) fn launch(
        self: &Arc<Self>,
        executor_id: &str,
        tasks: MultiTaskDefinition,
    ) -> Result<(), BallistaError> {
        let codec: BallistaCodec<LogicalPlanNode, PhysicalPlanNode> =
            BallistaCodec::new(Arc::new(LogicalCodec::default()), Arc::new(PhysicalCodec::default()));
        let runtime = Arc::clone(&self.runtime);
        let produce_runtime: RuntimeProducer = Arc::new(move |_| Ok(Arc::clone(&runtime)));
        let tasks = get_task_definition_vec(
            tasks,
            produce_runtime,
            self.config.clone(),
            self.functions.scalar_functions.clone(),
            self.functions.aggregate_functions.clone(),
            self.functions.window_functions.clone(),
            self.functions.higher_order_functions.clone(),
            codec,
        )?;
        for task in tasks {
            let key = TaskKey { job_id: task.job_id.clone(), stage_id: task.stage_id, task_id: task.task_id };
            let stop = CancellationToken::new();
            self.running().insert(key.clone(), stop.clone());
            let (runner, executor_id) = (Arc::clone(self), executor_id.to_owned());
            self.services.spawn(async move {
                let span = tracing::info_span!(
                    "task",
                    job_id = %key.job_id,
                    stage_id = key.stage_id,
                    task_id = key.task_id
                );
                let status = runner.run(&executor_id, key.clone(), task, stop).instrument(span).await;
                runner.running().remove(&key);
                // Nobody listens when the executor is on its way out.
                let _ = runner.outcomes.send(Outcome { executor_id, status });
            });
        }
        Ok(())
    }

    async fn run(
        &self,
        executor_id: &str,
        key: TaskKey,
        task: TaskDefinition,
        stop: CancellationToken,
    ) -> TaskStatus {
        let mut status = TaskStatus {
            task_id: u32::try_from(task.task_id).unwrap_or(u32::MAX),
            job_id: key.job_id.clone().into(),
            stage_id: u32::try_from(task.stage_id).unwrap_or(u32::MAX),
            stage_attempt_num: u32::try_from(task.stage_attempt_num).unwrap_or(u32::MAX),
            launch_time: task.launch_time,
            start_exec_time: milliseconds_now(),
            ..TaskStatus::default()
        };
        let outcome = self.execute(executor_id, task, stop, &mut status).await;
        status.end_exec_time = milliseconds_now();
        let outcome_name = match &outcome {
            Ok(_) => "succeeded",
            Err(BallistaError::Cancelled) => "cancelled",
            Err(_) => "failed",
        };
        self.outcome_counts.get_or_create(&[("outcome", outcome_name)]).inc();
        status.status = Some(match outcome {
            Ok(successful) => task_status::Status::Successful(successful),
            Err(error) => task_status::Status::Failed(FailedTask::from(error)),
        });
        status
    }

    async fn execute(
        &self,
        executor_id: &str,
        task: TaskDefinition,
        stop: CancellationToken,
        status: &mut TaskStatus,
    ) -> Result<SuccessfulTask, BallistaError> {
        let work_dir = self.work_dir.to_str().expect("checked when it was made");
        let stage = self
            .engine
            .create_query_stage_exec(
                task.job_id,
                task.stage_id,
                task.task_id,
                task.global_output_partition_ids,
                task.plan,
                work_dir,
                &task.session_config,
            )
            .map_err(task_failure::mark)?;
        let config = task
            .session_config
            .with_extension(Arc::new(TaskStop(stop.clone())))
            .with_extension(self.meter(&task.session_id));
        let functions = &task.function_registry;
        let context = Arc::new(TaskContext::new(
            None,
            task.session_id,
            config,
            functions.scalar_functions.clone(),
            functions.higher_order_functions.clone(),
            functions.aggregate_functions.clone(),
            functions.window_functions.clone(),
            Arc::clone(&self.runtime),
        ));
        // A set of one: unlike a plain handle, it ends the task when it is dropped.
        let mut executing = JoinSet::new();
        executing.spawn_on(
            {
                let stage = Arc::clone(&stage);
                async move { stage.execute_query_stage(task.task_id, context).await }
            },
            &self.task_threads,
        );
        let finished = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(BallistaError::Cancelled),
            finished = executing.join_next() => finished,
        };
        let partitions = match finished {
            Some(Ok(finished)) => finished.map_err(|error| {
                if task_failure::is_disk_full(&error) {
                    self.disk_full.send_replace(true);
                }
                task_failure::mark(error)
            })?,
            Some(Err(error)) => {
                let error = DataFusionError::Execution(format!("the task ended before its time: {error}"));
                return Err(task_failure::mark(error).into());
            }
            None => unreachable!("one task was started"),
        };
        status.metrics = metrics(&*stage);
        Ok(SuccessfulTask {
            executor_id: executor_id.to_owned(),
            partitions,
            runtime_stats: stage.collect_runtime_stats_reports(),
            window_state: stage.collect_window_state_reports()?,
            task_column_stats: stage.collect_column_stats(),
        })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<TaskKey, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meter(&self, session: &str) -> Arc<PhotoMeter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.order.retain(|other| other != session);
        meters.order.push(session.to_owned());
        if meters.order.len() > MOST_SESSIONS {
            let oldest = meters.order.remove(0);
            if let Some(meter) = meters.by_session.remove(&oldest) {
                meters.forgotten.absorb(&meter);
            }
        }
        Arc::clone(meters.by_session.entry(session.to_owned()).or_default())
    }

    /// What was counted for all sessions together.
    pub(crate) fn total(&self) -> PhotoMeter {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let total = PhotoMeter::default();
        total.absorb(&meters.forgotten);
        meters.by_session.values().for_each(|meter| total.absorb(meter));
        total
    }

    /// Photos and bytes by session.
    pub(crate) fn photos(&self) -> Vec<(String, u64, u64)> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters
            .by_session
            .iter()
            .map(|(session, meter)| (session.clone(), meter.photos(), meter.bytes()))
            .collect()
    }

    /// Whether a task failed because the disk with the work folder is full.
    pub(crate) fn disk_full(&self) -> watch::Receiver<bool> {
        self.disk_full.subscribe()
    }

    /// Stops one task.
    pub(crate) fn cancel(&self, key: &TaskKey) {
        if let Some(stop) = self.running().get(key) {
            stop.cancel();
        }
    }

    /// Stops every task of the jobs for which `which` holds.
    pub(crate) fn cancel_jobs(&self, which: impl Fn(&str) -> bool) {
        for (key, stop) in self.running().iter() {
            if which(key.job_id.as_str()) {
                stop.cancel();
            }
        }
    }

    pub(crate) fn running_tasks(&self) -> usize {
        self.running().len()
    }

    pub(crate) fn running_jobs(&self) -> BTreeSet<String> {
        self.running().keys().map(|key| key.job_id.as_str().to_owned()).collect()
    }
}

/// What the plan's nodes counted, where all of it can be sent.
fn metrics(stage: &dyn QueryStageExecutor) -> Vec<ballista_core::serde::protobuf::OperatorMetricsSet> {
    let sets = stage.collect_plan_metrics();
    sets.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, BallistaError>>().unwrap_or_default()
}

fn milliseconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
