//! A prefix in S3, or a map in memory, for results.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::{StorageError, StorageErrorKind};
use crate::output_store::{OutputFile, PutOutcome};
use crate::s3_connection::CredentialsFailure;
use crate::s3_failure::{S3Failure, S3FailureCause, find_in_chain};

pub(crate) struct ObjectOutput {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Empty or ends in `/`.
    pub(crate) prefix: String,
    /// The store's URI, ending in `/`.
    pub(crate) shown: String,
    pub(crate) endpoint_url: Option<String>,
}

impl fmt::Debug for ObjectOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ObjectOutput").field("uri", &self.shown).finish_non_exhaustive()
    }
}

impl ObjectOutput {
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.shown)
    }

    /// The raw key: `Path::parse` keeps it as it is, where `Path::from` would percent-encode.
    fn key(&self, action: &'static str, path: &str) -> Result<Path, StorageError> {
        Path::parse(format!("{}{path}", self.prefix)).map_err(|error| {
            StorageError::new(StorageErrorKind::Invalid, action, self.shown(path), error.to_string(), "")
        })
    }

    fn failed(&self, action: &'static str, path: &str, error: &object_store::Error) -> StorageError {
        failure_of(error).into_storage_error(action, &self.shown(path), self.endpoint_url.as_deref())
    }

    pub(crate) async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        let key = self.key("write", path)?;
        self.store
            .put(&key, content.into())
            .await
            .map(drop)
            .map_err(|error| self.failed("write", path, &error))
    }

    pub(crate) async fn put_if_absent(&self, path: &str, content: Bytes) -> Result<PutOutcome, StorageError> {
        let key = self.key("write", path)?;
        let only_new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&key, PutPayload::from(content), only_new).await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(PutOutcome::AlreadyExists),
            Err(error) => Err(self.failed("write", path, &error)),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        let key = self.key("read", path)?;
        let content = match self.store.get(&key).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        self.unless_missing("read", path, content)
    }

    pub(crate) async fn exists(&self, path: &str) -> Result<bool, StorageError> {
        let key = self.key("read", path)?;
        let found = self.store.head(&key).await;
        Ok(self.unless_missing("read", path, found)?.is_some())
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), StorageError> {
        let key = self.key("delete", path)?;
        let deleted = self.store.delete(&key).await;
        self.unless_missing("delete", path, deleted).map(drop)
    }

    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
        let start = self.key("list", folder)?;
        let listed: Vec<_> = self
            .store
            .list(Some(&start).filter(|start| !start.as_ref().is_empty()))
            .try_collect()
            .await
            .map_err(|error| self.failed("list", folder, &error))?;
        let in_store = |object: object_store::ObjectMeta| {
            let path = object.location.as_ref().strip_prefix(self.prefix.as_str())?.to_owned();
            Some(OutputFile { path, length: object.size })
        };
        Ok(listed.into_iter().filter_map(in_store).collect())
    }

    fn unless_missing<T>(
        &self,
        action: &'static str,
        path: &str,
        result: object_store::Result<T>,
    ) -> Result<Option<T>, StorageError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error @ object_store::Error::NotFound { .. }) => match failure_of(&error) {
                // A bucket that isn't there is no file that isn't there.
                failure @ S3Failure { cause: S3FailureCause::NoSuchBucket, .. } => {
                    Err(failure.into_storage_error(action, &self.shown(path), self.endpoint_url.as_deref()))
                }
                _ => Ok(None),
            },
            Err(error) => Err(self.failed(action, path, &error)),
        }
    }
}

/// What an object store's error means. Of its text only S3's code and message are kept: the rest may hold an access key.
fn failure_of(error: &object_store::Error) -> S3Failure {
    if let Some(CredentialsFailure(failure)) = find_in_chain(error) {
        return failure.clone();
    }
    let text = error.to_string();
    let code = between(&text, "<Code>", "</Code>");
    let message = between(&text, "<Message>", "</Message>");
    let status = match error {
        object_store::Error::NotFound { .. } => 404,
        object_store::Error::PermissionDenied { .. } => 403,
        object_store::Error::Unauthenticated { .. } => 401,
        object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. } => 412,
        _ => 500,
    };
    let region = between(&text, "<Region>", "</Region>");
    if code.is_some() || status != 500 {
        return S3Failure::from_answer(status, code, message, region);
    }
    let connects = ["connect", "dns", "resolve"].iter().any(|word| text.to_ascii_lowercase().contains(word));
    if connects {
        S3Failure { cause: S3FailureCause::Unreachable, problem: "the server can't be reached".to_owned() }
    } else {
        S3Failure {
            cause: S3FailureCause::Passing,
            problem: "the request failed, also when it was repeated".to_owned(),
        }
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let from = text.find(start)? + start.len();
    let length = text[from..].find(end)?;
    Some(&text[from..from + length])
}
