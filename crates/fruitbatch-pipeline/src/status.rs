//! How far a run is, read from OUT alone.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use fruitbatch_storage::Storage;
use serde::Serialize;

use crate::claim::{self, ProcessIdentity};
use crate::commit_log::CommitLog;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::progress_note::ProgressNote;

/// After so long without a sign of life a driver is probably gone.
const PROBABLY_GONE_AFTER: TimeDelta = TimeDelta::seconds(45);

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Its driver is at work.
    Running,
    /// Its driver has not let go of OUT, but gives no sign of life any more: the same command goes on.
    Silent,
    /// It stopped before its end: the same command goes on.
    Stopped,
    /// Its outputs are complete.
    Complete,
}

/// What OUT says of the last run that was started on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunStatus {
    /// OUT.
    pub output: String,
    /// INPUT.
    pub input: String,
    /// How it stands.
    pub state: RunState,
    /// The machine of its driver.
    pub host: String,
    /// When it was started (UTC, RFC 3339).
    pub started_at: String,
    /// When its driver last gave a sign of life, by that machine's clock (UTC, RFC 3339).
    pub last_sign_of_life: Option<String>,
    /// How far its driver was then.
    pub progress: Option<ProgressNote>,
    /// Photos whose features are committed, those no longer selected included.
    pub committed_rows: usize,
    /// Photos booked as failed, by reason.
    pub failures: BTreeMap<String, usize>,
    /// Features parts that count.
    pub parts: usize,
}

impl RunStatus {
    /// Photos that are done: their features committed or their failure booked.
    pub fn committed(&self) -> usize {
        self.committed_rows + self.failures.values().sum::<usize>()
    }
}

/// How the last run on OUT stands. Reads the commit log and the driver's heartbeat, and writes nothing. `access` says how
/// OUT is reached.
///
/// # Errors
/// [`RunError::NoRun`] if none was ever started there; storage errors, and [`RunError::CorruptLog`].
pub async fn status(output: &str, access: &RunConfig) -> Result<RunStatus, RunError> {
    let place = RunConfig { output: Some(output.to_owned()), ..access.clone() }.output_location()?;
    let store = Storage::new(access.storage_options()?).output(&place).await?;
    let log = CommitLog::open(store.clone()).await?;
    let state = log.state();
    let Some(claim) = &state.claim else { return Err(RunError::NoRun { output: place.to_string() }) };
    let heartbeat = claim::read_heartbeat(&store, claim.number).await?;
    let mut failures = BTreeMap::new();
    for failure in state.failures.values() {
        *failures.entry(failure.reason.clone()).or_insert(0) += 1;
    }
    let running = claim.claim.process.as_ref().and_then(ProcessIdentity::is_running);
    let recent = |at: &str| {
        DateTime::parse_from_rfc3339(at)
            .is_ok_and(|at| Utc::now().signed_duration_since(at) < PROBABLY_GONE_AFTER)
    };
    let alive = running.unwrap_or_else(|| {
        recent(heartbeat.as_ref().map_or(claim.claim.at.as_str(), |heartbeat| heartbeat.at.as_str()))
    });
    Ok(RunStatus {
        output: place.to_string(),
        input: claim.claim.features.input.clone(),
        state: match (state.released, alive) {
            (Some(true), _) => RunState::Complete,
            (Some(false), _) => RunState::Stopped,
            (None, true) => RunState::Running,
            (None, false) => RunState::Silent,
        },
        host: claim.claim.host.clone(),
        started_at: claim.claim.at.clone(),
        last_sign_of_life: heartbeat.as_ref().map(|heartbeat| heartbeat.at.clone()),
        progress: heartbeat.map(|heartbeat| heartbeat.progress),
        committed_rows: state.rows().count(),
        failures,
        parts: state.parts.len(),
    })
}
