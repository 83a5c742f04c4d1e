//! What a run needs done to photos, and how Ballista does it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch, StringArray};
use async_trait::async_trait;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionContext, col, lit};
use fruitbatch_cluster::{ClusterError, LocalCluster, LocalClusterOptions};
use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
use fruitbatch_storage::{Location, ReadErrorKind, Storage};
use fruitbatch_vision::{ModelSessions, embed_functions};
use futures::TryStreamExt;

use crate::chunks::{BATCHES_PER_TASK, ChunkOutcome, collect_outcome};
use crate::config::RunPlan;
use crate::error::RunError;
use crate::features::column;
use crate::selection::Photo;

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

    /// Ends what was started.
    async fn stop(&self);
}

/// Photos that are tried before the first chunk; one of them must be readable.
const PROBES: usize = 3;

/// The engine proper: chunks are jobs of a cluster.
pub(crate) struct ClusterEngine<'a> {
    pub(crate) plan: &'a RunPlan,
    pub(crate) root: &'a Location,
    pub(crate) storage: &'a Storage,
    pub(crate) sessions: &'a Arc<ModelSessions>,
    /// Between start and stop: a run that has nothing to compute needs none.
    pub(crate) cluster: Mutex<Option<LocalCluster>>,
}

impl ClusterEngine<'_> {
    fn table(&self, photos: &[Photo], options: ScanOptions) -> ImageTable {
        ImageTable::new(
            self.root.clone(),
            self.plan.storage_options.clone(),
            photos.iter().map(image_row).collect(),
            options,
        )
    }

    fn scan_options(&self) -> ScanOptions {
        let max_photo_bytes = self.plan.embedding.max_bytes.min(ScanOptions::LARGEST);
        ScanOptions { max_photo_bytes, ..ScanOptions::default() }
    }

    fn session(&self) -> Result<SessionContext, RunError> {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let running = cluster.as_ref().map(LocalCluster::session);
        running.ok_or_else(|| ClusterError::Start { problem: "it was asked before".to_owned() }.into())
    }

    async fn query(&self, table: ImageTable, columns: Vec<Expr>) -> Result<Vec<RecordBatch>, RunError> {
        let frame = self
            .session()?
            .read_table(Arc::new(table))
            .and_then(|frame| frame.select(columns))
            .map_err(ClusterError::from)?;
        let stream = frame.execute_stream().await.map_err(ClusterError::from)?;
        Ok(stream.try_collect().await.map_err(ClusterError::from)?)
    }

    /// One photo may be bad in any way; that none of several can be had is not the photos' fault.
    async fn check_reading(&self, photos: &[Photo]) -> Result<(), RunError> {
        let step = photos.len().div_ceil(PROBES).max(1);
        let probes: Vec<Photo> = photos.iter().step_by(step).cloned().collect();
        let mut not_read = None;
        for (probe, outcome) in probes.iter().zip(self.read_in_order(&probes).await?) {
            match outcome {
                ReadOutcome::Unreadable { reason, detail } if depends_on_the_reader(&reason) => {
                    // Gone for the driver too: that is no question of who looks.
                    if self.look(probe).await?.is_some() {
                        not_read = Some((probe.path.clone(), detail));
                    }
                }
                ReadOutcome::Read | ReadOutcome::Unreadable { .. } => return Ok(()),
            }
        }
        match not_read {
            Some((path, detail)) => {
                Err(RunError::ExecutorCannotRead { input: self.root.to_string(), path, detail })
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Engine for ClusterEngine<'_> {
    async fn start(&self, photos: &[Photo]) -> Result<(), RunError> {
        self.sessions.load(&self.plan.embedding)?;
        let options = LocalClusterOptions { slots: self.plan.slots, ..LocalClusterOptions::default() };
        let started = LocalCluster::start(options, embed_functions(self.sessions.clone())).await?;
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        self.check_reading(photos).await
    }

    async fn extract(&self, photos: Vec<Photo>) -> Result<ChunkOutcome, RunError> {
        let batch_size = self.plan.config.batch_size as usize;
        let options = ScanOptions {
            rows_per_partition: batch_size * BATCHES_PER_TASK,
            batch_rows: batch_size,
            ..self.scan_options()
        };
        let embed_or_failure = self.session()?.state().scalar_functions()["embed_or_failure"].clone();
        let embedded = embed_or_failure
            .call(vec![col("content"), lit(self.plan.embedding.to_string())])
            .alias("embedded");
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

    async fn stop(&self) {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(cluster) = cluster {
            cluster.shutdown().await;
        }
    }
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
        let columns = ["path", "read_reason", "read_detail"].map(|name| column::<StringArray>(batch, name));
        let [Some(path), Some(reason), Some(detail)] = columns else {
            return Err(lost("its columns are not those asked for"));
        };
        for row in 0..batch.num_rows() {
            let outcome = if reason.is_valid(row) {
                ReadOutcome::Unreadable {
                    reason: reason.value(row).to_owned(),
                    detail: detail.value(row).to_owned(),
                }
            } else {
                ReadOutcome::Read
            };
            by_path.insert(path.value(row), outcome);
        }
    }
    photos
        .iter()
        .map(|photo| {
            by_path.remove(photo.path.as_str()).ok_or_else(|| lost(&format!("`{}` is missing", photo.path)))
        })
        .collect()
}
