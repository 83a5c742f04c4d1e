//! What the tests of several crates share; no crate depends on it outside its tests.
//!
//! * [`browser`]: what a page becomes in a real browser.
//! * [`certificates`]: an authority for the length of a test.
//! * [`dynamodb_server`]: a server that speaks DynamoDB's protocol.
//! * [`ec2_metadata`]: EC2's metadata service, which announces what a test has it announce.
//! * [`faults`]: what networks and servers do to a request, on demand and by chance.
//! * [`hostile_files`]: bad image files by the ten thousand, the same ones for the same seed.
//! * [`hosts`]: hosts with addresses of their own, whose cables can be pulled.
//! * [`postgres_server`]: the system's PostgreSQL server with a database of its own.
//! * [`s3_server`]: an S3 server in this process, on a port of 127.0.0.1, with signatures checked, pages, conditional
//!   requests and faults on demand.
//! * [`tiny_models`]: small generated ONNX models, so that a test of the whole way from a photo to its features runs in
//!   milliseconds.
//! * [`trace_collector`]: what traces are sent to.

mod background;
pub mod browser;
pub mod certificates;
pub mod dynamodb_server;
pub mod ec2_metadata;
pub mod faults;
pub mod hostile_files;
pub mod hosts;
pub mod postgres_server;
pub mod s3_server;
pub mod tiny_models;
pub mod trace_collector;
