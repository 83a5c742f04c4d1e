//! The gRPC services on the scheduler's port.

use std::sync::Arc;

use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult, CreateUpdateSessionParams,
    CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult, ExecutorStoppedParams,
    ExecutorStoppedResult, GetJobMetricsParams, GetJobMetricsResult, GetJobStatusParams, GetJobStatusResult,
    HeartBeatParams, HeartBeatResult, PollWorkParams, PollWorkResult, RegisterExecutorParams,
    RegisterExecutorResult, RemoveSessionParams, RemoveSessionResult, UpdateTaskStatusParams,
    UpdateTaskStatusResult, execute_query_result, job_status,
};
use tonic::{Request, Response, Status};

use crate::fleet_book::FleetBook;
use crate::fleet_protocol::{ExecutorReport, Fleet, FleetView, ReportAnswer, VERSION, WatchRequest};
use crate::job_book::JobBook;
use crate::scheduler::BallistaScheduler;

type Answer<T> = Result<Response<T>, Status>;

/// Ballista's service, with the book of jobs kept beside it.
pub(crate) struct SchedulerService {
    pub(crate) ballista: BallistaScheduler,
    pub(crate) jobs: Arc<JobBook>,
}

#[tonic::async_trait]
impl SchedulerGrpc for SchedulerService {
    type ExecuteQueryPushStream = <BallistaScheduler as SchedulerGrpc>::ExecuteQueryPushStream;

    async fn execute_query(&self, request: Request<ExecuteQueryParams>) -> Answer<ExecuteQueryResult> {
        let session = request.get_ref().session_id.clone();
        let answer = self.ballista.execute_query(request).await?;
        if let Some(execute_query_result::Result::Success(accepted)) = &answer.get_ref().result {
            self.jobs.submitted(&accepted.job_id, &session);
        }
        Ok(answer)
    }

    async fn get_job_status(&self, request: Request<GetJobStatusParams>) -> Answer<GetJobStatusResult> {
        let job = request.get_ref().job_id.clone();
        let answer = self.ballista.get_job_status(request).await?;
        let status = answer.get_ref().status.as_ref().and_then(|status| status.status.as_ref());
        if matches!(status, Some(job_status::Status::Failed(_))) {
            self.jobs.close(&job);
        }
        Ok(answer)
    }

    async fn cancel_job(&self, request: Request<CancelJobParams>) -> Answer<CancelJobResult> {
        self.jobs.close(&request.get_ref().job_id);
        SchedulerGrpc::cancel_job(&self.ballista, request).await
    }

    async fn clean_job_data(&self, request: Request<CleanJobDataParams>) -> Answer<CleanJobDataResult> {
        self.jobs.close(&request.get_ref().job_id);
        self.ballista.clean_job_data(request).await
    }

    // The rest is Ballista's alone.

    async fn execute_query_push(
        &self,
        _request: Request<ExecuteQueryParams>,
    ) -> Answer<Self::ExecuteQueryPushStream> {
        // Its jobs could be neither told from each other nor cancelled.
        Err(Status::unimplemented("queries are submitted by `execute_query`"))
    }

    async fn poll_work(&self, request: Request<PollWorkParams>) -> Answer<PollWorkResult> {
        self.ballista.poll_work(request).await
    }

    async fn register_executor(
        &self,
        request: Request<RegisterExecutorParams>,
    ) -> Answer<RegisterExecutorResult> {
        self.ballista.register_executor(request).await
    }

    async fn heart_beat_from_executor(&self, request: Request<HeartBeatParams>) -> Answer<HeartBeatResult> {
        self.ballista.heart_beat_from_executor(request).await
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusParams>,
    ) -> Answer<UpdateTaskStatusResult> {
        SchedulerGrpc::update_task_status(&self.ballista, request).await
    }

    async fn create_update_session(
        &self,
        request: Request<CreateUpdateSessionParams>,
    ) -> Answer<CreateUpdateSessionResult> {
        self.ballista.create_update_session(request).await
    }

    async fn remove_session(&self, request: Request<RemoveSessionParams>) -> Answer<RemoveSessionResult> {
        self.ballista.remove_session(request).await
    }

    async fn get_job_metrics(&self, request: Request<GetJobMetricsParams>) -> Answer<GetJobMetricsResult> {
        self.ballista.get_job_metrics(request).await
    }

    async fn executor_stopped(
        &self,
        request: Request<ExecutorStoppedParams>,
    ) -> Answer<ExecutorStoppedResult> {
        self.ballista.executor_stopped(request).await
    }
}

/// The fleet's own service.
pub(crate) struct FleetService {
    pub(crate) jobs: Arc<JobBook>,
    pub(crate) fleet: Arc<FleetBook>,
}

fn check_version(who: &str, version: &str) -> Result<(), Status> {
    if version == VERSION {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "this scheduler is fruitbatch {VERSION} and the {who} is fruitbatch {version}; all parts of a fleet must be of \
         one version"
    )))
}

#[tonic::async_trait]
impl Fleet for FleetService {
    async fn report(&self, request: Request<ExecutorReport>) -> Answer<ReportAnswer> {
        let report = request.into_inner();
        check_version("executor", &report.version)?;
        let closed_jobs = self.jobs.closed_of(&report.held_jobs);
        self.fleet.put(report);
        Ok(Response::new(ReportAnswer { closed_jobs }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Answer<FleetView> {
        let WatchRequest { version, session_id } = request.into_inner();
        check_version("driver", &version)?;
        if let Some(session) = &session_id {
            self.jobs.heard_of(session);
        }
        Ok(Response::new(self.fleet.view(session_id.as_deref(), self.jobs.open_jobs())))
    }
}
