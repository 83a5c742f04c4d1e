//! Columns of vectors: Arrow's lists of floats, of one width or of any.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, ListArray, PrimitiveArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ColumnarValue;

/// The type as which vectors of this type are taken: lists of other numbers become lists of Float64, and null an empty
/// one; `None` if it is no list of numbers.
pub(crate) fn vector_type(data_type: &DataType) -> Option<DataType> {
    let float = |item: &FieldRef| -> Option<FieldRef> {
        match item.data_type() {
            DataType::Float32 | DataType::Float64 => Some(Arc::clone(item)),
            other if other.is_numeric() || other.is_null() => {
                Some(Arc::new(Field::clone(item).with_data_type(DataType::Float64)))
            }
            _ => None,
        }
    };
    match data_type {
        DataType::FixedSizeList(item, width) => Some(DataType::FixedSizeList(float(item)?, *width)),
        DataType::List(item) | DataType::ListView(item) => Some(DataType::List(float(item)?)),
        DataType::LargeList(item) | DataType::LargeListView(item) => Some(DataType::LargeList(float(item)?)),
        DataType::Null => Some(DataType::new_list(DataType::Float64, true)),
        _ => None,
    }
}

/// The width that all vectors of the type have, if it says so.
pub(crate) fn width_of(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeList(_, width) => usize::try_from(*width).ok(),
        _ => None,
    }
}

/// An argument of a function as an array: of one row if it is a constant.
pub(crate) struct VectorArgument {
    array: ArrayRef,
    is_constant: bool,
}

impl VectorArgument {
    pub(crate) fn of(argument: &ColumnarValue) -> Result<Self> {
        Ok(match argument {
            ColumnarValue::Array(array) => Self { array: Arc::clone(array), is_constant: false },
            ColumnarValue::Scalar(scalar) => Self { array: scalar.to_array_of_size(1)?, is_constant: true },
        })
    }

    pub(crate) fn vectors(&self) -> Result<Vectors<'_>> {
        let array = self.array.as_ref();
        let lists = match array.data_type() {
            DataType::FixedSizeList(..) => Lists::Fixed(array.as_fixed_size_list()),
            DataType::List(_) => Lists::Small(array.as_list()),
            DataType::LargeList(_) => Lists::Large(array.as_list()),
            other => return exec_err!("vectors are lists of numbers, not {other}"),
        };
        let values = lists.values();
        let numbers = match values.data_type() {
            DataType::Float32 => Numbers::Single(values.as_primitive()),
            DataType::Float64 => Numbers::Double(values.as_primitive()),
            other => return exec_err!("vectors are lists of floats, not of {other}"),
        };
        Ok(Vectors { lists, numbers, is_constant: self.is_constant })
    }
}

enum Lists<'a> {
    Fixed(&'a FixedSizeListArray),
    Small(&'a ListArray),
    Large(&'a LargeListArray),
}

enum Numbers<'a> {
    Single(&'a PrimitiveArray<Float32Type>),
    Double(&'a PrimitiveArray<Float64Type>),
}

impl<'a> Lists<'a> {
    fn values(&self) -> &'a ArrayRef {
        match self {
            Self::Fixed(lists) => lists.values(),
            Self::Small(lists) => lists.values(),
            Self::Large(lists) => lists.values(),
        }
    }

    fn array(&self) -> &'a dyn Array {
        match self {
            Self::Fixed(lists) => *lists,
            Self::Small(lists) => *lists,
            Self::Large(lists) => *lists,
        }
    }

    /// Where the row's values lie.
    fn range(&self, row: usize) -> Range<usize> {
        match self {
            Self::Fixed(lists) => {
                let start = lists.value_offset(row) as usize;
                start..start + lists.value_length() as usize
            }
            Self::Small(lists) => {
                lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize
            }
            Self::Large(lists) => {
                lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize
            }
        }
    }
}

/// The vectors of a column, row by row.
pub(crate) struct Vectors<'a> {
    lists: Lists<'a>,
    numbers: Numbers<'a>,
    is_constant: bool,
}

/// One vector.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Vector<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl<'a> Vectors<'a> {
    /// Whether their numbers are Float32.
    pub(crate) fn are_single(&self) -> bool {
        matches!(self.numbers, Numbers::Single(_))
    }

    /// The vector of a row; `None` if it is null or has a null in it.
    pub(crate) fn get(&self, row: usize) -> Option<Vector<'a>> {
        let row = if self.is_constant { 0 } else { row };
        if self.lists.array().is_null(row) {
            return None;
        }
        let range = self.lists.range(row);
        let values: &dyn Array = match self.numbers {
            Numbers::Single(values) => values,
            Numbers::Double(values) => values,
        };
        if values.null_count() > 0 && range.clone().any(|index| values.is_null(index)) {
            return None;
        }
        Some(match self.numbers {
            Numbers::Single(values) => Vector::Single(&values.values()[range]),
            Numbers::Double(values) => Vector::Double(&values.values()[range]),
        })
    }
}

impl Vector<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Double(values) => values.len(),
        }
    }
}
