#![no_main]

#[path = "../bodies/onnx_model.rs"]
mod onnx_model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| onnx_model::check(bytes));
