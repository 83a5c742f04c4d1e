//! Queries become jobs.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::execution_plans::DistributedQueryExec;
use ballista_core::planner::BallistaQueryPlanner;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use datafusion_proto::protobuf::LogicalPlanNode;
use fruitbatch_scan::plan_node::streaming_properties;
use futures::TryStreamExt;

use crate::job_client::JobClient;

/// Plans as Ballista's planner does, with [`JobExec`] in place of its node that submits the query: that one can neither
/// be cancelled by dropping its stream, nor does it say plainly why a job failed.
#[derive(Debug)]
pub(crate) struct JobPlanner {
    ballista: BallistaQueryPlanner<LogicalPlanNode>,
    client: JobClient,
}

impl JobPlanner {
    pub(crate) fn new(client: JobClient) -> Self {
        let ballista = BallistaQueryPlanner::with_extension(
            client.scheduler_url(),
            client.ballista_config().clone(),
            client.logical_codec(),
        );
        Self { ballista, client }
    }
}

#[async_trait]
impl QueryPlanner for JobPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session_state: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Ballista's would be without columns.
        if let LogicalPlan::EmptyRelation(empty) = logical_plan
            && !empty.produce_one_row
        {
            return Ok(Arc::new(EmptyExec::new(Arc::clone(empty.schema.inner()))));
        }
        let plan = self.ballista.create_physical_plan(logical_plan, session_state).await?;
        if plan.is::<DistributedQueryExec<LogicalPlanNode>>() {
            Ok(Arc::new(JobExec::new(logical_plan.clone(), self.client.clone())))
        } else {
            Ok(plan)
        }
    }
}

/// A whole query as the driver sees it: executing it submits a job, its stream is the job's result, and dropping the
/// stream cancels the job.
#[derive(Debug)]
struct JobExec {
    plan: LogicalPlan,
    client: JobClient,
    properties: Arc<PlanProperties>,
}

impl JobExec {
    fn new(plan: LogicalPlan, client: JobClient) -> Self {
        let schema = Arc::clone(plan.schema().inner());
        let properties = streaming_properties(schema, Partitioning::UnknownPartitioning(1));
        Self { plan, client, properties }
    }
}

impl DisplayAs for JobExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobExec: scheduler={}", self.client.address())
    }
}

impl ExecutionPlan for JobExec {
    fn name(&self) -> &'static str {
        "JobExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("JobExec has no inputs") }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("JobExec has one partition, not {partition}");
        }
        let request = self.client.request(&self.plan, &context)?;
        let results = self.client.clone().run(request).map_err(DataFusionError::from);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), results)))
    }
}
