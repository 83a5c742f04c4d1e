//! The tables and figures of a run: results, failures, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
use bytes::Bytes;
use fruitbatch_learn::classifier::ClassifierReport;
use fruitbatch_learn::{FitReport, FitTimings, Fitted, LearnError, RowBlocks};
use fruitbatch_storage::SkippedCounts;
use serde::{Deserialize, Serialize};

use crate::commit_log::FailureRecord;
use crate::features::FeatureRow;
use crate::tables::{encode_parquet, table};

/// `results.csv`, and the same as Parquet.
pub const RESULTS_CSV: &str = "results.csv";
/// `results.parquet`.
pub const RESULTS_PARQUET: &str = "results.parquet";
/// `failures.csv`.
pub const FAILURES_CSV: &str = "failures.csv";
/// `metrics.json`.
pub const METRICS: &str = "metrics.json";
/// `run.json`.
pub const LINEAGE: &str = "run.json";
/// The folder of the fitted model.
pub const MODEL_FOLDER: &str = "model";
/// `_SUCCESS`: there only while all outputs are as the run left them.
pub const SUCCESS: &str = "_SUCCESS";

/// The labels of a run in the order of their index: the most frequent first, ties by name, as Spark's `StringIndexer` does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelIndex {
    names: Vec<String>,
}

impl LabelIndex {
    /// Counts the labels of `rows` and orders them.
    pub fn of(rows: &[FeatureRow]) -> Self {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for label in rows.iter().filter_map(|row| row.label.as_deref()) {
            *counts.entry(label).or_default() += 1;
        }
        let mut names: Vec<(&str, u64)> = counts.into_iter().collect();
        // Stable over names that are sorted already: ties stay by name.
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Self { names: names.into_iter().map(|(name, _)| name.to_owned()).collect() }
    }

    /// The same behind labels that have their indices already: those stay, also if they occur no more.
    pub fn behind(known: &[String], rows: &[FeatureRow]) -> Self {
        let known_names: BTreeSet<&str> = known.iter().map(String::as_str).collect();
        let added = Self::of(rows).names.into_iter().filter(|name| !known_names.contains(name.as_str()));
        Self { names: known.iter().cloned().chain(added).collect() }
    }

    /// The labels, index 0 first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The index of `label`.
    pub fn index_of(&self, label: &str) -> Option<u32> {
        self.names.iter().position(|name| name == label).and_then(|index| u32::try_from(index).ok())
    }
}

/// One row a photo, sorted by path: what `results.csv` and `results.parquet` hold.
#[derive(Debug)]
pub struct ResultsTable<'a> {
    /// The photos.
    pub rows: &'a [FeatureRow],
    /// Their splits, where the run has them.
    pub splits: Option<&'a [Option<&'static str>]>,
    /// Their labels' indices.
    pub label_indices: &'a [Option<u32>],
    /// Clusters, distances and projections.
    pub fitted: &'a Fitted,
}

impl ResultsTable<'_> {
    /// The table as CSV: quoted only where it must be, floats in the shortest form that reads back to the same bits.
    ///
    /// # Errors
    /// Those of reading scores that aren't in memory.
    pub fn to_csv(&self) -> Result<Bytes, LearnError> {
        let scores = self.fitted.projected.to_matrix()?;
        let mut header: Vec<String> = vec!["path".into(), "label".into(), "label_index".into()];
        if self.splits.is_some() {
            header.push("split".into());
        }
        header.extend(["cluster".to_owned(), "distance".to_owned()]);
        header.extend((1..=scores.ncols()).map(|component| format!("pc_{component}")));
        let mut record: Vec<String> = Vec::with_capacity(header.len());
        Ok(csv_bytes(|writer| {
            writer.write_record(&header)?;
            for (number, row) in self.rows.iter().enumerate() {
                record.clear();
                record.push(row.path.clone());
                record.push(row.label.clone().unwrap_or_default());
                record.push(self.label_indices[number].map(|index| index.to_string()).unwrap_or_default());
                if let Some(splits) = self.splits {
                    record.push(splits[number].unwrap_or_default().to_owned());
                }
                record.push(self.fitted.clusters[number].to_string());
                record.push(self.fitted.distances[number].to_string());
                record.extend(scores.row(number).iter().map(ToString::to_string));
                writer.write_record(&record)?;
            }
            Ok(())
        }))
    }

    /// The table as Parquet, the same columns with the same names.
    ///
    /// # Errors
    /// Those of reading scores that aren't in memory.
    pub fn to_parquet(&self) -> Result<Bytes, LearnError> {
        let scores = self.fitted.projected.to_matrix()?;
        let text = |values: StringArray| -> ArrayRef { Arc::new(values) };
        let mut columns: Vec<(String, bool, ArrayRef)> = vec![
            (
                "path".into(),
                false,
                text(StringArray::from_iter_values(self.rows.iter().map(|row| &row.path))),
            ),
            ("label".into(), true, text(self.rows.iter().map(|row| row.label.as_deref()).collect())),
            (
                "label_index".into(),
                true,
                Arc::new(
                    self.label_indices
                        .iter()
                        .map(|index| index.map(u32::cast_signed))
                        .collect::<Int32Array>(),
                ),
            ),
        ];
        if let Some(splits) = self.splits {
            columns.push(("split".into(), true, text(splits.iter().copied().collect())));
        }
        columns.push((
            "cluster".into(),
            false,
            Arc::new(Int32Array::from_iter_values(self.fitted.clusters.iter().copied())),
        ));
        columns.push((
            "distance".into(),
            false,
            Arc::new(Float64Array::from_iter_values(self.fitted.distances.iter().copied())),
        ));
        for (number, component) in scores.columns().into_iter().enumerate() {
            let component = Float64Array::from_iter_values(component.iter().copied());
            columns.push((format!("pc_{}", number + 1), false, Arc::new(component)));
        }
        Ok(encode_parquet(&table(columns)))
    }
}

/// `failures.csv`, sorted by path.
pub fn failures_csv<'a>(failures: impl IntoIterator<Item = &'a FailureRecord>) -> Bytes {
    csv_bytes(|writer| {
        writer.write_record(["path", "stage", "reason", "detail"])?;
        for failure in failures {
            writer.write_record([&failure.path, &failure.stage, &failure.reason, &failure.detail])?;
        }
        Ok(())
    })
}

pub(crate) fn csv_bytes(write: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> Bytes {
    let mut writer = csv::Writer::from_writer(Vec::new());
    write(&mut writer).expect("rows of one length, written to memory");
    Bytes::from(writer.into_inner().expect("memory can always be flushed"))
}

/// `metrics.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metrics {
    /// Photos listed: always `rows` + `failures`.
    pub listed: u64,
    /// Photos with features.
    pub rows: u64,
    /// Photos in failures.csv.
    pub failures: u64,
    /// Failures by reason.
    pub failures_by_reason: BTreeMap<String, u64>,
    /// What the listing left out, by kind.
    pub skipped: SkippedCounts,
    /// Size of the listed photos together, in bytes.
    pub bytes: u64,
    /// Photos by label, in the order of `label_index`: most frequent first, behind them labels that came to a fitted model later.
    pub labels: Vec<LabelCount>,
    /// Features a photo.
    pub feature_width: u64,
    /// What learning found; none if every photo failed.
    #[serde(flatten)]
    pub learning: Option<FitReport>,
    /// How good the classifier head is; none unless one was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<ClassifierReport>,
    /// Seconds and rates.
    pub timings: Timings,
}

/// How many photos bear a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label.
    pub label: String,
    /// Photos that bear it.
    pub photos: u64,
}

/// Where the time went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Wall seconds of the run up to the writing of this file.
    pub total_seconds: f64,
    /// Wall seconds by stage, in order.
    pub stages: Vec<StageSeconds>,
    /// Photos that this run computed features of (the rest were committed by earlier ones).
    pub photos_computed: u64,
    /// `photos_computed` by the wall seconds of the extract stage.
    pub photos_per_second: f64,
    /// Seconds spent decoding, resizing and preprocessing, summed over slots.
    pub decode_seconds: Option<f64>,
    /// Seconds spent inside the model.
    pub inference_seconds: Option<f64>,
    /// Wall seconds that the run waited for the commit log: writing parts and entries, reading and laying out the parts.
    pub commit_seconds: f64,
    /// Wall seconds of the parts of the fit stage.
    pub fit: FitTimings,
    /// The most memory the process ever held, in bytes, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// How long a stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// The stage.
    pub stage: String,
    /// Wall seconds.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, label: Option<&str>) -> FeatureRow {
        FeatureRow {
            path: path.into(),
            label: label.map(str::to_owned),
            etag: String::new(),
            size: 0,
            features: Vec::new(),
        }
    }

    #[test]
    fn labels_are_indexed_by_frequency_then_name() {
        let rows = [
            row("1", Some("pear")),
            row("2", Some("fig")),
            row("3", Some("apple")),
            row("4", Some("pear")),
            row("5", None),
        ];
        let index = LabelIndex::of(&rows);
        assert_eq!(index.names(), ["pear", "apple", "fig"]);
        assert_eq!(index.index_of("fig"), Some(2));
        assert_eq!(index.index_of("kiwi"), None);
        let known = ["fig".to_owned(), "quince".to_owned()];
        assert_eq!(LabelIndex::behind(&known, &rows).names(), ["fig", "quince", "pear", "apple"]);
    }

    #[test]
    fn failures_are_quoted_only_where_they_must() {
        let failure = FailureRecord {
            path: "a,b.jpg".into(),
            etag: "e".into(),
            stage: "decode".into(),
            reason: "truncated".into(),
            detail: "ends early".into(),
        };
        let text = failures_csv([&failure]);
        assert_eq!(text, "path,stage,reason,detail\n\"a,b.jpg\",decode,truncated,ends early\n");
    }
}
