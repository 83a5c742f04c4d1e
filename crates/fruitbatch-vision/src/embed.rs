//! The SQL functions `embed` and `embed_or_failure`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, StringBuilder, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use crate::catalogue::Catalogue;
use crate::embed_spec::EmbedSpec;
use crate::model_files::ModelFileError;
use crate::sessions::{EmbedError, EmbeddedPhotos, ModelSessions, PhotoOutcome};

/// The functions, ready to be registered: the same on a client, a scheduler and an executor. Only where they
/// are invoked is a model's file needed.
///
/// * `embed(content, model)` gives a `FixedSizeList<Float32, width>`, null where the photo can't be used.
/// * `embed_or_failure(content, model)` gives a struct of `features`, the same, `reason` and `detail`, both
///   texts, null where there are features, and `kernel_path` (see [`ModelSessions::kernel_path`]), null where there are none; all four are null
///   where `content` is.
///
/// `model` is a literal: the canonical text of an [`EmbedSpec`], or a bare name, which is replaced by the
/// text of its defaults when the query is optimised. Both take a third argument, also a literal: the place where
/// the model's file can be had, which is handed to [`ModelFiles::take_note`](crate::ModelFiles::take_note).
#[expect(clippy::needless_pass_by_value, reason = "the functions share the ownership that is handed over")]
pub fn embed_functions(models: Arc<ModelSessions>) -> Vec<Arc<ScalarUDF>> {
    [Answer::Features, Answer::FeaturesOrFailure]
        .map(|answer| Arc::new(ScalarUDF::new_from_impl(EmbedFunction::new(answer, Arc::clone(&models)))))
        .to_vec()
}

/// The type of feature vectors of this width: `FixedSizeList<Float32, width>`, with the field name and
/// nullability that Arrow's readers and writers take by default.
pub fn features_type(width: u32) -> DataType {
    DataType::FixedSizeList(features_item(), list_size(width))
}

/// The fields of what `embed_or_failure` gives.
pub fn embed_or_failure_fields(width: u32) -> Fields {
    Fields::from(vec![
        Field::new("features", features_type(width), true),
        Field::new("reason", DataType::Utf8, true),
        Field::new("detail", DataType::Utf8, true),
        Field::new("kernel_path", DataType::Utf8, true),
    ])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Features,
    FeaturesOrFailure,
}

#[derive(Clone, Debug)]
struct EmbedFunction {
    answer: Answer,
    models: Arc<ModelSessions>,
    signature: Signature,
}

impl EmbedFunction {
    fn new(answer: Answer, models: Arc<ModelSessions>) -> Self {
        let content_types = [DataType::Binary, DataType::LargeBinary, DataType::BinaryView];
        let signatures = content_types
            .into_iter()
            .flat_map(|content| {
                let model = vec![content, DataType::Utf8];
                let model_and_place = [model.clone(), vec![DataType::Utf8]].concat();
                [TypeSignature::Exact(model), TypeSignature::Exact(model_and_place)]
            })
            .collect();
        Self { answer, models, signature: Signature::one_of(signatures, Volatility::Immutable) }
    }
}

impl PartialEq for EmbedFunction {
    fn eq(&self, other: &Self) -> bool {
        self.answer == other.answer && Arc::ptr_eq(&self.models, &other.models)
    }
}

impl Eq for EmbedFunction {}

impl Hash for EmbedFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.answer.hash(state);
    }
}

impl ScalarUDFImpl for EmbedFunction {
    fn name(&self) -> &'static str {
        match self.answer {
            Answer::Features => "embed",
            Answer::FeaturesOrFailure => "embed_or_failure",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("`{}`'s type follows from its second argument's value", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(literal) = args.scalar_arguments.get(1).copied().flatten() else {
            return plan_err!(
                "the second argument of `{}` must be a literal: a model's name or a feature spec",
                self.name()
            );
        };
        let spec = spec_of_literal(self.models.catalogue(), literal)?;
        Ok(match self.answer {
            Answer::Features => Field::new(self.name(), features_type(spec.width), true),
            Answer::FeaturesOrFailure => {
                Field::new(self.name(), DataType::Struct(embed_or_failure_fields(spec.width)), false)
            }
        }
        .into())
    }

    /// Replaces a bare name by the canonical text, so that nothing behind the optimiser depends on a
    /// catalogue.
    fn simplify(&self, mut args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(Expr::Literal(literal, _)) = args.get(1) else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let canonical =
            ScalarValue::Utf8(Some(spec_of_literal(self.models.catalogue(), literal)?.to_string()));
        if *literal == canonical {
            return Ok(ExprSimplifyResult::Original(args));
        }
        args[1] = Expr::Literal(canonical, None);
        let function = Arc::new(ScalarUDF::new_from_impl(self.clone()));
        Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (content, literal, place) = match args.args.as_slice() {
            [content, ColumnarValue::Scalar(literal)] => (content, literal, None),
            [content, ColumnarValue::Scalar(literal), ColumnarValue::Scalar(place)] => {
                (content, literal, place.try_as_str().flatten())
            }
            _ => return exec_err!("`{}` takes photos and literals", self.name()),
        };
        let spec = spec_of_literal(self.models.catalogue(), literal)?;
        if let Some(place) = place {
            self.models.take_note(&spec, place);
        }
        let content = content.to_array(args.number_rows)?;
        let photos = photo_files(&content)?;
        let embedded = self.models.embed_photos(&spec, photos).map_err(job_failure)?;
        let array: ArrayRef = match self.answer {
            Answer::Features => Arc::new(features_array(embedded.features, &embedded.outcomes, spec.width)?),
            Answer::FeaturesOrFailure => {
                let kernel_path = self.models.kernel_path(&spec).map_err(job_failure)?;
                Arc::new(features_or_failures(embedded, spec.width, &kernel_path)?)
            }
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// That a model's file can't be read may pass, as any fault of network or storage: only an I/O error makes the engine try
/// the task again.
fn job_failure(error: EmbedError) -> DataFusionError {
    match error {
        EmbedError::ModelFile(ModelFileError::Unreadable { .. }) => {
            DataFusionError::IoError(std::io::Error::other(error))
        }
        error => DataFusionError::External(Box::new(error)),
    }
}

fn spec_of_literal(catalogue: &Catalogue, literal: &ScalarValue) -> Result<EmbedSpec> {
    if let Some(Some(text)) = literal.try_as_str() {
        EmbedSpec::from_literal(catalogue, text).map_err(|error| DataFusionError::Plan(error.to_string()))
    } else {
        plan_err!("a model is given as a text: its name or a feature spec")
    }
}

fn photo_files(content: &ArrayRef) -> Result<Vec<Option<&[u8]>>> {
    match content.data_type() {
        DataType::Binary => Ok(content.as_binary::<i32>().iter().collect()),
        DataType::LargeBinary => Ok(content.as_binary::<i64>().iter().collect()),
        DataType::BinaryView => Ok(content.as_binary_view().iter().collect()),
        other => exec_err!("photos are binary, not {other}"),
    }
}

fn features_array(features: Vec<f32>, outcomes: &[PhotoOutcome], width: u32) -> Result<FixedSizeListArray> {
    let has_features: NullBuffer =
        outcomes.iter().map(|outcome| *outcome == PhotoOutcome::Embedded).collect();
    let values = Arc::new(Float32Array::from(features));
    Ok(FixedSizeListArray::try_new(features_item(), list_size(width), values, Some(has_features))?)
}

fn features_or_failures(embedded: EmbeddedPhotos, width: u32, kernel_path: &str) -> Result<StructArray> {
    let mut reasons = StringBuilder::new();
    let mut details = StringBuilder::new();
    let mut paths = StringBuilder::new();
    for outcome in &embedded.outcomes {
        let failure = match outcome {
            PhotoOutcome::Failed(failure) => Some(failure),
            PhotoOutcome::Absent | PhotoOutcome::Embedded => None,
        };
        reasons.append_option(failure.map(|failure| failure.reason));
        details.append_option(failure.map(|failure| failure.detail.as_str()));
        paths.append_option((*outcome == PhotoOutcome::Embedded).then_some(kernel_path));
    }
    let features = features_array(embedded.features, &embedded.outcomes, width)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(features),
        Arc::new(reasons.finish()),
        Arc::new(details.finish()),
        Arc::new(paths.finish()),
    ];
    Ok(StructArray::try_new(embed_or_failure_fields(width), columns, None)?)
}

fn features_item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float32, true))
}

/// A spec's width is at most 2^30, so that it always fits.
fn list_size(width: u32) -> i32 {
    i32::try_from(width).unwrap_or(i32::MAX)
}
