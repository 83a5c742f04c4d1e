//! `run.json`: what was run, on what, by which versions, where and when.

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;

/// The lineage of a run. It holds no secret: credentials never enter a configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lineage {
    /// Random identity of the run.
    pub run_id: String,
    /// Everything the run was told, defaults included.
    pub config: RunConfig,
    /// What was done with each photo: the canonical text, the model's digest in it.
    pub embedding: String,
    /// Digest over path, etag and length of all listed photos.
    pub input_digest: String,
    /// The kernels that made the features: instruction set, provider and way of convolving. Features by different ones may differ in
    /// the last bits.
    #[serde(default)]
    pub kernel_paths: Vec<String>,
    /// Versions of the program and of what it stands on.
    pub versions: Versions,
    /// When the run began (UTC, RFC 3339).
    pub started_at: String,
    /// When its outputs were complete (UTC, RFC 3339).
    pub finished_at: String,
    /// The driver's machine.
    pub hosts: Vec<Host>,
    /// The fleet's machines that were there; none for a cluster inside the driver.
    pub executors: Vec<FleetHost>,
}

/// A machine of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetHost {
    /// Its name.
    pub name: String,
    /// Tasks that its executor could run at a time.
    pub slots: u32,
    /// How long it was there while photos were read and embedded, in seconds.
    #[serde(default)]
    pub seconds: u64,
}

/// The git commit this was built from, where that was known.
pub const GIT_COMMIT: Option<&str> = option_env!("FRUITBATCH_GIT_COMMIT");

/// Versions of the program and of what it stands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Versions {
    /// Of fruitbatch.
    pub fruitbatch: String,
    /// The git commit it was built from, where that was known.
    pub git_commit: Option<String>,
    /// Of DataFusion.
    pub datafusion: String,
    /// Of Ballista.
    pub ballista: String,
    /// Of the ONNX Runtime library that was loaded.
    pub onnxruntime: Option<String>,
}

/// A machine that took part in a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its architecture, such as `x86_64`.
    pub architecture: String,
    /// Cores that the process could use.
    pub cores: usize,
}

impl Host {
    /// This machine.
    pub fn this() -> Self {
        Self {
            name: hostname::get()
                .map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned()),
            architecture: std::env::consts::ARCH.to_owned(),
            cores: crate::config::available_cores().get(),
        }
    }
}

/// The time, for people (UTC, RFC 3339).
pub(crate) fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The memory that programs could still take, in bytes, as Linux tells it (`MemAvailable`).
pub fn available_memory_bytes() -> Option<u64> {
    kilobytes_in(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// The most memory this process ever held, in bytes, as Linux tells it (`VmHWM`).
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    kilobytes_in(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

fn kilobytes_in(text: &str, key: &str) -> Option<u64> {
    let kilobytes = text.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix("kB")?;
    kilobytes.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
