//! An ONNX file from outside.

use bytes::Bytes;
use fruitbatch_onnx::messages::Model;
use fruitbatch_onnx::{read_model, tensors, write_model};

/// Any bytes are refused, or are a model whose bytes are a fixed point and whose tensors hold what they say.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(model) = read_model(Bytes::copy_from_slice(bytes)) else { return };
    let written = write_model(&model);
    let again = read_model(written.clone()).expect("what was written is a model");
    assert_eq!(write_model(&again), written);
    check_tensors(model);
}

fn check_tensors(model: Model) {
    let Some(graph) = model.graph else { return };
    for value in graph.input.iter().chain(&graph.output) {
        let _ = tensors::declared_dims(value);
    }
    let in_attributes =
        graph.node.into_iter().flat_map(|node| node.attribute).filter_map(|attribute| attribute.t);
    for tensor in graph.initializer.into_iter().chain(in_attributes) {
        let Ok(tensor) = tensors::with_raw_data(tensor) else { continue };
        let count = tensors::element_count(&tensor).expect("it was counted before");
        if let Ok(values) = tensors::float_values(&tensor) {
            assert_eq!(values.len() as u64, count);
        }
        if let Ok(values) = tensors::int64_values(&tensor) {
            assert_eq!(values.len() as u64, count);
        }
    }
}
