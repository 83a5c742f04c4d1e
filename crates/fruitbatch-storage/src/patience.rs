//! How long faults of the network are waited out.

use std::time::Duration;

/// How long one call rides out trouble with S3 before it gives up: the defaults suit networks and servers as they are; a
/// test that makes its own trouble sets shorter ones by [`Storage::with_patience`](crate::Storage::with_patience).
///
/// ```
/// use std::time::Duration;
/// use fruitbatch_storage::Patience;
///
/// let impatient = Patience { first_backoff: Duration::from_millis(1), ..Patience::default() };
/// assert_eq!(impatient.max_attempts, 6);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Requests are sent this often at most, the first time included. AWS_MAX_ATTEMPTS and the profile's `max_attempts`
    /// come before it.
    pub max_attempts: u32,
    /// The wait before the second attempt, at most: it doubles for each further one, and a random part of it is waited,
    /// so that many readers of a troubled server don't come back at once.
    pub first_backoff: Duration,
    /// No wait is longer than this.
    pub max_backoff: Duration,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// For the first byte of an answer.
    pub first_byte_timeout: Duration,
    /// A body that is sent or received may stand still for so long.
    pub stall_timeout: Duration,
    /// For one attempt to write a whole file of OUT, the largest of which are a few hundred megabytes.
    pub upload_timeout: Duration,
}

impl Default for Patience {
    /// With six attempts, some 15 s of trouble are ridden out within one call.
    fn default() -> Self {
        Self {
            max_attempts: 6,
            first_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
            upload_timeout: Duration::from_mins(5),
        }
    }
}
