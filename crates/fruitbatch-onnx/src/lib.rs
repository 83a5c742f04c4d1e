//! ONNX files: their messages, read within bounds and written deterministically.
//!
//! The [`messages`] are those of ONNX's `onnx.proto` that a convolutional network needs, declared for
//! `prost`; what they leave out (training, sparse tensors, quantisation notes, documentation) is dropped when
//! a file is read. Encoding is deterministic: one value of [`messages::Model`] has one sequence of bytes, on
//! every machine.
//!
//! A file from outside goes through [`read_model`], which walks it once before anything is allocated and
//! refuses what would need unreasonable memory. [`tensors`] reads and builds constant tensors.
//!
//! ```
//! use fruitbatch_onnx::messages::{Graph, Model, Node};
//! use fruitbatch_onnx::{read_model, tensors, write_model};
//!
//! let model = Model {
//!     ir_version: 8,
//!     graph: Some(Graph {
//!         node: vec![Node {
//!             op_type: "Relu".into(),
//!             input: vec!["input".into()],
//!             output: vec!["output".into()],
//!             ..Node::default()
//!         }],
//!         initializer: vec![tensors::float_tensor("bias", &[2], &[0.5, -1.0])],
//!         ..Graph::default()
//!     }),
//!     ..Model::default()
//! };
//! let bytes = write_model(&model);
//! assert_eq!(read_model(bytes.clone()).unwrap(), model);
//! assert!(read_model(bytes.slice(..bytes.len() - 1)).is_err());
//! ```

pub mod messages;
pub mod tensors;
mod wire_limits;

use bytes::Bytes;
use prost::Message;

pub use wire_limits::{MAX_ITEMS, MAX_MESSAGE_BYTES, MAX_PACKED_BYTES, ReadModelError};

/// Reads a model. Tensors' raw data aren't copied: they are slices of `file`.
///
/// # Errors
/// `file` is no ONNX model, is damaged, or has more messages or packed numbers than any real network
/// ([`MAX_ITEMS`], [`MAX_MESSAGE_BYTES`], [`MAX_PACKED_BYTES`]), which would need many times the file's size in memory.
pub fn read_model(file: Bytes) -> Result<messages::Model, ReadModelError> {
    wire_limits::check(&file)?;
    let model = messages::Model::decode(file)?;
    if model.graph.is_none() {
        return Err(ReadModelError::NoGraph);
    }
    Ok(model)
}

/// The model's bytes: the same for equal models.
pub fn write_model(model: &messages::Model) -> Bytes {
    Bytes::from(model.encode_to_vec())
}
