//! The columns that can be exported, and the values of a batch one by one.

use std::collections::HashSet;

use arrow::array::{
    Array, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, Schema};

use crate::error::ExportError;

/// The column by which both targets tell rows apart.
pub(crate) const KEY: &str = "path";

/// What a column holds, in the words of neither target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Text,
    Int32,
    Int64,
    Float32,
    Float64,
    Boolean,
}

/// A column of the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
}

/// The columns of the results in their order, each name once, [`KEY`] among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    key: usize,
}

/// A value. Texts are borrowed from their batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Text(&'a str),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Boolean(bool),
}

/// The rows of one batch, of known types; [`KEY`] is never null.
pub(crate) struct Rows {
    columns: Vec<Values>,
    keys: StringArray,
    count: usize,
}

enum Values {
    Text(StringArray),
    Int32(Int32Array),
    Int64(Int64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Boolean(BooleanArray),
}

impl ColumnType {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Int32 => Some(Self::Int32),
            DataType::Int64 => Some(Self::Int64),
            DataType::Float32 => Some(Self::Float32),
            DataType::Float64 => Some(Self::Float64),
            DataType::Boolean => Some(Self::Boolean),
            _ => None,
        }
    }
}

impl Columns {
    /// # Errors
    /// [`ExportError::Columns`] if one is of another type, two have the same name, or there is no text column [`KEY`].
    pub(crate) fn of(schema: &Schema) -> Result<Self, ExportError> {
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut names = HashSet::new();
        for field in schema.fields() {
            let name = field.name();
            let column_type = ColumnType::of(field.data_type()).ok_or_else(|| {
                ExportError::columns(format!("column `{name}` is of type {}", field.data_type()))
            })?;
            if !names.insert(name) {
                return Err(ExportError::columns(format!("two columns have the name `{name}`")));
            }
            columns.push(Column { name: name.clone(), column_type });
        }
        let is_key = |column: &Column| column.name == KEY && column.column_type == ColumnType::Text;
        let key = columns.iter().position(is_key);
        let key = key.ok_or_else(|| ExportError::columns(format!("there is no text column `{KEY}`")))?;
        Ok(Self { columns, key })
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Column> {
        self.columns.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// # Errors
    /// [`ExportError::Columns`] if `batch` has other columns than these, or a row without [`KEY`].
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<Rows, ExportError> {
        if Self::of(batch.schema_ref())? != *self {
            return Err(ExportError::columns("their batches have different columns"));
        }
        let values = |(column, array): (&Column, &dyn Array)| match column.column_type {
            ColumnType::Text => Ok(Values::Text(texts(array)?)),
            ColumnType::Int32 => Ok(Values::Int32(array.as_primitive::<Int32Type>().clone())),
            ColumnType::Int64 => Ok(Values::Int64(array.as_primitive::<Int64Type>().clone())),
            ColumnType::Float32 => Ok(Values::Float32(array.as_primitive::<Float32Type>().clone())),
            ColumnType::Float64 => Ok(Values::Float64(array.as_primitive::<Float64Type>().clone())),
            ColumnType::Boolean => Ok(Values::Boolean(array.as_boolean().clone())),
        };
        let arrays = batch.columns().iter().map(AsRef::as_ref);
        let columns = self.columns.iter().zip(arrays).map(values).collect::<Result<Vec<_>, ExportError>>()?;
        let keys = texts(batch.column(self.key))?;
        if keys.null_count() > 0 {
            return Err(ExportError::columns(format!("a row has no `{KEY}`")));
        }
        Ok(Rows { columns, keys, count: batch.num_rows() })
    }
}

/// The three layouts of texts as one.
fn texts(array: &dyn Array) -> Result<StringArray, ExportError> {
    let texts = cast(array, &DataType::Utf8).map_err(ExportError::Read)?;
    Ok(texts.as_string().clone())
}

impl Rows {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn key(&self, row: usize) -> &str {
        self.keys.value(row)
    }

    /// The values of a row in the order of the columns.
    pub(crate) fn values(&self, row: usize) -> impl Iterator<Item = Value<'_>> {
        self.columns.iter().map(move |column| column.value(row))
    }
}

impl Values {
    fn value(&self, row: usize) -> Value<'_> {
        let is_null = match self {
            Self::Text(array) => array.is_null(row),
            Self::Int32(array) => array.is_null(row),
            Self::Int64(array) => array.is_null(row),
            Self::Float32(array) => array.is_null(row),
            Self::Float64(array) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
        };
        if is_null {
            return Value::Null;
        }
        match self {
            Self::Text(array) => Value::Text(array.value(row)),
            Self::Int32(array) => Value::Int32(array.value(row)),
            Self::Int64(array) => Value::Int64(array.value(row)),
            Self::Float32(array) => Value::Float32(array.value(row)),
            Self::Float64(array) => Value::Float64(array.value(row)),
            Self::Boolean(array) => Value::Boolean(array.value(row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, LargeStringArray, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn all_layouts_of_texts_are_texts() {
        let labels = [Some("apple"), None];
        let layouts: [ArrayRef; 3] = [
            Arc::new(StringArray::from_iter(labels)),
            Arc::new(LargeStringArray::from_iter(labels)),
            Arc::new(StringViewArray::from_iter(labels)),
        ];
        for layout in layouts {
            let paths: ArrayRef = Arc::new(StringArray::from(vec!["a.jpg", "b.jpg"]));
            let batch =
                RecordBatch::try_from_iter_with_nullable([("path", paths, false), ("label", layout, true)])
                    .unwrap();
            let columns = Columns::of(batch.schema_ref()).unwrap();
            let rows = columns.rows(&batch).unwrap();
            assert_eq!((rows.count(), rows.key(1)), (2, "b.jpg"));
            assert_eq!(rows.values(0).collect::<Vec<_>>(), [Value::Text("a.jpg"), Value::Text("apple")]);
            assert_eq!(rows.values(1).collect::<Vec<_>>(), [Value::Text("b.jpg"), Value::Null]);
        }
    }

    #[test]
    fn other_columns_are_refused() {
        let path = Field::new("path", DataType::Utf8, false);
        let problem = |fields: Vec<Field>| Columns::of(&Schema::new(fields)).unwrap_err().to_string();
        let message = problem(vec![path.clone(), Field::new("taken", DataType::Date32, true)]);
        assert!(message.contains("column `taken` is of type Date32"), "{message}");
        let message = problem(vec![Field::new("label", DataType::Utf8, true)]);
        assert!(message.contains("no text column `path`"), "{message}");
        let message = problem(vec![path.clone(), path]);
        assert!(message.contains("two columns have the name `path`"), "{message}");
    }

    #[test]
    fn a_batch_that_differs_from_the_schema_is_refused() {
        let batch = |nullable_path: Option<&str>| {
            let paths: ArrayRef = Arc::new(StringArray::from(vec![nullable_path]));
            RecordBatch::try_from_iter_with_nullable([("path", paths, true)]).unwrap()
        };
        let columns = Columns::of(batch(None).schema_ref()).unwrap();
        assert!(columns.rows(&batch(Some("a.jpg"))).is_ok());
        assert!(matches!(columns.rows(&batch(None)), Err(ExportError::Columns { .. })));
        let other = Schema::new(vec![
            Field::new("path", DataType::Utf8, false),
            Field::new("cluster", DataType::Int32, false),
        ]);
        let columns = Columns::of(&other).unwrap();
        assert!(matches!(columns.rows(&batch(Some("a.jpg"))), Err(ExportError::Columns { .. })));
    }
}
