//! The fleet's own service, beside Ballista's: what executors tell the scheduler, and what drivers ask it.
//!
//! Ballista's protocol knows finished stages only, not photos; it doesn't tell an executor which jobs are over, nor a
//! scheduler that a driver is gone. `report` and `watch` do, and they carry the version of whoever asks.

use prost::Message;

/// Client and server, made by `build.rs`.
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/fruitbatch.Fleet.rs"));
}

pub(crate) use generated::fleet_client::FleetClient;
pub(crate) use generated::fleet_server::{Fleet, FleetServer};

/// All parts of a fleet must be of one version: plans, settings and these messages change with it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An executor, as it is now. Sent with every sign of life.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExecutorReport {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    #[prost(string, tag = "2")]
    pub(crate) executor_id: String,
    /// The machine's name, for people.
    #[prost(string, tag = "3")]
    pub(crate) host_name: String,
    #[prost(uint32, tag = "4")]
    pub(crate) slots: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) running_tasks: u32,
    /// Jobs with a running task here.
    #[prost(string, repeated, tag = "6")]
    pub(crate) running_jobs: Vec<String>,
    /// Jobs with a running task or results here.
    #[prost(string, repeated, tag = "7")]
    pub(crate) held_jobs: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) sessions: Vec<SessionPhotos>,
    /// Whether it takes no new tasks and leaves once its results are fetched.
    #[prost(bool, tag = "9")]
    pub(crate) draining: bool,
    /// Resident memory of the process.
    #[prost(uint64, tag = "10")]
    pub(crate) memory_bytes: u64,
    /// Cores that the process kept busy since the last report.
    #[prost(float, tag = "11")]
    pub(crate) busy_cores: f32,
}

/// What an executor has done for a driver's session since it started.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SessionPhotos {
    #[prost(string, tag = "1")]
    pub(crate) session_id: String,
    /// Photos dealt with; those of tasks that were tried again count each time.
    #[prost(uint64, tag = "2")]
    pub(crate) photos: u64,
    /// Their files' bytes.
    #[prost(uint64, tag = "3")]
    pub(crate) bytes: u64,
}

/// What an executor should know.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReportAnswer {
    /// Of the jobs it holds, those that nobody wants anything of any more.
    #[prost(string, repeated, tag = "1")]
    pub(crate) closed_jobs: Vec<String>,
}

/// A driver's sign of life.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchRequest {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    /// The driver's session; without one it only looks.
    #[prost(string, optional, tag = "2")]
    pub(crate) session_id: Option<String>,
}

/// The fleet as the scheduler sees it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FleetView {
    #[prost(message, repeated, tag = "1")]
    pub(crate) executors: Vec<FleetExecutor>,
    /// What all executors there are have done for the session.
    #[prost(uint64, tag = "2")]
    pub(crate) photos: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) bytes: u64,
    /// Jobs under way, of all drivers.
    #[prost(uint32, tag = "4")]
    pub(crate) jobs: u32,
}

/// One executor of the fleet.
#[derive(Clone, PartialEq, Message, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FleetExecutor {
    /// Its identity since it joined.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The name of its machine.
    #[prost(string, tag = "2")]
    pub host_name: String,
    /// Tasks that it can run at a time.
    #[prost(uint32, tag = "3")]
    pub slots: u32,
    /// Tasks that it runs.
    #[prost(uint32, tag = "4")]
    pub running_tasks: u32,
    /// Whether it is about to leave.
    #[prost(bool, tag = "5")]
    pub draining: bool,
    /// Resident memory of its process.
    #[prost(uint64, tag = "6")]
    pub memory_bytes: u64,
    /// Cores that its process keeps busy.
    #[prost(float, tag = "7")]
    pub busy_cores: f32,
    /// Photos it has done for anybody since it joined.
    #[prost(uint64, tag = "8")]
    pub photos: u64,
}
