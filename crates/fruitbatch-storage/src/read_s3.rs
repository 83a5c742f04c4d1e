//! Reading one object of S3.

use bytes::Bytes;

use crate::path_escape::unescape;
use crate::photo_reader::{ReadError, ReadErrorKind};
use crate::s3_connection::S3Connection;
use crate::s3_failure::S3FailureCause;
use crate::s3_get::{self, GetFailure};

/// Reads the object at an escaped path below `prefix`.
pub(crate) async fn read(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    path: &str,
    expected_etag: Option<&str>,
    max_bytes: u64,
) -> Result<Bytes, ReadError> {
    let place = format!("s3://{bucket}/{prefix}{path}");
    let Ok(relative) = String::from_utf8(unescape(path).into_owned()) else {
        return Err(ReadError::new(ReadErrorKind::Vanished, place, "no key in S3 has such a name"));
    };
    let key = format!("{prefix}{relative}");
    s3_get::get(connection, bucket, &key, expected_etag, max_bytes).await.map_err(|failure| match failure {
        GetFailure::Changed => {
            ReadError::new(ReadErrorKind::Changed, place, "it was overwritten after it was listed")
        }
        GetFailure::TooLarge(length) => ReadError::too_large(place, length, max_bytes),
        GetFailure::Failed(failure) => ReadError::new(kind_of(&failure.cause), place, failure.problem),
    })
}

fn kind_of(cause: &S3FailureCause) -> ReadErrorKind {
    use S3FailureCause as Cause;
    match cause {
        Cause::NoSuchKey => ReadErrorKind::Vanished,
        Cause::PreconditionFailed => ReadErrorKind::Changed,
        Cause::AccessDenied => ReadErrorKind::AccessDenied,
        Cause::Archived => ReadErrorKind::Archived,
        Cause::NoSuchBucket | Cause::WrongRegion(_) | Cause::NoCredentials | Cause::BadCredentials => {
            ReadErrorKind::Unavailable
        }
        Cause::ExpiredCredentials
        | Cause::CredentialsSourceFailed
        | Cause::Unreachable
        | Cause::Passing
        | Cause::BodyBrokeOff
        | Cause::Unexplained
        | Cause::Conflict
        | Cause::Invalid => ReadErrorKind::Fault,
    }
}
