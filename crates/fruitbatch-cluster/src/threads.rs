//! Runtimes that end.

use tokio::runtime::{Handle, Runtime};

use crate::error::{ClusterError, not_started};

/// How long stopping waits for what blocks a thread.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// A runtime that ends when it is dropped, with all that runs on it: Ballista's services spawn loops that end in no other
/// way.
pub(crate) struct Threads(Option<Runtime>);

impl Threads {
    pub(crate) fn start(name: &str, count: usize) -> Result<Self, ClusterError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|error| not_started("no threads")(error.into()))?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0.as_ref().expect("taken only by stop and drop").handle().clone()
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ClusterError>> + Send + 'static,
    ) -> Result<T, ClusterError> {
        match self.handle().spawn(work).await {
            Ok(finished) => finished,
            Err(error) => Err(ClusterError::Start { problem: error.to_string() }),
        }
    }

    /// Ends all that runs, and waits for it; not for async code.
    pub(crate) fn stop(mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

impl Drop for Threads {
    /// Without waiting: it may happen inside async code, where waiting is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
