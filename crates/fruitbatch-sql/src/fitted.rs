//! What a run's fitted model says of features: `cluster_of`, `distance_of` and `nearest_label_of`.
//!
//! A query names OUT; a plan holds the model itself, as a binary literal in the place of OUT's name. So executors need no
//! way to OUT, and a query sees one model throughout, whatever happens to OUT meanwhile.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use fruitbatch_learn::model::MANIFEST_FILE;
use fruitbatch_learn::{LearnModel, ModelError, Predictions};
use linfa::Float;
use ndarray::ArrayView2;
use prost::Message;

use crate::vectors::{Vector, VectorArgument, Vectors, vector_type};

/// The most bytes of a model's files that travel in a plan: some 4,000 components of 512 features, or 80 of 25,088.
pub(crate) const LARGEST_MODEL: usize = 16 << 20;
/// Models that are kept ready for the next batch.
const MODELS_READY: usize = 4;

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// The number of the cluster.
    Cluster,
    /// The distance to its centre, in the space that KMeans works in.
    Distance,
    /// The label whose mean is nearest in that space.
    NearestLabel,
}

impl Question {
    pub(crate) const ALL: [Self; 3] = [Self::Cluster, Self::Distance, Self::NearestLabel];

    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Cluster => "cluster_of",
            Self::Distance => "distance_of",
            Self::NearestLabel => "nearest_label_of",
        }
    }

    /// What the function of this name asks, if it is one of these.
    pub(crate) fn of_function(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|question| question.function() == name)
    }
}

/// One of the functions. Null where the features are.
#[derive(Debug)]
pub(crate) struct FittedFunction {
    question: Question,
    models: Arc<ReadyModels>,
    signature: Signature,
}

impl FittedFunction {
    pub(crate) fn new(question: Question, models: Arc<ReadyModels>) -> Self {
        Self { question, models, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn answer(&self, model: &LearnModel, features: &Vectors<'_>, rows: usize) -> Result<ArrayRef> {
        let (asked, said) = if features.are_single() {
            predict(model, features, rows, |vector| match vector {
                Vector::Single(values) => values,
                Vector::Double(_) => &[],
            })
        } else {
            predict(model, features, rows, |vector| match vector {
                Vector::Double(values) => values,
                Vector::Single(_) => &[],
            })
        }?;
        // Of each row its place among those that were asked about.
        let mut next = 0;
        let places = asked.iter().map(|asked| {
            asked.then(|| {
                next += 1;
                next - 1
            })
        });
        Ok(match self.question {
            Question::Cluster => {
                let clusters = places.map(|place| place.map(|place: usize| said.clusters[place]));
                Arc::new(clusters.collect::<Int32Array>())
            }
            Question::Distance => {
                let distances = places.map(|place| place.map(|place: usize| said.distances[place]));
                Arc::new(distances.collect::<Float64Array>())
            }
            Question::NearestLabel => {
                let names = model.label_names();
                let Some(labels) = said.nearest_labels.filter(|_| !names.is_empty()) else {
                    return exec_err!("`{}`: that run had no labels", self.question.function());
                };
                let label = |place: usize| names.get(labels[place] as usize).map(String::as_str);
                let labels = places.map(|place| place.and_then(label));
                Arc::new(labels.collect::<StringArray>())
            }
        })
    }
}

impl PartialEq for FittedFunction {
    fn eq(&self, other: &Self) -> bool {
        self.question == other.question
    }
}

impl Eq for FittedFunction {}

impl Hash for FittedFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question.hash(state);
    }
}

impl ScalarUDFImpl for FittedFunction {
    fn name(&self) -> &'static str {
        self.question.function()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [features, model] = arguments else {
            return plan_err!(
                "`{}` takes features and an OUT, not {} arguments",
                self.name(),
                arguments.len()
            );
        };
        if let Some(features) = vector_type(features) {
            Ok(vec![features, model.clone()])
        } else {
            plan_err!("`{}` takes features, which are lists of numbers, not {features}", self.name())
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.question {
            Question::Cluster => DataType::Int32,
            Question::Distance => DataType::Float64,
            Question::NearestLabel => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [features, ColumnarValue::Scalar(ScalarValue::Binary(Some(model)))] = args.args.as_slice() else {
            return exec_err!(
                "`{}` is asked by way of `fruitbatch sql`, which puts the model where OUT stands",
                self.name()
            );
        };
        let model = self.models.get(model)?;
        let features = VectorArgument::of(features)?;
        Ok(ColumnarValue::Array(self.answer(&model, &features.vectors()?, args.number_rows)?))
    }
}

/// Which rows have features, and what the model says of these.
fn predict<'a, F: Float>(
    model: &LearnModel,
    features: &Vectors<'a>,
    rows: usize,
    values: impl Fn(Vector<'a>) -> &'a [F],
) -> Result<(Vec<bool>, Predictions)> {
    let width = model.width();
    let mut asked = Vec::with_capacity(rows);
    let mut flat: Vec<F> = Vec::with_capacity(rows * width);
    for row in 0..rows {
        let vector = features.get(row);
        asked.push(vector.is_some());
        if let Some(vector) = vector {
            if vector.len() != width {
                return exec_err!(
                    "features of width {} were given to a model of width {width}",
                    vector.len()
                );
            }
            flat.extend_from_slice(values(vector));
        }
    }
    let count = asked.iter().filter(|asked| **asked).count();
    let matrix = ArrayView2::from_shape((count, width), &flat)
        .map_err(|error| DataFusionError::Internal(error.to_string()))?;
    // A task has one thread.
    let said = model
        .predict_rows(matrix, std::num::NonZeroUsize::MIN)
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok((asked, said))
}

/// The models of the queries that were answered last: each batch of a query brings its model along.
#[derive(Debug, Default)]
pub(crate) struct ReadyModels {
    /// The one used last at the end.
    models: Mutex<Vec<(Vec<u8>, Arc<LearnModel>)>>,
}

impl ReadyModels {
    fn get(&self, bytes: &[u8]) -> Result<Arc<LearnModel>> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = models.iter().position(|(known, _)| known == bytes);
        let (bytes, model) = if let Some(place) = ready {
            models.remove(place)
        } else {
            let model = unpack(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
            (bytes.to_vec(), Arc::new(model))
        };
        models.push((bytes, Arc::clone(&model)));
        if models.len() > MODELS_READY {
            models.remove(0);
        }
        Ok(model)
    }
}

/// A model's files as one text of bytes.
pub(crate) fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files = files.iter().cloned().map(|(name, content)| FileMessage { name, content });
    ModelMessage { files: files.collect() }.encode_to_vec()
}

fn unpack(bytes: &[u8]) -> Result<LearnModel, ModelError> {
    let message = ModelMessage::decode(bytes).map_err(|error| ModelError::Manifest {
        file: MANIFEST_FILE,
        reason: format!("it was not packed by this program: {error}"),
    })?;
    let files: Vec<(String, Vec<u8>)> =
        message.files.into_iter().map(|file| (file.name, file.content)).collect();
    LearnModel::from_files(&files)
}

#[derive(Clone, PartialEq, Message)]
struct ModelMessage {
    #[prost(message, repeated, tag = "1")]
    files: Vec<FileMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct FileMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}
