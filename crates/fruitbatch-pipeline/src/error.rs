//! What can end a run.

use fruitbatch_cluster::ClusterError;
use fruitbatch_learn::{LearnError, ModelError};
use fruitbatch_report::ReportError;
use fruitbatch_storage::{LocationError, StorageError};
use fruitbatch_vision::{EmbedError, EmbedSpecError};

/// Why a run ended without its results. Every text says what happened and what to do next; whatever was committed
/// stays, and the same command goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration can't be run as it is.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A folder or prefix can't be listed, read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The model isn't known, or can't be used as asked.
    #[error(transparent)]
    EmbedSpec(#[from] EmbedSpecError),
    /// The model can't be loaded or run.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The engine failed a job.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The features can't be learned from.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// The report can't be drawn.
    #[error("the report can't be drawn: {0}; `--report=false` does without")]
    Report(#[from] ReportError),
    /// A fitted model can't be read.
    #[error("the model can't be used: {0}")]
    Model(#[from] ModelError),
    /// There is no fitted model that could be used.
    #[error(
        "`{folder}` holds no model that can be used: {detail}; `fruitbatch run` writes one into the folder model/ of its output"
    )]
    NoModel {
        /// The folder in question.
        folder: String,
        /// Why not.
        detail: String,
    },
    /// Nothing to do: no photo was listed.
    #[error("no photos were found under `{input}`{hint}")]
    NoPhotos {
        /// The INPUT that was listed.
        input: String,
        /// What may be the reason.
        hint: String,
    },
    /// No run was ever started on OUT.
    #[error("no run was started on `{output}`: name the output of a `fruitbatch run`")]
    NoRun {
        /// The OUT in question.
        output: String,
    },
    /// OUT holds features of another kind.
    #[error(
        "`{output}` holds a run with other features, and features of two kinds can't be mixed:\n{difference}\nuse \
         another --output, or --overwrite to delete that run and start over"
    )]
    OtherFeatures {
        /// The OUT in question.
        output: String,
        /// One line a difference.
        difference: String,
    },
    /// OUT holds files that no run of ours has written.
    #[error(
        "`{output}` already holds `{file}`, which no run of fruitbatch wrote there: choose an empty --output, or move that \
         file away"
    )]
    ForeignOutput {
        /// The OUT in question.
        output: String,
        /// The file in the way.
        file: String,
    },
    /// There is nothing on OUT to learn from.
    #[error(
        "no run on `{output}` has got as far as features: `fruitbatch run` or `fruitbatch extract` makes them"
    )]
    NothingExtracted {
        /// The OUT in question.
        output: String,
    },
    /// `_SUCCESS` isn't there.
    #[error(
        "`{output}` is not complete: there is no `_SUCCESS`, so no run has come to its end there, or one is at work; `fruitbatch status \
         {output}` tells"
    )]
    Incomplete {
        /// The OUT in question.
        output: String,
    },
    /// A file of a complete OUT isn't what its run wrote.
    #[error(
        "`{file}` is not what its run wrote, by the digest in `_SUCCESS`: run the same command again to have it written anew"
    )]
    OutputChanged {
        /// The file in question.
        file: String,
    },
    /// Another driver is at work on OUT.
    #[error(
        "a run on {host} has been writing to `{output}` since {at} and is still at it: wait for it or stop it, or use another \
         --output"
    )]
    Occupied {
        /// The OUT in question.
        output: String,
        /// The host of the other driver.
        host: String,
        /// Since when.
        at: String,
    },
    /// Another driver has taken OUT over.
    #[error("this output was taken over {by}: this one stops, nothing that was committed is lost")]
    Superseded {
        /// By whom, in words.
        by: String,
    },
    /// An output changes while it is written, although nobody else holds OUT.
    #[error("`{file}` keeps being overwritten by something else: stop that, then run the same command again")]
    OutputContested {
        /// The output in question.
        file: String,
    },
    /// The commit log can't be read.
    #[error("the commit log can't be read: `{file}`: {detail}; use another --output, or restore that file")]
    CorruptLog {
        /// The entry in question.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A features part can't be read back as it was written.
    #[error("the features part `{file}` can't be read: {detail}; --overwrite computes it again")]
    CorruptPart {
        /// The part in question.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The engine answered with other photos than it was asked for.
    #[error(
        "the engine returned {returned} rows for a chunk of {asked} photos ({detail}); nothing of the chunk was committed"
    )]
    RowsLost {
        /// How many photos the chunk held.
        asked: usize,
        /// How many rows came back.
        returned: usize,
        /// The first photo that is missing, doubled or unknown.
        detail: String,
    },
    /// `--require-uniform-cpu`: features of one OUT would be made by different kernels.
    #[error(
        "features by different kernels ({paths}) would be mixed, and --require-uniform-cpu refuses that: use executors with the same kind \
         of processor, or leave the flag out; what is committed stays"
    )]
    MixedKernels {
        /// The kernels, with commas.
        paths: String,
    },
    /// `--on-error fail`: a photo could not be used.
    #[error(
        "`{path}` could not be used: {reason}: {detail}; run with --on-error quarantine to leave such photos out"
    )]
    PhotoFailed {
        /// The photo.
        path: String,
        /// The reason, a word of the closed set.
        reason: String,
        /// In words.
        detail: String,
    },
    /// Not one of several photos can be read where the work is done, although the driver sees them.
    #[error(
        "the executor on {host} can't read photos of `{input}` that this machine lists, such as `{path}`: {detail}; it needs \
         the same folder, or credentials that may read"
    )]
    ExecutorCannotRead {
        /// The machine of the executor.
        host: String,
        /// What was listed.
        input: String,
        /// One of the photos.
        path: String,
        /// Why it couldn't be read.
        detail: String,
    },
    /// Photos may not be read, and others of their chunk neither: not the photos are at fault.
    #[error(
        "{photos} photos may not be read, the first of them `{path}`: {detail}; as no other photo beside them could be read \
         either, this is not booked as their failure: mend the credentials or permissions, then run the same command again"
    )]
    AccessLost {
        /// One of the photos.
        path: String,
        /// How many of the chunk.
        photos: usize,
        /// Why.
        detail: String,
    },
    /// An executor doesn't find a photo that the driver sees.
    #[error(
        "the executor doesn't find `{path}`, which lies there unchanged as this machine sees it; make sure that both see \
         the same folder, then run the same command again"
    )]
    PhotoNotSeen {
        /// The photo.
        path: String,
    },
    /// `--max-failures`: too many photos could not be used.
    #[error(
        "{failures} of {listed} photos could not be used so far, more than --max-failures {limit} allows; what was \
         committed stays: raise the limit, or mend the photos and use `fruitbatch retry`"
    )]
    TooManyFailures {
        /// Photos booked as failed.
        failures: usize,
        /// Photos listed.
        listed: usize,
        /// The limit as it was given.
        limit: String,
    },
    /// Stopped on request.
    #[error("interrupted: {committed} of {total} photos are committed, the same command goes on from there")]
    Interrupted {
        /// Photos committed, failed ones included.
        committed: usize,
        /// Photos listed.
        total: usize,
    },
}

impl RunError {
    /// Whether the user's command or configuration is at fault rather than the run.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::EmbedSpec(_)
                | Self::NoRun { .. }
                | Self::NothingExtracted { .. }
                | Self::Incomplete { .. }
                | Self::NoModel { .. }
                | Self::OtherFeatures { .. }
                | Self::ForeignOutput { .. }
        )
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that must be given is missing.
    #[error("`{key}` is missing")]
    Missing {
        /// The key's name: the flag without its dashes.
        key: &'static str,
    },
    /// A value can't be understood.
    #[error("`{key}`: {detail}")]
    Invalid {
        /// The key's name.
        key: &'static str,
        /// What is wrong and what would be right.
        detail: String,
    },
    /// INPUT or OUT isn't a place.
    #[error("`{key}`: {source}")]
    Location {
        /// `input` or `output`.
        key: &'static str,
        /// What is wrong with it.
        source: LocationError,
    },
    /// OUT would be listed as photos, or photos would be overwritten.
    #[error(
        "the output `{output}` is the input `{input}` or lies above it: choose an output beside it or below it"
    )]
    OutputAboveInput {
        /// INPUT.
        input: String,
        /// OUT.
        output: String,
    },
}

impl ConfigError {
    /// A value of `key` that can't be understood.
    pub(crate) fn invalid(key: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Invalid { key, detail: detail.to_string() }
    }
}
