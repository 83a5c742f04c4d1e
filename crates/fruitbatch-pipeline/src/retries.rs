//! Trying a request to the storage again.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use fruitbatch_storage::StorageError;

/// How often and after what pauses a request is repeated that failed for a reason that may pass.
///
/// The storage crate repeats what can be repeated without looking. This is for the rest, conditional writes: after an
/// attempt whose answer was lost they fail, and only who wrote can tell that from somebody else's write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retries {
    /// Attempts after the first one.
    pub(crate) most: usize,
    /// The first pause; it doubles each time, with jitter.
    pub(crate) first_pause: Duration,
}

impl Default for Retries {
    /// Five more attempts within some 30 s.
    fn default() -> Self {
        Self { most: 5, first_pause: Duration::from_millis(500) }
    }
}

impl Retries {
    pub(crate) async fn run<T, F, Fut>(&self, request: F) -> Result<T, StorageError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, StorageError>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.first_pause)
            .with_max_times(self.most)
            .with_jitter();
        request
            .retry(backoff)
            .sleep(|pause: Duration| async move {
                // No timer where there is nothing to wait for: a simulation has no clock.
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            })
            .when(|error| error.kind().may_pass())
            .await
    }
}
