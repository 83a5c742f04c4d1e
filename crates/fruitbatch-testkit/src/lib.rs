//! What tests of several crates share: an S3 server in process, small generated models
