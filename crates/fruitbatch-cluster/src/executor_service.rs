//! What the scheduler asks of an executor.

use std::sync::{Arc, Mutex, PoisonError};

use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpc;
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams,
    LaunchTaskResult, RemoveJobDataParams, RemoveJobDataResult, StopExecutorParams, StopExecutorResult,
};
use ballista_core::serde::scheduler::TaskKey;
use tonic::{Request, Response, Status};

use crate::job_data::JobData;
use crate::task_runner::TaskRunner;

type Answer<T> = Result<Response<T>, Status>;

/// The name that the executor goes by at present: it takes another one when it has been given up.
#[derive(Debug, Default)]
pub(crate) struct CurrentName(Mutex<Option<String>>);

impl CurrentName {
    pub(crate) fn set(&self, name: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ballista's service of an executor.
pub(crate) struct ExecutorService {
    pub(crate) name: Arc<CurrentName>,
    pub(crate) tasks: Arc<TaskRunner>,
    pub(crate) data: JobData,
}

#[tonic::async_trait]
impl ExecutorGrpc for ExecutorService {
    async fn launch_multi_task(
        &self,
        request: Request<LaunchMultiTaskParams>,
    ) -> Answer<LaunchMultiTaskResult> {
        let Some(name) = self.name.get() else {
            return Err(Status::unavailable("this executor belongs to no scheduler at present"));
        };
        let mut failed_jobs = Vec::new();
        for tasks in request.into_inner().multi_tasks {
            let job_id = tasks.job_id.clone();
            if let Err(error) = self.tasks.launch(&name, tasks) {
                tracing::error!(job_id, %error, "the plan of a task can't be read");
                failed_jobs.push(job_id);
            }
        }
        Ok(Response::new(LaunchMultiTaskResult { failed_jobs }))
    }

    async fn launch_task(&self, _request: Request<LaunchTaskParams>) -> Answer<LaunchTaskResult> {
        Err(Status::unimplemented("tasks are launched by `launch_multi_task`"))
    }

    async fn cancel_tasks(&self, request: Request<CancelTasksParams>) -> Answer<CancelTasksResult> {
        for task in request.into_inner().task_infos {
            self.tasks.cancel(&TaskKey {
                job_id: task.job_id.into(),
                stage_id: task.stage_id as usize,
                task_id: task.task_id as usize,
            });
        }
        Ok(Response::new(CancelTasksResult { cancelled: true }))
    }

    async fn stop_executor(&self, _request: Request<StopExecutorParams>) -> Answer<StopExecutorResult> {
        // The scheduler has given it up, for it was silent too long. It has noticed that itself by the same clock.
        Ok(Response::new(StopExecutorResult {}))
    }

    async fn remove_job_data(&self, request: Request<RemoveJobDataParams>) -> Answer<RemoveJobDataResult> {
        let RemoveJobDataParams { job_id, remove_stage_ids } = request.into_inner();
        self.data
            .remove(&job_id, &remove_stage_ids)
            .await
            .map_err(|error| Status::internal(format!("the data of job `{job_id}`: {error}")))?;
        Ok(Response::new(RemoveJobDataResult {}))
    }
}
