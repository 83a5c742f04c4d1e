//! The classifier head of a run: labels from features, trained and tested on the run's own photos.

use std::num::NonZeroUsize;

use bytes::Bytes;
use fruitbatch_learn::classifier::{
    ClassificationReport, ClassifierSpec, FittedClassifier, Split, fit_classifier,
};
use fruitbatch_learn::{LearnError, Lineage, RowBlocks};

use crate::labels::{TEST_SPLIT, TRAINING_SPLIT};
use crate::outputs::{LabelIndex, csv_bytes};

/// The confusion matrix over the test photos, below OUT: a row for each true label, a column for each predicted one.
pub const CONFUSION_CSV: &str = "confusion.csv";

/// Trains a head on features (n x d). Where the photos have splits, it is trained on Training and tested on Test, without regard to the
/// spec's share.
///
/// # Errors
/// See [`fit_classifier`].
pub(crate) fn train(
    spec: &ClassifierSpec,
    features: &impl RowBlocks<Value = f32>,
    labels: &LabelIndex,
    label_indices: &[Option<u32>],
    splits: Option<&[Option<&'static str>]>,
    lineage: Lineage,
    threads: NonZeroUsize,
) -> Result<FittedClassifier, LearnError> {
    let split = splits.map(|splits| {
        let rows_in = |wanted| (0..splits.len()).filter(|&row| splits[row] == Some(wanted)).collect();
        Split { training: rows_in(TRAINING_SPLIT), test: rows_in(TEST_SPLIT) }
    });
    let fitted = fit_classifier(features, label_indices, split.as_ref(), spec, threads)?;
    let known = fitted.head.labels().iter().max().map_or(0, |&largest| largest as usize + 1);
    let head = fitted.head.with_label_names(labels.names()[..known].to_vec())?.with_lineage(lineage);
    Ok(FittedClassifier { head, ..fitted })
}

/// `confusion.csv`.
pub(crate) fn confusion_csv(report: &ClassificationReport, labels: &LabelIndex) -> Bytes {
    let name = |label: u32| labels.names()[label as usize].clone();
    csv_bytes(|writer| {
        let mut header = vec!["label".to_owned()];
        header.extend(report.labels.iter().map(|figures| name(figures.label)));
        writer.write_record(&header)?;
        for (figures, counts) in report.labels.iter().zip(&report.confusion_matrix) {
            let mut record = vec![name(figures.label)];
            record.extend(counts.iter().map(ToString::to_string));
            writer.write_record(&record)?;
        }
        Ok(())
    })
}
