//! What can go wrong with a cluster or a job.

use std::net::SocketAddr;

use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use fruitbatch_net::TlsError;

/// Why a cluster isn't there or a job gave no result. Every text is one plain line; nothing of it is nested.
///
/// Inside DataFusion it travels as [`DataFusionError::External`], and [`ClusterError::from`] finds it there again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The cluster of this process didn't come up.
    #[error("could not start: {problem}")]
    Start {
        /// What failed.
        problem: String,
    },
    /// A port can't be listened on.
    #[error("can't listen on {address}: {problem}; choose another address or port with `--bind`")]
    Bind {
        /// `ADDRESS:PORT`.
        address: String,
        /// What the system says.
        problem: String,
    },
    /// Certificates or keys are no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The scheduler won't have this program.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
    },
    /// There is a scheduler, but nobody to do the work.
    #[error(
        "the scheduler at `{address}` has had no executor for {seconds} s; start some with `fruitbatch executor --scheduler \
         {address}`, and the same command goes on"
    )]
    NoExecutors {
        /// `HOST:PORT`.
        address: String,
        /// For how long.
        seconds: u64,
    },
    /// A job is under way, but nothing of it moves.
    #[error("the job has not moved on for {seconds} s, although there are executors")]
    Stalled {
        /// For how long.
        seconds: u64,
    },
    /// Nobody answers at the scheduler's address.
    #[error(
        "no scheduler answers at `{address}`: {problem}; start one with `fruitbatch scheduler`, or check the address"
    )]
    SchedulerUnreachable {
        /// `HOST:PORT`.
        address: String,
        /// What the network says.
        problem: String,
    },
    /// The address isn't one.
    #[error("`{address}` is no scheduler's address; write `df://HOST:PORT`")]
    SchedulerAddress {
        /// As given.
        address: String,
    },
    /// The scheduler went away, or was started anew and knows nothing of the job.
    #[error("the scheduler lost the job: {problem}")]
    SchedulerLost {
        /// What was seen of it.
        problem: String,
    },
    /// Photos couldn't be read for a reason that isn't theirs (network, throttling, server), although each task was tried
    /// several times.
    #[error("{message}")]
    StorageFault {
        /// What failed, at which photo.
        message: String,
    },
    /// The job was done, but its results couldn't be fetched from the executor that holds them.
    #[error("the results of the job could not be fetched: {problem}")]
    ResultsLost {
        /// What failed.
        problem: String,
    },
    /// The job was cancelled by somebody else.
    #[error("the job was cancelled")]
    Cancelled,
    /// A task failed for a reason that trying again doesn't mend.
    #[error("{message}")]
    JobFailed {
        /// The first task's own error.
        message: String,
    },
    /// The query makes no plan.
    #[error("{message}")]
    Plan {
        /// What is wrong with it.
        message: String,
    },
}

impl ClusterError {
    /// Whether the same job may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::SchedulerUnreachable { .. }
            | Self::SchedulerLost { .. }
            | Self::StorageFault { .. }
            | Self::NoExecutors { .. }
            | Self::Stalled { .. }
            | Self::ResultsLost { .. } => true,
            Self::Start { .. }
            | Self::Bind { .. }
            | Self::Tls(_)
            | Self::Refused { .. }
            | Self::SchedulerAddress { .. }
            | Self::Cancelled
            | Self::JobFailed { .. }
            | Self::Plan { .. } => false,
        }
    }
}

/// The cluster's own error if there is one inside; everything else failed before there was a job.
impl From<DataFusionError> for ClusterError {
    fn from(error: DataFusionError) -> Self {
        if let DataFusionError::External(inner) = error.find_root()
            && let Some(ours) = inner.downcast_ref::<Self>()
        {
            return ours.clone();
        }
        Self::Plan { message: error.find_root().message().into_owned() }
    }
}

impl From<ClusterError> for DataFusionError {
    fn from(error: ClusterError) -> Self {
        Self::External(Box::new(error))
    }
}

pub(crate) fn not_started(what: &str) -> impl Fn(BallistaError) -> ClusterError {
    move |error| ClusterError::Start { problem: format!("{what}: {error}") }
}

pub(crate) fn not_bound(address: SocketAddr, error: &std::io::Error) -> ClusterError {
    ClusterError::Bind { address: address.to_string(), problem: error.to_string() }
}
