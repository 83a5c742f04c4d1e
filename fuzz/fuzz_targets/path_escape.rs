#![no_main]

#[path = "../bodies/path_escape.rs"]
mod body;
/// The module itself and not its crate, which would bring all of the AWS SDK with it.
#[path = "../../crates/fruitbatch-storage/src/path_escape.rs"]
mod path_escape;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::check(bytes));
