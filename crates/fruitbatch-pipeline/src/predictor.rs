//! [`Predictor`]: a fitted model as it lies in `model/`, ready for new photos.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use fruitbatch_learn::classifier::{self, CLASSIFIER_FILE, ClassifierHead};
use fruitbatch_learn::model::{MANIFEST_FILE, array_file_names};
use fruitbatch_learn::neighbours::{Neighbour, nearest_rows, vote};
use fruitbatch_learn::{Fitted, LearnError, LearnModel, RowBlocks};
use fruitbatch_storage::{Location, Storage};
use fruitbatch_vision::EmbedSpec;
use ndarray::Array2;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use crate::commit_log::OWN_FOLDER;
use crate::config::{PredictConfig, PredictionFormat, RunConfig};
use crate::error::RunError;
use crate::features::{FeatureRow, feature_matrix};
use crate::finish::is_fitted_on;
use crate::outputs::{MODEL_FOLDER, SUCCESS};
use crate::tables::{column, encode_parquet, table};

/// The photos that vote for the label of a new one, in a model folder: `path, label_index, point`.
pub(crate) const NEIGHBOURS: &str = "neighbours.parquet";
/// Photos that are kept to vote: with 10 components less than 2 MB.
const MAX_NEIGHBOUR_ROWS: usize = 20_000;
/// The key of its SHA-256 in the model's lineage.
const NEIGHBOURS_DIGEST: &str = "neighbours_sha256";
/// The key of the feature spec in the model's lineage.
pub(crate) const EMBEDDING: &str = "embedding";

/// Photos that the model was fitted on, in the space of the clusters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Neighbours {
    paths: Vec<String>,
    labels: Vec<Option<u32>>,
    /// n x k.
    points: Array2<f64>,
}

impl Neighbours {
    /// Of the rows fitted on [`MAX_NEIGHBOUR_ROWS`] at most, evenly over their order.
    pub(crate) fn of(
        rows: &[FeatureRow],
        labels: &[Option<u32>],
        splits: Option<&[Option<&'static str>]>,
        fitted: &Fitted,
    ) -> Result<Self, LearnError> {
        let fitted_on: Vec<usize> =
            (0..rows.len()).filter(|&row| splits.is_none_or(|splits| is_fitted_on(splits[row]))).collect();
        let step = fitted_on.len().div_ceil(MAX_NEIGHBOUR_ROWS).max(1);
        let chosen: Vec<usize> = fitted_on.into_iter().step_by(step).collect();
        Ok(Self {
            paths: chosen.iter().map(|&row| rows[row].path.clone()).collect(),
            labels: chosen.iter().map(|&row| labels[row]).collect(),
            points: fitted.points().select(&chosen)?,
        })
    }

    /// As a file, and what the model's lineage says of it.
    pub(crate) fn to_file(&self) -> (Bytes, (String, serde_json::Value)) {
        let width = i32::try_from(self.points.ncols()).expect("components are counted in 32 bits");
        let item = Arc::new(Field::new_list_field(DataType::Float64, false));
        let values = Float64Array::from_iter_values(self.points.iter().copied());
        let columns: [(&str, bool, ArrayRef); 3] = [
            ("path", false, Arc::new(StringArray::from_iter_values(&self.paths))),
            (
                "label_index",
                true,
                Arc::new(self.labels.iter().map(|label| label.map(u32::cast_signed)).collect::<Int32Array>()),
            ),
            ("point", false, Arc::new(FixedSizeListArray::new(item, width, Arc::new(values), None))),
        ];
        let bytes = encode_parquet(&table(columns));
        let digest = hex::encode(Sha256::digest(&bytes));
        (bytes, (NEIGHBOURS_DIGEST.to_owned(), digest.into()))
    }

    fn from_file(bytes: Bytes) -> Option<Self> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).ok()?.build().ok()?;
        let (mut paths, mut labels, mut values, mut width) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for batch in reader {
            let batch = batch.ok()?;
            let path: &StringArray = column(&batch, "path")?;
            let label: &Int32Array = column(&batch, "label_index")?;
            let point: &FixedSizeListArray = column(&batch, "point")?;
            width = usize::try_from(point.value_length()).ok()?;
            paths.extend(path.iter().flatten().map(str::to_owned));
            labels.extend(label.iter().map(|label| label.map(i32::cast_unsigned)));
            values.extend_from_slice(point.values().as_any().downcast_ref::<Float64Array>()?.values());
        }
        let points = Array2::from_shape_vec((paths.len(), width), values).ok()?;
        Some(Self { paths, labels, points })
    }
}

/// A fitted model, the photos that vote, and what makes features of new ones.
#[derive(Debug, Clone)]
pub struct Predictor {
    model: LearnModel,
    /// The classifier head, if one was trained.
    head: Option<ClassifierHead>,
    neighbours: Neighbours,
    n_neighbors: usize,
    /// What predictions are written as.
    pub(crate) format: PredictionFormat,
    /// How features were made when it was fitted, and are made of new photos.
    pub(crate) embedding: EmbedSpec,
}

impl Predictor {
    /// Reads a model folder, such as `out/model` or `s3://bucket/clusters/model`.
    ///
    /// # Errors
    /// [`RunError::NoModel`] if there is none or the run beside it isn't complete, [`RunError::Model`] if files are missing or aren't what
    /// was written; storage errors.
    pub(crate) async fn open(predict: &PredictConfig, access: &RunConfig) -> Result<Self, RunError> {
        let folder = predict.model_dir.as_str();
        let place = RunConfig { output: Some(folder.to_owned()), ..access.clone() }.output_location()?;
        let storage = Storage::new(access.storage_options()?);
        let store = storage.output(&place).await?;
        let no_model =
            |detail: &str| RunError::NoModel { folder: folder.to_owned(), detail: detail.to_owned() };
        let read = async |file: &str| -> Result<Option<Bytes>, RunError> { Ok(store.get(file).await?) };
        let manifest =
            read(MANIFEST_FILE).await?.ok_or_else(|| no_model("there is no manifest.json in it"))?;
        if is_being_written(&storage, &place).await? {
            return Err(no_model("the run that it belongs to is not complete"));
        }
        let mut files = vec![(MANIFEST_FILE.to_owned(), manifest.to_vec())];
        for file in array_file_names(&manifest)? {
            if let Some(bytes) = read(&file).await? {
                files.push((file, bytes.to_vec()));
            }
        }
        let model = LearnModel::from_files(&files)?;
        let head = match read(CLASSIFIER_FILE).await? {
            None => None,
            Some(manifest) => {
                let mut files = vec![(CLASSIFIER_FILE.to_owned(), manifest.to_vec())];
                for file in classifier::array_file_names(&manifest)? {
                    if let Some(bytes) = read(&file).await? {
                        files.push((file, bytes.to_vec()));
                    }
                }
                Some(ClassifierHead::from_files(&files)?)
            }
        };
        let lineage = |key: &str| model.lineage().get(key).and_then(serde_json::Value::as_str);
        let embedding = lineage(EMBEDDING)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| no_model("its manifest doesn't say how features are made"))?;
        let bytes = read(NEIGHBOURS).await?.ok_or_else(|| no_model("`neighbours.parquet` is missing"))?;
        let is_what_was_written =
            lineage(NEIGHBOURS_DIGEST) == Some(hex::encode(Sha256::digest(&bytes)).as_str());
        let neighbours = Neighbours::from_file(bytes)
            .filter(|_| is_what_was_written)
            .ok_or_else(|| no_model("`neighbours.parquet` isn't what was written with it"))?;
        Ok(Self {
            model,
            head,
            neighbours,
            n_neighbors: predict.n_neighbors,
            format: predict.format,
            embedding,
        })
    }

    /// What the model says of photos, as a table with a row each in their order:
    ///
    /// | column | type | what |
    /// |---|---|---|
    /// | `path` | text | the photo |
    /// | `cluster` | 32 bits | its cluster |
    /// | `distance` | 64-bit float | the Euclidean distance from the cluster's centre, in the space of the clusters |
    /// | `membership` | 64-bit float | how much it belongs there, 0 to 1, null where clusters are made by density: see [`LearnModel::memberships`] |
    /// | `nearest_label` | text, null without labels | what most of the nearest photos of the training have for a label |
    /// | `nearest_label_share` | 64-bit float | the part of them that have it |
    /// | `nearest_path` | text | the nearest of them |
    /// | `nearest_distance` | 64-bit float | how far it is, in the same space |
    /// | `label` | text | the most probable label, only where a classifier head was trained |
    /// | `probability` | 64-bit float | how probable it is, only then |
    ///
    /// # Errors
    /// Features that aren't finite, or of another width than the model's.
    pub(crate) fn predict(
        &self,
        rows: &[FeatureRow],
        threads: NonZeroUsize,
    ) -> Result<RecordBatch, RunError> {
        let features = feature_matrix(rows, self.embedding.width as usize);
        let predictions = self.model.predict_rows(features.view(), threads)?;
        let points = self.model.clustering_points(&predictions.projected);
        let memberships = self.model.memberships(points.view(), &predictions.clusters)?;
        let nearest = nearest_rows(&self.neighbours.points, points.view(), self.n_neighbors)?;
        let votes: Vec<_> =
            nearest.iter().map(|neighbours| vote(neighbours, &self.neighbours.labels)).collect();
        let name = |label: u32| self.model.label_names().get(label as usize).map(String::as_str);
        let first = |neighbours: &Vec<Neighbour>| neighbours.first().copied();
        let mut columns: Vec<(&str, bool, ArrayRef)> = vec![
            ("path", false, Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.path)))),
            ("cluster", false, Arc::new(Int32Array::from(predictions.clusters))),
            ("distance", false, Arc::new(Float64Array::from(predictions.distances))),
            ("membership", true, Arc::new(Float64Array::from(memberships))),
            (
                "nearest_label",
                true,
                Arc::new(
                    votes.iter().map(|vote| vote.and_then(|vote| name(vote.label))).collect::<StringArray>(),
                ),
            ),
            (
                "nearest_label_share",
                true,
                Arc::new(votes.iter().map(|vote| vote.map(|vote| vote.share)).collect::<Float64Array>()),
            ),
            (
                "nearest_path",
                true,
                Arc::new(
                    nearest
                        .iter()
                        .map(|found| first(found).map(|one| self.neighbours.paths[one.row].as_str()))
                        .collect::<StringArray>(),
                ),
            ),
            (
                "nearest_distance",
                true,
                Arc::new(
                    nearest
                        .iter()
                        .map(|found| first(found).map(|one| one.distance))
                        .collect::<Float64Array>(),
                ),
            ),
        ];
        if let Some(head) = &self.head {
            let told = head.predict_rows(features.view(), threads)?;
            let name = |label: &u32| head.label_names().get(*label as usize).map(String::as_str);
            let labels: StringArray = told.labels.iter().map(name).collect();
            columns.push(("label", true, Arc::new(labels)));
            columns.push(("probability", false, Arc::new(Float64Array::from(told.probabilities))));
        }
        Ok(table(columns))
    }
}

impl PredictionFormat {
    /// The name of the predictions' file in OUT.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Csv => "predictions.csv",
            Self::Jsonl => "predictions.jsonl",
            Self::Parquet => "predictions.parquet",
        }
    }

    /// The predictions as a file.
    pub(crate) fn encode(self, predictions: &RecordBatch) -> (&'static str, Bytes) {
        let mut bytes = Vec::new();
        match self {
            Self::Csv => arrow::csv::Writer::new(&mut bytes)
                .write(predictions)
                .expect("plain columns, written to memory"),
            Self::Jsonl => arrow::json::LineDelimitedWriter::new(&mut bytes)
                .write(predictions)
                .expect("plain columns, written to memory"),
            Self::Parquet => return (self.file_name(), encode_parquet(predictions)),
        }
        (self.file_name(), Bytes::from(bytes))
    }
}

/// Whether the folder is the `model/` of an OUT whose `_SUCCESS` isn't there. A model folder that was copied elsewhere is as good as
/// its own digests.
async fn is_being_written(storage: &Storage, folder: &Location) -> Result<bool, RunError> {
    let text = folder.to_string();
    let Some(output) = text.trim_end_matches('/').strip_suffix(MODEL_FOLDER) else { return Ok(false) };
    let Ok(output) = output.parse() else { return Ok(false) };
    let store = storage.output(&output).await?;
    Ok(!store.list(OWN_FOLDER).await?.is_empty() && !store.exists(SUCCESS).await?)
}
