//! What a failed request to S3 means, and what to do about it.
//!
//! Only a few fields of an answer are kept: the status, S3's error code and message, and the bucket's region. The rest of
//! it must not reach a message: the body of `SignatureDoesNotMatch`, for one, holds the access key.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::error::{StorageError, StorageErrorKind};

/// A failed request to S3, told apart by what the caller must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Failure {
    pub(crate) cause: S3FailureCause,
    /// One line, without any credential.
    pub(crate) problem: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum S3FailureCause {
    NoSuchKey,
    NoSuchBucket,
    AccessDenied,
    /// In Glacier, and not restored.
    Archived,
    /// `If-Match` or `If-None-Match` did not hold.
    PreconditionFailed,
    /// The bucket's region, where the server says it.
    WrongRegion(Option<String>),
    NoCredentials,
    /// The server knows no such access key, or the secret doesn't belong to it.
    BadCredentials,
    /// They were good once.
    ExpiredCredentials,
    /// There is a source of credentials, and it has none to give.
    CredentialsSourceFailed,
    /// No connection.
    Unreachable,
    /// Too slow, too many requests, a fault of the server or on the way.
    Passing,
    /// The answer began well and came to no good end.
    BodyBrokeOff,
    /// "Bad request" without a word more, which is how `HEAD` is answered for expired credentials among other things.
    Unexplained,
    /// Somebody else wrote the same object just then: whether a condition holds is yet to be seen.
    Conflict,
    /// The request itself is at fault.
    Invalid,
}

impl S3Failure {
    pub(crate) fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(credentials) = find_in_chain::<CredentialsError>(error) {
            return Self::from_credentials(credentials);
        }
        match error {
            SdkError::ServiceError(answer) => {
                let raw = answer.raw();
                Self::from_answer(
                    raw.status().as_u16(),
                    answer.err().code(),
                    answer.err().message(),
                    raw.headers().get("x-amz-bucket-region"),
                )
            }
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status().as_u16();
                Self::new(S3FailureCause::Passing, format!("the answer (status {status}) could not be read"))
            }
            SdkError::TimeoutError(_) => Self::new(S3FailureCause::Passing, "no answer in time"),
            SdkError::DispatchFailure(failure) => {
                let problem = failure
                    .as_connector_error()
                    .map_or_else(|| "the request failed".to_owned(), |error| innermost(error));
                let cause =
                    if failure.is_timeout() { S3FailureCause::Passing } else { S3FailureCause::Unreachable };
                Self::new(cause, problem)
            }
            error => Self::new(S3FailureCause::Invalid, innermost(error)),
        }
    }

    /// Of a `HEAD` request: its answers have no body, and so a bare 404 is all that can be said of what isn't there.
    pub(crate) fn from_head<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error.raw_response() {
            Some(answer) if answer.status().as_u16() == 404 => {
                Self::new(S3FailureCause::NoSuchKey, "there is no such object")
            }
            _ => Self::from_sdk(error),
        }
    }

    pub(crate) fn from_credentials(error: &CredentialsError) -> Self {
        match error {
            CredentialsError::ProviderTimedOut(_) => {
                Self::new(S3FailureCause::Passing, "the source of AWS credentials gave no answer in time")
            }
            CredentialsError::CredentialsNotLoaded(_) => {
                Self::new(S3FailureCause::NoCredentials, "no AWS credentials found")
            }
            // What a source reports may hold its output, so only its kind is told.
            CredentialsError::InvalidConfiguration(_) => Self::new(
                S3FailureCause::NoCredentials,
                "the configuration of AWS credentials (profile or environment) is not valid",
            ),
            _ => Self::new(S3FailureCause::CredentialsSourceFailed, "the source of AWS credentials failed"),
        }
    }

    /// The answer of a server. Codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
    pub(crate) fn from_answer(
        status: u16,
        code: Option<&str>,
        message: Option<&str>,
        bucket_region: Option<&str>,
    ) -> Self {
        use S3FailureCause as Cause;
        let cause = match (code.unwrap_or_default(), status) {
            ("NoSuchKey", _) => Cause::NoSuchKey,
            // The code alone is what the client makes of an answer without a body.
            ("NotFound", _) if message.is_some() => Cause::NoSuchKey,
            ("NoSuchBucket", _) => Cause::NoSuchBucket,
            ("InvalidObjectState", _) => Cause::Archived,
            ("PreconditionFailed", _) | (_, 412) => Cause::PreconditionFailed,
            ("ConditionalRequestConflict" | "OperationAborted", _) | (_, 409) => Cause::Conflict,
            (
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
                _,
            )
            | (_, 301 | 302 | 307 | 308) => Cause::WrongRegion(bucket_region.map(str::to_owned)),
            (
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "InvalidSecurity"
                | "NotSignedUp",
                _,
            ) => Cause::BadCredentials,
            (
                "ExpiredToken"
                | "ExpiredTokenException"
                | "TokenRefreshRequired"
                | "RequestExpired"
                | "RequestTimeTooSkewed",
                _,
            ) => Cause::ExpiredCredentials,
            // The key that encrypts an object may be another's, disabled or deleted.
            (code, _) if code.starts_with("KMS.") => Cause::AccessDenied,
            (
                "SlowDown"
                | "RequestTimeout"
                | "Throttling"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "BadDigest"
                | "IncompleteBody",
                _,
            )
            // Without a code it is the missing page of some proxy, which says nothing of the object.
            | ("" | "NotFound", 404)
            | (_, 408 | 429 | 500..) => Cause::Passing,
            ("", 400) => Cause::Unexplained,
            (_, 401 | 403) => Cause::AccessDenied,
            _ => Cause::Invalid,
        };
        let problem = match (code, message) {
            (Some(code), Some(message)) => {
                format!("{} ({code})", message.trim().trim_end_matches('.').replace('\n', " "))
            }
            (Some(text), None) | (None, Some(text)) => text.to_owned(),
            (None, None) => format!("status {status}"),
        };
        Self { cause, problem }
    }

    pub(crate) fn passing(problem: impl Into<String>) -> Self {
        Self::new(S3FailureCause::Passing, problem)
    }

    pub(crate) fn broke_off(problem: impl Into<String>) -> Self {
        Self::new(S3FailureCause::BodyBrokeOff, problem)
    }

    pub(crate) fn no_such_bucket() -> Self {
        Self::new(S3FailureCause::NoSuchBucket, "The specified bucket does not exist (NoSuchBucket)")
    }

    fn new(cause: S3FailureCause, problem: impl Into<String>) -> Self {
        Self { cause, problem: problem.into() }
    }

    /// As the failure of a whole listing or of a write. `endpoint` is the server's address, if it isn't AWS itself.
    pub(crate) fn into_storage_error(
        self,
        action: &'static str,
        place: &str,
        endpoint: Option<&str>,
    ) -> StorageError {
        use S3FailureCause as Cause;
        let (kind, next_step) = match &self.cause {
            Cause::NoSuchKey => (StorageErrorKind::NotFound, "check the name".to_owned()),
            Cause::NoSuchBucket => (
                StorageErrorKind::NotFound,
                "check the bucket's name, and `--endpoint-url` if it isn't on AWS".to_owned(),
            ),
            Cause::AccessDenied => (
                StorageErrorKind::AccessDenied,
                "check that these credentials may do this (`aws sts get-caller-identity` shows whose they are), or pass \
                 `--profile`, or `--no-sign-request` for public data"
                    .to_owned(),
            ),
            Cause::Archived => (StorageErrorKind::AccessDenied, "restore the object from its archive first".to_owned()),
            Cause::WrongRegion(Some(region)) => (StorageErrorKind::WrongRegion, format!("pass `--region {region}`")),
            Cause::WrongRegion(None) => {
                (StorageErrorKind::WrongRegion, "pass the bucket's own region with `--region`".to_owned())
            }
            Cause::NoCredentials => (
                StorageErrorKind::NoCredentials,
                "sign in (`aws configure` or `aws sso login`), pass `--profile`, set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or pass `--no-sign-request` for public data"
                    .to_owned(),
            ),
            Cause::BadCredentials => (
                StorageErrorKind::NoCredentials,
                "check the credentials, and `--endpoint-url` if they belong to a server other than AWS".to_owned(),
            ),
            Cause::ExpiredCredentials | Cause::CredentialsSourceFailed => {
                (StorageErrorKind::NoCredentials, "sign in again, then run the same command: it goes on where it stopped".to_owned())
            }
            Cause::Unreachable => (
                StorageErrorKind::Unreachable,
                match endpoint {
                    Some(endpoint) => format!("check that `{endpoint}` is the server's address and that it runs"),
                    None => "check the network, the proxy settings and `--region`".to_owned(),
                },
            ),
            Cause::Passing | Cause::BodyBrokeOff | Cause::Unexplained | Cause::Conflict => {
                (StorageErrorKind::Fault, "run the same command again: it goes on where it stopped".to_owned())
            }
            Cause::PreconditionFailed => (StorageErrorKind::Fault, String::new()),
            Cause::Invalid => (StorageErrorKind::Invalid, String::new()),
        };
        StorageError::new(kind, action, place, self.problem, next_step)
    }
}

/// The first error of this type among `error` and its sources.
pub(crate) fn find_in_chain<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    error_and_sources(error).find_map(|error| error.downcast_ref::<T>())
}

/// The text of the last source: the outer ones only say that something failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    error_and_sources(error).last().unwrap_or(error).to_string()
}

fn error_and_sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(status: u16, code: &str) -> S3FailureCause {
        S3Failure::from_answer(status, Some(code).filter(|code| !code.is_empty()), None, Some("eu-west-1"))
            .cause
    }

    #[test]
    fn answers_are_told_apart_by_what_to_do() {
        use S3FailureCause as Cause;
        for (status, code, expected) in [
            (404, "NoSuchKey", Cause::NoSuchKey),
            (404, "NoSuchBucket", Cause::NoSuchBucket),
            (404, "", Cause::Passing),
            (404, "NotFound", Cause::Passing),
            (403, "AccessDenied", Cause::AccessDenied),
            (403, "", Cause::AccessDenied),
            (403, "AllAccessDisabled", Cause::AccessDenied),
            (400, "KMS.DisabledException", Cause::AccessDenied),
            (403, "InvalidObjectState", Cause::Archived),
            (412, "PreconditionFailed", Cause::PreconditionFailed),
            (409, "ConditionalRequestConflict", Cause::Conflict),
            (403, "InvalidAccessKeyId", Cause::BadCredentials),
            (403, "SignatureDoesNotMatch", Cause::BadCredentials),
            (400, "ExpiredToken", Cause::ExpiredCredentials),
            (403, "RequestTimeTooSkewed", Cause::ExpiredCredentials),
            (301, "PermanentRedirect", Cause::WrongRegion(Some("eu-west-1".to_owned()))),
            (400, "AuthorizationHeaderMalformed", Cause::WrongRegion(Some("eu-west-1".to_owned()))),
            (503, "SlowDown", Cause::Passing),
            (503, "", Cause::Passing),
            (500, "InternalError", Cause::Passing),
            (429, "", Cause::Passing),
            (400, "RequestTimeout", Cause::Passing),
            (400, "", Cause::Unexplained),
            (400, "InvalidArgument", Cause::Invalid),
        ] {
            assert_eq!(cause(status, code), expected, "{status} {code}");
        }
    }

    #[test]
    fn the_wrong_region_is_told_with_the_right_one() {
        let failure = S3Failure::from_answer(
            301,
            Some("PermanentRedirect"),
            Some("Use another endpoint."),
            Some("eu-west-1"),
        );
        let error = failure.into_storage_error("list", "s3://b/p", None);
        assert_eq!(error.kind(), StorageErrorKind::WrongRegion);
        assert_eq!(
            error.to_string(),
            "cannot list `s3://b/p`: Use another endpoint (PermanentRedirect); pass `--region eu-west-1`"
        );
    }
}
