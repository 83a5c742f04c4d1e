//! What a task gets from the process that runs it, by way of its session configuration's extensions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::TaskContext;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// The runtime on which photos are read ahead.
///
/// A worker thread of the runtime that computes is busy for seconds at a time inside a model; reads on the same runtime
/// would stand still meanwhile. An executor therefore names another runtime here
/// ([`SessionConfig::with_extension`](datafusion::prelude::SessionConfig::with_extension)); without it, photos are read
/// on the runtime that polls the plan.
#[derive(Debug, Clone)]
pub struct ReadRuntime(pub Handle);

/// The most bytes of photos in a batch, whatever the plan's [`ScanOptions`](crate::ScanOptions) say: a process may have less memory
/// than who made the plan thought.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// At least 1.
    pub batch_bytes: u64,
}

/// Told when the task's result isn't wanted any more; every read node of the task then ends with an error.
#[derive(Debug, Clone, Default)]
pub struct TaskStop(pub CancellationToken);

/// Counts the photos that have been dealt with: read, and whatever stands above the read node has come back for more.
#[derive(Debug, Default)]
pub struct PhotoMeter {
    photos: AtomicU64,
    bytes: AtomicU64,
    unreadable: Mutex<BTreeMap<&'static str, u64>>,
}

impl PhotoMeter {
    /// Photos so far, unreadable ones included.
    pub fn photos(&self) -> u64 {
        self.photos.load(Ordering::Relaxed)
    }

    /// Their files' bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Photos that could not be read, by [reason](fruitbatch_storage::ReadErrorKind::reason).
    pub fn unreadable(&self) -> BTreeMap<&'static str, u64> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts what `other` has counted, which is then thrown away.
    pub fn absorb(&self, other: &Self) {
        self.photos.fetch_add(other.photos(), Ordering::Relaxed);
        self.bytes.fetch_add(other.bytes(), Ordering::Relaxed);
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, photos) in other.unreadable() {
            *unreadable.entry(reason).or_default() += photos;
        }
    }

    pub(crate) fn add_unreadable(&self, reason: &'static str) {
        *self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(crate) fn add(&self, photos: usize, bytes: usize) {
        self.photos.fetch_add(photos as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

pub(crate) fn photo_meter(context: &TaskContext) -> Option<Arc<PhotoMeter>> {
    context.session_config().get_extension::<PhotoMeter>()
}

pub(crate) fn read_runtime(context: &TaskContext) -> Handle {
    match context.session_config().get_extension::<ReadRuntime>() {
        Some(runtime) => runtime.0.clone(),
        None => Handle::current(),
    }
}

pub(crate) fn read_limit(context: &TaskContext) -> u64 {
    context.session_config().get_extension::<ReadLimit>().map_or(u64::MAX, |limit| limit.batch_bytes.max(1))
}

pub(crate) fn task_stop(context: &TaskContext) -> CancellationToken {
    context.session_config().get_extension::<TaskStop>().map(|stop| stop.0.clone()).unwrap_or_default()
}
