//! Files that are there for the time of a query.

use std::sync::Mutex;

use bytes::Bytes;
use fruitbatch_storage::{Location, OutputStore, Storage, StorageOptions};

use crate::error::SqlError;

/// The folder for listings below a fleet's model store.
const LISTINGS_FOLDER: &str = "listings";

/// Where such files may be written, so that executors can read them; and all that were.
#[derive(Debug)]
pub(crate) struct Scratch {
    place: Place,
    storage: Storage,
    executors: StorageOptions,
    written: Mutex<Vec<(OutputStore, String)>>,
}

#[derive(Debug)]
enum Place {
    /// A folder of this machine, which goes with all that is in it.
    Temporary(tempfile::TempDir),
    /// A place that a fleet shares.
    Shared(Location),
}

/// A new folder in it.
pub(crate) struct ScratchFolder<'a> {
    scratch: &'a Scratch,
    root: Location,
    store: OutputStore,
}

impl Scratch {
    /// In the system's folder for temporary files, for executors of this process.
    pub(crate) fn temporary() -> Result<Self, SqlError> {
        let folder = tempfile::Builder::new().prefix("fruitbatch-sql-").tempdir();
        let folder = folder
            .map_err(|source| SqlError::Io { what: "no folder for the listing of many photos", source })?;
        let storage = Storage::new(StorageOptions::default());
        Ok(Self {
            place: Place::Temporary(folder),
            executors: storage.options().clone(),
            storage,
            written: Mutex::default(),
        })
    }

    /// In a place that this process reaches by `storage` and executors by `executors`.
    pub(crate) fn shared(place: Location, storage: Storage, executors: StorageOptions) -> Self {
        Self { place: Place::Shared(place), storage, executors, written: Mutex::default() }
    }

    pub(crate) async fn folder(&self) -> Result<ScratchFolder<'_>, SqlError> {
        let name = uuid::Uuid::new_v4().to_string();
        let root = match &self.place {
            Place::Temporary(folder) => Location::from_path(&folder.path().join(name)).map_err(|source| {
                SqlError::Location { place: folder.path().display().to_string(), source }
            })?,
            Place::Shared(place) => place.join(&format!("{LISTINGS_FOLDER}/{name}")),
        };
        let store = self.storage.output(&root).await?;
        Ok(ScratchFolder { scratch: self, root, store })
    }

    /// Removes everything that was written. What can't be removed stays, with a warning in the log.
    pub(crate) async fn clear(self) {
        if matches!(self.place, Place::Temporary(_)) {
            return;
        }
        let written = self.written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (store, file) in written {
            if let Err(error) = store.delete(&file).await {
                tracing::warn!(%error, "a listing that nobody needs any more stays");
            }
        }
    }
}

impl ScratchFolder<'_> {
    pub(crate) fn root(&self) -> &Location {
        &self.root
    }

    /// How executors reach it.
    pub(crate) fn storage(&self) -> &StorageOptions {
        &self.scratch.executors
    }

    pub(crate) async fn put(&mut self, file: &str, content: Bytes) -> Result<(), SqlError> {
        // Booked first: an error leaves open whether it was written.
        let booked = (self.store.clone(), file.to_owned());
        self.scratch.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(booked);
        Ok(self.store.put(file, content).await?)
    }
}
