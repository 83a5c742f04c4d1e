//! The SQL function `cosine_similarity`.

use std::sync::Arc;

use arrow::array::Float64Array;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::vectors::{Vector, VectorArgument, vector_type, width_of};

/// Sums of squares between these are neither rounded away nor overflown, and neither is the product of their roots.
const SAFE: std::ops::RangeInclusive<f64> = 1e-280..=1e280;

/// `cosine_similarity(a, b)`: the cosine of the angle between two vectors, a·b / (|a| |b|), from -1 to 1, in f64. Null if
/// one of them is null, has a null in it, or is zero throughout: it has no direction then.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CosineSimilarity {
    signature: Signature,
}

impl CosineSimilarity {
    pub(crate) const NAME: &str = "cosine_similarity";

    pub(crate) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CosineSimilarity {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [a, b] = arguments else {
            return plan_err!("`{}` takes two vectors, not {} arguments", Self::NAME, arguments.len());
        };
        if let (Some(a), Some(b)) = (width_of(a), width_of(b))
            && a != b
        {
            return plan_err!(
                "`{}` takes vectors of one width, not of {a} and {b}: features of two models can't be compared",
                Self::NAME
            );
        }
        let as_vector = |argument: &DataType| {
            if let Some(vector) = vector_type(argument) {
                Ok(vector)
            } else {
                plan_err!("`{}` takes lists of numbers such as features, not {argument}", Self::NAME)
            }
        };
        Ok(vec![as_vector(a)?, as_vector(b)?])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [a, b] = args.args.as_slice() else {
            return exec_err!("`{}` takes two vectors", Self::NAME);
        };
        let (a, b) = (VectorArgument::of(a)?, VectorArgument::of(b)?);
        let (a, b) = (a.vectors()?, b.vectors()?);
        let similarities = (0..args.number_rows).map(|row| match (a.get(row), b.get(row)) {
            (Some(a), Some(b)) if a.len() != b.len() => exec_err!(
                "`{}` was given vectors of width {} and {}: features of two models can't be compared",
                Self::NAME,
                a.len(),
                b.len()
            ),
            (Some(a), Some(b)) => Ok(cosine_similarity(a, b)),
            _ => Ok(None),
        });
        let similarities: Float64Array = similarities.collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(similarities)))
    }
}

/// Of vectors of one length; `None` if one of them is zero. NaN where one holds what is no finite number.
fn cosine_similarity(a: Vector<'_>, b: Vector<'_>) -> Option<f64> {
    match (a, b) {
        (Vector::Single(a), Vector::Single(b)) => cosine(a, b),
        (Vector::Single(a), Vector::Double(b)) | (Vector::Double(b), Vector::Single(a)) => cosine(a, b),
        (Vector::Double(a), Vector::Double(b)) => cosine(a, b),
    }
}

fn cosine<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> Option<f64> {
    let mut sums = sums(a, b, 1.0, 1.0);
    if !SAFE.contains(&sums.a_squares) || !SAFE.contains(&sums.b_squares) {
        let (largest_a, largest_b) = (largest(a), largest(b));
        if largest_a == 0.0 || largest_b == 0.0 {
            return None;
        }
        sums = self::sums(a, b, largest_a, largest_b);
    }
    let cosine = sums.products / (sums.a_squares.sqrt() * sums.b_squares.sqrt());
    // Rounding alone leads out of the range. NaN stays what it is.
    Some(cosine.clamp(-1.0, 1.0))
}

struct Sums {
    products: f64,
    a_squares: f64,
    b_squares: f64,
}

/// Over the vectors divided by these numbers.
fn sums<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B], a_unit: f64, b_unit: f64) -> Sums {
    let mut sums = Sums { products: 0.0, a_squares: 0.0, b_squares: 0.0 };
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (a.into() / a_unit, b.into() / b_unit);
        sums.products += a * b;
        sums.a_squares += a * a;
        sums.b_squares += b * b;
    }
    sums
}

fn largest<T: Copy + Into<f64>>(values: &[T]) -> f64 {
    values.iter().fold(0.0, |largest: f64, &value| {
        let size = value.into().abs();
        if largest.is_nan() || size.is_nan() { f64::NAN } else { largest.max(size) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(a: &[f64], b: &[f64]) -> Option<f64> {
        cosine_similarity(Vector::Double(a), Vector::Double(b))
    }

    /// In the plane the vectors at angles x and y have the similarity cos(x - y). The difference of the angles, up to 47, is itself
    /// rounded by up to 3.6e-15; 5e-15 leaves room for the rounding of four operations on numbers around 1.
    #[test]
    fn it_is_the_cosine_of_the_angle() {
        for step in 0..100 {
            let (x, y) = (f64::from(step) * 0.37, f64::from(step) * -0.11 + 0.5);
            let (a, b) = ([3.0 * x.cos(), 3.0 * x.sin()], [0.01 * y.cos(), 0.01 * y.sin()]);
            let similarity = of(&a, &b).unwrap();
            assert!((similarity - (x - y).cos()).abs() < 5e-15, "{x} {y}: {similarity}");
            assert_eq!(of(&b, &a), Some(similarity));
        }
        assert_eq!(of(&[1.0, 2.0, 3.0], &[-2.0, -4.0, -6.0]), Some(-1.0));
        let single = cosine_similarity(Vector::Single(&[3.0, 4.0]), Vector::Double(&[4.0, 3.0]));
        assert_eq!(single, Some(24.0 / 25.0));
    }

    #[test]
    fn size_does_not_matter() {
        for size in [1e-320, 1e-300, 1e-150, 1e150, 1e300] {
            let similarity = of(&[size * 3.0, size * 4.0], &[4.0, 3.0]).unwrap();
            // Numbers below 2.2e-308 have fewer digits.
            let tolerance = if size < 1e-310 { 1e-2 } else { 1e-15 };
            assert!((similarity - 0.96).abs() < tolerance, "{size}: {similarity}");
        }
    }

    #[test]
    fn what_has_no_direction_has_no_similarity() {
        assert_eq!(of(&[0.0, 0.0], &[1.0, 2.0]), None);
        assert_eq!(of(&[1.0, 2.0], &[0.0, -0.0]), None);
        assert_eq!(of(&[], &[]), None);
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(of(&[bad, 1.0], &[1.0, 2.0]).unwrap().is_nan());
            assert!(of(&[1.0, 2.0], &[1.0, bad]).unwrap().is_nan());
        }
    }
}
