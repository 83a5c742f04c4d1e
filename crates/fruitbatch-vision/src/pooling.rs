//! From a feature map to a feature vector: the end that a canonical model gets when it is loaded.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use fruitbatch_onnx::messages::{DimensionValue, Model};
use fruitbatch_onnx::{read_model, tensors};

use crate::graph::node;

/// The name of a canonical model's input, float32 `[N, 3, H, W]`.
pub const INPUT_TENSOR: &str = "input";
/// The name of a canonical model's output, float32 `[N, C, H', W']`.
pub const FEATURE_MAP_TENSOR: &str = "feature_map";
/// The name of a pooled model's output, float32 `[N, width]`.
const FEATURES_TENSOR: &str = "features";
/// What tensors made here are called; no canonical model has a name that begins so.
const INNER_PREFIX: &str = "fruitbatch/";

/// How a feature map `[C, H', W']` becomes a feature vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The maximum of each channel, as Keras's `GlobalMaxPooling2D`: width C.
    Max,
    /// The mean of each channel, as Keras's `GlobalAveragePooling2D`: width C.
    Avg,
    /// Everything, in the order row, column, channel, as Keras's `Flatten`: width H' * W' * C.
    Flatten,
}

/// Why a canonical model can't be given its end.
#[derive(Debug, thiserror::Error)]
pub enum PoolingError {
    /// The file isn't a model.
    #[error(transparent)]
    Read(#[from] fruitbatch_onnx::ReadModelError),
    /// It is a model but not a canonical one.
    #[error(
        "the model isn't a canonical one with an input `input` and an output `feature_map`; import it with \
         `fruitbatch model import`"
    )]
    NotCanonical,
}

impl fmt::Display for Pooling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Flatten => "flatten",
        })
    }
}

impl FromStr for Pooling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            "avg" => Ok(Self::Avg),
            "flatten" => Ok(Self::Flatten),
            _ => Err(format!("`{text}` is no pooling: expected `max`, `avg` or `flatten`")),
        }
    }
}

/// Whether a tensor of an imported model must be renamed, because the name is taken by the canonical form.
pub(crate) fn is_reserved_name(name: &str) -> bool {
    [INPUT_TENSOR, FEATURE_MAP_TENSOR, FEATURES_TENSOR].contains(&name) || name.starts_with(INNER_PREFIX)
}

/// The canonical model with pooling as its end: `input` `[N, 3, H, W]` to `features` `[N, width]`.
///
/// # Errors
/// `canonical` isn't a canonical model.
pub fn pooled_model(canonical: Bytes, pooling: Pooling) -> Result<Model, PoolingError> {
    let mut model = read_model(canonical)?;
    let graph = model.graph.as_mut().ok_or(PoolingError::NotCanonical)?;
    let ([input], [output]) = (graph.input.as_slice(), graph.output.as_slice()) else {
        return Err(PoolingError::NotCanonical);
    };
    if input.name != INPUT_TENSOR || output.name != FEATURE_MAP_TENSOR {
        return Err(PoolingError::NotCanonical);
    }
    let (operator, attributes) = match pooling {
        Pooling::Max => ("GlobalMaxPool", vec![]),
        Pooling::Avg => ("GlobalAveragePool", vec![]),
        Pooling::Flatten => ("Transpose", vec![tensors::ints_attribute("perm", &[0, 2, 3, 1])]),
    };
    let channels_as_columns = format!("{INNER_PREFIX}{operator}");
    let feature_map = vec![FEATURE_MAP_TENSOR.to_owned()];
    graph.node.push(node(operator, feature_map, &channels_as_columns, attributes));
    let flatten = vec![tensors::int_attribute("axis", 1)];
    graph.node.push(node("Flatten", vec![channels_as_columns], FEATURES_TENSOR, flatten));
    let free = |name: &str| DimensionValue::Symbol(name.to_owned());
    graph.output = vec![tensors::float_value(FEATURES_TENSOR, vec![free("N"), free("width")])];
    Ok(model)
}
