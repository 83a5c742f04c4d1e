//! Where photos come from and results go: local folders and S3 behind one set of types.
//!
//! | to do | use |
//! |---|---|
//! | name a place | [`Location`] |
//! | say how S3 is reached | [`StorageOptions`], [`Storage`] |
//! | find the photos | [`Storage::list`], [`ListOptions`], [`PathGlob`], [`Listing`] |
//! | read one | [`Storage::reader`], [`PhotoReader::read`], [`ReadErrorKind`] |
//! | look whether one is still the same | [`Storage::look`] |
//! | write results, and find them again | [`Storage::output`], [`OutputStore`] |
//! | write them somewhere else | [`OutputBackend`] |
//! | turn a path back into a file name | [`path_escape`] |
//!
//! ```
//! use fruitbatch_storage::{ListOptions, Location, Storage, StorageOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # std::fs::create_dir(folder.path().join("Apple Braeburn"))?;
//! # std::fs::write(folder.path().join("Apple Braeburn/0_100.jpg"), b"photo")?;
//! # std::fs::write(folder.path().join(".DS_Store"), b"")?;
//! # let input = folder.path().to_str().ok_or("a path that is text")?;
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! // `input` is a folder, "s3://bucket/prefix/", or a glob.
//! let storage = Storage::new(StorageOptions::default());
//! let listing = storage.list(&input.parse::<Location>()?, &ListOptions::default()).await?;
//! assert_eq!(listing.photos[0].path, "Apple Braeburn/0_100.jpg");
//! assert_eq!(listing.skipped.dot_files, 1);
//!
//! let reader = storage.reader(&listing.root).await?;
//! let photo = &listing.photos[0];
//! let content = reader.read(&photo.path, Some(&photo.etag), 64 << 20).await?;
//! assert_eq!(content, "photo");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why nothing goes through `object_store`
//!
//! Its paths are a cleaned-up form of keys: it can't name `a//b` or `dir/`, rewrites others, and one file name that isn't
//! UTF-8 ends its local listing. A photo that can't be named is a photo lost. So photos are listed and read by their raw
//! keys, with the AWS client and the file system itself. Results have names of our own making, but they go the same way:
//! on local disks `object_store` doesn't synchronise what it writes, in S3 it can't remove a file on condition, and one
//! client means one set of retries, timeouts and credentials, and one meaning of each failure.
//!
//! # Credentials
//!
//! The AWS client's whole chain: environment, profiles (with SSO, assumed roles and `credential_process`), web identity,
//! ECS and EC2 roles. They stay in the process that found them: [`StorageOptions`] hold none, and no error's text or
//! `Debug` form shows any. TLS is rustls over ring.

mod ec2_notices;
mod error;
mod list_local;
mod list_s3;
mod listing;
mod local_etag;
mod location;
mod options;
mod output_backend;
mod output_local;
mod output_memory;
mod output_s3;
mod output_store;
pub mod path_escape;
mod patience;
mod photo_reader;
mod presign_s3;
mod read_local;
mod read_s3;
mod s3_connection;
mod s3_failure;
mod s3_get;
mod s3_repeat;
mod storage;
mod whole_page;

pub use ec2_notices::{Ec2Notice, ec2_notice};
pub use error::{StorageError, StorageErrorKind};
pub use listing::{ListOptions, ListedPhoto, Listing, PathGlob, PathGlobError, SkippedCounts};
pub use location::{Location, LocationError};
pub use options::StorageOptions;
pub use output_backend::{Conditional, FileVersion, OutputBackend, PutOutcome};
pub use output_store::{OutputFile, OutputStore};
pub use patience::Patience;
pub use photo_reader::{PhotoReader, ReadError, ReadErrorKind};
pub use presign_s3::PresignedLink;
pub use s3_connection::sdk_config;
pub use storage::Storage;
