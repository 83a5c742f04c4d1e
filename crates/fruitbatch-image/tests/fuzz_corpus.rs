//! What the fuzzer starts from and once stumbled over, through the same function without a fuzzer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
#[path = "../../../fuzz/bodies/decode.rs"]
mod decode;

use std::path::Path;

#[test]
fn files_that_the_fuzzer_knows_do_no_harm() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/decode");
    for entry in std::fs::read_dir(seeds).unwrap() {
        decode::check(&std::fs::read(entry.unwrap().path()).unwrap());
    }
    for bytes in common::fixture_files().into_values() {
        decode::check(&bytes);
    }
}
