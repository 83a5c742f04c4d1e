//! Rows as `COPY ... (FORMAT binary)` takes them.
//!
//! Binary, because floats keep their bits and no text needs to be escaped. The format:
//! <https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4>.

use crate::columns::{Columns, Rows, Value};
use crate::error::ExportError;

/// Before the first row: the signature, no flags, no extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After the last row: a row of -1 fields.
pub(crate) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();
/// The length of a null.
const NULL: i32 = -1;

/// Appends a row to `buffer`.
///
/// # Errors
/// [`ExportError::NulCharacter`] if a text holds one; [`ExportError::Columns`] if there are more columns, or longer
/// texts, than the format can count.
pub(crate) fn append_row(
    buffer: &mut Vec<u8>,
    columns: &Columns,
    rows: &Rows,
    row: usize,
) -> Result<(), ExportError> {
    let count = i16::try_from(columns.len())
        .map_err(|_| ExportError::columns(format!("there are {} columns", columns.len())))?;
    buffer.extend(count.to_be_bytes());
    for (column, value) in columns.iter().zip(rows.values(row)) {
        match value {
            Value::Null => buffer.extend(NULL.to_be_bytes()),
            Value::Text(text) if text.contains('\0') => {
                return Err(ExportError::NulCharacter {
                    column: column.name.clone(),
                    path: rows.key(row).replace('\0', "\\0"),
                });
            }
            Value::Text(text) => append_field(buffer, text.as_bytes())?,
            Value::Int32(number) => append_field(buffer, &number.to_be_bytes())?,
            Value::Int64(number) => append_field(buffer, &number.to_be_bytes())?,
            Value::Float32(number) => append_field(buffer, &number.to_be_bytes())?,
            Value::Float64(number) => append_field(buffer, &number.to_be_bytes())?,
            Value::Boolean(truth) => append_field(buffer, &[u8::from(truth)])?,
        }
    }
    Ok(())
}

fn append_field(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ExportError> {
    let length = i32::try_from(bytes.len())
        .map_err(|_| ExportError::columns(format!("a text has {} bytes", bytes.len())))?;
    buffer.extend(length.to_be_bytes());
    buffer.extend(bytes);
    Ok(())
}
