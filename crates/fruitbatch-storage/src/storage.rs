//! The handle that opens locations: one S3 client per process and set of options.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::OnceCell;

use crate::error::{StorageError, StorageErrorKind};
use crate::listing::{ListOptions, ListedPhoto, Listing, PathGlob, Selection};
use crate::location::{Location, Place};
use crate::options::StorageOptions;
use crate::output_local::LocalOutput;
use crate::output_s3::S3Output;
use crate::output_store::OutputStore;
use crate::patience::Patience;
use crate::photo_reader::PhotoReader;
use crate::presign_s3::PresignedLink;
use crate::s3_connection::S3Connection;
use crate::{list_local, list_s3, presign_s3};

/// Opens locations: lists them, reads photos from them, writes results to them.
///
/// Cheap to clone and to make: all `Storage`s with the same options in a process share one S3 client, with its
/// connections and credentials, which is set up on the first use of an S3 location.
#[derive(Debug, Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

struct Shared {
    options: StorageOptions,
    /// In place of the chain.
    given_credentials: Option<SharedCredentialsProvider>,
    patience: Patience,
    connection: OnceCell<Arc<S3Connection>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Credentials left out: their own `Debug` form shows the access key.
        formatter.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// All that were made in this process, so that each task of an executor finds the client of those before it.
static STORAGES: Mutex<Option<HashMap<StorageOptions, Storage>>> = Mutex::new(None);

impl Storage {
    /// The storage with these options; nothing is looked up or checked before an S3 location is used.
    pub fn new(options: StorageOptions) -> Self {
        let mut storages = STORAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let make = |options| Self::unshared(options, None, Patience::default());
        storages.get_or_insert_default().entry(options.clone()).or_insert_with(|| make(options)).clone()
    }

    /// The storage with these options and these keys in place of the AWS chain, for programs that get them from
    /// elsewhere. Every later [`Storage::new`] with the same options in this process finds it, so that the tasks of
    /// executors in the same process use the same keys without their ever being part of a plan.
    pub fn with_static_keys(options: StorageOptions, access_key_id: &str, secret_access_key: &str) -> Self {
        let keys = Credentials::new(access_key_id, secret_access_key, None, None, "static keys");
        Self::unshared(options, Some(SharedCredentialsProvider::new(keys)), Patience::default()).registered()
    }

    /// The same storage, over connections of its own that wait for another while. As with
    /// [`with_static_keys`](Self::with_static_keys), every later [`Storage::new`] with the same options finds it.
    #[must_use]
    pub fn with_patience(&self, patience: Patience) -> Self {
        let Shared { options, given_credentials, .. } = &*self.shared;
        Self::unshared(options.clone(), given_credentials.clone(), patience).registered()
    }

    fn registered(self) -> Self {
        let mut storages = STORAGES.lock().unwrap_or_else(PoisonError::into_inner);
        storages.get_or_insert_default().insert(self.shared.options.clone(), self.clone());
        self
    }

    fn unshared(
        options: StorageOptions,
        given_credentials: Option<SharedCredentialsProvider>,
        patience: Patience,
    ) -> Self {
        let connection = OnceCell::new();
        Self { shared: Arc::new(Shared { options, given_credentials, patience, connection }) }
    }

    /// How this storage reaches S3.
    pub fn options(&self) -> &StorageOptions {
        &self.shared.options
    }

    async fn connection(&self) -> Result<Arc<S3Connection>, StorageError> {
        let Shared { options, given_credentials, patience, connection } = &*self.shared;
        let connection = connection
            .get_or_try_init(|| async {
                S3Connection::establish(options, given_credentials.clone(), patience.clone())
                    .await
                    .map(Arc::new)
            })
            .await?;
        Ok(Arc::clone(connection))
    }

    /// Lists a folder, one file, or what matches a glob in the location itself. A name that exists as it stands is taken
    /// as it stands, even if it holds `*`, `?`, `[` or `{`.
    ///
    /// On disk, links are followed, to files and to folders. One that leads back to a folder above itself is left out
    /// and counted; one that leads nowhere is listed, so that it is reported when it is read. In S3, a name with keys
    /// below it is a folder, even if there is an object of this name too.
    ///
    /// # Errors
    /// There is no such place, it may not be read (which folder, is said), or S3 can't be reached. There is no partial
    /// listing.
    pub async fn list(&self, location: &Location, options: &ListOptions) -> Result<Listing, StorageError> {
        match location.place() {
            Place::Local { path } => {
                let (location, path, options) = (location.clone(), path.clone(), options.clone());
                in_background(move || {
                    let glob = if path.symlink_metadata().is_ok() { None } else { glob_in(&location)? };
                    match glob {
                        Some((root, location_glob)) => {
                            let folder = root.local_path().unwrap_or(&path);
                            list_local::list(
                                folder,
                                Selection { options: &options, location_glob: Some(location_glob) },
                            )
                        }
                        None => list_local::list(&path, Selection { options: &options, location_glob: None }),
                    }
                })
                .await
            }
            Place::S3 { bucket, prefix } => {
                let connection = self.connection().await?;
                let taken_literally =
                    location.split_glob().is_none() || list_s3::exists(&connection, bucket, prefix).await?;
                let glob = if taken_literally { None } else { glob_in(location)? };
                match glob {
                    Some((root, location_glob)) => {
                        list_s3::list(
                            &connection,
                            &root,
                            Selection { options, location_glob: Some(location_glob) },
                        )
                        .await
                    }
                    None => {
                        list_s3::list(&connection, location, Selection { options, location_glob: None }).await
                    }
                }
            }
        }
    }

    /// A listing that ends at the first photo it comes upon, where that saves time: in a large prefix of S3.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_first(
        &self,
        location: &Location,
        options: &ListOptions,
    ) -> Result<Listing, StorageError> {
        if !location.is_s3() || !options.recursive || location.split_glob().is_some() {
            return self.list(location, options).await;
        }
        let connection = self.connection().await?;
        list_s3::list_first(&connection, location, Selection { options, location_glob: None }).await
    }

    /// The region that requests to S3 are made for.
    ///
    /// # Errors
    /// The configuration of S3 is not valid.
    pub async fn region(&self) -> Result<String, StorageError> {
        Ok(self.connection().await?.region().to_owned())
    }

    /// One photo as it is now, by its path in a listing whose [`Listing::root`] is `root`; `None` if it is gone (or is no
    /// file any more). Its entity tag is that of a listing made now: if it is the one that was listed, so is the content.
    ///
    /// # Errors
    /// It can't be told: the whole folder or bucket isn't there, it may not be looked at, S3 can't be reached.
    pub async fn look(&self, root: &Location, path: &str) -> Result<Option<ListedPhoto>, StorageError> {
        match root.place() {
            Place::Local { path: folder } => {
                let (folder, path) = (folder.clone(), path.to_owned());
                in_background(move || list_local::look(&folder, &path)).await
            }
            Place::S3 { bucket, prefix } => {
                list_s3::look(&*self.connection().await?, bucket, prefix, path).await
            }
        }
    }

    /// Reads photos by their path in a listing; `root` is [`Listing::root`].
    ///
    /// # Errors
    /// The configuration of S3 is not valid. Whether `root` can be read is seen by the first read.
    pub async fn reader(&self, root: &Location) -> Result<PhotoReader, StorageError> {
        Ok(match root.place() {
            Place::Local { path } => PhotoReader::local(path.clone()),
            Place::S3 { bucket, prefix } => {
                PhotoReader::s3(self.connection().await?, bucket.clone(), prefix.clone())
            }
        })
    }

    /// Links by which anybody can read photos of S3 for so long, one for each of `paths` below `root` ([`Listing::root`]), with the
    /// rights of these credentials (and no longer than these live). Whether there is such a photo isn't asked.
    ///
    /// # Errors
    /// Photos on a disk, no credentials, and a time that S3 doesn't allow (more than a week).
    pub async fn presigned_links(
        &self,
        root: &Location,
        paths: &[String],
        expires_in: Duration,
    ) -> Result<Vec<PresignedLink>, StorageError> {
        match root.place() {
            Place::Local { .. } => Err(StorageError::new(
                StorageErrorKind::Invalid,
                "make links to",
                root.shown(),
                "the photos lie on a disk, not in S3",
                "their paths in results.csv are all it takes",
            )),
            Place::S3 { bucket, prefix } => {
                presign_s3::links(&*self.connection().await?, bucket, prefix, paths, expires_in).await
            }
        }
    }

    /// The place where results are written and found again. Creates nothing.
    ///
    /// # Errors
    /// No credentials for S3, or a prefix that results can't be written under.
    pub async fn output(&self, folder: &Location) -> Result<OutputStore, StorageError> {
        match folder.place() {
            Place::Local { path } => Ok(OutputStore::new(Arc::new(LocalOutput::new(path.clone())))),
            Place::S3 { bucket, prefix } => {
                let connection = self.connection().await?;
                connection.check_credentials(&folder.to_string()).await?;
                Ok(OutputStore::new(Arc::new(S3Output::new(connection, folder, bucket, prefix)?)))
            }
        }
    }
}

fn glob_in(location: &Location) -> Result<Option<(Location, PathGlob)>, StorageError> {
    location
        .split_glob()
        .map(|(root, pattern)| match PathGlob::over_whole_path(&pattern) {
            Ok(glob) => Ok((root, glob)),
            Err(error) => Err(StorageError::new(
                StorageErrorKind::Invalid,
                "list",
                location.shown(),
                error.to_string(),
                "",
            )),
        })
        .transpose()
}

/// Runs what blocks on a thread made for it.
pub(crate) async fn in_background<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down and has dropped the work: nobody will look at this future again.
            Err(_) => std::future::pending().await,
        },
    }
}
