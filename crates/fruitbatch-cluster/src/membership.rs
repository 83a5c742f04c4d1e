//! How an executor stays with its scheduler.
//!
//! It gives a sign of life each second and reports what became of its tasks until the scheduler has heard it. When it gets
//! no answer for as long as the scheduler takes an executor for lost, its work has been given to others: it drops all it
//! has and joins anew by another name. So no task of an executor that was given up counts, and none is reported twice
//! under two names.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::BALLISTA_PROTOCOL_VERSION;
use ballista_core::ids::new_instance_id;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    ExecutorRegistration, ExecutorStatus, ExecutorStoppedParams, HeartBeatParams, RegisterExecutorParams,
    TaskStatus, UpdateTaskStatusParams, executor_status,
};
use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};
use fruitbatch_net::{Connector, root_of};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::executor::ExecutorState;
use crate::executor_host::host_name;
use crate::executor_service::CurrentName;
use crate::fleet_protocol::{ExecutorReport, FleetClient, SessionPhotos, VERSION};
use crate::job_data::JobData;
use crate::session::{MESSAGE_LIMIT, SchedulerAddress};
use crate::task_runner::{Outcome, TaskRunner};

/// How often a sign of life is given.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// The pause between attempts to join.
const JOIN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How an executor stands with its scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// It tries to join, again and again.
    Joining {
        /// Why the last attempt failed; none before the first has ended.
        problem: Option<String>,
    },
    /// It gets tasks.
    Joined,
    /// The scheduler won't have it, and trying again doesn't help.
    Refused {
        /// What the scheduler says.
        message: String,
    },
    /// It has left after draining.
    Left,
}

/// All that staying with a scheduler needs.
pub(crate) struct Member {
    pub(crate) scheduler: SchedulerAddress,
    pub(crate) connector: Connector,
    pub(crate) advertise_host: Option<String>,
    pub(crate) port: u16,
    pub(crate) slots: NonZeroUsize,
    pub(crate) timeout: Duration,
    pub(crate) name: Arc<CurrentName>,
    pub(crate) tasks: Arc<TaskRunner>,
    pub(crate) data: JobData,
    pub(crate) outcomes: mpsc::UnboundedReceiver<Outcome>,
    pub(crate) publish: watch::Sender<ExecutorState>,
    /// Until when the executor may take to leave, once it has been asked to.
    pub(crate) drain_requests: watch::Receiver<Option<Instant>>,
}

/// How one life as a member ended.
enum End {
    /// It was silent for too long.
    GivenUp,
    Refused(String),
    Left,
}

enum NotJoined {
    Refused(String),
    /// It may join later.
    Yet(String),
}

/// A life as a member, under one name.
struct Life {
    registration: ExecutorRegistration,
    scheduler: SchedulerGrpcClient<Channel>,
    fleet: FleetClient<Channel>,
    last_answer: Instant,
    /// What became of tasks, and the scheduler hasn't heard yet.
    unreported: Vec<TaskStatus>,
}

impl Life {
    fn note(&mut self, outcome: Outcome) {
        // Those of an earlier life were given to others.
        if outcome.executor_id == self.registration.id {
            self.unreported.push(outcome.status);
        }
    }
}

impl Member {
    pub(crate) async fn stay(mut self) {
        let mut load = ProcessLoad::default();
        let end = loop {
            let mut life = match self.join(&mut load).await {
                Ok(life) => life,
                Err(end) => break end,
            };
            let end = self.live(&mut life, &mut load).await;
            self.name.set(None);
            if !matches!(end, End::GivenUp) {
                break end;
            }
            tracing::warn!(
                scheduler = %self.scheduler,
                "no answer from the scheduler for {} s: its work was given to others, and it joins anew",
                self.timeout.as_secs()
            );
            self.drop_everything().await;
        };
        self.publish.send_modify(|state| {
            state.membership = match end {
                End::Refused(message) => Membership::Refused { message },
                End::GivenUp | End::Left => Membership::Left,
            };
        });
    }

    /// Tries until it has joined.
    async fn join(&mut self, load: &mut ProcessLoad) -> Result<Life, End> {
        let mut told = None;
        loop {
            let problem = match self.try_to_join(load).await {
                Ok(life) => {
                    tracing::info!(scheduler = %self.scheduler, executor_id = life.registration.id, "joined");
                    self.publish.send_modify(|state| state.membership = Membership::Joined);
                    return Ok(life);
                }
                Err(NotJoined::Refused(message)) => return Err(End::Refused(message)),
                Err(NotJoined::Yet(problem)) => problem,
            };
            self.name.set(None);
            if told.as_ref() != Some(&problem) {
                tracing::warn!(scheduler = %self.scheduler, problem, "not joined yet, trying again");
                told = Some(problem.clone());
            }
            self.publish
                .send_modify(|state| state.membership = Membership::Joining { problem: Some(problem) });
            tokio::select! {
                _ = self.drain_requests.wait_for(Option::is_some) => return Err(End::Left),
                () = tokio::time::sleep(JOIN_AGAIN_AFTER) => {}
            }
        }
    }

    async fn try_to_join(&self, load: &mut ProcessLoad) -> Result<Life, NotJoined> {
        // A file that is being replaced is whole again at the next attempt.
        let endpoint =
            self.scheduler.endpoint(&self.connector).map_err(|error| NotJoined::Yet(error.to_string()))?;
        let channel = endpoint.connect().await.map_err(|error| NotJoined::Yet(root_of(&error)))?;
        let registration = ExecutorRegistration {
            id: new_instance_id(),
            host: self.advertise_host.clone(),
            port: u32::from(self.port),
            grpc_port: u32::from(self.port),
            specification: Some(
                ExecutorSpecification::default()
                    .with_vcores(u32::try_from(self.slots.get()).unwrap_or(u32::MAX))
                    .into(),
            ),
            os_info: Some(ExecutorOperatingSystemSpecification::default().into()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
        };
        let mut life = Life {
            scheduler: SchedulerGrpcClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
            fleet: FleetClient::new(channel),
            last_answer: Instant::now(),
            unreported: Vec::new(),
            registration,
        };
        // First of all, since it tells the version.
        let report = self.report(&life, load, false).await;
        life.fleet.report(report).await.map_err(|status| not_joined(&status))?;
        // The first tasks may come before the answer does.
        self.name.set(Some(life.registration.id.clone()));
        let request = RegisterExecutorParams { metadata: Some(life.registration.clone()) };
        life.scheduler.register_executor(request).await.map_err(|status| not_joined(&status))?;
        life.last_answer = Instant::now();
        Ok(life)
    }

    async fn live(&mut self, life: &mut Life, load: &mut ProcessLoad) -> End {
        let mut signs = tokio::time::interval(SIGN_OF_LIFE);
        signs.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let sign_is_due = tokio::select! {
                _ = signs.tick() => true,
                Ok(()) = self.drain_requests.changed() => true,
                Some(outcome) = self.outcomes.recv() => {
                    life.note(outcome);
                    false
                }
            };
            while let Ok(outcome) = self.outcomes.try_recv() {
                life.note(outcome);
            }
            // Before anything is sent: this process may have been stopped for hours.
            if life.last_answer.elapsed() >= self.timeout {
                return End::GivenUp;
            }
            self.report_tasks(life).await;
            if !sign_is_due {
                continue;
            }
            let drain_until = *self.drain_requests.borrow();
            match self.give_sign_of_life(life, load, drain_until.is_some()).await {
                Ok(()) => {}
                Err(status) if status.code() == Code::FailedPrecondition => {
                    return End::Refused(status.message().to_owned());
                }
                Err(status) => {
                    tracing::warn!(problem = status.message(), "the scheduler doesn't answer");
                }
            }
            let held = self.data.jobs().await.map(|jobs| jobs.len()).unwrap_or_default();
            let running = self.tasks.running_tasks();
            self.publish.send_modify(|state| {
                state.running_tasks = running;
                state.held_jobs = held;
            });
            if let Some(until) = drain_until {
                let done = running == 0 && held == 0 && life.unreported.is_empty();
                if done || Instant::now() >= until {
                    if !done {
                        tracing::warn!(
                            running,
                            held,
                            "the time for draining is over: what is left here is done again by others"
                        );
                    }
                    self.leave(life).await;
                    return End::Left;
                }
            }
        }
    }

    /// Tells the scheduler what became of tasks. What it can't be told now is told with the next sign of life; a task that
    /// never is would be waited for until the executor is given up.
    async fn report_tasks(&self, life: &mut Life) {
        if life.unreported.is_empty() {
            return;
        }
        let request = UpdateTaskStatusParams {
            executor_id: life.registration.id.clone(),
            task_status: life.unreported.clone(),
        };
        match life.scheduler.update_task_status(request).await {
            Ok(_) => life.unreported.clear(),
            Err(status) => tracing::warn!(
                problem = status.message(),
                tasks = life.unreported.len(),
                "the scheduler could not be told what became of tasks, trying again"
            ),
        }
    }

    async fn give_sign_of_life(
        &self,
        life: &mut Life,
        load: &mut ProcessLoad,
        draining: bool,
    ) -> Result<(), Status> {
        let status = if draining {
            executor_status::Status::Terminating(String::new())
        } else {
            executor_status::Status::Active(String::new())
        };
        let heartbeat = HeartBeatParams {
            executor_id: life.registration.id.clone(),
            metrics: Vec::new(),
            status: Some(ExecutorStatus { status: Some(status) }),
            metadata: Some(life.registration.clone()),
        };
        life.scheduler.heart_beat_from_executor(heartbeat).await?;
        let report = self.report(life, load, draining).await;
        let answer = life.fleet.report(report).await?.into_inner();
        life.last_answer = Instant::now();
        self.tasks.cancel_jobs(|job| answer.closed_jobs.iter().any(|closed| closed == job));
        self.remove_results(&answer.closed_jobs).await;
        Ok(())
    }

    async fn report(&self, life: &Life, load: &mut ProcessLoad, draining: bool) -> ExecutorReport {
        let running_jobs = self.tasks.running_jobs();
        let mut held_jobs = self.data.jobs().await.unwrap_or_default();
        held_jobs.extend(running_jobs.iter().cloned());
        let sessions = self.tasks.photos().into_iter();
        let (memory_bytes, busy_cores) = load.measure();
        ExecutorReport {
            version: VERSION.to_owned(),
            executor_id: life.registration.id.clone(),
            host_name: host_name(),
            slots: u32::try_from(self.slots.get()).unwrap_or(u32::MAX),
            running_tasks: u32::try_from(self.tasks.running_tasks()).unwrap_or(u32::MAX),
            running_jobs: running_jobs.into_iter().collect(),
            held_jobs: held_jobs.into_iter().collect(),
            sessions: sessions
                .map(|(session_id, photos, bytes)| SessionPhotos { session_id, photos, bytes })
                .collect(),
            draining,
            memory_bytes,
            busy_cores,
        }
    }

    async fn leave(&self, life: &mut Life) {
        let request = ExecutorStoppedParams {
            executor_id: life.registration.id.clone(),
            reason: "it was asked to leave".to_owned(),
        };
        if let Err(status) = life.scheduler.executor_stopped(request).await {
            tracing::warn!(
                problem = status.message(),
                "the scheduler could not be told that this executor leaves"
            );
        }
    }

    /// Ends all tasks and removes all results.
    async fn drop_everything(&mut self) {
        self.tasks.cancel_jobs(|_| true);
        match self.data.jobs().await {
            Ok(jobs) => self.remove_results(&jobs).await,
            Err(error) => tracing::warn!(%error, "the folder for intermediate results can't be read"),
        }
    }

    async fn remove_results(&self, jobs: impl IntoIterator<Item = &String>) {
        for job in jobs {
            if let Err(error) = self.data.remove(job, &[]).await {
                tracing::warn!(job, %error, "the results of a job that is over could not be removed");
            }
        }
    }
}

fn not_joined(status: &Status) -> NotJoined {
    if status.code() == Code::FailedPrecondition {
        NotJoined::Refused(status.message().to_owned())
    } else {
        NotJoined::Yet(status.message().to_owned())
    }
}

/// This process's share of the machine.
struct ProcessLoad {
    system: System,
}

impl Default for ProcessLoad {
    fn default() -> Self {
        Self { system: System::new() }
    }
}

impl ProcessLoad {
    /// Resident bytes, and the cores kept busy since the last call.
    fn measure(&mut self) -> (u64, f32) {
        let Ok(pid) = sysinfo::get_current_pid() else { return (0, 0.0) };
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        match self.system.process(pid) {
            Some(process) => (process.memory(), process.cpu_usage() / 100.0),
            None => (0, 0.0),
        }
    }
}
