//! What an executor counts, for Prometheus.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use fruitbatch_net::{encode_counter, encode_counters, encode_gauge};
use fruitbatch_storage::ReadErrorKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::sync::watch;

use crate::executor::ExecutorState;
use crate::membership::Membership;
use crate::task_runner::TaskRunner;

/// What the executor is about at the moment somebody asks.
pub(crate) struct ExecutorCollector {
    pub(crate) slots: NonZeroUsize,
    pub(crate) tasks: Arc<TaskRunner>,
    pub(crate) state: watch::Receiver<ExecutorState>,
}

impl fmt::Debug for ExecutorCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorCollector").field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl Collector for ExecutorCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let state = self.state.borrow().clone();
        let joined = state.membership == Membership::Joined;
        let gauge = |count: usize| count as u64;
        encode_gauge(encoder, "fruitbatch_slots", "Tasks that can run at a time", gauge(self.slots.get()))?;
        encode_gauge(
            encoder,
            "fruitbatch_running_tasks",
            "Tasks that run",
            gauge(self.tasks.running_tasks()),
        )?;
        encode_gauge(
            encoder,
            "fruitbatch_held_jobs",
            "Jobs with a running task or results here",
            gauge(state.held_jobs),
        )?;
        encode_gauge(encoder, "fruitbatch_joined", "1 while it belongs to a scheduler", joined.into())?;
        let photos = self.tasks.total();
        encode_counter(
            encoder,
            "fruitbatch_read_bytes",
            "Bytes of the photos that were read",
            photos.bytes(),
        )?;
        // Each reason is there from the start: a rate over a series that begins with its first event misses that event.
        let unreadable = photos.unreadable();
        let by_reason = ReadErrorKind::OF_ONE_PHOTO
            .map(|kind| (kind.reason(), unreadable.get(kind.reason()).copied().unwrap_or(0)));
        encode_counters(
            encoder,
            "fruitbatch_unreadable_photos",
            "Photos that could not be read, by reason",
            "reason",
            by_reason,
        )
    }
}
