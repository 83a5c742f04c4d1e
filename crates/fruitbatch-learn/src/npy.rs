//! Arrays of f64 as `.npy` files (numpy's format, version 1.0), in exactly one form: little-endian, row by row.
//!
//! Reading accepts that form alone and learns the shape from the caller, so nothing in a damaged file can make it allocate
//! more than the file's own length or run a parser on it.

use ndarray::{ArrayD, ArrayViewD, IxDyn};

/// Magic string, then version 1.0.
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";

/// The whole header is padded to a multiple of this, so that the data are aligned.
const ALIGNMENT: usize = 64;

/// The file of an array.
pub(crate) fn write(array: &ArrayViewD<'_, f64>) -> Vec<u8> {
    let mut bytes = header(array.shape());
    bytes.reserve(array.len() * size_of::<f64>());
    for value in array {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The array of that shape in a file, or in words why the file holds no such array.
pub(crate) fn read(bytes: &[u8], shape: &[usize]) -> Result<ArrayD<f64>, String> {
    let expected_header = header(shape);
    let Some(data) = bytes.strip_prefix(expected_header.as_slice()) else {
        return Err(format!(
            "its header isn't that of little-endian float64 of shape {shape:?} in row order"
        ));
    };
    let (values, rest) = data.as_chunks();
    let length = shape.iter().try_fold(1_usize, |length, &side| length.checked_mul(side));
    if length != Some(values.len()) || !rest.is_empty() {
        return Err(format!("it holds {} bytes of data, which isn't what shape {shape:?} takes", data.len()));
    }
    let values = values.iter().map(|&value| f64::from_le_bytes(value)).collect();
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|error| error.to_string())
}

/// The header as numpy writes it.
fn header(shape: &[usize]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
    // A tuple of one needs its comma in Python.
    let comma = if shape.len() == 1 { "," } else { "" };
    let description =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}{comma}), }}", sides.join(", "));
    let length_before_padding = MAGIC.len() + size_of::<u16>() + description.len() + 1;
    let padding = length_before_padding.next_multiple_of(ALIGNMENT) - length_before_padding;
    let length = (description.len() + padding + 1) as u16;
    [MAGIC, &length.to_le_bytes(), description.as_bytes(), &vec![b' '; padding], b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, ArrayD, array};
    use ndarray_npy::ReadNpyExt;

    use super::*;

    fn assert_read_by_both(array: &ArrayD<f64>) {
        let bytes = write(&array.view());
        assert_eq!(read(&bytes, array.shape()).unwrap(), array);
        assert_eq!(ArrayD::<f64>::read_npy(bytes.as_slice()).unwrap(), array, "as read by ndarray-npy");
    }

    #[test]
    fn files_are_read_by_another_implementation() {
        assert_read_by_both(&Array1::from_iter((0..7).map(|value| 1.0 / f64::from(value + 1))).into_dyn());
        assert_read_by_both(
            &array![[1.0, f64::INFINITY], [-0.0, f64::MIN_POSITIVE], [1e300, 5.0]].into_dyn(),
        );
        assert_read_by_both(&Array2::zeros((0, 3)).into_dyn());
    }

    #[test]
    fn files_are_those_that_numpy_writes() {
        // numpy.save of numpy.array([1.5]), numpy 2.4.
        let description: &[u8] = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }";
        let numpy =
            [b"\x93NUMPY\x01\x00\x76\x00", description, &[b' '; 60], b"\n\x00\x00\x00\x00\x00\x00\xf8\x3f"]
                .concat();
        assert_eq!(write(&array![1.5].into_dyn().view()), numpy);
    }

    #[test]
    fn damaged_files_are_refused() {
        let bytes = write(&array![[1.0, 2.0], [3.0, 4.0]].into_dyn().view());
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], &[2, 2]).is_err(), "cut to {length} bytes");
        }
        assert!(read(&[bytes.clone(), vec![0]].concat(), &[2, 2]).is_err());
        assert!(read(&bytes, &[4]).is_err());
        assert!(read(&bytes, &[usize::MAX, usize::MAX]).is_err());
    }
}
