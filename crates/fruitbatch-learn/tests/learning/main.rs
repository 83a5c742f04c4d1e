//! What the crate promises, tested from outside: by itself and against scikit-learn, Spark ML and linfa.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::float_cmp, reason = "results are promised to the bit")]

mod algorithms;
mod beyond_memory;
mod chain;
mod classifier;
mod common;
mod fuzz_corpus;
mod linfa_algorithms;
mod model_files;
mod scikit_learn;
mod spark_ml;
mod tsne;
