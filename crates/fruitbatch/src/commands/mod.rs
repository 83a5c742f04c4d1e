//! One module a command.

pub(crate) mod doctor;
pub(crate) mod fleet;
pub(crate) mod model;
pub(crate) mod run;
pub(crate) mod samples;
