//! The tests of the crate from outside, in one program: linking the query engine takes longer than running them.

#![allow(
    clippy::unwrap_used,
    clippy::default_trait_access,
    reason = "a test may fail; names of nested types tell nothing here"
)]

mod common;
mod embed_photos;
mod fetch_models;
mod import_models;
mod quantize_models;
mod sql_functions;
mod vgg16_features;
