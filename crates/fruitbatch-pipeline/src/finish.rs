//! From features to complete outputs: learning, the tables and figures, and `_SUCCESS` last.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fruitbatch_learn::{ClusterCount, Fitted, RowBlocks};
use sha2::{Digest, Sha256};

use crate::classifier::{CONFUSION_CSV, confusion_csv, train};
use crate::commit_log::{CommitLog, FailureRecord, LogEntry, LogState};
use crate::config::{RunPlan, Steps};
use crate::driver::{Driver, RunSummary};
use crate::error::{ConfigError, RunError};
use crate::events::Stage;
use crate::extracted::Extracted;
use crate::features::{FEATURES_FOLDER, feature_blocks};
use crate::kept_model::KeptModel;
use crate::labels::TRAINING_SPLIT;
use crate::lineage::{Host, Lineage, now, peak_memory_bytes};
use crate::outputs::{
    FAILURES_CSV, LINEAGE, LabelCount, LabelIndex, METRICS, MODEL_FOLDER, Metrics, RESULTS_CSV,
    RESULTS_PARQUET, ResultsTable, SUCCESS, failures_csv,
};
use crate::predictor::{EMBEDDING, NEIGHBOURS, Neighbours};
use crate::publish::Publisher;
use crate::report::Findings;
use crate::stage_clock::StageClock;

impl Driver<'_> {
    /// Fits on the extracted rows, unless the plan stops before or a model is `kept`, and writes all outputs.
    pub(crate) async fn finish(
        &self,
        clock: &mut StageClock<'_>,
        log: &mut CommitLog,
        publisher: &Publisher<'_>,
        extracted: Extracted,
        kept: Option<&KeptModel>,
    ) -> Result<RunSummary, RunError> {
        let Extracted { rows, failures, splits, .. } = &extracted;
        let labels = match kept {
            Some(kept) => LabelIndex::behind(&kept.labels, rows),
            None => LabelIndex::of(rows),
        };
        let label_indices: Vec<Option<u32>> =
            rows.iter().map(|row| row.label.as_deref().and_then(|label| labels.index_of(label))).collect();
        let mut outputs: BTreeMap<String, Bytes> = BTreeMap::new();
        let mut trained = None;
        let fitted = match &self.plan.steps {
            Steps::All | Steps::Fit | Steps::Assign if !rows.is_empty() => {
                clock.enter(Stage::Fit);
                let features = feature_blocks(rows, self.plan.embedding.width as usize);
                if let Some(kept) = kept {
                    let has_labels = label_indices.iter().any(Option::is_some);
                    let labels = has_labels.then_some(label_indices.as_slice());
                    let (model, threads) = (kept.model.clone(), self.plan.slots);
                    Some(fruitbatch_learn::evaluate(model, &features, labels, &kept.report, threads)?)
                } else {
                    if let Some(spec) = &self.plan.classifier {
                        let lineage = self.model_lineage();
                        let splits = splits.as_deref();
                        let threads = self.plan.slots;
                        trained =
                            Some(train(spec, &features, &labels, &label_indices, splits, lineage, threads)?);
                    }
                    Some(fit(self.plan, &features, &labels, &label_indices, splits.as_deref())?)
                }
            }
            Steps::Predict(predictor) if !rows.is_empty() => {
                let predictions = predictor.predict(rows, self.plan.slots)?;
                let (file, bytes) = predictor.format.encode(&predictions);
                outputs.insert(file.to_owned(), bytes);
                None
            }
            Steps::All | Steps::Fit | Steps::Assign | Steps::Predict(_) | Steps::Extract => None,
        };

        let mut metrics = Metrics {
            listed: (rows.len() + failures.len()) as u64,
            rows: rows.len() as u64,
            failures: failures.len() as u64,
            failures_by_reason: count_reasons(failures),
            skipped: extracted.skipped,
            bytes: extracted.bytes,
            labels: label_counts(&labels, &label_indices),
            feature_width: u64::from(self.plan.embedding.width),
            learning: fitted.as_ref().map(|fitted| fitted.report.clone()),
            classifier: trained
                .as_ref()
                .map(|trained| trained.report.clone())
                .or_else(|| kept.and_then(|kept| kept.classifier.clone())),
            timings: extracted.timings.clone(),
        };
        metrics.timings.fit = fitted.as_ref().map(|fitted| fitted.timings).unwrap_or_default();
        outputs.insert(FAILURES_CSV.to_owned(), failures_csv(failures));
        if let Some(fitted) = &fitted {
            let table =
                ResultsTable { rows, splits: splits.as_deref(), label_indices: &label_indices, fitted };
            outputs.insert(RESULTS_CSV.to_owned(), table.to_csv()?);
            outputs.insert(RESULTS_PARQUET.to_owned(), table.to_parquet()?);
        }
        if let Some(kept) = kept {
            outputs.extend(kept.files.clone());
        } else if let Some(fitted) = &fitted {
            let neighbours = Neighbours::of(rows, &label_indices, splits.as_deref(), fitted)?;
            let (neighbours, digest) = neighbours.to_file();
            outputs.insert(format!("{MODEL_FOLDER}/{NEIGHBOURS}"), neighbours);
            let mut lineage = self.model_lineage();
            lineage.extend([digest]);
            let mut model = fitted.model.clone().with_lineage(lineage);
            if !labels.names().is_empty() {
                model = model.with_label_names(labels.names().to_vec())?;
            }
            for (file, bytes) in model.to_files() {
                outputs.insert(format!("{MODEL_FOLDER}/{file}"), Bytes::from(bytes));
            }
        }
        if let Some(trained) = &trained {
            for (file, bytes) in trained.head.to_files() {
                outputs.insert(format!("{MODEL_FOLDER}/{file}"), Bytes::from(bytes));
            }
            if let Some(test) = &trained.report.test {
                outputs.insert(CONFUSION_CSV.to_owned(), confusion_csv(test, &labels));
            }
        }
        if let Some(fitted) = &fitted
            && self.plan.config.report
        {
            clock.enter(Stage::Report);
            metrics.timings.stages = clock.so_far();
            let findings = Findings {
                plan: self.plan,
                extracted: &extracted,
                label_indices: &label_indices,
                fitted,
                metrics: &metrics,
                lineage: &self.lineage(&extracted, log.state()),
            };
            outputs.extend(findings.report(self.photos, self.observer).await?);
        }
        clock.enter(Stage::Write);
        publisher.remove_success(log).await?;
        self.publish(log, publisher, &outputs).await?;

        metrics.timings.stages = clock.finish();
        metrics.timings.total_seconds = clock.total().as_secs_f64();
        metrics.timings.peak_memory_bytes = peak_memory_bytes();
        let lineage = self.lineage(&extracted, log.state());
        for (file, json) in [(METRICS, to_json(&metrics)), (LINEAGE, to_json(&lineage))] {
            publisher.put(log, file, &json).await?;
            outputs.insert(file.to_owned(), json);
        }
        if !rows.is_empty() {
            publisher.put_success(log, &success_file(&outputs, log.state())).await?;
        }
        let all_rows = log.state().rows().count() as u64;
        Ok(RunSummary {
            kept_aside: all_rows - metrics.rows,
            metrics,
            resumed: extracted.resumed,
            changes: extracted.changes,
            failures: extracted.failures,
        })
    }

    /// Announces the outputs in the log, removes those of earlier runs that this one doesn't write, and writes them.
    async fn publish(
        &self,
        log: &mut CommitLog,
        publisher: &Publisher<'_>,
        outputs: &BTreeMap<String, Bytes>,
    ) -> Result<(), RunError> {
        let mut files: Vec<String> = outputs.keys().cloned().collect();
        files.extend([METRICS, LINEAGE, SUCCESS].map(str::to_owned));
        let stale: BTreeSet<String> =
            log.state().outputs.iter().filter(|file| !files.contains(file)).cloned().collect();
        log.append(LogEntry::Publish { files }).await?;
        for file in stale {
            publisher.remove(log, &file).await?;
        }
        for (file, content) in outputs {
            publisher.put(log, file, content).await?;
        }
        Ok(())
    }

    fn lineage(&self, extracted: &Extracted, state: &LogState) -> Lineage {
        Lineage {
            run_id: self.run_id.clone(),
            config: self.plan.config.clone(),
            embedding: self.plan.embedding.to_string(),
            input_digest: extracted.input_digest.clone(),
            kernel_paths: state.kernel_paths().into_iter().map(str::to_owned).collect(),
            versions: self.versions.clone(),
            started_at: self.started_at.clone(),
            finished_at: now(),
            hosts: vec![Host::this()],
            executors: extracted.executors.clone(),
        }
    }

    fn model_lineage(&self) -> fruitbatch_learn::Lineage {
        fruitbatch_learn::Lineage::from([
            (EMBEDDING.to_owned(), self.plan.embedding.to_string().into()),
            ("input".to_owned(), self.plan.input.to_string().into()),
            ("run_id".to_owned(), self.run_id.clone().into()),
        ])
    }
}

fn fit(
    plan: &RunPlan,
    features: &impl RowBlocks<Value = f32>,
    labels: &LabelIndex,
    label_indices: &[Option<u32>],
    splits: Option<&[Option<&'static str>]>,
) -> Result<Fitted, RunError> {
    let fit_on: Option<Vec<bool>> = splits.map(|splits| splits.iter().copied().map(is_fitted_on).collect());
    if let Some(fit_on) = &fit_on
        && !fit_on.contains(&true)
    {
        return Err(ConfigError::invalid(
            "split-from",
            format!("no photo lies in a folder called {TRAINING_SPLIT}, so there is nothing to fit on"),
        )
        .into());
    }
    let mut spec = plan.learning.clone();
    if plan.n_clusters_from_labels {
        // One label says nothing about clusters.
        spec.kmeans.n_clusters = match labels.names().len() {
            0 | 1 => ClusterCount::Auto,
            labels => ClusterCount::Count(labels),
        };
    }
    let labels = (!labels.names().is_empty()).then_some(label_indices);
    Ok(fruitbatch_learn::fit(features, fit_on.as_deref(), labels, &spec, plan.slots)?)
}

/// Whether learning is fitted on a photo of this split, where there are any.
pub(crate) fn is_fitted_on(split: Option<&'static str>) -> bool {
    split == Some(TRAINING_SPLIT)
}

/// `_SUCCESS`: the SHA-256 of every output and every current features part.
fn success_file(outputs: &BTreeMap<String, Bytes>, state: &LogState) -> Bytes {
    let mut digests: BTreeMap<&str, String> =
        outputs.iter().map(|(file, bytes)| (file.as_str(), hex::encode(Sha256::digest(bytes)))).collect();
    for part in state.parts.values().filter(|part| part.file.starts_with(FEATURES_FOLDER)) {
        digests.insert(&part.file, part.sha256.clone());
    }
    to_json(&serde_json::json!({ "version": 1, "sha256": digests }))
}

fn label_counts(labels: &LabelIndex, label_indices: &[Option<u32>]) -> Vec<LabelCount> {
    let mut counts = vec![0_u64; labels.names().len()];
    for index in label_indices.iter().flatten() {
        counts[*index as usize] += 1;
    }
    labels
        .names()
        .iter()
        .zip(counts)
        .map(|(label, photos)| LabelCount { label: label.clone(), photos })
        .collect()
}

fn count_reasons(failures: &[FailureRecord]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for failure in failures {
        *counts.entry(failure.reason.clone()).or_default() += 1;
    }
    counts
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Bytes {
    let mut text = serde_json::to_vec_pretty(value).expect("the outputs hold nothing that JSON can't say");
    text.push(b'\n');
    Bytes::from(text)
}
