//! What executors have told of themselves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::fleet_protocol::{ExecutorReport, FleetExecutor, FleetView};

/// The last report of every executor, those of lost ones left out.
#[derive(Debug)]
pub(crate) struct FleetBook {
    timeout: Duration,
    reports: Mutex<HashMap<String, (ExecutorReport, Instant)>>,
    photos: AtomicU64,
    bytes: AtomicU64,
}

impl FleetBook {
    /// A report counts for `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, reports: Mutex::default(), photos: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    fn reports(&self) -> MutexGuard<'_, HashMap<String, (ExecutorReport, Instant)>> {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        // An executor may report once more after the scheduler has given it up, and then comes back by another name. The
        // others are removed by name; twice the timeout leaves them time for that.
        reports.retain(|_, (_, at)| at.elapsed() < self.timeout.saturating_mul(2));
        reports
    }

    pub(crate) fn put(&self, report: ExecutorReport) {
        let mut reports = self.reports();
        let (photos, bytes) = done(&report);
        let (photos_before, bytes_before) =
            reports.get(&report.executor_id).map(|(last, _)| done(last)).unwrap_or_default();
        // An executor forgets sessions that are long over, and then tells less than before.
        self.photos.fetch_add(photos.saturating_sub(photos_before), Ordering::Relaxed);
        self.bytes.fetch_add(bytes.saturating_sub(bytes_before), Ordering::Relaxed);
        reports.insert(report.executor_id.clone(), (report, Instant::now()));
    }

    /// Photos and bytes that all executors there ever were have done.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.photos.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn remove(&self, executor_id: &str) -> Option<ExecutorReport> {
        self.reports().remove(executor_id).map(|(report, _)| report)
    }

    pub(crate) fn executors(&self) -> usize {
        self.reports().values().filter(|(_, at)| at.elapsed() < self.timeout).count()
    }

    /// The executors by host name, and what they did for a session.
    pub(crate) fn view(&self, session: Option<&str>, jobs: usize) -> FleetView {
        let mut view = FleetView { jobs: u32::try_from(jobs).unwrap_or(u32::MAX), ..FleetView::default() };
        for (report, at) in self.reports().values() {
            for done in &report.sessions {
                if session == Some(done.session_id.as_str()) {
                    view.photos += done.photos;
                    view.bytes += done.bytes;
                }
            }
            if at.elapsed() >= self.timeout {
                continue;
            }
            view.executors.push(FleetExecutor {
                id: report.executor_id.clone(),
                host_name: report.host_name.clone(),
                slots: report.slots,
                running_tasks: report.running_tasks,
                draining: report.draining,
                memory_bytes: report.memory_bytes,
                busy_cores: report.busy_cores,
                photos: done(report).0,
            });
        }
        view.executors.sort_by(|a, b| (&a.host_name, &a.id).cmp(&(&b.host_name, &b.id)));
        view
    }
}

/// Photos and bytes of all sessions.
fn done(report: &ExecutorReport) -> (u64, u64) {
    let sessions = &report.sessions;
    (sessions.iter().map(|session| session.photos).sum(), sessions.iter().map(|session| session.bytes).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_protocol::SessionPhotos;

    fn report(executor: &str, host: &str, session: &str, photos: u64) -> ExecutorReport {
        ExecutorReport {
            executor_id: executor.to_owned(),
            host_name: host.to_owned(),
            slots: 2,
            sessions: vec![SessionPhotos { session_id: session.to_owned(), photos, bytes: photos * 10 }],
            ..ExecutorReport::default()
        }
    }

    #[test]
    fn a_session_sees_its_own_photos_and_all_executors() {
        let fleet = FleetBook::new(Duration::from_mins(1));
        fleet.put(report("1", "b", "mine", 3));
        fleet.put(report("2", "a", "mine", 4));
        fleet.put(report("3", "c", "another's", 5));
        fleet.put(report("1", "b", "mine", 6));
        let view = fleet.view(Some("mine"), 1);
        assert_eq!((view.photos, view.bytes, view.jobs), (10, 100, 1));
        let hosts: Vec<&str> = view.executors.iter().map(|executor| executor.host_name.as_str()).collect();
        assert_eq!(hosts, ["a", "b", "c"]);
        assert_eq!(fleet.view(None, 0).photos, 0);
        assert_eq!(fleet.totals(), (15, 150));
        assert!(fleet.remove("3").is_some() && fleet.remove("3").is_none());
        assert_eq!(fleet.executors(), 2);
    }

    #[test]
    fn an_executor_not_heard_of_is_not_there() {
        let fleet = FleetBook::new(Duration::ZERO);
        fleet.put(report("1", "b", "mine", 3));
        assert_eq!(fleet.executors(), 0);
        assert!(fleet.view(None, 0).executors.is_empty());
    }
}
