//! A job from submission to its last batch, over the scheduler's gRPC interface.
//!
//! Ballista's own client learns a job's name only when the job is done (push) or asks for its state every 50 ms (pull),
//! and cancels nothing. This one submits as the pull client does, so that it can cancel from the first moment, and asks
//! the more often the younger the job is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::client::BallistaClient;
use ballista_core::config::{BALLISTA_JOB_NAME, BallistaConfig};
use ballista_core::extension::{BallistaConfigGrpcEndpoint, SessionConfigExt};
use ballista_core::serde::protobuf::execute_query_failure_result::Failure;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::execute_query_result;
use ballista_core::serde::protobuf::get_job_status_result::FlightProxy;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, CleanJobDataParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair,
    PartitionLocation, job_status,
};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use ballista_core::version::insert_version_header;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::protobuf::LogicalPlanNode;
use fruitbatch_net::{Connector, root_of};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::runtime::Handle;
use tonic::Code;
use tonic::transport::Channel;

use crate::error::ClusterError;
use crate::fleet_protocol::{FleetClient, VERSION, WatchRequest};
use crate::session::{MESSAGE_LIMIT, SchedulerAddress, endpoint_override};
use crate::task_failure;

/// The pause before the second look at a job, and the longest one: short jobs are seen to end at once, and a long job
/// costs twenty requests a second at most.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long a scheduler may know nothing of a job it has just accepted: it books it a moment after it answers.
const UNKNOWN_FOR_AT_MOST: Duration = Duration::from_secs(30);

/// Result files that are opened at the same time.
const CONCURRENT_FETCHES: usize = 4;

/// Speaks to one scheduler.
#[derive(Clone)]
pub(crate) struct JobClient {
    address: SchedulerAddress,
    connector: Connector,
    config: Arc<BallistaConfig>,
    codec: Arc<dyn LogicalExtensionCodec>,
}

impl fmt::Debug for JobClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobClient").field("scheduler", &self.address).finish_non_exhaustive()
    }
}

type Scheduler = SchedulerGrpcClient<Channel>;

impl JobClient {
    pub(crate) fn new(address: SchedulerAddress, connector: Connector, config: &SessionConfig) -> Self {
        Self {
            address,
            connector,
            config: Arc::new(config.ballista_config()),
            codec: config.ballista_logical_extension_codec(),
        }
    }

    pub(crate) fn address(&self) -> &SchedulerAddress {
        &self.address
    }

    pub(crate) fn scheduler_url(&self) -> String {
        let scheme = if self.connector.uses_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn ballista_config(&self) -> &BallistaConfig {
        &self.config
    }

    pub(crate) fn logical_codec(&self) -> Arc<dyn LogicalExtensionCodec> {
        Arc::clone(&self.codec)
    }

    /// Whether a scheduler of this version answers at the address.
    pub(crate) async fn check_scheduler(&self) -> Result<(), ClusterError> {
        let mut fleet = FleetClient::new(self.channel().await?);
        let request = WatchRequest { version: VERSION.to_owned(), session_id: None };
        match fleet.watch(request).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::FailedPrecondition => {
                Err(ClusterError::Refused { message: status.message().to_owned() })
            }
            Err(status) if status.code() == Code::Unimplemented => Err(ClusterError::Refused {
                message: format!("what listens at `{}` is no scheduler of fruitbatch", self.address),
            }),
            Err(status) => Err(ClusterError::SchedulerUnreachable {
                address: self.address.to_string(),
                problem: status.message().to_owned(),
            }),
        }
    }

    async fn scheduler(&self) -> Result<Scheduler, ClusterError> {
        Ok(SchedulerGrpcClient::new(self.channel().await?)
            .max_encoding_message_size(MESSAGE_LIMIT)
            .max_decoding_message_size(MESSAGE_LIMIT))
    }

    async fn channel(&self) -> Result<Channel, ClusterError> {
        let unreachable = |error: &dyn std::error::Error| ClusterError::SchedulerUnreachable {
            address: self.address.to_string(),
            problem: root_of(error),
        };
        let settings = GrpcClientConfig::from(&*self.config);
        let endpoint = create_grpc_client_endpoint(self.scheduler_url(), Some(&settings))
            .map_err(|error| unreachable(&error))?;
        let endpoint = self.connector.secure(endpoint).map_err(|error| self.address.unreachable(error))?;
        endpoint.connect().await.map_err(|error| unreachable(&error))
    }

    /// The query as it is sent.
    pub(crate) fn request(&self, plan: &LogicalPlan, context: &TaskContext) -> Result<ExecuteQueryParams> {
        let mut bytes = Vec::new();
        LogicalPlanNode::try_from_logical_plan(plan, &*self.codec)?.try_encode(&mut bytes)?;
        let settings = context.session_config().options().entries();
        let settings = settings.into_iter().filter(|entry| entry.key != BALLISTA_JOB_NAME);
        // See `session_state`.
        let name = KeyValuePair { key: BALLISTA_JOB_NAME.to_owned(), value: Some(context.session_id()) };
        Ok(ExecuteQueryParams {
            query: Some(Query::LogicalPlan(bytes)),
            settings: settings
                .map(|entry| KeyValuePair { key: entry.key, value: entry.value })
                .chain([name])
                .collect(),
            session_id: context.session_id(),
            operation_id: ballista_core::ids::new_instance_id(),
        })
    }

    /// Submits the query when first polled; the stream is its result. Dropping the stream cancels the job.
    pub(crate) fn run(
        self,
        request: ExecuteQueryParams,
    ) -> impl Stream<Item = Result<RecordBatch, ClusterError>> + Send + 'static {
        let results = async move {
            // On a task of its own: if nobody waits any more when the answer comes, the job is cancelled there.
            let submitting = tokio::spawn({
                let client = self.clone();
                async move { client.submit(request).await }
            });
            let mut job = match submitting.await {
                Ok(submitted) => submitted?,
                Err(error) => return Err(ClusterError::SchedulerLost { problem: error.to_string() }),
            };
            let finished = job.finished().await?;
            let batches = self.results(finished).await?;
            Ok(futures::stream::unfold((job, Box::pin(batches)), |(mut job, mut batches)| async move {
                if let Some(batch) = batches.next().await {
                    Some((batch, (job, batches)))
                } else {
                    job.forget_results();
                    None
                }
            }))
        };
        futures::stream::once(results).try_flatten()
    }

    async fn submit(&self, query: ExecuteQueryParams) -> Result<Job, ClusterError> {
        let mut scheduler = self.scheduler().await?;
        let mut request = tonic::Request::new(query);
        insert_version_header(request.metadata_mut());
        let answer = scheduler.execute_query(request).await.map_err(|status| lost(&status))?.into_inner();
        match answer.result {
            Some(execute_query_result::Result::Success(accepted)) => {
                Ok(Job { scheduler, job_id: accepted.job_id, runtime: Handle::current(), open: true })
            }
            Some(execute_query_result::Result::Failure(failure)) => {
                Err(ClusterError::Plan { message: refusal(failure.failure) })
            }
            None => Err(ClusterError::SchedulerLost { problem: "its answer was empty".to_owned() }),
        }
    }

    async fn results(
        &self,
        finished: Finished,
    ) -> Result<impl Stream<Item = Result<RecordBatch, ClusterError>> + Send + use<>, ClusterError> {
        let mut executors: HashMap<(String, u16), BallistaClient> = HashMap::new();
        let mut fetches = Vec::with_capacity(finished.locations.len());
        for location in finished.locations {
            let layout = location.layout();
            let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
                return Err(not_fetched("the scheduler doesn't say where they are"));
            };
            let port = u16::try_from(executor.port).map_err(not_fetched)?;
            let address = self.fetch_from(&executor.host, port, finished.proxy.as_ref())?;
            let mut client = if let Some(client) = executors.get(&address) {
                client.clone()
            } else {
                let client = BallistaClient::try_new(
                    &address.0,
                    address.1,
                    MESSAGE_LIMIT,
                    self.connector.uses_tls(),
                    endpoint_override(&self.connector)
                        .map(|secure| Arc::new(BallistaConfigGrpcEndpoint::new(secure))),
                    u8::try_from(self.config.io_retries_times()).unwrap_or(u8::MAX),
                    self.config.io_retry_wait_time_ms() as u64,
                    0,
                    0,
                )
                .await
                .map_err(not_fetched)?;
                executors.entry(address).or_insert(client).clone()
            };
            fetches.push(async move {
                let batches = client
                    .fetch_partition_proxied(
                        &executor.id,
                        &partition.into(),
                        location.file_id,
                        layout,
                        &executor.host,
                        port,
                        true,
                    )
                    .await
                    .map_err(not_fetched)?;
                Ok::<_, ClusterError>(batches.map_err(not_fetched))
            });
        }
        Ok(futures::stream::iter(fetches).buffered(CONCURRENT_FETCHES).try_flatten())
    }

    /// The address to fetch an executor's results from: its own, or that of the proxy in front of it.
    fn fetch_from(
        &self,
        host: &str,
        port: u16,
        proxy: Option<&FlightProxy>,
    ) -> Result<(String, u16), ClusterError> {
        match proxy {
            Some(FlightProxy::External(address)) => {
                let proxy: SchedulerAddress = address
                    .parse()
                    .map_err(|_| not_fetched(format!("`{address}` is no address of a flight proxy")))?;
                Ok((proxy.host, proxy.port))
            }
            Some(FlightProxy::Local(true)) => Ok((self.address.host.clone(), self.address.port)),
            Some(FlightProxy::Local(false)) | None => Ok((host.to_owned(), port)),
        }
    }
}

/// Where a finished job's results lie.
struct Finished {
    locations: Vec<PartitionLocation>,
    proxy: Option<FlightProxy>,
}

/// A job that the scheduler has accepted. Dropped before its end, it is cancelled.
#[expect(clippy::struct_field_names, reason = "`job_id` is what Ballista calls it")]
struct Job {
    scheduler: Scheduler,
    job_id: String,
    runtime: Handle,
    /// Neither ended nor cancelled.
    open: bool,
}

impl Job {
    async fn finished(&mut self) -> Result<Finished, ClusterError> {
        let mut pause = FIRST_PAUSE;
        let mut known = false;
        let submitted = tokio::time::Instant::now();
        loop {
            let request = GetJobStatusParams { job_id: self.job_id.clone() };
            let answer =
                self.scheduler.get_job_status(request).await.map_err(|status| lost(&status))?.into_inner();
            match answer.status.and_then(|status| status.status) {
                Some(job_status::Status::Successful(job)) => {
                    return Ok(Finished { locations: job.partition_location, proxy: answer.flight_proxy });
                }
                Some(job_status::Status::Failed(job)) => {
                    self.open = false;
                    return Err(task_failure::unmark(&job.error));
                }
                Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) => known = true,
                None if known || submitted.elapsed() > UNKNOWN_FOR_AT_MOST => {
                    self.open = false;
                    return Err(ClusterError::SchedulerLost {
                        problem: "it doesn't know the job any more".to_owned(),
                    });
                }
                None => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// The executors may delete the results: all of them are here.
    fn forget_results(&mut self) {
        self.open = false;
        let mut scheduler = self.scheduler.clone();
        let request = CleanJobDataParams { job_id: self.job_id.clone(), remove_stage_ids: Vec::new() };
        self.runtime.spawn(async move {
            if let Err(status) = scheduler.clean_job_data(request).await {
                tracing::debug!(%status, "results of a finished job stay on the executors for a while");
            }
        });
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let mut scheduler = self.scheduler.clone();
        let request = CancelJobParams { job_id: self.job_id.clone() };
        self.runtime.spawn(async move {
            if let Err(status) = scheduler.cancel_job(request).await {
                // Not a person's concern: most often the scheduler is already on its way out, and the job with it.
                tracing::info!(%status, "a job that isn't wanted any more could not be cancelled");
            }
        });
    }
}

fn lost(status: &tonic::Status) -> ClusterError {
    ClusterError::SchedulerLost { problem: status.message().to_owned() }
}

fn refusal(failure: Option<Failure>) -> String {
    match failure {
        Some(
            Failure::PlanParsingFailure(message)
            | Failure::SqlParsingFailure(message)
            | Failure::SessionNotFound(message),
        ) => message,
        None => "the scheduler refused the query".to_owned(),
    }
}

fn not_fetched(problem: impl fmt::Display) -> ClusterError {
    ClusterError::ResultsLost { problem: problem.to_string() }
}
