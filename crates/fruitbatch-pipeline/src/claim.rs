//! Taking OUT over: who holds it, whether that driver still lives, and how its successor takes its place.
//!
//! A claim is an entry of the [commit log](crate::commit_log); that alone decides who may write. What is here decides only
//! *when* a driver tries to take over from another one that has not let go of OUT: at once if it can see that the other
//! process is gone, and otherwise once the other's heartbeat has stood still for 45 seconds. If that is wrong
//! because the other one was only slow, the other one stops at its next step, and nothing is lost or doubled.

use std::any::Any;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fruitbatch_storage::OutputStore;
use serde::{Deserialize, Serialize};

use crate::commit_log::{Claim, CommitLog, LogEntry, NumberedClaim, OWN_FOLDER};
use crate::error::RunError;
use crate::events::{Event, Observer};
use crate::lineage::now;
use crate::progress_note::{NotingObserver, ProgressNote};

/// How often a driver shows that it lives.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// How long a heartbeat stands still before its driver is taken for dead: room for a few lost beats.
const TAKEOVER_AFTER: Duration = Duration::from_secs(45);
/// How often a driver that waits looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// A process, told apart from all others before and after it, as far as Linux tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The boot of the machine it runs on.
    pub boot_id: String,
    /// The namespace its number is of: each container has its own.
    pub pid_namespace: String,
    /// Its number.
    pub pid: u32,
    /// When it started, in ticks since the boot: numbers are used again.
    pub start_time: u64,
}

impl ProcessIdentity {
    /// This process; none where the system doesn't tell.
    pub fn this() -> Option<Self> {
        let pid = std::process::id();
        Some(Self {
            boot_id: boot_id()?,
            pid_namespace: pid_namespace()?,
            pid,
            start_time: running_since(pid)?,
        })
    }

    /// Whether it is running; none if that can't be seen from here: another machine, or another container.
    pub fn is_running(&self) -> Option<bool> {
        if Some(&self.boot_id) != boot_id().as_ref() || Some(&self.pid_namespace) != pid_namespace().as_ref()
        {
            return None;
        }
        Some(running_since(self.pid) == Some(self.start_time))
    }
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

fn pid_namespace() -> Option<String> {
    Some(std::fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned())
}

/// The start time of a process that is neither gone nor a zombie: fields 3 and 22 of `/proc/PID/stat` (proc(5)).
fn running_since(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets that may hold anything, brackets too.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// How drivers know of each other whether they live. A trait, so that a simulation can have it wrong at will.
#[async_trait]
pub(crate) trait Liveness: Send + Sync {
    /// Whether the driver of `holder` still lives. May take its time.
    async fn is_alive(&self, store: &OutputStore, holder: &NumberedClaim) -> Result<bool, RunError>;

    /// Shows that the driver of claim `number` lives, until what this returns is dropped.
    fn show(&self, store: &OutputStore, number: u64) -> Box<dyn Any + Send>;
}

/// Takes OUT over for `claim`, after `check` of what the log says.
///
/// # Errors
/// [`RunError::Occupied`] if another driver lives; what `check` says; storage errors.
pub(crate) async fn take<C>(
    store: &OutputStore,
    log: &mut CommitLog,
    claim: Claim,
    liveness: &dyn Liveness,
    check: C,
) -> Result<(), RunError>
where
    C: AsyncFn(&CommitLog) -> Result<(), RunError>,
{
    loop {
        if let Err(refusal) = check(log).await {
            // Files that seem to be nobody's may be those of a driver that has come and gone since the log was read.
            if log.read_on().await? {
                continue;
            }
            return Err(refusal);
        }
        if let Some(holder) = log.state().holder() {
            let alive = liveness.is_alive(store, holder).await?;
            let (host, at) = (holder.claim.host.clone(), holder.claim.at.clone());
            // What it wrote while it was looked at may say more than the look did: that it is done, say.
            if log.read_on().await? {
                continue;
            }
            if alive {
                return Err(RunError::Occupied { output: store.uri(""), host, at });
            }
        }
        match log.append(LogEntry::Claim(claim.clone())).await {
            // Somebody was faster: look at who it is.
            Err(RunError::Superseded { .. }) => log.read_on().await?,
            appended => return appended,
        };
    }
}

fn heartbeat_file(claim_number: u64) -> String {
    format!("{OWN_FOLDER}/heartbeats/{claim_number:020}")
}

/// What a driver writes anew every [`HEARTBEAT_INTERVAL`]. That it changes is the sign of life; the rest is for people.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    beat: u64,
    /// UTC, RFC 3339.
    pub(crate) at: String,
    pub(crate) progress: ProgressNote,
}

/// The last heartbeat of a claim's driver; none if there never was one, or it can't be read.
pub(crate) async fn read_heartbeat(
    store: &OutputStore,
    claim_number: u64,
) -> Result<Option<Heartbeat>, RunError> {
    let text = store.get(&heartbeat_file(claim_number)).await?;
    Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Removes the heartbeats of drivers before claim `number`.
pub(crate) async fn remove_old_heartbeats(store: &OutputStore, number: u64) -> Result<(), RunError> {
    let own = heartbeat_file(number);
    for file in store.list(&format!("{OWN_FOLDER}/heartbeats")).await? {
        if file.path < own {
            store.delete(&file.path).await?;
        }
    }
    Ok(())
}

/// Heartbeats: a small file for each claim that its driver writes anew every [`HEARTBEAT_INTERVAL`].
pub(crate) struct Heartbeats<'a> {
    pub(crate) observer: &'a NotingObserver<'a>,
}

#[async_trait]
impl Liveness for Heartbeats<'_> {
    async fn is_alive(&self, store: &OutputStore, holder: &NumberedClaim) -> Result<bool, RunError> {
        if let Some(running) = holder.claim.process.as_ref().and_then(ProcessIdentity::is_running) {
            return Ok(running);
        }
        self.observer.observe(Event::Warning {
            message: format!(
                "a run on {} of {} has not let go of this output: looking for up to {} s whether it still runs",
                holder.claim.host,
                holder.claim.at,
                TAKEOVER_AFTER.as_secs()
            ),
        });
        let file = heartbeat_file(holder.number);
        let first = store.get(&file).await?;
        let began = tokio::time::Instant::now();
        while began.elapsed() < TAKEOVER_AFTER {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if store.get(&file).await? != first {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn show(&self, store: &OutputStore, number: u64) -> Box<dyn Any + Send> {
        let (store, note) = (store.clone(), self.observer.shared_note());
        Box::new(AbortOnDrop(tokio::spawn(async move {
            let file = heartbeat_file(number);
            let mut interval = tokio::time::interval(HEARTBEAT_INTERVAL);
            let mut beat = 0_u64;
            loop {
                interval.tick().await;
                beat += 1;
                let heartbeat = Heartbeat { beat, at: now(), progress: note.get() };
                let text =
                    serde_json::to_vec(&heartbeat).expect("a heartbeat holds nothing that JSON can't say");
                if let Err(error) = store.put(&file, Bytes::from(text)).await {
                    tracing::warn!(%error, "a heartbeat could not be written");
                }
            }
        })))
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_those_before_and_after_it() {
        let this = ProcessIdentity::this().expect("Linux tells");
        assert_eq!(this.is_running(), Some(true));
        let before = ProcessIdentity { start_time: this.start_time.wrapping_sub(1), ..this.clone() };
        assert_eq!(before.is_running(), Some(false), "the number was used before");
        let elsewhere = ProcessIdentity { boot_id: "another".to_owned(), ..this.clone() };
        assert_eq!(elsewhere.is_running(), None);

        let mut child = std::process::Command::new("true").spawn().expect("`true` is everywhere");
        let pid = child.id();
        let ended = || running_since(pid).is_none();
        // Not waited for, it stays as a zombie: that is dead enough.
        while !ended() {
            std::thread::yield_now();
        }
        child.wait().expect("it was ours");
        assert_eq!(ProcessIdentity { pid, ..this }.is_running(), Some(false));
    }
}
