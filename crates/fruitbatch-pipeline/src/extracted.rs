//! What there is once photos have become features: rows and failures, found by this run or recalled from OUT.

use std::collections::{BTreeMap, HashSet};

use fruitbatch_storage::{OutputStore, SkippedCounts};

use crate::commit_log::{CommitLog, FailureRecord};
use crate::config::{RunPlan, SplitFrom};
use crate::driver::Changes;
use crate::error::RunError;
use crate::features::{FEATURES_FOLDER, FeatureRow, read_part};
use crate::labels::split_of;
use crate::lineage::{FleetHost, Lineage};
use crate::outputs::{FAILURES_CSV, LINEAGE, METRICS, Metrics, Timings};

/// All that is known of the photos before anything is learned from them.
#[derive(Debug)]
pub(crate) struct Extracted {
    /// Sorted by path.
    pub(crate) rows: Vec<FeatureRow>,
    /// The rows' splits, where the run has them.
    pub(crate) splits: Option<Vec<Option<&'static str>>>,
    /// Sorted by path.
    pub(crate) failures: Vec<FailureRecord>,
    /// What the listing left out, by kind.
    pub(crate) skipped: SkippedCounts,
    /// Size of the listed photos together.
    pub(crate) bytes: u64,
    /// See [`Lineage::input_digest`].
    pub(crate) input_digest: String,
    /// The fleet's machines that made the features.
    pub(crate) executors: Vec<FleetHost>,
    /// Photos that earlier runs had committed.
    pub(crate) resumed: usize,
    /// What is different from the run before.
    pub(crate) changes: Option<Changes>,
    /// What extracting took.
    pub(crate) timings: Timings,
}

/// What the last run on OUT extracted, without a look at INPUT.
///
/// # Errors
/// Storage errors, and [`RunError::NothingExtracted`] if no run has got that far.
pub(crate) async fn recall(
    plan: &RunPlan,
    store: &OutputStore,
    log: &CommitLog,
) -> Result<Extracted, RunError> {
    let nothing = || RunError::NothingExtracted { output: plan.output.to_string() };
    let metrics = store.get(METRICS).await?.ok_or_else(nothing)?;
    let metrics: Metrics = serde_json::from_slice(&metrics).map_err(|_| nothing())?;
    let lineage = store.get(LINEAGE).await?.ok_or_else(nothing)?;
    let lineage: Lineage = serde_json::from_slice(&lineage).map_err(|_| nothing())?;
    let failures_csv = store.get(FAILURES_CSV).await?.ok_or_else(nothing)?;
    let failed = paths_in(&failures_csv).map_err(|_| nothing())?;

    // A run that was stopped may have left photos that changed in two versions. The names of parts rise, so the later one stays.
    let mut by_path = BTreeMap::new();
    for part in log.state().parts.values().filter(|part| part.file.starts_with(FEATURES_FOLDER)) {
        for row in read_part(store, part, plan.embedding.width as usize).await? {
            by_path.insert(row.path.clone(), row);
        }
    }
    // Those of photos that weren't selected stay in the log too; and one that had failed may have been read since.
    let booked = log.state().failures.values();
    let failures =
        booked.filter(|failure| failed.contains(&failure.path) && !by_path.contains_key(&failure.path));
    let failures = failures.cloned().collect();
    let rows: Vec<FeatureRow> = by_path.into_values().collect();
    Ok(Extracted {
        splits: splits_of(plan, rows.iter().map(|row| row.path.as_str())),
        resumed: rows.len(),
        rows,
        failures,
        skipped: metrics.skipped,
        bytes: metrics.bytes,
        input_digest: lineage.input_digest,
        executors: lineage.executors,
        changes: None,
        timings: Timings { photos_computed: 0, ..metrics.timings },
    })
}

fn paths_in(failures_csv: &[u8]) -> csv::Result<HashSet<String>> {
    let mut reader = csv::Reader::from_reader(failures_csv);
    reader.records().map(|record| Ok(record?.get(0).unwrap_or_default().to_owned())).collect()
}

/// The splits of photos by their paths, if the plan asks for any.
pub(crate) fn splits_of<'a>(
    plan: &RunPlan,
    paths: impl Iterator<Item = &'a str>,
) -> Option<Vec<Option<&'static str>>> {
    match plan.config.split_from {
        SplitFrom::None => None,
        SplitFrom::Path => Some(paths.map(split_of).collect()),
    }
}
