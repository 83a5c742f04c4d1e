//! A prefix in S3 for results.
//!
//! Conditions go by entity tag, which S3 makes of the content: of two states of a file with the same bytes, one can't be
//! told from the other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::StorageError;
use crate::list_s3::{self, Entry};
use crate::location::Location;
use crate::output_backend::{Conditional, FileVersion, OutputBackend};
use crate::output_store::{OutputFile, bad_path, check_path};
use crate::s3_connection::S3Connection;
use crate::s3_failure::{S3Failure, S3FailureCause};
use crate::s3_get;

#[derive(Debug)]
pub(crate) struct S3Output {
    connection: Arc<S3Connection>,
    bucket: String,
    /// Empty or ends in `/`.
    prefix: String,
    /// So that the answer "there is no such object", which `HEAD` gives for a missing bucket too, is checked only once.
    bucket_was_seen: AtomicBool,
}

impl S3Output {
    pub(crate) fn new(
        connection: Arc<S3Connection>,
        folder: &Location,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, StorageError> {
        if !prefix.is_empty() {
            check_path("open", &folder.to_string(), prefix.trim_end_matches('/'))?;
            if prefix.ends_with("//") {
                return Err(bad_path("open", &folder.to_string()));
            }
        }
        Ok(Self {
            connection,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            bucket_was_seen: AtomicBool::new(false),
        })
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn failed(&self, action: &'static str, path: &str, failure: S3Failure) -> StorageError {
        failure.into_storage_error(action, &self.uri(path), self.connection.endpoint_url.as_deref())
    }

    async fn send_put(
        &self,
        path: &str,
        content: Bytes,
        condition: impl Fn(PutObjectFluentBuilder) -> PutObjectFluentBuilder + Sync,
    ) -> Result<(), S3Failure> {
        let written = self
            .connection
            .repeat(|| async {
                let request = self
                    .connection
                    .client
                    .put_object()
                    .bucket(&self.bucket)
                    .key(self.key(path))
                    .body(ByteStream::from(content.clone()))
                    .set_request_payer(self.connection.request_payer());
                condition(request)
                    .customize()
                    .config_override(self.connection.for_uploads())
                    .send()
                    .await
                    .map(drop)
                    .map_err(|error| S3Failure::from_sdk(&error))
            })
            .await;
        if written.is_ok() {
            self.bucket_was_seen.store(true, Ordering::Relaxed);
        }
        written
    }

    async fn send_delete(&self, path: &str, if_match: Option<&FileVersion>) -> Result<(), S3Failure> {
        self.connection
            .repeat(|| async {
                let request = self.connection.client.delete_object().bucket(&self.bucket).key(self.key(path));
                request
                    .set_if_match(if_match.map(|version| version.as_str().to_owned()))
                    .set_request_payer(self.connection.request_payer())
                    .send()
                    .await
                    .map(drop)
                    .map_err(|error| S3Failure::from_sdk(&error))
            })
            .await
    }

    /// Whether the bucket is there, in doubt.
    async fn check_bucket(&self) -> Result<(), S3Failure> {
        if self.bucket_was_seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let answer = self.connection.client.head_bucket().bucket(&self.bucket).send().await;
        match answer.map_err(|error| S3Failure::from_head(&error)) {
            // It answers without a body, and so without the code.
            Err(failure) if failure.cause == S3FailureCause::NoSuchKey => Err(S3Failure::no_such_bucket()),
            // Whoever may not ask for the bucket may use its objects all the same.
            _ => {
                self.bucket_was_seen.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

#[async_trait]
impl OutputBackend for S3Output {
    fn uri(&self, path: &str) -> String {
        format!("s3://{}/{}{path}", self.bucket, self.prefix)
    }

    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        let put = self.send_put(path, content, |request| request).await;
        put.map_err(|failure| self.failed("write", path, failure))
    }

    async fn put_if_match(
        &self,
        path: &str,
        expected: Option<&FileVersion>,
        content: Bytes,
    ) -> Result<Conditional, StorageError> {
        let put = self
            .send_put(path, content, |request| match expected {
                Some(version) => request.if_match(version.as_str()),
                None => request.if_none_match("*"),
            })
            .await;
        conditional(put, expected.is_some()).map_err(|failure| self.failed("write", path, failure))
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        match s3_get::get(&self.connection, &self.bucket, &self.key(path), None, u64::MAX).await {
            Ok(content) => Ok(Some(content)),
            Err(s3_get::GetFailure::Failed(S3Failure { cause: S3FailureCause::NoSuchKey, .. })) => Ok(None),
            Err(failure) => Err(self.failed("read", path, failure.into_s3_failure())),
        }
    }

    async fn version(&self, path: &str) -> Result<Option<FileVersion>, StorageError> {
        let head = self
            .connection
            .repeat(|| async {
                self.connection
                    .client
                    .head_object()
                    .bucket(&self.bucket)
                    .key(self.key(path))
                    .set_request_payer(self.connection.request_payer())
                    .send()
                    .await
                    .map_err(|error| S3Failure::from_head(&error))
            })
            .await;
        match head {
            Ok(object) => Ok(Some(FileVersion::new(object.e_tag().unwrap_or_default()))),
            Err(S3Failure { cause: S3FailureCause::NoSuchKey, .. }) => {
                self.check_bucket().await.map_err(|failure| self.failed("read", path, failure))?;
                Ok(None)
            }
            Err(failure) => Err(self.failed("read", path, failure)),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
        let prefix = if folder.is_empty() { self.prefix.clone() } else { self.key(&format!("{folder}/")) };
        let mut files = Vec::new();
        let place = self.uri(folder);
        list_s3::for_each_entry(&self.connection, &self.bucket, &prefix, None, &place, |entry| {
            // A key that ends in a slash stands for a folder, and no file of ours has such a name.
            if let Entry::Object { key, object } = entry
                && let Some(path) = key.strip_prefix(&self.prefix)
                && !path.is_empty()
                && !path.ends_with('/')
            {
                let length = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                files.push(OutputFile { path: path.to_owned(), length });
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(files)
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        match self.send_delete(path, None).await {
            Ok(()) | Err(S3Failure { cause: S3FailureCause::NoSuchKey, .. }) => Ok(()),
            Err(failure) => Err(self.failed("delete", path, failure)),
        }
    }

    async fn delete_if_match(&self, path: &str, expected: &FileVersion) -> Result<Conditional, StorageError> {
        // Servers that know no conditional deletion take the request for an ordinary one: what can be seen beforehand is.
        if self.version(path).await?.as_ref() != Some(expected) {
            return Ok(Conditional::ConditionFailed);
        }
        let deleted = self.send_delete(path, Some(expected)).await;
        conditional(deleted, true).map_err(|failure| self.failed("delete", path, failure))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<Conditional, StorageError> {
        let copied = self
            .connection
            .repeat(|| async {
                let request = self.connection.client.copy_object().bucket(&self.bucket).key(self.key(to));
                request
                    .copy_source(copy_source(&self.bucket, &self.key(from)))
                    .set_request_payer(self.connection.request_payer())
                    .send()
                    .await
                    .map(drop)
                    .map_err(|error| S3Failure::from_sdk(&error))
            })
            .await;
        let renamed = conditional(copied, true).map_err(|failure| self.failed("write", to, failure))?;
        if renamed == Conditional::Done {
            self.delete(from).await?;
        }
        Ok(renamed)
    }

    async fn remove_leftovers(&self) -> Result<u64, StorageError> {
        // An upload that was broken off left no object.
        Ok(0)
    }
}

/// `bucket/key`, percent-encoded as the header needs it: all but what no server can take for anything else.
fn copy_source(bucket: &str, key: &str) -> String {
    const ENCODED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    format!("{bucket}/{}", utf8_percent_encode(key, ENCODED))
}

/// The outcome of a request with a condition; `needs_object` says that there must be one to meet it.
fn conditional(answer: Result<(), S3Failure>, needs_object: bool) -> Result<Conditional, S3Failure> {
    match answer {
        Ok(()) => Ok(Conditional::Done),
        Err(S3Failure { cause: S3FailureCause::PreconditionFailed, .. }) => Ok(Conditional::ConditionFailed),
        Err(S3Failure { cause: S3FailureCause::NoSuchKey, .. }) if needs_object => {
            Ok(Conditional::ConditionFailed)
        }
        Err(failure) => Err(failure),
    }
}
