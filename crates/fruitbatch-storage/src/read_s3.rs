//! Reading one object of S3.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::list_s3::etag;
use crate::path_escape::unescape;
use crate::photo_reader::{ReadError, ReadErrorKind};
use crate::s3_connection::S3Connection;
use crate::s3_failure::{S3Failure, S3FailureCause};

/// The client repeats requests that fail, but not bodies that break off.
const BODY_ATTEMPTS: u32 = 3;
/// Doubled for each further attempt, and jittered, so that many readers of a troubled server don't come back at once.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

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
    let mut attempt = 1;
    loop {
        match read_once(connection, bucket, &key, &place, expected_etag, max_bytes).await {
            Err(Attempt::BodyBrokeOff(_)) if attempt < BODY_ATTEMPTS => {
                let backoff = FIRST_BACKOFF * 2_u32.pow(attempt - 1);
                tokio::time::sleep(backoff.mul_f64(rand::random::<f64>())).await;
                attempt += 1;
            }
            Err(Attempt::BodyBrokeOff(error) | Attempt::Failed(error)) => return Err(error),
            Ok(content) => return Ok(content),
        }
    }
}

enum Attempt {
    BodyBrokeOff(ReadError),
    Failed(ReadError),
}

async fn read_once(
    connection: &S3Connection,
    bucket: &str,
    key: &str,
    place: &str,
    expected_etag: Option<&str>,
    max_bytes: u64,
) -> Result<Bytes, Attempt> {
    let failed = |kind, problem: &str| Attempt::Failed(ReadError::new(kind, place, problem));
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
        .map_err(|error| {
            let failure = S3Failure::from_sdk(&error);
            failed(kind_of(&failure), &failure.problem)
        })?;
    if expected_etag.is_some_and(|expected| etag(object.e_tag()) != expected) {
        return Err(failed(ReadErrorKind::Changed, "it was overwritten after it was listed"));
    }
    let announced = object.content_length().and_then(|length| u64::try_from(length).ok());
    if let Some(length) = announced.filter(|length| *length > max_bytes) {
        return Err(Attempt::Failed(ReadError::too_large(place, length, max_bytes)));
    }
    let broke_off =
        |problem: String| Attempt::BodyBrokeOff(ReadError::new(ReadErrorKind::Fault, place, problem));
    let mut content = BytesMut::with_capacity(
        announced.and_then(|length| usize::try_from(length).ok()).unwrap_or_default(),
    );
    while let Some(piece) = object.body.next().await {
        let piece =
            piece.map_err(|_| broke_off(format!("the answer broke off after {} bytes", content.len())))?;
        let length = content.len() as u64 + piece.len() as u64;
        if length > max_bytes {
            return Err(Attempt::Failed(ReadError::too_large(place, length, max_bytes)));
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

fn kind_of(failure: &S3Failure) -> ReadErrorKind {
    use S3FailureCause as Cause;
    match failure.cause {
        Cause::NoSuchKey => ReadErrorKind::Vanished,
        Cause::PreconditionFailed => ReadErrorKind::Changed,
        Cause::AccessDenied => ReadErrorKind::AccessDenied,
        Cause::Archived => ReadErrorKind::Archived,
        Cause::NoSuchBucket | Cause::WrongRegion(_) | Cause::NoCredentials | Cause::BadCredentials => {
            ReadErrorKind::Unavailable
        }
        Cause::ExpiredCredentials | Cause::Unreachable | Cause::Passing | Cause::Invalid => {
            ReadErrorKind::Fault
        }
    }
}
