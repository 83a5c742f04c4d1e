//! Features read from Parquet, by path.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::runs::VerifyError;

/// A feature vector for each path.
#[derive(Debug)]
pub(crate) struct Features {
    by_path: BTreeMap<String, Vec<f32>>,
}

impl Features {
    /// Reads the columns `path` and `features` of all files together.
    pub(crate) fn read(files: impl IntoIterator<Item = PathBuf>) -> Result<Self, VerifyError> {
        let mut by_path = BTreeMap::new();
        for file in files {
            let unexpected =
                |detail: String| VerifyError::Unexpected(format!("`{}`: {detail}", file.display()));
            let opened =
                File::open(&file).map_err(|source| VerifyError::Read { file: file.clone(), source })?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(opened)
                .and_then(ParquetRecordBatchReaderBuilder::build)
                .map_err(|error| unexpected(error.to_string()))?;
            for batch in reader {
                let batch = batch.map_err(|error| unexpected(error.to_string()))?;
                let path: &StringArray = batch
                    .column_by_name("path")
                    .and_then(|column| column.as_string_opt())
                    .ok_or_else(|| unexpected("no column `path` of strings".to_owned()))?;
                let features = batch
                    .column_by_name("features")
                    .and_then(|column| column.as_fixed_size_list_opt())
                    .ok_or_else(|| unexpected("no column `features` of fixed-size lists".to_owned()))?;
                for row in 0..batch.num_rows() {
                    let values = features.value(row);
                    let values = values
                        .as_primitive_opt::<Float32Type>()
                        .ok_or_else(|| unexpected("features are not float32".to_owned()))?;
                    if by_path.insert(path.value(row).to_owned(), values.values().to_vec()).is_some() {
                        return Err(unexpected(format!("`{}` is there twice", path.value(row))));
                    }
                }
            }
        }
        Ok(Self { by_path })
    }

    /// Whether both hold the same photos with the same bits.
    pub(crate) fn same_bits(&self, other: &Self) -> bool {
        let bits = |features: &Vec<f32>| features.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        self.by_path.len() == other.by_path.len()
            && self.by_path.iter().all(|(path, features)| {
                other.by_path.get(path).is_some_and(|others| bits(features) == bits(others))
            })
    }

    /// All vectors, one after the other.
    pub(crate) fn in_path_order(&self) -> Vec<f32> {
        self.by_path.values().flatten().copied().collect()
    }

    /// For each photo of `reference`, the cosine of its vector and ours.
    pub(crate) fn cosines(&self, reference: &Self) -> Result<Vec<f64>, VerifyError> {
        let product =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        self.beside(reference, |ours, expected| {
            product(ours, expected) / (product(ours, ours) * product(expected, expected)).sqrt()
        })
    }

    /// For each photo of `reference`, the length of the difference by the length of the reference's vector.
    pub(crate) fn relative_errors(&self, reference: &Self) -> Result<Vec<f64>, VerifyError> {
        self.beside(reference, |ours, expected| {
            let difference: f64 = ours.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let length: f64 = expected.iter().map(|value| f64::from(*value).powi(2)).sum();
            (difference / length).sqrt()
        })
    }

    /// For each photo of `reference`, what becomes of our vector and its.
    fn beside(
        &self,
        reference: &Self,
        figure: impl Fn(&[f32], &[f32]) -> f64,
    ) -> Result<Vec<f64>, VerifyError> {
        let no_vector = |path: &str| {
            VerifyError::Unexpected(format!("`{path}` has no features of the reference's width"))
        };
        let figures = reference.by_path.iter().map(|(path, expected)| {
            let ours = self.by_path.get(path).filter(|ours| ours.len() == expected.len());
            Ok(figure(ours.ok_or_else(|| no_vector(path))?, expected))
        });
        figures.collect()
    }
}
