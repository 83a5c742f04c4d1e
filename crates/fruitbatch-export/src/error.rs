//! What can go wrong with an export.

use arrow::error::ArrowError;

use crate::target::TargetError;

/// Why an export failed. Every text says what happened, where, and what to do next; none holds a password or an access
/// key, and neither does any `Debug` form.
///
/// What a failure leaves behind is in the front page's table: PostgreSQL has the rows of before, DynamoDB some of the new
/// ones.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The batches could not be read to their end.
    #[error("the results can't be read: {0}")]
    Read(#[source] ArrowError),
    /// They have columns, or rows, that can't be exported.
    #[error("these results can't be exported: {problem}")]
    Columns {
        /// What is wrong with them.
        problem: String,
    },
    /// Two rows would be the same one of the table.
    #[error("these results can't be exported: two rows have the same path ({path})")]
    DuplicatePath {
        /// The path, or what the server says of it.
        path: String,
    },
    /// PostgreSQL can't store such a text.
    #[error(
        "these results can't be exported to PostgreSQL: column `{column}` of `{path}` holds a NUL character, which it \
         can't store; remove it from the label"
    )]
    NulCharacter {
        /// The column.
        column: String,
        /// The row.
        path: String,
    },
    /// The environment adds something to the target that makes no sense.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No table can have such a name.
    #[error(transparent)]
    TableName(#[from] TableNameError),
    /// No connection.
    #[error("cannot connect to {server}: {problem}; {next_step}")]
    Unreachable {
        /// `HOST:PORT`, a socket's folder, or an endpoint.
        server: String,
        /// What the system or the server says.
        problem: String,
        /// What to check.
        next_step: String,
    },
    /// The server doesn't take us for who we say we are.
    #[error("{server} refuses to let {user} in: {problem}; {next_step}")]
    Authentication {
        /// As in [`Unreachable`](Self::Unreachable).
        server: String,
        /// Who we say we are.
        user: String,
        /// What the server says.
        problem: String,
        /// What to check.
        next_step: String,
    },
    /// We are who we are, and may not do this.
    #[error("{server} does not permit this: {problem}; {next_step}")]
    PermissionDenied {
        /// As in [`Unreachable`](Self::Unreachable).
        server: String,
        /// What the server says.
        problem: String,
        /// Which permissions an export needs.
        next_step: String,
    },
    /// There is no such database, schema or table.
    #[error("{problem}; {next_step}")]
    NotFound {
        /// What is missing.
        problem: String,
        /// How it comes to be there.
        next_step: String,
    },
    /// The table is there, and isn't one for these rows.
    #[error("table {table} doesn't fit these results: {}\n{mend}", .differences.join("; "))]
    TableMismatch {
        /// Its name as the target writes it.
        table: String,
        /// One for each column.
        differences: Vec<String>,
        /// The statements that would mend it, or what to do else.
        mend: String,
    },
    /// The server takes less in a time than there is to write, even after many attempts.
    #[error(
        "{server} has too much to do: {problem}; some rows are written: run the same command again, or give the table \
         more capacity"
    )]
    Throttled {
        /// As in [`Unreachable`](Self::Unreachable).
        server: String,
        /// What it says.
        problem: String,
    },
    /// The connection came to its end before the export did.
    #[error("the connection to {server} was lost: {problem}; run the same command again")]
    ConnectionLost {
        /// As in [`Unreachable`](Self::Unreachable).
        server: String,
        /// What the system says.
        problem: String,
    },
    /// Anything else that the server refuses.
    #[error("{server} refuses the export: {problem}")]
    Refused {
        /// As in [`Unreachable`](Self::Unreachable).
        server: String,
        /// What it says.
        problem: String,
    },
}

impl ExportError {
    pub(crate) fn columns(problem: impl Into<String>) -> Self {
        Self::Columns { problem: problem.into() }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Throttled { .. } | Self::ConnectionLost { .. })
    }
}

/// A text that isn't a [`TableName`](crate::TableName).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` can't be the name of a table: write `TABLE` or `SCHEMA.TABLE`, each of 1 to 63 bytes")]
pub struct TableNameError {
    pub(crate) text: String,
}
