//! What a scheduler counts, for Prometheus.

use std::fmt;
use std::sync::Arc;

use ballista_core::JobId;
use ballista_scheduler::metrics::SchedulerMetricsCollector;
use fruitbatch_net::{Labels, encode_counter, encode_gauge, encode_gauges};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::fleet_book::FleetBook;
use crate::job_book::JobBook;

/// Counts that only whoever sees the events can keep.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchedulerMetrics {
    pub(crate) executors_joined: Counter,
    pub(crate) executors_lost: Counter,
    jobs: Family<Labels, Counter>,
    pending_tasks: Gauge,
}

impl SchedulerMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        // All outcomes are there from the start: a rate over a series that begins with its first event misses that event.
        for outcome in ["submitted", "completed", "failed", "cancelled"] {
            drop(self.jobs.get_or_create(&[("outcome", outcome)]));
        }
        registry.register(
            "fruitbatch_executors_joined",
            "Executors that joined, those that came back included",
            self.executors_joined.clone(),
        );
        registry.register(
            "fruitbatch_executors_lost",
            "Executors that went away without having been asked to",
            self.executors_lost.clone(),
        );
        registry.register("fruitbatch_jobs", "Jobs by what became of them", self.jobs.clone());
        registry.register(
            "fruitbatch_pending_tasks",
            "Tasks that wait for a free slot",
            self.pending_tasks.clone(),
        );
    }

    fn count_job(&self, outcome: &'static str) {
        self.jobs.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn pending_tasks(&self) -> u64 {
        self.pending_tasks.get().unsigned_abs()
    }
}

/// By which Ballista tells.
impl SchedulerMetricsCollector for SchedulerMetrics {
    fn record_submitted(&self, _job: &JobId, _queued_at: u64, _submitted_at: u64) {
        self.count_job("submitted");
    }

    fn record_completed(&self, _job: &JobId, _queued_at: u64, _completed_at: u64) {
        self.count_job("completed");
    }

    fn record_failed(&self, _job: &JobId, _queued_at: u64, _failed_at: u64) {
        self.count_job("failed");
    }

    fn record_cancelled(&self, _job: &JobId) {
        self.count_job("cancelled");
    }

    fn set_pending_tasks_queue_size(&self, value: u64) {
        self.pending_tasks.set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn gather_metrics(&self) -> ballista_core::error::Result<Option<(Vec<u8>, String)>> {
        // For Ballista's REST interface, which is not there.
        Ok(None)
    }
}

/// What the books say at the moment somebody asks.
#[derive(Debug)]
pub(crate) struct BooksCollector {
    pub(crate) fleet: Arc<FleetBook>,
    pub(crate) jobs: Arc<JobBook>,
}

impl Collector for BooksCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let view = self.fleet.view(None, self.jobs.open_jobs());
        let draining = view.executors.iter().filter(|executor| executor.draining).count();
        let sum = |of: fn(&crate::FleetExecutor) -> u32| {
            view.executors.iter().map(|executor| u64::from(of(executor))).sum()
        };
        encode_gauges(
            &mut encoder,
            "fruitbatch_executors",
            "Executors that are there, by whether they take new tasks",
            "state",
            [("active", (view.executors.len() - draining) as u64), ("draining", draining as u64)],
        )?;
        encode_gauge(
            &mut encoder,
            "fruitbatch_slots",
            "Slots of all executors",
            sum(|executor| executor.slots),
        )?;
        encode_gauge(
            &mut encoder,
            "fruitbatch_running_tasks",
            "Tasks that run, on all executors",
            sum(|executor| executor.running_tasks),
        )?;
        encode_gauge(
            &mut encoder,
            "fruitbatch_open_jobs",
            "Jobs that somebody still wants something of",
            u64::from(view.jobs),
        )?;
        encode_gauge(
            &mut encoder,
            "fruitbatch_drivers",
            "Drivers at work, also those that wait for an executor",
            self.jobs.drivers() as u64,
        )?;
        let (photos, bytes) = self.fleet.totals();
        encode_counter(
            &mut encoder,
            "fruitbatch_fleet_photos",
            "Photos that executors have dealt with, those of tasks that were tried again each time",
            photos,
        )?;
        encode_counter(&mut encoder, "fruitbatch_fleet_read_bytes", "Bytes of those photos", bytes)
    }
}
