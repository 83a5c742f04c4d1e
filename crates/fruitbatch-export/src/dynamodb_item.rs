//! A row as an item of DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::columns::{Columns, Rows, Value};

/// DynamoDB's numbers are decimal, with 38 digits and magnitudes in this range; floats need 17 digits at most, so that
/// those within it come back with the same bits.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-data-types-number>
const MAGNITUDES: std::ops::Range<f64> = 1e-130..1e126;

/// Texts are `S`, numbers `N`, truths `BOOL`, and a null is an attribute that isn't there. A float that DynamoDB's numbers
/// don't reach (NaN, the infinities, magnitudes outside of [`MAGNITUDES`]) is an `S` of the same text.
pub(crate) fn item(columns: &Columns, rows: &Rows, row: usize) -> HashMap<String, AttributeValue> {
    let attribute = |value| match value {
        Value::Null => None,
        Value::Text(text) => Some(AttributeValue::S(text.to_owned())),
        Value::Int32(number) => Some(AttributeValue::N(number.to_string())),
        Value::Int64(number) => Some(AttributeValue::N(number.to_string())),
        // The shortest decimal that is read back as the same float of this width; with an exponent where that is shorter.
        Value::Float32(number) => Some(float(f64::from(number), format!("{number:?}"))),
        Value::Float64(number) => Some(float(number, format!("{number:?}"))),
        Value::Boolean(truth) => Some(AttributeValue::Bool(truth)),
    };
    let named = columns.iter().zip(rows.values(row));
    named.filter_map(|(column, value)| Some((column.name.clone(), attribute(value)?))).collect()
}

fn float(number: f64, text: String) -> AttributeValue {
    if number == 0.0 {
        // It has no -0 either.
        AttributeValue::N("0".to_owned())
    } else if MAGNITUDES.contains(&number.abs()) {
        AttributeValue::N(text)
    } else {
        AttributeValue::S(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_numbers_where_there_are_such() {
        let attribute = |number: f64| float(number, format!("{number:?}"));
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-130, "1e-130"),
            (9.999e125, "9.999e125"),
        ] {
            assert_eq!(attribute(number), AttributeValue::N(text.to_owned()));
        }
        for (number, text) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (1e126, "1e126"),
            (-9.9e-131, "-9.9e-131"),
        ] {
            assert_eq!(attribute(number), AttributeValue::S(text.to_owned()));
        }
    }
}
