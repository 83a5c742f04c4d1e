//! What the crate promises, tested from outside: by itself and against scikit-learn, Spark ML and linfa.

mod chain;
mod common;
mod linfa_algorithms;
mod model_files;
mod scikit_learn;
mod spark_ml;
