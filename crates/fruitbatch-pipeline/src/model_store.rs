//! How models reach executors: the driver puts a model by its digest into a store that they can read, and they fetch it
//! from there, once a machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use fruitbatch_storage::{Location, PutOutcome, Storage, StorageOptions};
use fruitbatch_vision::cache::{model_path, store_model};
use fruitbatch_vision::{CachedModelFiles, ModelDigest, ModelFileError, ModelFiles};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::commit_log::OWN_FOLDER;
use crate::config::RunPlan;
use crate::error::{ConfigError, RunError};

/// The folder for models below OUT, where no other store is named.
pub(crate) const MODELS_FOLDER: &str = "models";

/// A model store and how executors reach it; as JSON it is the third argument of `embed`. Holds no secret, and no
/// profile of the driver's: executors have credentials of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelStore {
    /// The folder or prefix; models lie in it as `DIGEST.onnx`.
    pub uri: String,
    /// How it is reached.
    pub storage: StorageOptions,
}

impl ModelStore {
    /// The store that a plan names, or the one below its OUT.
    ///
    /// # Errors
    /// [`RunError::Config`] if the name is no place.
    pub(crate) fn of(plan: &RunPlan) -> Result<Self, RunError> {
        let uri = if let Some(store) = &plan.config.model_store {
            let store: Location =
                store.parse().map_err(|source| ConfigError::Location { key: "model-store", source })?;
            store.to_string()
        } else {
            let output = plan.output.to_string();
            format!("{}/{OWN_FOLDER}/{MODELS_FOLDER}/", output.trim_end_matches('/'))
        };
        Ok(Self { uri, storage: for_executors(&plan.storage_options) })
    }

    /// The text for executors.
    pub fn to_literal(&self) -> String {
        serde_json::to_string(self).expect("it holds texts and booleans")
    }

    /// Makes sure that the model is there.
    ///
    /// # Errors
    /// If the model isn't on this machine, or can't be written.
    pub async fn put(
        &self,
        driver: &Storage,
        files: &dyn ModelFiles,
        digest: &ModelDigest,
    ) -> Result<(), RunError> {
        let location: Location =
            self.uri.parse().map_err(|source| ConfigError::Location { key: "model-store", source })?;
        let store = driver.output(&location).await?;
        let file = file_name(digest);
        // Named by its content: what is there under the name is the model. Whoever reads it checks.
        if store.exists(&file).await? {
            return Ok(());
        }
        let model = files.read(digest).map_err(fruitbatch_vision::EmbedError::from)?;
        match store.put_if_absent(&file, model).await? {
            PutOutcome::Created | PutOutcome::AlreadyExists => Ok(()),
        }
    }
}

/// What executors are told of how the driver reaches storage.
pub fn for_executors(options: &StorageOptions) -> StorageOptions {
    StorageOptions { profile: None, ..options.clone() }
}

fn file_name(digest: &ModelDigest) -> String {
    format!("{}.onnx", digest.hex())
}

/// The models of an executor: those of this machine's own cache folder, and those that queries name a store for, which
/// are fetched once and kept in a cache of their own.
///
/// Several executors of one machine share that cache: a model is fetched by the first, while the others wait. A file is
/// checked against its digest whenever it is read. When the cache outgrows its bound, the models not used for longest go.
pub struct FetchedModelFiles {
    own: CachedModelFiles,
    folder: PathBuf,
    max_bytes: u64,
    runtime: Handle,
    stores: Mutex<HashMap<ModelDigest, String>>,
    hits: Counter,
    misses: Counter,
}

impl std::fmt::Debug for FetchedModelFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchedModelFiles").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl FetchedModelFiles {
    /// Fetches into a folder of the cache folder `cache`, of at most `max_bytes` or one model, with requests made on
    /// `runtime`. It must not be used on that runtime's own threads.
    pub fn new(cache: &Path, max_bytes: u64, runtime: Handle) -> Self {
        Self {
            own: CachedModelFiles::new(cache),
            folder: cache.join("fetched"),
            max_bytes,
            runtime,
            stores: Mutex::default(),
            hits: Counter::default(),
            misses: Counter::default(),
        }
    }

    /// Has it told to Prometheus how often a model was here already (`fruitbatch_model_cache_hits_total`) and how often it
    /// had to be fetched (`fruitbatch_model_cache_misses_total`).
    pub fn register(&self, registry: &mut Registry) {
        let cache = "fruitbatch_model_cache";
        registry.register(format!("{cache}_hits"), "Models that were on this machine", self.hits.clone());
        registry.register(format!("{cache}_misses"), "Models that had to be fetched", self.misses.clone());
    }

    fn fetch(&self, digest: &ModelDigest, store: &str) -> Result<Bytes, ModelFileError> {
        let unreadable = |place: &str, reason: String| ModelFileError::Unreadable {
            digest: *digest,
            place: place.to_owned(),
            reason,
        };
        let folder = self.folder.display().to_string();
        let in_folder = |error: io::Error| unreadable(&folder, error.to_string());
        fs::create_dir_all(&self.folder).map_err(in_folder)?;
        let lock = File::create(self.folder.join(format!("{}.lock", digest.hex()))).map_err(in_folder)?;
        lock.lock().map_err(in_folder)?;
        let path = model_path(&self.folder, digest);
        match fs::read(&path) {
            Ok(bytes) if ModelDigest::of(&bytes) == *digest => {
                // So that it counts as used. A file system that can't do that only makes the wrong model go first.
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                self.hits.inc();
                return Ok(bytes.into());
            }
            Ok(_) => {
                tracing::warn!(file = %path.display(), "a fetched model is damaged and is fetched again");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(in_folder(error)),
        }
        self.misses.inc();
        let bytes = self.get(digest, store)?;
        self.make_room(bytes.len() as u64).map_err(in_folder)?;
        store_model(&self.folder, digest, &bytes).map_err(in_folder)?;
        Ok(bytes)
    }

    fn get(&self, digest: &ModelDigest, store: &str) -> Result<Bytes, ModelFileError> {
        let ModelStore { uri, storage } = serde_json::from_str(store).map_err(|error| {
            ModelFileError::Unreadable { digest: *digest, place: store.to_owned(), reason: error.to_string() }
        })?;
        let (answer, answered) = std::sync::mpsc::channel();
        let (file, place) = (file_name(digest), uri.clone());
        self.runtime.spawn(async move {
            let got = async {
                let location: Location = uri.parse().map_err(|error| format!("{error}"))?;
                let store =
                    Storage::new(storage).output(&location).await.map_err(|error| error.to_string())?;
                store.get(&file).await.map_err(|error| error.to_string())
            };
            // Nobody waits any more when the executor is on its way out.
            let _ = answer.send(got.await);
        });
        let unreadable =
            |reason: String| ModelFileError::Unreadable { digest: *digest, place: place.clone(), reason };
        match answered.recv() {
            Ok(Ok(Some(bytes))) => {
                let found = ModelDigest::of(&bytes);
                if found == *digest {
                    Ok(bytes)
                } else {
                    Err(ModelFileError::Mismatch { place, expected: *digest, found })
                }
            }
            Ok(Ok(None)) => Err(ModelFileError::Missing { digest: *digest, place }),
            Ok(Err(reason)) => Err(unreadable(reason)),
            Err(_) => Err(unreadable("this process is about to end".to_owned())),
        }
    }

    /// Removes the models not used for longest until `bytes` more fit into the bound.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let models = self.folder.join("models");
        let entries = match fs::read_dir(&models) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort();
        let mut total: u64 = bytes + files.iter().map(|(_, length, _)| length).sum::<u64>();
        for (_, length, path) in files {
            if total <= self.max_bytes {
                break;
            }
            // Another executor of this machine may have been quicker.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= length,
            }
        }
        Ok(())
    }
}

impl ModelFiles for FetchedModelFiles {
    fn read(&self, digest: &ModelDigest) -> Result<Bytes, ModelFileError> {
        let store = self.stores.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        match (self.own.read(digest), store) {
            (Err(ModelFileError::Missing { .. }), Some(store)) => self.fetch(digest, &store),
            (read, _) => {
                if read.is_ok() {
                    self.hits.inc();
                }
                read
            }
        }
    }

    fn take_note(&self, digest: &ModelDigest, place: &str) {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if stores.get(digest).is_none_or(|known| known != place) {
            stores.insert(*digest, place.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(cache: &Path, max_bytes: u64, runtime: &tokio::runtime::Runtime) -> FetchedModelFiles {
        FetchedModelFiles::new(cache, max_bytes, runtime.handle().clone())
    }

    fn store_with(folder: &Path, models: &[&[u8]]) -> String {
        for model in models {
            fs::write(folder.join(file_name(&ModelDigest::of(model))), model).unwrap();
        }
        let uri = folder.to_str().unwrap().to_owned();
        ModelStore { uri, storage: StorageOptions::default() }.to_literal()
    }

    #[test]
    fn a_model_is_fetched_once_and_mended_when_it_is_damaged() {
        let (store, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (literal, digest) = (store_with(store.path(), &[b"model"]), ModelDigest::of(b"model"));
        let fetched = files(cache.path(), 1 << 20, &runtime);
        assert!(matches!(fetched.read(&digest), Err(ModelFileError::Missing { .. })));
        fetched.take_note(&digest, &literal);
        assert_eq!(&fetched.read(&digest).unwrap()[..], b"model");
        // From its own copy now.
        let original = store.path().join(file_name(&digest));
        fs::remove_file(&original).unwrap();
        assert_eq!(&fetched.read(&digest).unwrap()[..], b"model");
        assert_eq!((fetched.hits.get(), fetched.misses.get()), (1, 1));
        // A damaged copy is no model, wherever it lies.
        fs::write(model_path(&fetched.folder, &digest), b"worm").unwrap();
        assert!(matches!(fetched.read(&digest), Err(ModelFileError::Missing { .. })));
        fs::write(&original, b"other").unwrap();
        assert!(matches!(fetched.read(&digest), Err(ModelFileError::Mismatch { .. })));
        fs::write(&original, b"model").unwrap();
        assert_eq!(&fetched.read(&digest).unwrap()[..], b"model");
    }

    #[test]
    fn the_cache_stays_within_its_bound() {
        let (store, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let models: Vec<Vec<u8>> = (0..4).map(|number| vec![number; 100]).collect();
        let literal = store_with(store.path(), &models.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let fetched = files(cache.path(), 250, &runtime);
        let get = |model: &[u8]| {
            let digest = ModelDigest::of(model);
            fetched.take_note(&digest, &literal);
            fetched.read(&digest).unwrap();
            digest
        };
        let digests: Vec<ModelDigest> = models.iter().map(|model| get(model)).collect();
        let there = |digest: &ModelDigest| model_path(&fetched.folder, digest).exists();
        assert_eq!(digests.iter().map(there).collect::<Vec<_>>(), [false, false, true, true]);
        get(&models[0]);
        assert_eq!(digests.iter().filter(|digest| there(digest)).count(), 2);
    }

    #[test]
    fn executors_are_told_no_profile() {
        let options = StorageOptions {
            profile: Some("mine".to_owned()),
            region: Some("eu-west-3".to_owned()),
            ..StorageOptions::default()
        };
        let store = ModelStore { uri: "s3://b/models/".to_owned(), storage: for_executors(&options) };
        let literal = store.to_literal();
        assert!(!literal.contains("mine") && literal.contains("eu-west-3"), "{literal}");
        assert_eq!(serde_json::from_str::<ModelStore>(&literal).unwrap(), store);
    }
}
