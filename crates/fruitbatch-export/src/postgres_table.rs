//! The table in PostgreSQL: its name, how it is created, and whether one that is there fits.

use std::fmt;
use std::str::FromStr;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::columns::{Column, ColumnType, Columns, KEY};
use crate::error::{ExportError, TableNameError};

/// Longer names would be cut by the server, in silence.
const MAX_NAME_BYTES: usize = 63;

/// A table of PostgreSQL, `TABLE` or `SCHEMA.TABLE`; the one without a schema is found by the server's `search_path`. Each
/// part is taken as it stands, upper and lower case kept: `Fruits` is not `fruits`.
///
/// ```
/// use fruitbatch_export::TableName;
///
/// assert_eq!(TableName::default().to_string(), "\"fruitbatch_results\"");
/// assert_eq!("shop.fruits".parse::<TableName>()?.to_string(), "\"shop\".\"fruits\"");
/// assert!("a.b.c".parse::<TableName>().is_err());
/// # Ok::<(), fruitbatch_export::TableNameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    schema: Option<String>,
    table: String,
}

impl Default for TableName {
    fn default() -> Self {
        Self { schema: None, table: "fruitbatch_results".to_owned() }
    }
}

impl FromStr for TableName {
    type Err = TableNameError;

    fn from_str(text: &str) -> Result<Self, TableNameError> {
        let (schema, table) = match text.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, text),
        };
        if table.contains('.') || !schema.iter().chain([&table]).all(|name| is_name(name)) {
            return Err(TableNameError { text: text.replace('\0', "\\0") });
        }
        Ok(Self { schema: schema.map(str::to_owned), table: table.to_owned() })
    }
}

impl fmt::Display for TableName {
    /// As SQL writes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(formatter, "{}.", Quoted(schema))?;
        }
        Quoted(&self.table).fmt(formatter)
    }
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains('\0')
}

/// A name as an identifier of SQL, whatever characters it is of.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// The columns' names, quoted, with `prefix` before each and commas between.
pub(crate) fn column_list(columns: &Columns, prefix: &str) -> String {
    let names = columns.iter().map(|column| format!("{prefix}{}", Quoted(&column.name)));
    names.collect::<Vec<_>>().join(", ")
}

/// As PostgreSQL's `format_type` writes it.
fn sql_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text => "text",
        ColumnType::Int32 => "integer",
        ColumnType::Int64 => "bigint",
        ColumnType::Float32 => "real",
        ColumnType::Float64 => "double precision",
        ColumnType::Boolean => "boolean",
    }
}

/// # Errors
/// [`ExportError::Columns`] if PostgreSQL would cut a column's name.
pub(crate) fn check_names(columns: &Columns) -> Result<(), ExportError> {
    match columns.iter().find(|column| !is_name(&column.name)) {
        Some(column) => Err(ExportError::columns(format!(
            "`{}` can't be the name of a column of PostgreSQL: it must have 1 to {MAX_NAME_BYTES} bytes, none of them 0",
            column.name.replace('\0', "\\0")
        ))),
        None => Ok(()),
    }
}

/// Paths are compared by their bytes, as `results.csv` is sorted, and the index outlives changes of the system's sorting
/// rules.
pub(crate) fn create_statement(table: &TableName, columns: &Columns) -> String {
    let definition = |column: &Column| {
        let constraints = if column.name == KEY { " COLLATE \"C\" PRIMARY KEY" } else { "" };
        format!("{} {}{constraints}", Quoted(&column.name), sql_type(column.column_type))
    };
    let definitions = columns.iter().map(definition).collect::<Vec<_>>().join(", ");
    format!("CREATE TABLE {table} ({definitions})")
}

/// A column of the table that is there.
struct PresentColumn {
    name: String,
    sql_type: String,
    /// It has a default, or is generated.
    fills_itself: bool,
}

/// The table that `wanted` means now, with its schema; `None` if there is none.
pub(crate) async fn find(
    connection: &mut PgConnection,
    wanted: &TableName,
) -> Result<Option<TableName>, sqlx::Error> {
    let statement = "SELECT nspname::text, relname::text FROM pg_catalog.pg_class \
                     JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace \
                     WHERE pg_class.oid = pg_catalog.to_regclass($1)";
    let found = sqlx::query(statement).bind(wanted.to_string()).fetch_optional(connection).await?;
    found.map(|row| Ok(TableName { schema: Some(row.try_get(0)?), table: row.try_get(1)? })).transpose()
}

/// What keeps `table`, which is there, from taking these rows; `None` if nothing does.
pub(crate) async fn mismatch(
    connection: &mut PgConnection,
    table: &TableName,
    columns: &Columns,
) -> Result<Option<ExportError>, sqlx::Error> {
    // `r` is a table, `p` a partitioned one.
    let is_table =
        "SELECT relkind IN ('r', 'p') FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)";
    let is_table: bool =
        sqlx::query_scalar(is_table).bind(table.to_string()).fetch_one(&mut *connection).await?;
    if !is_table {
        return Ok(Some(ExportError::TableMismatch {
            table: table.to_string(),
            differences: vec!["it is no table, but a view or something else of that name".to_owned()],
            mend: "name another one by `--table`".to_owned(),
        }));
    }
    let present = "SELECT attname::text, pg_catalog.format_type(atttypid, atttypmod), \
                   atthasdef OR attidentity <> '' FROM pg_catalog.pg_attribute \
                   WHERE attrelid = pg_catalog.to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let present = sqlx::query(present).bind(table.to_string()).fetch_all(&mut *connection).await?;
    let present = present
        .iter()
        .map(|row| {
            let (name, sql_type, fills_itself) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            Ok(PresentColumn { name, sql_type, fills_itself })
        })
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    let key_is_unique = "SELECT EXISTS (SELECT FROM pg_catalog.pg_index JOIN pg_catalog.pg_attribute \
                         ON attrelid = indrelid AND attnum = indkey[0] \
                         WHERE indrelid = pg_catalog.to_regclass($1) AND attname = $2 AND indnkeyatts = 1 \
                         AND indisunique AND indisvalid AND indpred IS NULL)";
    let key_is_unique: bool =
        sqlx::query_scalar(key_is_unique).bind(table.to_string()).bind(KEY).fetch_one(connection).await?;
    Ok(compare(table, columns, &present, key_is_unique))
}

fn compare(
    table: &TableName,
    columns: &Columns,
    present: &[PresentColumn],
    key_is_unique: bool,
) -> Option<ExportError> {
    let mut differences = Vec::new();
    let mut mend = String::from("these statements mend it, or name another table by `--table`:");
    let mut differs = |difference: String, statement: String| {
        differences.push(difference);
        mend.push('\n');
        mend.push_str(&statement);
    };
    for Column { name, column_type } in columns.iter() {
        let (quoted, expected) = (Quoted(name), sql_type(*column_type));
        match present.iter().find(|column| column.name == *name) {
            None => differs(
                format!("column `{name}` is missing"),
                format!("ALTER TABLE {table} ADD COLUMN {quoted} {expected};"),
            ),
            Some(column) if column.sql_type != expected => differs(
                format!("column `{name}` is {} and not {expected}", column.sql_type),
                format!(
                    "ALTER TABLE {table} ALTER COLUMN {quoted} TYPE {expected} USING {quoted}::{expected};"
                ),
            ),
            Some(_) => {}
        }
    }
    let known = |name: &str| columns.iter().any(|column| column.name == name);
    // Its values would stay beside new ones of the others, as if they belonged together.
    for column in present.iter().filter(|column| !column.fills_itself && !known(&column.name)) {
        let quoted = Quoted(&column.name);
        differs(
            format!("column `{}` is not in the results and has no default", column.name),
            // A comment, because it depends: nobody's notes shall be lost by pasting.
            format!(
                "-- ALTER TABLE {table} DROP COLUMN {quoted}; if it is an earlier export's; give yours a default"
            ),
        );
    }
    if !key_is_unique {
        differs(
            format!("column `{KEY}` is neither primary key nor unique"),
            format!("ALTER TABLE {table} ADD PRIMARY KEY ({});", Quoted(KEY)),
        );
    }
    (!differences.is_empty()).then(|| ExportError::TableMismatch {
        table: table.to_string(),
        differences,
        mend,
    })
}

/// A statement that holds no value from outside, only names, each of them quoted.
pub(crate) fn trusted(statement: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_or_refused() {
        let name: TableName = "Odd\"; DROP TABLE x; --".parse().unwrap();
        assert_eq!(name.to_string(), "\"Odd\"\"; DROP TABLE x; --\"");
        for text in ["", ".", "a.", ".a", "a.b.c", "nul\0", &"x".repeat(64)] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
        assert!("x".repeat(63).parse::<TableName>().is_ok());
    }
}
