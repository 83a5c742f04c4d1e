//! A cluster that queries are put to.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use fruitbatch_cluster::{ClusterError, FleetWatch, LocalCluster, LocalClusterOptions, connect};
use fruitbatch_net::Connector;
use fruitbatch_pipeline::{ModelStore, SchedulerChoice, for_executors};
use fruitbatch_storage::{Location, Storage, StorageOptions};
use fruitbatch_vision::{EmbedSpec, ModelFiles, ModelSessions};
use futures::StreamExt;

use crate::error::SqlError;
use crate::functions::sql_functions;
use crate::query::{Query, TableFunction};
use crate::resolved::{Access, Resolved, ResolvedFunctions, ResolvedTables};
use crate::scratch::Scratch;

/// Where queries are answered, and how places are reached.
#[derive(Debug, Clone)]
pub struct SqlOptions {
    /// A cluster inside this process, or a fleet.
    pub scheduler: SchedulerChoice,
    /// How connections to a fleet's scheduler are made.
    pub connector: Connector,
    /// How long a fleet may be without an executor before a query is given up.
    pub cluster_timeout: Duration,
    /// Tasks at a time, of a cluster inside this process.
    pub slots: NonZeroUsize,
    /// How storage is reached.
    pub storage: StorageOptions,
    /// The folder or prefix by which a fleet's executors get models and long listings. Without one they have the models of
    /// their own machines alone.
    pub model_store: Option<Location>,
}

impl Default for SqlOptions {
    /// A cluster inside this process, of as many tasks as it has cores.
    fn default() -> Self {
        Self {
            scheduler: SchedulerChoice::Local,
            connector: Connector::default(),
            cluster_timeout: Duration::from_mins(1),
            slots: fruitbatch_pipeline::available_cores(),
            storage: StorageOptions::default(),
            model_store: None,
        }
    }
}

/// A cluster that queries are put to.
pub struct SqlSession {
    options: SqlOptions,
    storage: Storage,
    executors: StorageOptions,
    models: Arc<ModelSessions>,
    files: Arc<dyn ModelFiles>,
    session: SessionContext,
    fleet: FleetWatch,
    local: Option<LocalCluster>,
}

impl fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSession").field("options", &self.options).finish_non_exhaustive()
    }
}

impl SqlSession {
    /// Starts the cluster of this process, or reaches the fleet. `models` carry `embed` out in this process, and `files` are
    /// the models that a fleet is handed.
    ///
    /// # Errors
    /// [`SqlError::Cluster`] if the cluster doesn't come up, or nobody answers at the scheduler's address.
    pub async fn start(
        options: SqlOptions,
        models: Arc<ModelSessions>,
        files: Arc<dyn ModelFiles>,
    ) -> Result<Self, SqlError> {
        let storage = Storage::new(options.storage.clone());
        let functions = sql_functions(Arc::clone(&models));
        let (executors, session, fleet, local) = match &options.scheduler {
            SchedulerChoice::Local => {
                let cluster = LocalClusterOptions {
                    slots: options.slots,
                    read_batch_bytes: models.read_batch_bytes(),
                    ..LocalClusterOptions::default()
                };
                let local = LocalCluster::start(cluster, functions).await?;
                let session = local.session();
                let fleet = FleetWatch::start(local.scheduler(), &Connector::default(), &session)?;
                (options.storage.clone(), session, fleet, Some(local))
            }
            SchedulerChoice::Fleet(scheduler) => {
                let session = connect(scheduler, &options.connector, &functions).await?;
                let fleet = FleetWatch::start(scheduler, &options.connector, &session)?;
                (for_executors(&options.storage), session, fleet, None)
            }
        };
        Ok(Self { options, storage, executors, models, files, session, fleet, local })
    }

    /// Looks up what the query names, and plans it. Nothing runs before the [`Answer`] is asked for its first batch.
    ///
    /// With `most_rows` the query has a `LIMIT` of so many rows beside its own, so that no more is computed than is wanted.
    ///
    /// # Errors
    /// A place that can't be read, an OUT without a complete run, a query that can't be planned.
    pub async fn query(&self, query: &Query, most_rows: Option<usize>) -> Result<Answer<'_>, SqlError> {
        let scratch = self.scratch()?;
        let stream = self.plan(query, most_rows, scratch.as_ref()).await;
        match stream {
            Ok(stream) => Ok(Answer { stream, session: self, scratch, is_plan: query.is_explained }),
            Err(error) => {
                clear(scratch).await;
                Err(error)
            }
        }
    }

    async fn plan(
        &self,
        query: &Query,
        most_rows: Option<usize>,
        scratch: Option<&Scratch>,
    ) -> Result<SendableRecordBatchStream, SqlError> {
        let access = Access { storage: &self.storage, executors: &self.executors, scratch };
        let resolved = Arc::new(Resolved::of(query, &access).await?);
        let model_store = self.hand_models_over(query).await?;
        // A session of its own: what is looked up for this query is no other one's.
        let session = SessionContext::new_with_state(self.session.state());
        for function in TableFunction::ALL {
            let tables = ResolvedTables { function, resolved: Arc::clone(&resolved) };
            session.register_udtf(function.name(), Arc::new(tables));
        }
        let catalogue = self.models.catalogue().clone();
        let functions =
            ResolvedFunctions { resolved, catalogue, model_store, is_explained: query.is_explained };
        let mut state = session.state();
        state.register_function_rewrite(Arc::new(functions)).map_err(planning)?;
        let session = SessionContext::new_with_state(state);

        let plan = session.state().statement_to_plan(query.statement.clone()).await.map_err(planning)?;
        let only_queries =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        only_queries.verify_plan(&plan).map_err(planning)?;
        let plan = match (&plan, most_rows) {
            (LogicalPlan::Analyze(_), _) => {
                let problem =
                    "EXPLAIN ANALYZE is not to be had of a cluster: EXPLAIN shows the plan".to_owned();
                return Err(SqlError::Plan { problem });
            }
            (LogicalPlan::Explain(_), _) | (_, None) => plan,
            (_, Some(_)) => LogicalPlanBuilder::from(plan)
                .limit(0, most_rows)
                .and_then(LogicalPlanBuilder::build)
                .map_err(planning)?,
        };
        let frame = session.execute_logical_plan(plan).await.map_err(planning)?;
        frame.execute_stream().await.map_err(planning)
    }

    /// Puts the models that the query embeds with into the store from which a fleet's executors get them. Returns what they
    /// are told of it, as the third argument of `embed`.
    async fn hand_models_over(&self, query: &Query) -> Result<Option<String>, SqlError> {
        let (SchedulerChoice::Fleet(_), Some(place)) = (&self.options.scheduler, &self.options.model_store)
        else {
            return Ok(None);
        };
        let store = ModelStore { uri: place.to_string(), storage: self.executors.clone() };
        for literal in &query.embeddings {
            // One that is none is an error of planning.
            if let Ok(spec) = EmbedSpec::from_literal(self.models.catalogue(), literal) {
                store.put(&self.storage, self.files.as_ref(), &spec.digest).await?;
            }
        }
        Ok(Some(store.to_literal()))
    }

    fn scratch(&self) -> Result<Option<Scratch>, SqlError> {
        match (&self.options.scheduler, &self.options.model_store) {
            (SchedulerChoice::Local, _) => Scratch::temporary().map(Some),
            (SchedulerChoice::Fleet(_), Some(place)) => {
                Ok(Some(Scratch::shared(place.clone(), self.storage.clone(), self.executors.clone())))
            }
            (SchedulerChoice::Fleet(_), None) => Ok(None),
        }
    }

    /// Waits until the fleet has been without an executor for too long.
    async fn hopeless(&self) -> ClusterError {
        let patience = self.options.cluster_timeout;
        let mut fleet = self.fleet.state();
        while fleet.changed().await.is_ok() {
            let gone_since = fleet.borrow_and_update().no_executor_since;
            if gone_since.is_some_and(|since| since.elapsed() > patience) {
                let address = match &self.options.scheduler {
                    SchedulerChoice::Local => "local",
                    SchedulerChoice::Fleet(address) => address.trim_start_matches("df://"),
                };
                return ClusterError::NoExecutors {
                    address: address.to_owned(),
                    seconds: patience.as_secs(),
                };
            }
        }
        // It is asked no more; the query's own errors remain.
        std::future::pending().await
    }

    /// Stops what was started, and waits for its end.
    pub async fn shutdown(self) {
        if let Some(local) = self.local {
            local.shutdown().await;
        }
    }
}

async fn clear(scratch: Option<Scratch>) {
    if let Some(scratch) = scratch {
        scratch.clear().await;
    }
}

fn planning(error: DataFusionError) -> SqlError {
    match ClusterError::from(error) {
        // On one line, as every message.
        ClusterError::Plan { message } => {
            SqlError::Plan { problem: message.split_whitespace().collect::<Vec<_>>().join(" ") }
        }
        other => other.into(),
    }
}

/// A query's answer, batch by batch as executors hand it out. Dropping it cancels the query; [`close`](Self::close) also
/// takes away what was written for it.
pub struct Answer<'a> {
    stream: SendableRecordBatchStream,
    session: &'a SqlSession,
    scratch: Option<Scratch>,
    pub(crate) is_plan: bool,
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema()).finish_non_exhaustive()
    }
}

impl Answer<'_> {
    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next batch; `None` after the last.
    ///
    /// # Errors
    /// [`SqlError::Cluster`] if the query failed, or no executor is there to go on with it.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        tokio::select! {
            batch = self.stream.next() => batch.transpose().map_err(planning),
            hopeless = self.session.hopeless() => Err(hopeless.into()),
        }
    }

    /// Cancels what is left of the query, and takes away what was written for it.
    pub async fn close(self) {
        let Self { stream, scratch, .. } = self;
        drop(stream);
        clear(scratch).await;
    }
}
