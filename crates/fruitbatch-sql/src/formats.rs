//! Answers as CSV, JSON and Parquet.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, WriterBuilder as JsonBuilder};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::error::SqlError;
use crate::session::Answer;

/// A row group of a Parquet file is closed once it has so many bytes in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// In what form an answer is written. Whatever its length, one batch of it is in memory at a time (in Parquet, one row group
/// of 64 MiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header; lists and structs as text, bytes in hexadecimal digits.
    Csv,
    /// One array of objects; bytes in hexadecimal digits.
    Json,
    /// One object a line.
    JsonLines,
    /// Columns with their types, compressed with zstd.
    Parquet,
}

impl Format {
    /// The format that the end of a file's name says.
    pub fn of_file(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "jsonl" => Ok(Self::JsonLines),
            "parquet" => Ok(Self::Parquet),
            other => Err(format!("`{other}` is no format: expected csv, json, jsonl or parquet")),
        }
    }
}

/// Writes all of an answer, and returns how many rows it had.
///
/// # Errors
/// What the query fails with, [`SqlError::Write`], and [`SqlError::Format`] if a column's type isn't in the format.
pub async fn write_answer(
    answer: &mut Answer<'_>,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<u64, SqlError> {
    match format {
        Format::Csv => write_csv(answer, out).await,
        Format::Json => write_json::<JsonArray>(answer, "\n", out).await,
        Format::JsonLines => write_json::<LineDelimited>(answer, "", out).await,
        Format::Parquet => write_parquet(answer, out).await,
    }
}

async fn write_csv(answer: &mut Answer<'_>, out: &mut (dyn Write + Send)) -> Result<u64, SqlError> {
    let mut buffer = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new().build(&mut buffer);
    // The header comes with the first batch, which an answer without rows doesn't have.
    writer.write(&flat(&RecordBatch::new_empty(answer.schema()))?).map_err(|error| not_in_format(&error))?;
    drop(writer);
    let mut rows = 0;
    loop {
        out.write_all(&buffer).map_err(SqlError::Write)?;
        buffer.clear();
        let Some(batch) = answer.next().await? else { break };
        rows += batch.num_rows() as u64;
        let mut writer = arrow::csv::WriterBuilder::new().with_header(false).build(&mut buffer);
        writer.write(&flat(&batch)?).map_err(|error| not_in_format(&error))?;
    }
    out.flush().map_err(SqlError::Write)?;
    Ok(rows)
}

/// The batch with lists and structs as texts: CSV has no others.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, SqlError> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| -> Result<ArrayRef, ArrowError> {
        if !column.data_type().is_nested() {
            return Ok(Arc::clone(column));
        }
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let texts = (0..column.len())
            .map(|row| column.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose());
        Ok(Arc::new(texts.collect::<Result<StringArray, _>>()?))
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>().map_err(|error| not_in_format(&error))?;
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| {
        if field.data_type().is_nested() {
            Field::new(field.name(), DataType::Utf8, true)
        } else {
            Field::clone(field)
        }
    });
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns).map_err(|error| not_in_format(&error))
}

/// `end` stands behind the last character of the format.
async fn write_json<F: JsonFormat>(
    answer: &mut Answer<'_>,
    end: &str,
    out: &mut (dyn Write + Send),
) -> Result<u64, SqlError> {
    let mut writer = JsonBuilder::new().with_explicit_nulls(true).build::<_, F>(Vec::new());
    let mut rows = 0;
    while let Some(batch) = answer.next().await? {
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(|error| not_in_format(&error))?;
        out.write_all(writer.get_ref()).map_err(SqlError::Write)?;
        writer.get_mut().clear();
    }
    writer.finish().map_err(|error| not_in_format(&error))?;
    out.write_all(writer.get_ref())
        .and_then(|()| out.write_all(end.as_bytes()))
        .and_then(|()| out.flush())
        .map_err(SqlError::Write)?;
    Ok(rows)
}

async fn write_parquet(answer: &mut Answer<'_>, out: &mut (dyn Write + Send)) -> Result<u64, SqlError> {
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(out, answer.schema(), Some(properties)).map_err(not_written)?;
    let mut rows = 0;
    while let Some(batch) = answer.next().await? {
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(not_written)?;
        if writer.in_progress_size() > ROW_GROUP_BYTES {
            writer.flush().map_err(not_written)?;
        }
    }
    writer.into_inner().map_err(not_written)?.flush().map_err(SqlError::Write)?;
    Ok(rows)
}

fn not_in_format(error: &ArrowError) -> SqlError {
    SqlError::Format { problem: error.to_string() }
}

fn not_written(error: ParquetError) -> SqlError {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => SqlError::Write(*error),
            Err(error) => SqlError::Format { problem: error.to_string() },
        },
        error => SqlError::Format { problem: error.to_string() },
    }
}
