//! What fruitbatch adds to Ballista's way of running a task: it can be stopped, it says plainly why it failed, and it
//! runs with ordinary priority.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{
    RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport,
};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::common::{Result, exec_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use fruitbatch_scan::TaskStop;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::task_failure;

/// Ballista's engine, with tasks that stop when they are cancelled.
///
/// Ballista cancels a task by dropping the future that waits for it, but the work itself runs on tasks of its own, which
/// nobody drops: a cancelled job would go on reading and computing to its end. Here, dropping that future also tells the
/// task's [`ReadPhotosExec`](fruitbatch_scan::ReadPhotosExec) nodes to end, and with them what stands above them. A call
/// of a function that is under way is finished first.
///
/// Ballista runs tasks on threads of its own at the low priority of `nice 10`: beside any other busy program they would
/// get a tenth of a core. Here these threads only wait for others.
pub(crate) struct TaskEngine {
    ballista: DefaultExecutionEngine,
    task_threads: Handle,
}

impl TaskEngine {
    /// An engine whose tasks run on `task_threads`, a runtime with a thread for each slot.
    pub(crate) fn new(task_threads: Handle) -> Self {
        Self { ballista: DefaultExecutionEngine::default(), task_threads }
    }
}

impl ExecutionEngine for TaskEngine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let ballista = self
            .ballista
            .create_query_stage_exec(
                job_id,
                stage_id,
                task_id,
                global_output_partition_ids,
                plan,
                work_dir,
                config,
            )
            .map_err(task_failure::mark)?;
        Ok(Arc::new(StoppableStage { ballista, task_threads: self.task_threads.clone() }))
    }
}

#[derive(Debug)]
struct StoppableStage {
    ballista: Arc<dyn QueryStageExecutor>,
    task_threads: Handle,
}

impl fmt::Display for StoppableStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ballista.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for StoppableStage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let stop = CancellationToken::new();
        let stop_when_dropped = stop.clone().drop_guard();
        let config = context.session_config().clone().with_extension(Arc::new(TaskStop(stop)));
        let context = Arc::new(TaskContext::new(
            context.task_id(),
            context.session_id(),
            config,
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        ));
        let stage = Arc::clone(&self.ballista);
        // A set of one: unlike a plain handle, it ends the task when it is dropped.
        let mut running = JoinSet::new();
        running
            .spawn_on(async move { stage.execute_query_stage(task_id, context).await }, &self.task_threads);
        let finished = running.join_next().await;
        drop(stop_when_dropped);
        match finished {
            Some(Ok(finished)) => finished.map_err(task_failure::mark),
            Some(Err(error)) => {
                exec_err!("the task ended before its time: {error}").map_err(task_failure::mark)
            }
            None => exec_err!("the task was not started").map_err(task_failure::mark),
        }
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.ballista.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.ballista.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.ballista.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.ballista.collect_column_stats()
    }
}
