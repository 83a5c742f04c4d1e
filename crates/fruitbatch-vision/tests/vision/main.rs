//! The tests of the crate from outside, in one program: linking the query engine takes longer than running them.

mod common;
mod embed_photos;
mod fetch_models;
mod import_models;
mod sql_functions;
mod vgg16_features;
