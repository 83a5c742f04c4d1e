#![no_main]

#[path = "../bodies/learn_model.rs"]
mod learn_model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| learn_model::check(bytes));
