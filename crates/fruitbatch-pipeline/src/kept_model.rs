//! [`KeptModel`]: what an earlier run on OUT fitted, kept as it is while photos are added.

use std::collections::BTreeMap;

use bytes::Bytes;
use fruitbatch_learn::classifier::ClassifierReport;
use fruitbatch_learn::{FitReport, LearnModel};
use fruitbatch_storage::OutputStore;

use crate::classifier::CONFUSION_CSV;
use crate::commit_log::LogState;
use crate::error::RunError;
use crate::outputs::{METRICS, MODEL_FOLDER, Metrics};

/// A fitted model with its files, and what was said of it.
#[derive(Debug, Clone)]
pub(crate) struct KeptModel {
    pub(crate) model: LearnModel,
    /// All files below `model/`, and those about its classifier head, by their names in OUT.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// The labels that have an index.
    pub(crate) labels: Vec<String>,
    /// The figures of its fit.
    pub(crate) report: FitReport,
    /// The figures of its classifier head.
    pub(crate) classifier: Option<ClassifierReport>,
}

/// What there is of a model in OUT.
pub(crate) enum Found {
    /// A whole one.
    Whole(Box<KeptModel>),
    /// Parts of one, which is what a run leaves that was stopped while it wrote its model.
    Broken(String),
    /// No run has fitted one.
    None,
}

impl KeptModel {
    /// Reads the model that lies in OUT. Its files name each other's digests, so what is read is what one run has written, also if
    /// that run was stopped after it, or if one that keeps the model was.
    ///
    /// # Errors
    /// Storage errors.
    pub(crate) async fn find(store: &OutputStore, log: &LogState) -> Result<Found, RunError> {
        let folder = format!("{MODEL_FOLDER}/");
        let (mut files, mut named) = (BTreeMap::new(), Vec::new());
        for file in &log.outputs {
            let name = file.strip_prefix(&folder);
            if (name.is_some() || file == CONFUSION_CSV)
                && let Some(bytes) = store.get(file).await?
            {
                named.extend(name.map(|name| (name.to_owned(), bytes.to_vec())));
                files.insert(file.clone(), bytes);
            }
        }
        if named.is_empty() {
            return Ok(Found::None);
        }
        let model = match LearnModel::from_files(&named) {
            Ok(model) => model,
            Err(error) => return Ok(Found::Broken(error.to_string())),
        };
        let metrics = store.get(METRICS).await?;
        let metrics = metrics.and_then(|metrics| serde_json::from_slice::<Metrics>(&metrics).ok());
        let Some(Metrics { labels, learning: Some(report), classifier, .. }) = metrics else {
            return Ok(Found::Broken(format!("{METRICS} doesn't tell of it")));
        };
        let labels = labels.into_iter().map(|label| label.label).collect();
        Ok(Found::Whole(Box::new(Self { model, files, labels, report, classifier })))
    }
}
