//! What a task gets from the process that runs it, by way of its session configuration's extensions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Told when the task's result isn't wanted any more; every read node of the task then ends with an error.
#[derive(Debug, Clone, Default)]
pub struct TaskStop(pub CancellationToken);

/// Counts the photos that have been dealt with: read, and whatever stands above the read node has come back for more.
#[derive(Debug, Default)]
pub struct PhotoMeter {
    photos: AtomicU64,
    bytes: AtomicU64,
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

pub(crate) fn task_stop(context: &TaskContext) -> CancellationToken {
    context.session_config().get_extension::<TaskStop>().map(|stop| stop.0.clone()).unwrap_or_default()
}
