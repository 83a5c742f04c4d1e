//! Answers as tables for people.

use std::fmt::Write as _;
use std::io::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use crate::error::SqlError;
use crate::session::Answer;

/// Texts are cut behind so many characters.
const LONGEST_TEXT: usize = 100;
/// Lists of more values than this ...
const LONGEST_LIST: usize = 8;
/// ... are shown by so many, and their number.
const VALUES_SHOWN: usize = 3;

/// Prints at most `most_rows` rows of an answer as a table, and below it how many there are, or that there are more.
///
/// The answer should be that of a query for one row more ([`SqlSession::query`](crate::SqlSession::query)): that is how it is
/// told that there are more. Long texts and lists are shortened, and bytes are counted: a table is for people, a file is for
/// programs.
///
/// # Errors
/// What the query fails with, and [`SqlError::Write`].
pub async fn print_table(
    answer: &mut Answer<'_>,
    most_rows: usize,
    out: &mut (dyn Write + Send),
) -> Result<(), SqlError> {
    if answer.is_plan {
        return print_plan(answer, out).await;
    }
    let mut table = Table::new();
    let schema = answer.schema();
    table.load_preset(NOTHING).set_header(schema.fields().iter().map(|field| shortened(field.name())));
    for (number, field) in schema.fields().iter().enumerate() {
        if field.data_type().is_numeric()
            && let Some(column) = table.column_mut(number)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut rows = 0;
    let mut has_more = false;
    while !has_more && let Some(batch) = answer.next().await? {
        has_more = batch.num_rows() > most_rows - rows;
        let shown = batch.slice(0, batch.num_rows().min(most_rows - rows));
        rows += shown.num_rows();
        add_rows(&mut table, &shown).map_err(|error| SqlError::Format { problem: error.to_string() })?;
    }
    let counted = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    let below = if has_more {
        format!(
            "({counted}, and there are more: --max-rows shows more, --output FILE.csv or .parquet writes all)"
        )
    } else {
        format!("({counted})")
    };
    // The table's lines are padded to its width.
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end()).map_err(SqlError::Write)?;
    }
    writeln!(out, "{below}").and_then(|()| out.flush()).map_err(SqlError::Write)
}

/// Plans are texts of many lines: each below its name.
async fn print_plan(answer: &mut Answer<'_>, out: &mut (dyn Write + Send)) -> Result<(), SqlError> {
    while let Some(batch) = answer.next().await? {
        let options = FormatOptions::default();
        let texts = |column: usize| ArrayFormatter::try_new(batch.column(column), &options);
        let (kinds, plans) = match (texts(0), texts(1)) {
            (Ok(kinds), Ok(plans)) => (kinds, plans),
            (Err(error), _) | (_, Err(error)) => return Err(SqlError::Format { problem: error.to_string() }),
        };
        for row in 0..batch.num_rows() {
            let plan = plans.value(row).to_string();
            writeln!(out, "{}\n{}\n", kinds.value(row), plan.trim_end()).map_err(SqlError::Write)?;
        }
    }
    out.flush().map_err(SqlError::Write)
}

fn add_rows(table: &mut Table, batch: &RecordBatch) -> Result<(), ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let formatters: Vec<ArrayFormatter<'_>> = formatters.collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        let mut cells = Vec::with_capacity(batch.num_columns());
        for (column, formatter) in batch.columns().iter().zip(&formatters) {
            cells.push(cell(column, row, formatter)?);
        }
        table.add_row(cells);
    }
    Ok(())
}

fn cell(column: &dyn Array, row: usize, formatter: &ArrayFormatter<'_>) -> Result<String, ArrowError> {
    if column.is_null(row) {
        return Ok("NULL".to_owned());
    }
    let bytes = match column.data_type() {
        DataType::Binary => Some(column.as_binary::<i32>().value(row).len()),
        DataType::LargeBinary => Some(column.as_binary::<i64>().value(row).len()),
        DataType::BinaryView => Some(column.as_binary_view().value(row).len()),
        DataType::FixedSizeBinary(length) => usize::try_from(*length).ok(),
        _ => None,
    };
    if let Some(bytes) = bytes {
        return Ok(format!("<{bytes} bytes>"));
    }
    let values = match column.data_type() {
        DataType::FixedSizeList(..) => Some(column.as_fixed_size_list().value(row)),
        DataType::List(_) => Some(column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value(row)),
        _ => None,
    };
    match values {
        Some(values) if values.len() > LONGEST_LIST => beginning(&values),
        _ => Ok(shortened(&formatter.value(row).try_to_string()?)),
    }
}

/// `[0.12, 3, 0, ... 512 values]`
fn beginning(values: &dyn Array) -> Result<String, ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(values, &options)?;
    let mut text = "[".to_owned();
    for index in 0..VALUES_SHOWN {
        text.push_str(&shortened(&formatter.value(index).try_to_string()?));
        text.push_str(", ");
    }
    let _ = write!(text, "... {} values]", values.len());
    Ok(text)
}

/// On one line, without what a terminal would obey.
fn shortened(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(2 * LONGEST_TEXT));
    for (number, character) in text.chars().enumerate() {
        if number == LONGEST_TEXT {
            shown.push_str("...");
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_short_and_harmless() {
        assert_eq!(shortened("Apple Braeburn/0_100.jpg"), "Apple Braeburn/0_100.jpg");
        assert_eq!(shortened("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        let long = "ä".repeat(101);
        assert_eq!(shortened(&long), format!("{}...", "ä".repeat(100)));
        assert_eq!(shortened(&"ä".repeat(100)), "ä".repeat(100));
    }
}
