//! A simulation of the driver's protocol: the [driver](crate::driver) itself over a store in memory, with crashes,
//! sleeps, faults and meddling at every step, from a seed.
//!
//! One seed is one history. Some drivers run at a time, one step after the other in an order that the seed draws; a step
//! ends before and after each request to the store. Between steps a driver may be killed, put to sleep (to wake up long
//! after another one has taken over) or joined by another one; photos come, go and change; requests fail, before they
//! take effect or after; and drivers are wrong about whether others live. Some drivers only learn anew from what they find.
//! At last one driver is left in peace. Then
//! * its results and failures are, byte for byte, those of an undisturbed run over the same photos;
//! * nothing lies in the parts' folders that the log doesn't name;
//! * sleepers that wake up now change nothing of it.
//!
//! And at every step: while `_SUCCESS` is there, all that it names is there with the digests it names, and every path of the
//! results and failures is there once; no file of the log
//! and no part that the log names ever changes or goes before the log lets go of it; and no photo is computed of which the
//! log said, when the driver took over, that it is done.
//!
//! A failure names its seed: `FRUITBATCH_SIMULATION_SEED=N` runs that one alone, `FRUITBATCH_SIMULATION_SEEDS=COUNT` more
//! than usual.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use fruitbatch_cluster::ClusterError;
use fruitbatch_learn::LearnError;
use fruitbatch_storage::{
    Conditional, FileVersion, OutputBackend, OutputFile, OutputStore, SkippedCounts, StorageError,
    StorageErrorKind,
};
use fruitbatch_vision::Catalogue;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::chunks::{ChunkOutcome, FailureStage, PhotoFailure};
use crate::claim::Liveness;
use crate::commit_log::{CommitLog, LogState, NumberedClaim};
use crate::config::{RunConfig, RunPlan};
use crate::driver::{Driver, EngineSeconds, Photos, RunSummary};
use crate::engine::{Engine, ReadOutcome};
use crate::error::RunError;
use crate::events::Unobserved;
use crate::extract::Counts;
use crate::features::{FeatureRow, read_part};
use crate::lineage::{FleetHost, Versions};
use crate::outputs::{FAILURES_CSV, RESULTS_CSV, SUCCESS};
use crate::report::PhotoSource;
use crate::retries::Retries;
use crate::selection::{Photo, Selection};
use crate::stage_clock::StageClock;

/// Histories in an ordinary test run.
const SEEDS: u64 = 1000;
/// Width of the simulated features.
const WIDTH: usize = 2;
/// No history is longer; one that is hangs.
const MOST_STEPS: u64 = 200_000;

/// Everything outside the drivers.
struct World {
    random: Xoshiro256PlusPlus,
    files: BTreeMap<String, (Bytes, u64)>,
    writes: u64,
    photos: BTreeMap<String, SimulatedPhoto>,
    versions_of_photos: u64,
    /// Probability that a request fails.
    faults: f64,
    drivers: HashMap<String, DriverState>,
    /// Extracted photos, and how many of them had been before.
    computed: BTreeMap<(String, String), u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DriverState {
    Awake,
    Asleep,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    NotAPhoto,
    Denied,
}

#[derive(Clone)]
struct SimulatedPhoto {
    version: u64,
    kind: Kind,
}

impl SimulatedPhoto {
    fn etag(&self) -> String {
        format!("v{}", self.version)
    }
}

type SharedWorld = Arc<Mutex<World>>;

fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            files: BTreeMap::new(),
            writes: 0,
            photos: BTreeMap::new(),
            versions_of_photos: 0,
            faults: 0.0,
            drivers: HashMap::new(),
            computed: BTreeMap::new(),
        };
        for _ in 0..world.random.gen_range(4..=12) {
            world.add_photo();
        }
        world
    }

    /// The same photos, nothing else.
    fn undisturbed(&self) -> Self {
        Self { photos: self.photos.clone(), ..Self::new(0) }
    }

    fn add_photo(&mut self) {
        let folder = ["apple", "pear", "fig"][self.random.gen_range(0..3)];
        let path = format!("{folder}/{}.jpg", self.random.gen_range(0..40));
        self.versions_of_photos += 1;
        let kind = match self.random.gen_range(0..30) {
            0..3 => Kind::NotAPhoto,
            3 => Kind::Denied,
            _ => Kind::Good,
        };
        self.photos.insert(path, SimulatedPhoto { version: self.versions_of_photos, kind });
    }

    /// A photo comes, changes or goes.
    fn meddle(&mut self) {
        let chosen = self.random.gen_range(0..self.photos.len().max(1));
        let path = self.photos.keys().nth(chosen).cloned();
        match (self.random.gen_range(0..3), path) {
            (0, Some(path)) if self.photos.len() > 3 => {
                self.photos.remove(&path);
            }
            (1, Some(path)) => {
                self.versions_of_photos += 1;
                let version = self.versions_of_photos;
                if let Some(photo) = self.photos.get_mut(&path) {
                    photo.version = version;
                }
            }
            _ => self.add_photo(),
        }
    }

    fn fails(&mut self) -> bool {
        let faults = self.faults;
        faults > 0.0 && self.random.gen_bool(faults)
    }

    fn version(&self, path: &str) -> Option<FileVersion> {
        self.files.get(path).map(|(_, write)| FileVersion::new(write.to_string()))
    }

    fn write(&mut self, path: &str, content: Bytes) {
        assert!(!path.contains("/log/") || !self.files.contains_key(path), "{path} was written twice");
        if let Some((before, _)) = self.files.get(path)
            && path.ends_with(".parquet")
            && path.contains("part-")
        {
            assert!(*before == content, "{path} was overwritten");
        }
        self.writes += 1;
        self.files.insert(path.to_owned(), (content, self.writes));
        self.check_success();
    }

    fn remove(&mut self, path: &str) {
        assert!(!path.contains("/log/"), "{path} was removed");
        if path.contains("part-") {
            let log = state_at_claim(&self.files, "none: all of it");
            assert!(!log.parts.contains_key(path), "{path} was removed, and the log names it");
        }
        self.files.remove(path);
        self.check_success();
    }

    /// While `_SUCCESS` is there, all is as it says.
    fn check_success(&self) {
        let Some((text, _)) = self.files.get(SUCCESS) else { return };
        let success: serde_json::Value = serde_json::from_slice(text).expect("_SUCCESS is JSON");
        for (file, digest) in success["sha256"].as_object().expect("digests by file") {
            let found = self.files.get(file).map(|(content, _)| hex::encode(Sha256::digest(content)));
            assert_eq!(found.as_deref(), digest.as_str(), "{file} is not what _SUCCESS says");
        }
        let mut paths = BTreeSet::new();
        for file in [RESULTS_CSV, FAILURES_CSV] {
            for record in csv::Reader::from_reader(self.files[file].0.as_ref()).into_records() {
                let path = record.expect("is CSV")[0].to_owned();
                assert!(paths.insert(path.clone()), "{path} is there twice");
            }
        }
    }

    fn listing(&self) -> Selection {
        let photos = self.photos.iter().map(|(path, photo)| Photo {
            path: path.clone(),
            length: 1,
            modification_time: 0,
            etag: photo.etag(),
            label: path.split_once('/').map(|(folder, _)| folder.to_owned()),
            split: None,
        });
        Selection {
            root: "s3://in/photos/".parse().expect("is a place"),
            photos: photos.collect(),
            skipped: SkippedCounts::default(),
        }
    }
}

/// Lets the scheduler decide what happens next.
async fn step() {
    let mut stopped = false;
    std::future::poll_fn(|context| {
        if stopped {
            return Poll::Ready(());
        }
        stopped = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The store as one driver sees it.
struct SimulatedStore(SharedWorld);

impl std::fmt::Debug for SimulatedStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SimulatedStore")
    }
}

impl SimulatedStore {
    /// One request: it may fail before it takes effect, or after.
    async fn request<T>(
        &self,
        action: &'static str,
        path: &str,
        effect: impl FnOnce(&mut World) -> T + Send,
    ) -> Result<T, StorageError> {
        step().await;
        let done = {
            let mut world = lock(&self.0);
            if world.fails() { None } else { Some(effect(&mut world)) }
        };
        step().await;
        match done {
            Some(done) if !lock(&self.0).fails() => Ok(done),
            _ => Err(StorageError::new(StorageErrorKind::Fault, action, path, "it was drawn so", "")),
        }
    }
}

#[async_trait]
impl OutputBackend for SimulatedStore {
    fn uri(&self, path: &str) -> String {
        format!("simulated://{path}")
    }

    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        self.request("write", path, |world| world.write(path, content)).await
    }

    async fn put_if_match(
        &self,
        path: &str,
        expected: Option<&FileVersion>,
        content: Bytes,
    ) -> Result<Conditional, StorageError> {
        self.request("write", path, |world| {
            if world.version(path).as_ref() != expected {
                return Conditional::ConditionFailed;
            }
            world.write(path, content);
            Conditional::Done
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        self.request("read", path, |world| world.files.get(path).map(|(content, _)| content.clone())).await
    }

    async fn version(&self, path: &str) -> Result<Option<FileVersion>, StorageError> {
        self.request("read", path, |world| world.version(path)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<OutputFile>, StorageError> {
        let below = format!("{folder}/");
        self.request("list", folder, |world| {
            world
                .files
                .iter()
                .filter(|(path, _)| path.starts_with(&below))
                .map(|(path, (content, _))| OutputFile { path: path.clone(), length: content.len() as u64 })
                .collect()
        })
        .await
    }

    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.request("delete", path, |world| world.remove(path)).await
    }

    async fn delete_if_match(&self, path: &str, expected: &FileVersion) -> Result<Conditional, StorageError> {
        self.request("delete", path, |world| {
            if world.version(path).as_ref() != Some(expected) {
                return Conditional::ConditionFailed;
            }
            world.remove(path);
            Conditional::Done
        })
        .await
    }

    /// As in S3: a copy, and then a removal.
    async fn rename(&self, from: &str, to: &str) -> Result<Conditional, StorageError> {
        let copied = self
            .request("rename", from, |world| {
                let Some((content, _)) = world.files.get(from).cloned() else {
                    return Conditional::ConditionFailed;
                };
                world.write(to, content);
                Conditional::Done
            })
            .await?;
        if copied == Conditional::Done {
            self.request("rename", from, |world| world.remove(from)).await?;
        }
        Ok(copied)
    }

    async fn remove_leftovers(&self) -> Result<u64, StorageError> {
        Ok(0)
    }
}

/// Reads photos as they are in the world at that moment.
struct SimulatedEngine {
    world: SharedWorld,
    run_id: String,
}

fn features_of(path: &str, etag: &str) -> Vec<f32> {
    let digest = Sha256::digest(format!("{path} {etag}"));
    digest.iter().take(WIDTH).map(|byte| f32::from(*byte)).collect()
}

impl SimulatedEngine {
    /// Why the photo can't be read as `photo` describes it, if it can't.
    fn unreadable(&self, photo: &Photo) -> Option<&'static str> {
        match lock(&self.world).photos.get(&photo.path) {
            None => Some("vanished"),
            Some(now) if now.kind == Kind::Denied => Some("access-denied"),
            Some(now) if now.etag() != photo.etag => Some("changed"),
            Some(_) => None,
        }
    }

    /// Notes that a photo is computed, which it must not be if the log of the driver's claim has it.
    fn note_computed(&self, photo: &Photo) {
        let mut world = lock(&self.world);
        let known = state_at_claim(&world.files, &self.run_id);
        let done = known.rows().any(|row| row.0 == photo.path && row.1 == photo.etag);
        assert!(!done, "{} was computed although it was committed", photo.path);
        *world.computed.entry((photo.path.clone(), photo.etag.clone())).or_default() += 1;
    }
}

/// What the log said when the driver took over.
fn state_at_claim(files: &BTreeMap<String, (Bytes, u64)>, run_id: &str) -> LogState {
    let entries = files.range("_fruitbatch/log/".to_owned().."_fruitbatch/log0".to_owned());
    LogState::replay_until_claim(entries.map(|(_, (content, _))| content.as_ref()), run_id)
}

#[async_trait]
impl Engine for SimulatedEngine {
    async fn start(&self, _photos: &[Photo]) -> Result<(), RunError> {
        step().await;
        Ok(())
    }

    async fn extract(&self, photos: Vec<Photo>) -> Result<ChunkOutcome, RunError> {
        let mut outcome =
            ChunkOutcome { rows: Vec::new(), failures: Vec::new(), kernel_paths: BTreeSet::new() };
        for photo in photos {
            step().await;
            if lock(&self.world).fails() {
                return Err(ClusterError::SchedulerLost { problem: "it was drawn so".to_owned() }.into());
            }
            let failure = |stage, reason: &str| PhotoFailure {
                photo: photo.clone(),
                stage,
                reason: reason.to_owned(),
                detail: "it was drawn so".to_owned(),
            };
            if let Some(reason) = self.unreadable(&photo) {
                outcome.failures.push(failure(FailureStage::Read, reason));
                continue;
            }
            self.note_computed(&photo);
            let kind = lock(&self.world).photos.get(&photo.path).map(|photo| photo.kind);
            if kind == Some(Kind::Good) {
                outcome.rows.push(FeatureRow {
                    features: features_of(&photo.path, &photo.etag),
                    path: photo.path,
                    label: photo.label,
                    etag: photo.etag,
                    size: 1,
                });
            } else {
                outcome.failures.push(failure(FailureStage::Decode, "not-an-image"));
            }
        }
        outcome.rows.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(outcome)
    }

    async fn read_in_order(&self, photos: &[Photo]) -> Result<Vec<ReadOutcome>, RunError> {
        let mut outcomes = Vec::new();
        for photo in photos {
            step().await;
            outcomes.push(match self.unreadable(photo) {
                None => ReadOutcome::Read,
                Some(reason) => ReadOutcome::Unreadable {
                    reason: reason.to_owned(),
                    detail: "it was drawn so".to_owned(),
                },
            });
        }
        Ok(outcomes)
    }

    async fn look(&self, photo: &Photo) -> Result<Option<Photo>, RunError> {
        step().await;
        let world = lock(&self.world);
        Ok(world.photos.get(&photo.path).map(|now| Photo { etag: now.etag(), ..photo.clone() }))
    }

    fn slots(&self) -> usize {
        1
    }

    fn hosts(&self) -> Vec<FleetHost> {
        Vec::new()
    }

    async fn stop(&self) {}
}

/// Knows who lives, and is wrong at times.
struct SimulatedLiveness(SharedWorld);

#[async_trait]
impl Liveness for SimulatedLiveness {
    async fn is_alive(&self, _store: &OutputStore, holder: &NumberedClaim) -> Result<bool, RunError> {
        step().await;
        let mut world = lock(&self.0);
        let state = world.drivers.get(&holder.claim.run_id).copied().unwrap_or(DriverState::Gone);
        let seen_alive = match state {
            DriverState::Awake => 0.9,
            DriverState::Asleep => 0.2,
            DriverState::Gone => 0.0,
        };
        Ok(world.random.gen_bool(seen_alive))
    }

    fn show(&self, _store: &OutputStore, _number: u64) -> Box<dyn Any + Send> {
        Box::new(())
    }
}

type RunningDriver = Pin<Box<dyn Future<Output = Result<RunSummary, RunError>>>>;

fn plan(chunk_size: usize) -> RunPlan {
    let config = RunConfig {
        input: Some("s3://in/photos/".to_owned()),
        output: Some("s3://out/results/".to_owned()),
        n_components: Some("1".to_owned()),
        n_clusters: Some("1".to_owned()),
        chunk_size: chunk_size.try_into().ok(),
        slots: 1.try_into().ok(),
        ..RunConfig::default()
    };
    let mut plan = config.plan(&Catalogue::compiled_in()).expect("the configuration is valid");
    plan.embedding.width = WIDTH as u32;
    plan.config.report = false;
    plan
}

/// Reports are no part of the simulation.
struct NoPhotos;

#[async_trait]
impl PhotoSource for NoPhotos {
    async fn photo(&self, _path: &str) -> Option<Bytes> {
        None
    }
}

/// What a driver is started for.
#[derive(Clone, Copy)]
enum Task {
    /// A run over the photos as they are now, in chunks of so many.
    Run { chunk_size: usize },
    /// Learning anew from what was extracted.
    Refit,
}

/// A driver that has listed the photos as they are now, if it is to.
fn start(world: &SharedWorld, run_id: String, task: Task) -> RunningDriver {
    let listing = {
        let mut world = lock(world);
        world.drivers.insert(run_id.clone(), DriverState::Awake);
        world.listing()
    };
    let world = world.clone();
    Box::pin(async move {
        let plan = plan(match task {
            Task::Run { chunk_size } => chunk_size,
            Task::Refit => 1,
        });
        let engine = SimulatedEngine { world: world.clone(), run_id: run_id.clone() };
        let (cancel, counts) = (CancellationToken::new(), Counts::default());
        let versions = Versions {
            fruitbatch: String::new(),
            git_commit: None,
            datafusion: String::new(),
            ballista: String::new(),
            onnxruntime: None,
        };
        let driver = Driver {
            plan: &plan,
            store: OutputStore::new(Arc::new(SimulatedStore(world.clone()))),
            liveness: &SimulatedLiveness(world.clone()),
            observer: &Unobserved,
            cancel: &cancel,
            counts: &counts,
            retries: Retries { most: 2, first_pause: std::time::Duration::ZERO },
            run_id,
            started_at: String::new(),
            versions: &versions,
            photos: &NoPhotos,
        };
        let engine_seconds = &EngineSeconds::default;
        let photos = match task {
            Task::Run { .. } => Photos::Listed { selection: listing, engine: &engine, engine_seconds },
            Task::Refit => Photos::AsExtracted,
        };
        driver.drive(&mut StageClock::new(&Unobserved), photos).await
    })
}

/// One step of a driver; its end if that was the last.
fn poll(driver: &mut RunningDriver) -> Option<Result<RunSummary, RunError>> {
    match driver.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

fn run_alone(driver: &mut RunningDriver) -> Result<RunSummary, RunError> {
    for _ in 0..MOST_STEPS {
        if let Some(outcome) = poll(driver) {
            return outcome;
        }
    }
    panic!("a driver that is alone never ends");
}

struct Sleeper {
    run_id: String,
    driver: RunningDriver,
    wakes_up: u64,
}

/// Several drivers at a time, with everything that can happen to them; those that still sleep at the end.
fn chaos(world: &SharedWorld) -> Vec<Sleeper> {
    let mut draw = {
        let mut world = lock(world);
        world.faults = [0.0, 0.002, 0.02][world.random.gen_range(0..3)];
        Xoshiro256PlusPlus::seed_from_u64(world.random.r#gen())
    };
    let mut awake: Vec<(String, RunningDriver)> = Vec::new();
    let mut asleep: Vec<Sleeper> = Vec::new();
    let mut started = 0;
    let drivers = draw.gen_range(1..=6);
    for now in 0..MOST_STEPS {
        let (woken, still): (Vec<Sleeper>, Vec<Sleeper>) =
            asleep.into_iter().partition(|sleeper| sleeper.wakes_up <= now);
        asleep = still;
        for sleeper in woken {
            lock(world).drivers.insert(sleeper.run_id.clone(), DriverState::Awake);
            awake.push((sleeper.run_id, sleeper.driver));
        }
        let alone = awake.is_empty();
        if started < drivers && (alone || draw.gen_bool(0.003)) {
            let run_id = format!("run-{started}");
            let task = match draw.gen_range(0..5) {
                0 => Task::Refit,
                chunk_size => Task::Run { chunk_size },
            };
            awake.push((run_id.clone(), start(world, run_id, task)));
            started += 1;
        } else if alone {
            break;
        }
        if draw.gen_bool(0.003) {
            lock(world).meddle();
        }
        let chosen = draw.gen_range(0..awake.len());
        let fate = draw.gen_range(0.0..1.0);
        if fate < 0.006 {
            // Killed, at whatever step it is.
            let (run_id, _) = awake.swap_remove(chosen);
            lock(world).drivers.insert(run_id, DriverState::Gone);
        } else if fate < 0.012 {
            let (run_id, driver) = awake.swap_remove(chosen);
            lock(world).drivers.insert(run_id.clone(), DriverState::Asleep);
            let sleeps = if draw.gen_bool(0.3) { MOST_STEPS } else { draw.gen_range(1..400) };
            asleep.push(Sleeper { run_id, driver, wakes_up: now + sleeps });
        } else if let Some(outcome) = poll(&mut awake[chosen].1) {
            let (run_id, _) = awake.swap_remove(chosen);
            let mut world = lock(world);
            world.drivers.insert(run_id, DriverState::Gone);
            check_end(&outcome, world.faults > 0.0);
        }
    }
    assert!(awake.is_empty(), "the drivers never end");
    asleep
}

/// How a driver in the turmoil may end.
fn check_end(outcome: &Result<RunSummary, RunError>, with_faults: bool) {
    match outcome {
        Ok(_)
        | Err(
            RunError::Superseded { .. }
            | RunError::Occupied { .. }
            | RunError::AccessLost { .. }
            // There is nothing yet to learn from.
            | RunError::NoRun { .. }
            | RunError::NothingExtracted { .. }
            | RunError::Learn(LearnError::TooFewRows { .. }),
        ) => {}
        Err(RunError::Storage(error)) if error.kind() == StorageErrorKind::Fault && with_faults => {}
        Err(RunError::Cluster(ClusterError::SchedulerLost { .. })) if with_faults => {}
        Err(error) => panic!("a driver ended with: {error}"),
    }
}

/// The results of a run that nothing disturbs.
fn undisturbed(world: &World) -> Option<(Bytes, Bytes)> {
    let world = Arc::new(Mutex::new(world.undisturbed()));
    match run_alone(&mut start(&world, "undisturbed".to_owned(), Task::Run { chunk_size: 3 })) {
        Ok(summary) => {
            let world = lock(&world);
            let file =
                |name: &str| world.files.get(name).map(|(content, _)| content.clone()).unwrap_or_default();
            assert_eq!(summary.every_photo_failed(), !world.files.contains_key(SUCCESS));
            Some((file(RESULTS_CSV), file(FAILURES_CSV)))
        }
        // A chunk of photos that may not be read stops every run, and one row is too little to learn from.
        Err(RunError::AccessLost { .. } | RunError::Learn(LearnError::TooFewRows { .. })) => None,
        Err(error) => panic!("the undisturbed run failed: {error}"),
    }
}

/// What must be true once a run has come to its end.
fn check_outputs(world: &SharedWorld, expected: &(Bytes, Bytes)) {
    let (files, photos) = {
        let world = lock(world);
        (world.files.clone(), world.photos.clone())
    };
    let file = |name: &str| files.get(name).map(|(content, _)| content.clone()).unwrap_or_default();
    assert_eq!(file(RESULTS_CSV), expected.0, "results.csv");
    assert_eq!(file(FAILURES_CSV), expected.1, "failures.csv");

    let store = OutputStore::new(Arc::new(SimulatedStore(world.clone())));
    let state = now(CommitLog::open(store.clone())).expect("the log can be read").state().clone();
    for name in files.keys().filter(|name| name.ends_with(".parquet") && name.contains("part-")) {
        assert!(state.parts.contains_key(name), "{name} is an orphan");
    }
    let mut rows = BTreeSet::new();
    for part in state.parts.values().filter(|part| part.file.starts_with("features/")) {
        for row in now(read_part(&store, part, WIDTH)).expect("the part can be read") {
            assert_eq!(row.etag, photos[&row.path].etag(), "{} is of another version", row.path);
            assert_eq!(row.features, features_of(&row.path, &row.etag), "{}", row.path);
            assert!(rows.insert(row.path.clone()), "{} is there twice", row.path);
        }
    }
    let failed: BTreeSet<String> = csv::Reader::from_reader(expected.1.as_ref())
        .records()
        .map(|record| record.expect("is CSV")[0].to_owned())
        .collect();
    assert!(rows.is_disjoint(&failed));
    assert_eq!(rows.len() + failed.len(), photos.len(), "listed = rows + failures");
}

/// The outcome of something that waits for nothing but steps.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return outcome;
        }
    }
}

fn simulate(seed: u64) {
    let world = Arc::new(Mutex::new(World::new(seed)));
    let mut sleepers = chaos(&world);
    lock(&world).faults = 0.0;
    let Some(expected) = undisturbed(&lock(&world)) else { return };

    // Drivers that sleep before they have claimed anything are runs to come rather than ghosts of runs that were.
    sleepers.retain(|sleeper| {
        let log = &lock(&world).files;
        log.values().any(|(content, _)| {
            String::from_utf8_lossy(content).contains(&format!("\"run_id\":\"{}\"", sleeper.run_id))
        })
    });
    for sleeper in &sleepers {
        lock(&world).drivers.insert(sleeper.run_id.clone(), DriverState::Gone);
    }
    let chunk_size = lock(&world).random.gen_range(2..=4);
    match run_alone(&mut start(&world, "last".to_owned(), Task::Run { chunk_size })) {
        Ok(_) => check_outputs(&world, &expected),
        Err(RunError::AccessLost { .. }) => return,
        Err(error) => panic!("the last driver failed: {error}"),
    }
    for mut sleeper in sleepers {
        let outcome = run_alone(&mut sleeper.driver);
        // Superseded, that is; done, if it fell asleep when its outputs were complete; or with what it met before.
        check_end(&outcome, true);
        check_outputs(&world, &expected);
    }
}

#[test]
fn a_thousand_histories_lose_and_double_nothing() {
    let number =
        |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("the seed is a number"));
    if let Some(seed) = number("FRUITBATCH_SIMULATION_SEED") {
        return simulate(seed);
    }
    for seed in 0..number("FRUITBATCH_SIMULATION_SEEDS").unwrap_or(SEEDS) {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        assert!(
            outcome.is_ok(),
            "history {seed} went wrong; FRUITBATCH_SIMULATION_SEED={seed} runs it alone"
        );
    }
}
