//! Rows into a table of PostgreSQL, in one transaction.

use std::pin::pin;
use std::time::Duration;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use futures::{Stream, TryStreamExt};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::columns::{Columns, KEY};
use crate::error::ExportError;
use crate::postgres_copy::{HEADER, TRAILER, append_row};
use crate::postgres_failure::PostgresPlace;
use crate::postgres_table::{
    Quoted, TableName, check_names, column_list, create_statement, find, mismatch, trusted,
};
use crate::summary::{ExportSummary, RowChanges};
use crate::target::PostgresTarget;

/// For a connection to be made, TLS and authentication included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Rows are sent in pieces of about so many bytes.
const PIECE_BYTES: usize = 256 << 10;
/// The results on the server, before they are held against the table; named with its schema, so that a table of the same
/// name is not meant.
const INCOMING: &str = "pg_temp.fruitbatch_incoming";

/// How results go to PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The table, `fruitbatch_results` by default; it is created if it isn't there.
    pub table: TableName,
    /// Remove the rows of the table whose paths are not in the results. Without it they stay.
    pub prune: bool,
}

/// Makes the table hold these rows, keyed by `path`: other ones of the same path are updated, equal ones are left as they
/// are. All of it is one transaction: readers of the table see it as it was or as it shall be, never in between, and
/// whatever ends the export before its end leaves it as it was. Exports to one table wait for each other.
///
/// `progress` is called with the number of rows that were sent so far. Comparing them with the table comes after that.
///
/// Uses memory for one batch and its rows as text, a piece of 256 KiB at a time.
///
/// # Errors
/// If the columns can't be stored, a path occurs twice, the server can't be reached or refuses, or the table is not one for
/// these rows, which it is if it has exactly their columns, of their types, with `path` as its key; columns with a
/// default are the table's own and stay as they are.
pub async fn export_to_postgres(
    target: &PostgresTarget,
    options: &PostgresOptions,
    schema: &Schema,
    batches: impl Stream<Item = Result<RecordBatch, ArrowError>> + Send,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExportSummary, ExportError> {
    let columns = Columns::of(schema)?;
    check_names(&columns)?;
    let connect_options = target.connect_options()?;
    let place = PostgresPlace::of(&connect_options);
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, connect_options.connect()).await;
    let mut connection = connection
        .map_err(|_| place.unreachable(&format_args!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))?
        .map_err(|error| place.no_connection(&error))?;
    let summary = write_all(&mut connection, &place, options, &columns, batches, progress).await?;
    // All is done, whatever the server has to say to a goodbye.
    let _ = connection.close().await;
    Ok(summary)
}

async fn write_all(
    connection: &mut PgConnection,
    place: &PostgresPlace,
    options: &PostgresOptions,
    columns: &Columns,
    batches: impl Stream<Item = Result<RecordBatch, ArrowError>> + Send,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExportSummary, ExportError> {
    let failed = |error: sqlx::Error| place.failed(&error);
    // Dropping it undoes all. Whatever the role's default: what another export has just written has to be seen.
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";
    let mut transaction = connection.begin_with(begin).await.map_err(failed)?;
    let wait_for_others = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
    let wait_for_others = sqlx::query(wait_for_others).bind(options.table.to_string());
    wait_for_others.execute(&mut *transaction).await.map_err(failed)?;

    let present = find(&mut transaction, &options.table).await.map_err(failed)?;
    let created_table = present.is_none();
    if let Some(table) = &present {
        if let Some(mismatch) = mismatch(&mut transaction, table, columns).await.map_err(failed)? {
            return Err(mismatch);
        }
    } else {
        execute(&mut transaction, create_statement(&options.table, columns)).await.map_err(failed)?;
    }
    let table = match present {
        Some(table) => table,
        None => {
            find(&mut transaction, &options.table).await.map_err(failed)?.unwrap_or(options.table.clone())
        }
    };

    let rows = send_rows(&mut transaction, place, &table, columns, batches, progress).await?;
    let (inserted, updated, pruned) =
        merge(&mut transaction, &table, columns, options.prune).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    let changes = RowChanges { inserted, updated, unchanged: rows.saturating_sub(inserted + updated) };
    Ok(ExportSummary { rows, created_table, changes: Some(changes), pruned })
}

/// Puts the rows into [`INCOMING`] and returns how many there were.
async fn send_rows(
    connection: &mut PgConnection,
    place: &PostgresPlace,
    table: &TableName,
    columns: &Columns,
    batches: impl Stream<Item = Result<RecordBatch, ArrowError>> + Send,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, ExportError> {
    let failed = |error: sqlx::Error| place.failed(&error);
    let names = column_list(columns, "");
    // Made from the table, it sorts texts by the same rules, without which the two can't be compared.
    let create = format!(
        "CREATE TEMPORARY TABLE fruitbatch_incoming ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA; \
         ALTER TABLE {INCOMING} ADD PRIMARY KEY ({})",
        Quoted(KEY)
    );
    execute(connection, create).await.map_err(failed)?;
    let copy = format!("COPY {INCOMING} ({names}) FROM STDIN (FORMAT binary)");
    let mut copy = connection.copy_in_raw(&copy).await.map_err(failed)?;
    let mut piece = HEADER.to_vec();
    let mut count = 0;
    let mut batches = pin!(batches);
    while let Some(batch) = batches.try_next().await.map_err(ExportError::Read)? {
        let rows = columns.rows(&batch)?;
        for row in 0..rows.count() {
            append_row(&mut piece, columns, &rows, row)?;
            count += 1;
            if piece.len() >= PIECE_BYTES {
                copy.send(piece.as_slice()).await.map_err(failed)?;
                piece.clear();
                progress(count);
            }
        }
    }
    piece.extend(TRAILER);
    copy.send(piece.as_slice()).await.map_err(failed)?;
    copy.finish().await.map_err(|error| place.rows_failed(&error))?;
    progress(count);
    Ok(count)
}

/// Brings the table to what [`INCOMING`] says; how many rows it inserted, updated and removed.
///
/// Not `INSERT ... ON CONFLICT`: that locks the rows that stay as they are, which writes to every page of the table.
async fn merge(
    connection: &mut PgConnection,
    table: &TableName,
    columns: &Columns,
    prune: bool,
) -> Result<(u64, u64, u64), sqlx::Error> {
    let key = Quoted(KEY);
    // Others may read. Between the statements below nobody else writes.
    execute(connection, format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")).await?;
    // The planner knows nothing of a new table.
    execute(connection, format!("ANALYZE {INCOMING}")).await?;
    let pruned = if prune {
        let prune = format!(
            "DELETE FROM {table} AS kept WHERE NOT EXISTS (SELECT FROM {INCOMING} AS incoming WHERE incoming.{key} = \
             kept.{key})"
        );
        execute(connection, prune).await?
    } else {
        0
    };
    let others = columns.iter().filter(|column| column.name != KEY).collect::<Vec<_>>();
    let updated = if others.is_empty() {
        0
    } else {
        let list = |text: &dyn Fn(Quoted<'_>) -> String| {
            others.iter().map(|column| text(Quoted(&column.name))).collect::<Vec<_>>().join(", ")
        };
        let update = format!(
            "UPDATE {table} AS kept SET {} FROM {INCOMING} AS incoming WHERE kept.{key} = incoming.{key} AND ROW({}) IS \
             DISTINCT FROM ROW({})",
            list(&|name| format!("{name} = incoming.{name}")),
            list(&|name| format!("kept.{name}")),
            list(&|name| format!("incoming.{name}")),
        );
        execute(connection, update).await?
    };
    let insert = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {INCOMING} AS incoming WHERE NOT EXISTS (SELECT FROM {table} AS kept \
         WHERE kept.{key} = incoming.{key}) ORDER BY incoming.{key}",
        column_list(columns, ""),
        column_list(columns, "incoming."),
    );
    let inserted = execute(connection, insert).await?;
    Ok((inserted, updated, pruned))
}

/// Runs statements of names alone; how many rows the last one changed.
async fn execute(connection: &mut PgConnection, statements: String) -> Result<u64, sqlx::Error> {
    Ok(sqlx::raw_sql(trusted(statements)).execute(connection).await?.rows_affected())
}
