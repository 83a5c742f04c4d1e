//! What the fuzzer starts from and once stumbled over, through the same function without a fuzzer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../../fuzz/bodies/path_escape.rs"]
mod body;

use std::path::Path;

use fruitbatch_storage::path_escape;

#[test]
fn names_that_the_fuzzer_knows_come_back_from_their_texts() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/path_escape");
    for entry in std::fs::read_dir(seeds).unwrap() {
        body::check(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}
