//! The content of one object.

use bytes::{Bytes, BytesMut};

use crate::list_s3::etag;
use crate::s3_connection::S3Connection;
use crate::s3_failure::{S3Failure, S3FailureCause};
use crate::s3_repeat::FailedRequest;

/// Bytes, for an answer that hasn't come yet.
const MAX_RESERVED: u64 = 64 << 20;

/// Why an object's content isn't there.
#[derive(Debug)]
pub(crate) enum GetFailure {
    Failed(S3Failure),
    /// It has another entity tag than the one that was asked for.
    Changed,
    /// It has this many bytes (or more, if the server doesn't say how many), and they are too many.
    TooLarge(u64),
}

impl GetFailure {
    /// As the failure of a request without a limit and without a condition.
    pub(crate) fn into_s3_failure(self) -> S3Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Changed => S3Failure::passing("it was overwritten while it was read"),
            Self::TooLarge(length) => S3Failure::passing(format!("it has {length} bytes, which is too many")),
        }
    }
}

impl FailedRequest for GetFailure {
    fn cause(&self) -> Option<&S3FailureCause> {
        match self {
            Self::Failed(failure) => Some(&failure.cause),
            Self::Changed | Self::TooLarge(_) => None,
        }
    }
}

/// Gets an object whole, or only if its tag is `expected_etag` (without quotes). At most `max_bytes` are ever held.
pub(crate) async fn get(
    connection: &S3Connection,
    bucket: &str,
    key: &str,
    expected_etag: Option<&str>,
    max_bytes: u64,
) -> Result<Bytes, GetFailure> {
    connection.repeat(|| get_once(connection, bucket, key, expected_etag, max_bytes)).await
}

async fn get_once(
    connection: &S3Connection,
    bucket: &str,
    key: &str,
    expected_etag: Option<&str>,
    max_bytes: u64,
) -> Result<Bytes, GetFailure> {
    // A weak tag meets no condition, by the rules of HTTP; the one in the answer is compared all the same.
    let condition = expected_etag.filter(|etag| !etag.starts_with("W/")).map(|etag| format!("\"{etag}\""));
    let mut object = connection
        .client
        .get_object()
        .bucket(bucket)
        .key(key)
        .set_if_match(condition)
        .set_request_payer(connection.request_payer())
        .send()
        .await
        .map_err(|error| GetFailure::Failed(S3Failure::from_sdk(&error)))?;
    if expected_etag.is_some_and(|expected| etag(object.e_tag()) != expected) {
        return Err(GetFailure::Changed);
    }
    let announced = object.content_length().and_then(|length| u64::try_from(length).ok());
    if let Some(length) = announced.filter(|length| *length > max_bytes) {
        return Err(GetFailure::TooLarge(length));
    }
    let broke_off = |problem| GetFailure::Failed(S3Failure { cause: S3FailureCause::BodyBrokeOff, problem });
    // What is announced is believed only up to a point: nothing of it need ever come.
    let reserved = announced.unwrap_or_default().min(MAX_RESERVED);
    let mut content = BytesMut::with_capacity(usize::try_from(reserved).unwrap_or_default());
    while let Some(piece) = object.body.next().await {
        let piece =
            piece.map_err(|_| broke_off(format!("the answer broke off after {} bytes", content.len())))?;
        let length = content.len() as u64 + piece.len() as u64;
        if length > max_bytes {
            return Err(GetFailure::TooLarge(length));
        }
        content.extend_from_slice(&piece);
    }
    match announced {
        Some(length) if length != content.len() as u64 => {
            Err(broke_off(format!("the answer has {} bytes instead of {length}", content.len())))
        }
        _ => Ok(content.freeze()),
    }
}
