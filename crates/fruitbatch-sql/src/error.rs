//! Why a query has no answer.

use fruitbatch_cluster::ClusterError;
use fruitbatch_learn::ModelError;
use fruitbatch_pipeline::RunError;
use fruitbatch_storage::{LocationError, StorageError};

/// Why a query has no answer. Every text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The text is no SQL.
    #[error("the query can't be read: {problem}; `fruitbatch sql --help` has examples")]
    Syntax {
        /// What was expected where.
        problem: String,
    },
    /// Not one query.
    #[error("one query at a time, please: there are {count} statements in the text")]
    Statements {
        /// How many there are.
        count: usize,
    },
    /// A statement that writes, or sets something.
    #[error(
        "`{statement}` is refused: queries (SELECT, WITH, VALUES, EXPLAIN) are answered, and nothing is changed by them; an \
         answer is written to a file with --output"
    )]
    NotAQuery {
        /// How it begins.
        statement: String,
    },
    /// A table or a table function that there isn't.
    #[error(
        "there is no table `{name}`: a query reads images('FOLDER or s3://BUCKET/PREFIX/'), features('OUT') and \
         results('OUT')"
    )]
    NoSuchTable {
        /// As written.
        name: String,
    },
    /// A function was given something else than the text it needs.
    #[error("`{function}` takes {takes}, such as {example}; texts stand in single quotes")]
    Argument {
        /// The function.
        function: &'static str,
        /// What it takes.
        takes: &'static str,
        /// How that is written.
        example: &'static str,
    },
    /// A text that names no place.
    #[error("`{place}`: {source}")]
    Location {
        /// As written.
        place: String,
        /// What is wrong with it.
        source: LocationError,
    },
    /// The query can't be planned: a column that isn't there, a function that doesn't take this.
    #[error("{problem}")]
    Plan {
        /// What is wrong with it.
        problem: String,
    },
    /// OUT doesn't hold what is asked for.
    #[error(
        "the run on `{place}` can't be asked for this: {problem}; `fruitbatch run` on that OUT again mends it"
    )]
    Damaged {
        /// As written.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The fitted model can't be read.
    #[error("the model of `{place}` can't be used: {source}")]
    Model {
        /// As written.
        place: String,
        /// What is wrong with it.
        source: ModelError,
    },
    /// The fitted model is too large to travel with a query.
    #[error(
        "the model of `{place}` has {bytes} bytes, more than the {most} that travel with a query: fit one of fewer \
         components or narrower features"
    )]
    ModelTooLarge {
        /// As written.
        place: String,
        /// Its size.
        bytes: usize,
        /// The most there may be.
        most: usize,
    },
    /// A fleet that can't be told a long listing.
    #[error(
        "`{place}` has {photos} photos, more than the {most} that travel with a query: name a folder or s3:// prefix that \
         all executors reach with --model-store, and the listing goes there for the time of the query"
    )]
    NoPlaceForListing {
        /// As written.
        place: String,
        /// How many are listed.
        photos: usize,
        /// How many travel.
        most: usize,
    },
    /// A place can't be listed, read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// OUT isn't complete or isn't what its run wrote, or the embedding model can't be handed to a fleet.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The cluster failed the query.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Something local that a query needs can't be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The answer can't be written where it should go.
    #[error("the answer can't be written: {0}")]
    Write(std::io::Error),
    /// The answer has a column that the format doesn't have.
    #[error(
        "the answer can't be written in this format: {problem}; cast the column, or choose another --format"
    )]
    Format {
        /// What is in the way.
        problem: String,
    },
}

impl SqlError {
    /// Whether the query is at fault rather than what it was asked of.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Syntax { .. }
            | Self::Statements { .. }
            | Self::NotAQuery { .. }
            | Self::NoSuchTable { .. }
            | Self::Argument { .. }
            | Self::Location { .. }
            | Self::Plan { .. }
            | Self::NoPlaceForListing { .. }
            | Self::Cluster(
                ClusterError::Plan { .. } | ClusterError::SchedulerAddress { .. } | ClusterError::Tls(_),
            ) => true,
            Self::Run(error) => error.is_usage(),
            Self::Damaged { .. }
            | Self::Model { .. }
            | Self::ModelTooLarge { .. }
            | Self::Storage(_)
            | Self::Cluster(_)
            | Self::Io { .. }
            | Self::Write(_)
            | Self::Format { .. } => false,
        }
    }
}
