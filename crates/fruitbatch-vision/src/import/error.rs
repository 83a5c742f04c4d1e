//! Why a model can't be imported.

use fruitbatch_onnx::ReadModelError;
use fruitbatch_onnx::tensors::TensorError;

use crate::catalogue::CatalogueError;
use crate::inference::InferenceError;

/// Why a model can't be imported. Every message names the node or tensor, and what to do where something can
/// be done.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is no ONNX model, or a damaged one.
    #[error(transparent)]
    Read(#[from] ReadModelError),
    /// A weight can't be used: in another file, not float32, or damaged.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The name can't be a model's.
    #[error(transparent)]
    Name(#[from] CatalogueError),
    /// A node reads what nothing before it makes.
    #[error(
        "node `{node}` reads tensor `{tensor}`, which no input, weight or earlier node provides; the file \
         is damaged"
    )]
    UndefinedTensor {
        /// The node.
        node: String,
        /// The tensor.
        tensor: String,
    },
    /// Two nodes, weights or inputs provide one tensor.
    #[error("tensor `{tensor}` is provided twice; the file is damaged")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// Not one input.
    #[error("the network has {count} inputs ({names}); a model for photos has one")]
    Inputs {
        /// How many.
        count: usize,
        /// Their names.
        names: String,
    },
    /// The input can't be a photo.
    #[error(
        "input `{input}` has shape {shape}; photos need four dimensions, three channels among them, of \
         float32"
    )]
    InputShape {
        /// The input.
        input: String,
        /// Its shape, `?` for a free dimension.
        shape: String,
    },
    /// The file doesn't say where the channels are.
    #[error(
        "input `{input}` of shape {shape} may be NCHW or NHWC; say which with `--input-layout nchw` or `nhwc`"
    )]
    AmbiguousLayout {
        /// The input.
        input: String,
        /// Its shape, `?` for a free dimension.
        shape: String,
    },
    /// Loops and branches.
    #[error(
        "node `{node}` ({operator}) is control flow, which a feature extractor can't have; export the \
         model without it"
    )]
    ControlFlow {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
    },
    /// Operators that aren't ONNX's own.
    #[error(
        "node `{node}` uses `{operator}` of the domain `{domain}`; only ONNX's own operators can be imported"
    )]
    ForeignOperator {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// Its domain.
        domain: String,
    },
    /// A kernel, stride or padding beyond reason.
    #[error("node `{node}`: `{attribute}` is {value}, where convolutional networks have {expected}")]
    AttributeRange {
        /// The node.
        node: String,
        /// The attribute.
        attribute: String,
        /// Its value.
        value: i64,
        /// The range accepted.
        expected: String,
    },
    /// No tensor of the name given to cut at.
    #[error("no node makes a tensor called `{cut}`; the last feature maps are {candidates}")]
    NoSuchTensor {
        /// The name.
        cut: String,
        /// Tensors that would do.
        candidates: String,
    },
    /// Nothing looks like a feature map.
    #[error(
        "no feature map found: no convolution lies between the input and the output; name a tensor with \
         `--cut`"
    )]
    NoFeatureMap,
    /// The tensor to cut at isn't one.
    #[error(
        "tensor `{tensor}` has shape {shape:?}, and a feature map has four dimensions: batch, channels, \
         rows, columns; name another with `--cut`"
    )]
    NotAFeatureMap {
        /// The tensor.
        tensor: String,
        /// Its shape for one photo.
        shape: Vec<i64>,
    },
    /// ONNX Runtime is missing, or refuses the network that is left.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// It runs at no size.
    #[error(
        "the network runs on no square photo up to {largest} pixels a side; the last error was: {reason}"
    )]
    NoWorkingSize {
        /// The largest side tried.
        largest: u32,
        /// What ONNX Runtime says.
        reason: String,
    },
    /// Another batch or photo size doesn't run.
    #[error(
        "the network is bound to one batch or photo size: {photos} photos of {height}x{width} give \
         {outcome}; cut further in front with `--cut`, or export it with free dimensions"
    )]
    BoundSize {
        /// Photos in the batch.
        photos: usize,
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// What came of it.
        outcome: String,
    },
}
