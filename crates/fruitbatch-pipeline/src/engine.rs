//! What a run needs done to photos, and how Ballista does it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionContext, col, lit};
use fruitbatch_cluster::{
    ClusterError, EXECUTOR_HOST, FleetExecutor, FleetState, FleetWatch, LocalCluster, LocalClusterOptions,
    connect,
};
use fruitbatch_net::Connector;
use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
use fruitbatch_storage::{Location, ReadErrorKind, Storage, StorageOptions};
use fruitbatch_vision::{ModelFiles, ModelSessions, embed_functions};
use futures::TryStreamExt;
use tokio::sync::watch;

use crate::chunks::{BATCHES_PER_TASK, ChunkOutcome, collect_outcome};
use crate::config::{RunPlan, SchedulerChoice};
use crate::error::RunError;
use crate::events::{Event, Observer};
use crate::fleet_hours::FleetHours;
use crate::lineage::FleetHost;
use crate::model_store::{ModelStore, for_executors};
use crate::selection::Photo;
use crate::tables::column;

/// How one photo was read, without anything having been made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// All of its bytes came.
    Read,
    /// Why they didn't: a word of the closed set, and in words.
    Unreadable { reason: String, detail: String },
}

/// Carries out the work of a run on photos. A trait, so that a simulation can take the place of cluster and storage.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Gets ready for chunks of `photos`, and makes sure that photos can be read where the work is done.
    async fn start(&self, photos: &[Photo]) -> Result<(), RunError>;

    /// Makes features of a chunk of photos.
    ///
    /// # Errors
    /// What the engine reports, and [`RunError::RowsLost`] unless every photo of the chunk came back exactly once.
    async fn extract(&self, photos: Vec<Photo>) -> Result<ChunkOutcome, RunError>;

    /// Reads photos one after the other, in this order, all on one executor.
    async fn read_in_order(&self, photos: &[Photo]) -> Result<Vec<ReadOutcome>, RunError>;

    /// The photo as the driver itself sees it now; none if it is gone.
    async fn look(&self, photo: &Photo) -> Result<Option<Photo>, RunError>;

    /// Tasks that can run at a time, as far as is known now.
    fn slots(&self) -> usize;

    /// The machines that did the work, beside the driver's.
    fn hosts(&self) -> Vec<FleetHost>;

    /// Ends what was started.
    async fn stop(&self);
}

/// Photos that every executor tries before the first chunk; it must be able to read one of them.
const PROBES: usize = 3;
/// Of a larger fleet only a part is tried.
const MOST_PROBING_TASKS: usize = 1024;

/// A job that was lost (results that can't be fetched any more, storage at fault in every attempt) is done again so often.
const MOST_LOSSES: u32 = 3;
/// The pause before that, and between attempts to find a scheduler that went away.
const PAUSE_AFTER_LOSS: Duration = Duration::from_secs(1);
/// A job of which not one photo is done in so long is stuck. A batch of the largest photos takes minutes on one core.
const STALLED_AFTER: Duration = Duration::from_mins(15);

/// The engine proper: chunks are jobs of a cluster.
pub(crate) struct ClusterEngine<'a> {
    pub(crate) plan: &'a RunPlan,
    pub(crate) root: &'a Location,
    pub(crate) storage: &'a Storage,
    pub(crate) sessions: &'a Arc<ModelSessions>,
    pub(crate) files: &'a dyn ModelFiles,
    pub(crate) observer: &'a dyn Observer,
    cluster: Mutex<Option<Arc<Cluster>>>,
    hours: Mutex<FleetHours>,
}

/// A cluster that was started or found.
struct Cluster {
    session: SessionContext,
    watch: FleetWatch,
    /// The cluster of this process, or the address and the model store of one elsewhere.
    place: Place,
}

enum Place {
    Local(Mutex<Option<Box<LocalCluster>>>),
    Fleet { scheduler: String, model_store: String },
}

impl Cluster {
    fn fleet(&self) -> watch::Receiver<FleetState> {
        self.watch.state()
    }

    /// Waits until it is known that the job of this moment will not end.
    async fn hopeless(&self, scheduler: &str, patience: Duration) -> ClusterError {
        let mut fleet = self.fleet();
        let (mut photos, mut moved) = (fleet.borrow().photos, Instant::now());
        loop {
            if fleet.changed().await.is_err() {
                // It is asked no more; the job's own errors remain.
                return std::future::pending().await;
            }
            let state = fleet.borrow_and_update();
            if state.photos != photos || state.no_executor_since.is_some() || state.silent_since.is_some() {
                (photos, moved) = (state.photos, Instant::now());
            }
            if let Some(since) = state.no_executor_since
                && since.elapsed() > patience
            {
                return no_executors(scheduler, patience);
            }
            if moved.elapsed() > STALLED_AFTER {
                return ClusterError::Stalled { seconds: STALLED_AFTER.as_secs() };
            }
        }
    }
}

impl<'a> ClusterEngine<'a> {
    pub(crate) fn new(
        plan: &'a RunPlan,
        root: &'a Location,
        storage: &'a Storage,
        sessions: &'a Arc<ModelSessions>,
        files: &'a dyn ModelFiles,
        observer: &'a dyn Observer,
    ) -> Self {
        let (cluster, hours) = (Mutex::default(), Mutex::default());
        Self { plan, root, storage, sessions, files, observer, cluster, hours }
    }

    /// Photos that the cluster has done for this run, those of tasks that were tried again each time.
    pub(crate) fn photos_done(&self) -> u64 {
        let Some(cluster) = self.slot().clone() else { return 0 };
        let fleet = cluster.fleet();
        fleet.borrow().photos
    }

    /// Counts the time up to now of the hosts that are `there`: it is counted from look to look.
    pub(crate) fn look_at_hosts(&self, there: &[FleetExecutor]) {
        let there = there.iter().map(|executor| (executor.host_name.as_str(), executor.slots));
        self.hours.lock().unwrap_or_else(PoisonError::into_inner).look(Instant::now(), there);
    }

    /// The executors, as the scheduler last told of them.
    pub(crate) fn executors(&self) -> Vec<FleetExecutor> {
        let Some(cluster) = self.slot().clone() else { return Vec::new() };
        let fleet = cluster.fleet();
        let state = fleet.borrow();
        state.executors.clone()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Cluster>>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cluster(&self) -> Result<Arc<Cluster>, RunError> {
        let not_yet = || ClusterError::Start { problem: "it was asked before".to_owned() }.into();
        self.slot().clone().ok_or_else(not_yet)
    }

    async fn start_cluster(&self) -> Result<Cluster, RunError> {
        let functions = embed_functions(self.sessions.clone());
        match &self.plan.scheduler {
            SchedulerChoice::Local => {
                self.sessions.load(&self.plan.embedding)?;
                let options = LocalClusterOptions {
                    slots: self.plan.slots,
                    read_batch_bytes: self.sessions.read_batch_bytes(),
                    ..LocalClusterOptions::default()
                };
                let local = LocalCluster::start(options, functions).await?;
                let session = local.session();
                let watch = FleetWatch::start(local.scheduler(), &Connector::default(), &session)?;
                Ok(Cluster { session, watch, place: Place::Local(Mutex::new(Some(Box::new(local)))) })
            }
            SchedulerChoice::Fleet(scheduler) => {
                let store = ModelStore::of(self.plan)?;
                let connector = &self.plan.connector;
                let session = connect(scheduler, connector, &functions).await?;
                store.put(self.storage, self.files, &self.plan.embedding.digest).await?;
                let watch = FleetWatch::start(scheduler, connector, &session)?;
                let place = Place::Fleet { scheduler: scheduler.clone(), model_store: store.to_literal() };
                let cluster = Cluster { session, watch, place };
                self.wait_for_executors(scheduler, &cluster).await?;
                Ok(cluster)
            }
        }
    }

    async fn wait_for_executors(&self, scheduler: &str, cluster: &Cluster) -> Result<(), RunError> {
        let mut fleet = cluster.fleet();
        let patience = self.plan.cluster_timeout;
        // The first answer tells.
        let first = fleet.wait_for(|state| state.no_executor_since.is_some() || !state.executors.is_empty());
        let nobody = match tokio::time::timeout(patience, first).await {
            Ok(Ok(state)) => state.executors.is_empty(),
            Ok(Err(_)) | Err(_) => true,
        };
        if nobody {
            self.observer.observe(Event::Warning {
                message: format!(
                    "the scheduler at {scheduler} has no executor yet: waiting for one, {} s at most",
                    patience.as_secs()
                ),
            });
            let joined = fleet.wait_for(|state| !state.executors.is_empty());
            if !matches!(tokio::time::timeout(patience, joined).await, Ok(Ok(_))) {
                return Err(no_executors(scheduler, patience).into());
            }
        }
        Ok(())
    }

    fn table(&self, photos: &[Photo], options: ScanOptions) -> ImageTable {
        ImageTable::new(
            self.root.clone(),
            self.executors_storage(),
            photos.iter().map(image_row).collect(),
            options,
        )
    }

    fn executors_storage(&self) -> StorageOptions {
        match self.plan.scheduler {
            SchedulerChoice::Local => self.plan.storage_options.clone(),
            SchedulerChoice::Fleet(_) => for_executors(&self.plan.storage_options),
        }
    }

    fn scan_options(&self) -> ScanOptions {
        let max_photo_bytes = self.plan.embedding.max_bytes.min(ScanOptions::LARGEST);
        ScanOptions { max_photo_bytes, ..ScanOptions::default() }
    }

    /// The result of a query over photos. With a fleet, a job that is lost is done again: a lost scheduler is waited for,
    /// and the other losses have a number.
    async fn query(&self, table: ImageTable, columns: Vec<Expr>) -> Result<Vec<RecordBatch>, RunError> {
        let cluster = self.cluster()?;
        let table = Arc::new(table);
        let Place::Fleet { scheduler, .. } = &cluster.place else {
            return Ok(run_job(&cluster.session, &table, columns).await?);
        };
        let patience = self.plan.cluster_timeout;
        let (mut losses, mut lost_since) = (0, None);
        loop {
            let outcome = tokio::select! {
                outcome = run_job(&cluster.session, &table, columns.clone()) => outcome,
                hopeless = cluster.hopeless(scheduler, patience) => Err(hopeless),
            };
            let error = match outcome {
                Ok(batches) => return Ok(batches),
                Err(error) => error,
            };
            let goes_on = match &error {
                ClusterError::SchedulerLost { .. } | ClusterError::SchedulerUnreachable { .. } => {
                    lost_since.get_or_insert_with(Instant::now).elapsed() < patience
                }
                ClusterError::NoExecutors { .. } => false,
                error => {
                    losses += 1;
                    error.is_retryable() && losses <= MOST_LOSSES
                }
            };
            if !goes_on {
                return Err(error.into());
            }
            self.observer.observe(Event::Warning { message: format!("{error}; the chunk is done again") });
            tokio::time::sleep(PAUSE_AFTER_LOSS).await;
        }
    }

    /// Has every executor read some photos. One photo may be bad in any way; that none of several can be had is not the
    /// photos' fault.
    async fn check_reading(&self, photos: &[Photo]) -> Result<(), RunError> {
        let step = photos.len().div_ceil(PROBES).max(1);
        let probes: Vec<Photo> = photos.iter().step_by(step).cloned().collect();
        // A task for each slot there is: when they are free, and they are before the first chunk, each gets one.
        let tasks = self.slots().min(MOST_PROBING_TASKS);
        let table = self.table(
            &vec![probes.as_slice(); tasks].concat(),
            ScanOptions {
                rows_per_partition: probes.len().max(1),
                read_concurrency: 1,
                ..self.scan_options()
            },
        );
        let executor_host = self.cluster()?.session.state().scalar_functions()[EXECUTOR_HOST].clone();
        let columns = vec![
            col("path"),
            col("read_reason"),
            col("read_detail"),
            executor_host.call(Vec::new()).alias("host"),
        ];
        let batches = self.query(table, columns).await?;
        for (host, outcomes) in outcomes_by_host(&batches)? {
            let mut not_read = None;
            for (path, outcome) in outcomes {
                match outcome {
                    ReadOutcome::Unreadable { reason, detail } if depends_on_the_reader(&reason) => {
                        let Some(probe) = probes.iter().find(|probe| probe.path == path) else { continue };
                        // Gone for the driver too: that is no question of who looks.
                        if self.look(probe).await?.is_some() {
                            not_read = Some((path, detail));
                        }
                    }
                    ReadOutcome::Read | ReadOutcome::Unreadable { .. } => {
                        not_read = None;
                        break;
                    }
                }
            }
            if let Some((path, detail)) = not_read {
                return Err(RunError::ExecutorCannotRead {
                    host,
                    input: self.root.to_string(),
                    path,
                    detail,
                });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Engine for ClusterEngine<'_> {
    async fn start(&self, photos: &[Photo]) -> Result<(), RunError> {
        let cluster = self.start_cluster().await?;
        *self.slot() = Some(Arc::new(cluster));
        // At once: a small run may be over before the next progress is told.
        self.observer.observe(Event::Fleet { executors: self.executors() });
        self.check_reading(photos).await
    }

    async fn extract(&self, photos: Vec<Photo>) -> Result<ChunkOutcome, RunError> {
        let batch_rows = self.plan.embedding.photos_at_a_time();
        let options = ScanOptions {
            rows_per_partition: batch_rows * BATCHES_PER_TASK,
            batch_rows,
            ..self.scan_options()
        };
        let cluster = self.cluster()?;
        let embed_or_failure = cluster.session.state().scalar_functions()["embed_or_failure"].clone();
        let mut arguments = vec![col("content"), lit(self.plan.embedding.to_string())];
        if let Place::Fleet { model_store, .. } = &cluster.place {
            arguments.push(lit(model_store.clone()));
        }
        let embedded = embed_or_failure.call(arguments).alias("embedded");
        let columns = vec![col("path"), col("read_reason"), col("read_detail"), embedded];
        let batches = self.query(self.table(&photos, options), columns).await?;
        collect_outcome(&batches, photos)
    }

    async fn read_in_order(&self, photos: &[Photo]) -> Result<Vec<ReadOutcome>, RunError> {
        // One partition is one task of one executor.
        let options = ScanOptions {
            rows_per_partition: photos.len().max(1),
            read_concurrency: 1,
            ..self.scan_options()
        };
        let columns = vec![col("path"), col("read_reason"), col("read_detail")];
        let batches = self.query(self.table(photos, options), columns).await?;
        read_outcomes(&batches, photos)
    }

    async fn look(&self, photo: &Photo) -> Result<Option<Photo>, RunError> {
        let found = self.storage.look(self.root, &photo.path).await?;
        Ok(found.map(|found| Photo {
            length: found.length,
            modification_time: found.modification_time,
            etag: found.etag,
            ..photo.clone()
        }))
    }

    fn slots(&self) -> usize {
        match &self.plan.scheduler {
            SchedulerChoice::Local => self.plan.slots.get(),
            SchedulerChoice::Fleet(_) => {
                let Some(cluster) = self.slot().clone() else { return 1 };
                let fleet = cluster.fleet();
                let slots = fleet.borrow().executors.iter().map(|executor| executor.slots as usize).sum();
                std::cmp::max(slots, 1)
            }
        }
    }

    fn hosts(&self) -> Vec<FleetHost> {
        if self.plan.scheduler == SchedulerChoice::Local {
            return Vec::new();
        }
        self.hours.lock().unwrap_or_else(PoisonError::into_inner).hosts()
    }

    async fn stop(&self) {
        self.look_at_hosts(&self.executors());
        let cluster = self.slot().take();
        if let Some(Place::Local(local)) = cluster.as_ref().map(|cluster| &cluster.place) {
            let local = local.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(local) = local {
                local.shutdown().await;
            }
        }
    }
}

fn no_executors(scheduler: &str, patience: Duration) -> ClusterError {
    let address = scheduler.trim_start_matches("df://").to_owned();
    ClusterError::NoExecutors { address, seconds: patience.as_secs() }
}

async fn run_job(
    session: &SessionContext,
    table: &Arc<ImageTable>,
    columns: Vec<Expr>,
) -> Result<Vec<RecordBatch>, ClusterError> {
    let frame = session.read_table(Arc::clone(table) as _).and_then(|frame| frame.select(columns))?;
    let stream = frame.execute_stream().await?;
    Ok(stream.try_collect().await?)
}

/// Whether the reason may have to do with who reads rather than with the photo.
fn depends_on_the_reader(reason: &str) -> bool {
    [ReadErrorKind::Vanished, ReadErrorKind::AccessDenied, ReadErrorKind::Archived]
        .iter()
        .any(|kind| kind.reason() == reason)
}

fn image_row(photo: &Photo) -> ImageRow {
    ImageRow {
        path: photo.path.clone(),
        modification_time: photo.modification_time,
        length: photo.length,
        etag: photo.etag.clone(),
        label: photo.label.clone(),
        split: photo.split.map(str::to_owned),
    }
}

/// How each of `photos` was read, in their order.
fn read_outcomes(batches: &[RecordBatch], photos: &[Photo]) -> Result<Vec<ReadOutcome>, RunError> {
    let returned = batches.iter().map(RecordBatch::num_rows).sum();
    let lost = |detail: &str| RunError::RowsLost { asked: photos.len(), returned, detail: detail.to_owned() };
    let mut by_path = HashMap::new();
    for batch in batches {
        let columns = ReadColumns::of(batch).ok_or_else(|| lost(OTHER_COLUMNS))?;
        by_path.extend((0..batch.num_rows()).map(|row| columns.row(row)));
    }
    photos
        .iter()
        .map(|photo| {
            by_path.remove(photo.path.as_str()).ok_or_else(|| lost(&format!("`{}` is missing", photo.path)))
        })
        .collect()
}

/// How photos were read by each host, path by path.
fn outcomes_by_host(
    batches: &[RecordBatch],
) -> Result<BTreeMap<String, Vec<(String, ReadOutcome)>>, RunError> {
    let returned = batches.iter().map(RecordBatch::num_rows).sum();
    let mut hosts: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for batch in batches {
        let (Some(columns), Some(host)) = (ReadColumns::of(batch), column::<StringArray>(batch, "host"))
        else {
            return Err(RunError::RowsLost { asked: returned, returned, detail: OTHER_COLUMNS.to_owned() });
        };
        for row in 0..batch.num_rows() {
            let (path, outcome) = columns.row(row);
            hosts.entry(host.value(row).to_owned()).or_default().push((path.to_owned(), outcome));
        }
    }
    Ok(hosts)
}

const OTHER_COLUMNS: &str = "its columns are not those asked for";

/// The columns that say how photos were read.
struct ReadColumns<'a> {
    path: &'a StringArray,
    reason: &'a StringArray,
    detail: &'a StringArray,
}

impl<'a> ReadColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            path: column(batch, "path")?,
            reason: column(batch, "read_reason")?,
            detail: column(batch, "read_detail")?,
        })
    }

    fn row(&self, row: usize) -> (&'a str, ReadOutcome) {
        let outcome = if self.reason.is_valid(row) {
            let (reason, detail) = (self.reason.value(row).to_owned(), self.detail.value(row).to_owned());
            ReadOutcome::Unreadable { reason, detail }
        } else {
            ReadOutcome::Read
        };
        (self.path.value(row), outcome)
    }
}
