//! Repeating what the AWS client itself doesn't repeat: bodies that break off, conditional writes that met another one,
//! and requests with credentials that have come to their end while there are new ones.

use backon::{ExponentialBuilder, Retryable};

use crate::s3_connection::S3Connection;
use crate::s3_failure::{S3Failure, S3FailureCause};

/// A failure that shows what S3's was.
pub(crate) trait FailedRequest {
    /// `None` if S3 did as it was told.
    fn cause(&self) -> Option<&S3FailureCause>;
}

impl FailedRequest for S3Failure {
    fn cause(&self) -> Option<&S3FailureCause> {
        Some(&self.cause)
    }
}

impl S3Connection {
    /// Makes a request, and again after a jittered and growing wait as long as that may help.
    pub(crate) async fn repeat<T, E, F, R>(&self, request: R) -> Result<T, E>
    where
        E: FailedRequest,
        F: Future<Output = Result<T, E>>,
        R: FnMut() -> F,
    {
        let may_have_expired = |failure: &E| {
            matches!(failure.cause(), Some(S3FailureCause::ExpiredCredentials | S3FailureCause::Unexplained))
        };
        let is_worth_repeating = |failure: &E| {
            may_have_expired(failure)
                || matches!(failure.cause(), Some(S3FailureCause::BodyBrokeOff | S3FailureCause::Conflict))
        };
        let patience = self.patience();
        let waits = ExponentialBuilder::new()
            // It adds a random part of as much again.
            .with_min_delay(patience.first_backoff / 2)
            .with_max_delay(patience.max_backoff / 2)
            .with_max_times(patience.max_attempts.saturating_sub(1) as usize)
            .with_jitter();
        request
            .retry(waits)
            .when(is_worth_repeating)
            .notify(|failure, _| {
                if may_have_expired(failure) {
                    self.forget_credentials();
                }
            })
            .await
    }
}
