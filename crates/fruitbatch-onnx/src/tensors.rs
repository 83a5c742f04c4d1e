//! Constant tensors, attributes and types: building them, and reading them with every length checked.

use bytes::Bytes;

use crate::messages::{
    Attribute, AttributeType, DataType, Dimension, DimensionValue, Node, Tensor, TensorShape, TensorType,
    Type, ValueInfo,
};

/// A tensor whose data can't be what its shape and type say.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The data lie in another file.
    #[error("tensor `{tensor}` keeps its data in another file; save the model as one file")]
    ExternalData {
        /// The tensor.
        tensor: String,
    },
    /// Elements of a type that isn't supported.
    #[error(
        "tensor `{tensor}` has elements of type {data_type}, where {expected} is needed; export the model \
         in float32"
    )]
    ElementType {
        /// The tensor.
        tensor: String,
        /// Its type.
        data_type: String,
        /// What would be right.
        expected: &'static str,
    },
    /// More or fewer data than the shape has elements.
    #[error(
        "tensor `{tensor}` of shape {shape:?} holds {found} bytes of data instead of {expected}; the file \
         is damaged"
    )]
    DataLength {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<i64>,
        /// The bytes there should be.
        expected: u64,
        /// The bytes there are.
        found: u64,
    },
    /// A negative dimension, or more elements than a file can hold.
    #[error("tensor `{tensor}` has the impossible shape {shape:?}; the file is damaged")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<i64>,
    },
}

/// A float32 tensor, its data raw.
pub fn float_tensor(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dims: shape.iter().map(|&dim| dim as i64).collect(),
        data_type: DataType::Float.into(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into(),
        ..Tensor::default()
    }
}

/// An int64 tensor, its data raw.
pub fn int64_tensor(name: &str, shape: &[usize], values: &[i64]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dims: shape.iter().map(|&dim| dim as i64).collect(),
        data_type: DataType::Int64.into(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into(),
        ..Tensor::default()
    }
}

/// An attribute that is a list of integers.
pub fn ints_attribute(name: &str, values: &[i64]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        ints: values.to_vec(),
        r#type: AttributeType::Ints.into(),
        ..Attribute::default()
    }
}

/// An attribute that is one integer.
pub fn int_attribute(name: &str, value: i64) -> Attribute {
    Attribute { name: name.to_owned(), i: value, r#type: AttributeType::Int.into(), ..Attribute::default() }
}

/// The node's attribute of this name.
pub fn attribute<'node>(node: &'node Node, name: &str) -> Option<&'node Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// A float32 tensor's name and type, as a graph's inputs and outputs are declared.
pub fn float_value(name: &str, dims: Vec<DimensionValue>) -> ValueInfo {
    let dim = dims.into_iter().map(|value| Dimension { value: Some(value) }).collect();
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type: DataType::Float.into(),
                shape: Some(TensorShape { dim }),
            }),
        }),
    }
}

/// The dimensions of a declared tensor; `None` for each that is free, and as a whole where no rank is
/// declared.
pub fn declared_dims(value: &ValueInfo) -> Option<Vec<Option<i64>>> {
    let shape = value.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    Some(
        shape
            .dim
            .iter()
            .map(|dim| match dim.value {
                Some(DimensionValue::Fixed(size)) if size > 0 => Some(size),
                _ => None,
            })
            .collect(),
    )
}

/// The most elements that a shape may have: a file of 64 GiB of them.
const MAX_ELEMENTS: u64 = u32::MAX as u64 * 16;

/// How many elements the tensor has by its shape.
///
/// Dimensions that are zero are counted as one for the limit, so that the product of any of the dimensions fits too.
///
/// # Errors
/// A dimension is negative, or the product is more than a file can hold.
pub fn element_count(tensor: &Tensor) -> Result<u64, TensorError> {
    let product = |least: u64| {
        tensor
            .dims
            .iter()
            .try_fold(1_u64, |count, &dim| count.checked_mul(u64::try_from(dim).ok()?.max(least)))
    };
    product(1)
        .filter(|&count| count <= MAX_ELEMENTS)
        .and_then(|_| product(0))
        .ok_or_else(|| TensorError::Shape { tensor: tensor.name.clone(), shape: tensor.dims.clone() })
}

/// The tensor with its data raw, whichever way they were kept: float32, int32, int64 and bool are supported.
///
/// # Errors
/// Another type, data in another file, or data that don't fit the shape.
pub fn with_raw_data(mut tensor: Tensor) -> Result<Tensor, TensorError> {
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(TensorError::ExternalData { tensor: tensor.name });
    }
    let data_type = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
    let element_bytes: u64 = match data_type {
        DataType::Float | DataType::Int32 => 4,
        DataType::Int64 => 8,
        DataType::Bool => 1,
        _ => {
            return Err(TensorError::ElementType {
                data_type: type_name(tensor.data_type),
                tensor: tensor.name,
                expected: "float32 (or int64, int32, bool for shapes and switches)",
            });
        }
    };
    let expected = element_count(&tensor)? * element_bytes;
    if tensor.raw_data.is_empty() && expected > 0 {
        tensor.raw_data = Bytes::from(match data_type {
            DataType::Float => {
                tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()
            }
            DataType::Int32 => tensor.int32_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            DataType::Int64 => tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            _ => tensor.int32_data.iter().map(|&value| u8::from(value != 0)).collect(),
        });
    }
    let found = tensor.raw_data.len() as u64;
    if found != expected {
        return Err(TensorError::DataLength { tensor: tensor.name, shape: tensor.dims, expected, found });
    }
    Ok(Tensor { float_data: Vec::new(), int32_data: Vec::new(), int64_data: Vec::new(), ..tensor })
}

/// The values of a float32 tensor whose data are raw.
///
/// # Errors
/// The tensor isn't float32.
pub fn float_values(tensor: &Tensor) -> Result<impl ExactSizeIterator<Item = f32> + '_, TensorError> {
    expect_type(tensor, DataType::Float, "float32")?;
    Ok(tensor
        .raw_data
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
}

/// The values of an int64 tensor whose data are raw.
///
/// # Errors
/// The tensor isn't int64.
pub fn int64_values(tensor: &Tensor) -> Result<Vec<i64>, TensorError> {
    expect_type(tensor, DataType::Int64, "int64")?;
    Ok(tensor
        .raw_data
        .chunks_exact(8)
        .map(|bytes| i64::from_le_bytes(std::array::from_fn(|index| bytes[index])))
        .collect())
}

/// An element type's name in lower case, or its number where it is a newer one.
pub fn type_name(data_type: i32) -> String {
    match DataType::try_from(data_type) {
        Ok(DataType::Float) => "float32".to_owned(),
        Ok(DataType::Double) => "float64".to_owned(),
        Ok(known) => format!("{known:?}").to_lowercase(),
        Err(_) => format!("number {data_type}"),
    }
}

fn expect_type(tensor: &Tensor, expected: DataType, expected_name: &'static str) -> Result<(), TensorError> {
    if tensor.data_type == i32::from(expected) {
        return Ok(());
    }
    Err(TensorError::ElementType {
        tensor: tensor.name.clone(),
        data_type: type_name(tensor.data_type),
        expected: expected_name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_kept_as_numbers_become_the_same_raw_bytes() {
        let raw = float_tensor("t", &[2, 1], &[1.5, -2.0]);
        let listed = Tensor { raw_data: Bytes::new(), float_data: vec![1.5, -2.0], ..raw.clone() };
        assert_eq!(with_raw_data(listed).unwrap(), raw);
        let raw = int64_tensor("t", &[3], &[1, -1, i64::MAX]);
        let listed = Tensor { raw_data: Bytes::new(), int64_data: vec![1, -1, i64::MAX], ..raw.clone() };
        assert_eq!(with_raw_data(listed).unwrap(), raw);
        assert_eq!(int64_values(&raw).unwrap(), [1, -1, i64::MAX]);
    }

    #[test]
    fn shapes_types_and_data_that_contradict_each_other_are_refused() {
        let good = float_tensor("t", &[2], &[1.0, 2.0]);
        let refused = |tensor: Tensor| with_raw_data(tensor).unwrap_err();
        assert!(matches!(refused(Tensor { dims: vec![3], ..good.clone() }), TensorError::DataLength { .. }));
        assert!(matches!(refused(Tensor { dims: vec![-2], ..good.clone() }), TensorError::Shape { .. }));
        assert!(matches!(
            refused(Tensor { dims: vec![i64::MAX; 3], ..good.clone() }),
            TensorError::Shape { .. }
        ));
        // No elements, and yet no product of its other dimensions.
        let empty = |dims| Tensor { dims, raw_data: Bytes::new(), ..good.clone() };
        for dims in [vec![0, i64::MAX, i64::MAX], vec![i64::MAX, i64::MAX, 0], vec![i64::MIN]] {
            assert!(matches!(refused(empty(dims)), TensorError::Shape { .. }));
        }
        assert_eq!(element_count(&empty(vec![0, 4])).unwrap(), 0);
        assert!(matches!(refused(Tensor { data_type: 10, ..good.clone() }), TensorError::ElementType { .. }));
        assert!(matches!(refused(Tensor { data_type: 99, ..good.clone() }), TensorError::ElementType { .. }));
        assert!(matches!(refused(Tensor { data_location: 1, ..good }), TensorError::ExternalData { .. }));
    }
}
