//! How a fit is run: nothing that its result depends on.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Threads, memory and the place for what doesn't fit into it. No result depends on any of them.
///
/// From a number of threads alone, all scores are held in memory:
///
/// ```
/// use std::num::NonZeroUsize;
///
/// use fruitbatch_learn::FitOptions;
///
/// let options = FitOptions::from(NonZeroUsize::MIN);
/// assert_eq!(options.memory_budget_bytes, u64::MAX);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitOptions {
    /// Threads to use.
    pub threads: NonZeroUsize,
    /// The most bytes that what grows with rows times components may take in memory: the scores (8 n k bytes), which beyond it
    /// lie in a scratch file, and a Gaussian mixture's work, which beyond it is refused. What grows with the rows alone isn't
    /// counted: see [`fit`](crate::fit()).
    pub memory_budget_bytes: u64,
    /// The folder that the scratch file is made in; the system's folder for such files if `None`. On a disk, not in memory as
    /// `/tmp` is on some systems.
    pub scratch_folder: Option<PathBuf>,
}

impl From<NonZeroUsize> for FitOptions {
    fn from(threads: NonZeroUsize) -> Self {
        Self { threads, memory_budget_bytes: u64::MAX, scratch_folder: None }
    }
}
