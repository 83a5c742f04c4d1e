//! The classifier head: scikit-learn's probabilities and figures, a split that keeps shares, and files that nothing damaged
//! gets through.

use std::num::NonZeroUsize;

use crate::common::{assert_close, features, noise};
use fruitbatch_learn::classifier::{
    CLASSIFIER_FILE, ClassificationReport, ClassifierHead, ClassifierSpec, FittedClassifier, Split,
    array_file_names, fit_classifier,
};
use fruitbatch_learn::{LearnError, Lineage, ModelError};
use linfa::traits::Transformer;
use ndarray::{Array2, Axis, s};
use serde::Deserialize;

type Files = Vec<(String, Vec<u8>)>;

#[derive(Deserialize)]
struct Figures {
    regressions: Vec<RegressionFigures>,
    reports: Vec<ReportFigures>,
}

#[derive(Deserialize)]
struct RegressionFigures {
    labels: Vec<u32>,
    l2: f64,
    test_probabilities: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct ReportFigures {
    labels: Vec<u32>,
    predicted: Vec<u32>,
    accuracy: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    r#macro: [f64; 3],
    confusion_matrix: Vec<Vec<u64>>,
}

fn figures() -> Figures {
    serde_json::from_str(include_str!("../fixtures/scikit_learn_classifier_figures.json")).unwrap()
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Label `row % 3`, which is what the formula's groups are.
fn group_labels(rows: u32) -> Vec<Option<u32>> {
    (0..rows).map(|row| Some(row % 3)).collect()
}

fn fitted() -> FittedClassifier {
    fit_classifier(features(90, 12).view(), &group_labels(90), None, &ClassifierSpec::default(), threads(2))
        .unwrap()
}

#[test]
fn probabilities_are_those_of_scikit_learn_also_for_two_labels() {
    let rows = features(200, 12);
    let (test, training): (Vec<usize>, Vec<usize>) = (0..200).partition(|row| row % 5 == 4);
    let split = Split { training, test: test.clone() };
    for expected in figures().regressions {
        let labels: Vec<Option<u32>> = expected.labels.iter().copied().map(Some).collect();
        let spec = ClassifierSpec { l2: expected.l2, tol: 1e-8, max_iter: 1000, ..ClassifierSpec::default() };
        let fitted = fit_classifier(rows.view(), &labels, Some(&split), &spec, threads(1)).unwrap();
        assert!(fitted.report.converged);
        let probabilities =
            fitted.head.predict_probabilities(rows.select(Axis(0), &test).view(), threads(1)).unwrap();
        assert_eq!(probabilities.ncols(), fitted.head.labels().len());
        // The loss is flat around its lowest point: where it no longer changes in f64, weights still move in their seventh digit.
        assert_close(&probabilities, expected.test_probabilities.iter().flatten(), 1e-6);
    }
}

#[test]
fn figures_are_those_of_scikit_learn() {
    // Quotients and means of counts.
    const TOLERANCE: f64 = 1e-9;
    for expected in figures().reports {
        let report = ClassificationReport::new(&expected.labels, &expected.predicted).unwrap();
        assert_eq!(report.confusion_matrix, expected.confusion_matrix);
        assert_eq!(report.rows, expected.labels.len() as u64);
        let column = |figure: fn(&fruitbatch_learn::classifier::LabelFigures) -> f64| -> Vec<f64> {
            report.labels.iter().map(figure).collect()
        };
        assert_close(&column(|figures| figures.precision), &expected.precision, TOLERANCE);
        assert_close(&column(|figures| figures.recall), &expected.recall, TOLERANCE);
        assert_close(&column(|figures| figures.f1), &expected.f1, TOLERANCE);
        assert!(report.labels.iter().map(|figures| figures.support).eq(expected.support));
        assert_close([&report.accuracy], [&expected.accuracy], TOLERANCE);
        let means = [report.macro_precision, report.macro_recall, report.macro_f1];
        assert_close(&means, &expected.r#macro, TOLERANCE);
    }
    assert_eq!(ClassificationReport::new(&[], &[]), Err(LearnError::NoRows));
    assert!(matches!(ClassificationReport::new(&[1, 2], &[1]), Err(LearnError::LengthMismatch { .. })));
}

#[test]
fn a_split_keeps_the_share_of_every_label() {
    // Labels 0 to 4 on 2, 3, 10, 100 and 1000 rows, among rows without one.
    let sizes = [2, 3, 10, 100, 1000];
    let mut labels: Vec<Option<u32>> = (0..50).map(|_| None).collect();
    for (label, size) in (0..).zip(sizes) {
        labels.extend(std::iter::repeat_n(Some(label), size));
    }
    let split = |share, seed| Split::stratified(&labels, share, seed).unwrap();
    for (share, expected) in
        [(0.2, [1, 1, 2, 20, 200]), (0.5, [1, 2, 5, 50, 500]), (0.001, [1; 5]), (0.999, [1, 2, 9, 99, 999])]
    {
        let split = split(share, 3);
        for (label, (size, expected)) in (0..).zip(sizes.into_iter().zip(expected)) {
            let count = |rows: &[usize]| rows.iter().filter(|&&row| labels[row] == Some(label)).count();
            assert_eq!((count(&split.test), count(&split.training)), (expected, size - expected), "{share}");
        }
        let mut all = [split.training.clone(), split.test.clone()].concat();
        assert!(split.training.is_sorted() && split.test.is_sorted());
        all.sort_unstable();
        assert_eq!(all, (50..labels.len()).collect::<Vec<_>>());
    }
    assert_eq!(split(0.2, 7), split(0.2, 7));
    assert_ne!(split(0.2, 7), split(0.2, 8));

    labels.push(Some(9));
    let error = Split::stratified(&labels, 0.2, 0).unwrap_err();
    assert_eq!(error, LearnError::TooFewRowsOfLabel { label: 9, rows: 1, needed: 2 });
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    // Several blocks of rows, with labels that noise decides, so that rounding has something to change.
    let rows = Array2::from_shape_fn((2500, 6), |(row, column)| noise(row, column));
    let labels: Vec<Option<u32>> = (0..2500).map(|row| Some((noise(row, 7) * 4.0) as u32)).collect();
    let fit = |count| {
        fit_classifier(rows.view(), &labels, None, &ClassifierSpec::default(), threads(count)).unwrap()
    };
    let one = fit(1);
    for count in [2, 3] {
        let other = fit(count);
        assert_eq!((&one.head, &one.split, &one.report), (&other.head, &other.split, &other.report));
        assert_eq!(
            one.head.predict_rows(rows.view(), threads(1)).unwrap(),
            one.head.predict_rows(rows.view(), threads(count)).unwrap()
        );
    }
}

#[test]
fn a_row_gets_the_same_answer_alone_and_in_company() {
    let head = fitted().head;
    let rows = features(1500, 12);
    let together = head.predict_rows(rows.view(), threads(2)).unwrap();
    let probabilities = head.predict_probabilities(rows.view(), threads(2)).unwrap();
    for row in [0, 1, 1023, 1024, 1499] {
        let one_row = rows.slice(s![row..=row, ..]);
        let alone = head.predict_rows(one_row, threads(1)).unwrap();
        assert_eq!(
            (alone.labels[0], alone.probabilities[0]),
            (together.labels[row], together.probabilities[row])
        );
        assert_eq!(head.predict_probabilities(one_row, threads(1)).unwrap().row(0), probabilities.row(row));
        assert!((probabilities.row(row).sum() - 1.0).abs() < 1e-12);
        let largest = probabilities.row(row).fold(0.0_f64, |largest, &value| largest.max(value));
        assert_eq!(largest, together.probabilities[row]);
    }
    assert!(head.predict_rows(Array2::<f32>::zeros((0, 12)).view(), threads(2)).unwrap().labels.is_empty());
}

#[test]
fn rows_without_a_label_and_rows_of_neither_part_change_nothing() {
    let rows = features(90, 12);
    let mut labels = group_labels(90);
    let mut split = Split::stratified(&labels, 0.3, 1).unwrap();
    let (no_label, left_out) = (split.training.remove(4), split.training.remove(7));
    labels[no_label] = None;
    let expected =
        fit_classifier(rows.view(), &labels, Some(&split), &ClassifierSpec::default(), threads(1)).unwrap();
    assert_eq!(expected.split, split);

    split.training.push(no_label);
    split.training.sort_unstable();
    let mut other_rows = rows.clone();
    other_rows.row_mut(no_label).fill(7e9);
    other_rows.row_mut(left_out).fill(-7e9);
    let fitted =
        fit_classifier(other_rows.view(), &labels, Some(&split), &ClassifierSpec::default(), threads(1))
            .unwrap();
    assert_eq!((fitted.head, fitted.report), (expected.head, expected.report));
}

#[test]
fn a_given_split_may_have_no_test_rows_or_labels_that_training_has_not() {
    let rows = features(30, 12);
    let fit = |labels: &[Option<u32>], training: &[usize], test: &[usize]| {
        let split = Split { training: training.to_vec(), test: test.to_vec() };
        fit_classifier(rows.view(), labels, Some(&split), &ClassifierSpec::default(), threads(1))
    };
    let labels = group_labels(30);
    let all: Vec<usize> = (0..30).collect();
    assert_eq!(fit(&labels, &all, &[]).unwrap().report.test, None);

    // Rows of group 2 are only tested on: one of the others is what they are taken for.
    let (unknown, known): (Vec<usize>, Vec<usize>) = (0..30).partition(|row| row % 3 == 2);
    let fitted = fit(&labels, &known, &unknown).unwrap();
    assert_eq!(fitted.head.labels(), [0, 1]);
    let test = fitted.report.test.unwrap();
    assert_eq!((test.accuracy, test.labels.last().map(|figures| figures.support)), (0.0, Some(10)));

    for (training, test) in [
        (&all[..], &[3][..]),
        (&[0, 1, 30], &[]),
        (&[1, 0, 2], &[]),
        (&[0, 0, 1], &[]),
        (&[0, 1, 2], &[5, 4]),
        (&[0, 1, 2], &[usize::MAX]),
    ] {
        let error = fit(&labels, training, test).unwrap_err();
        assert!(matches!(error, LearnError::InvalidParameter { name: "split", .. }), "{error}");
    }
}

#[test]
fn large_and_unequal_labels_converge_to_the_least_loss() {
    // Scores of outlying rows lie far more than 35 apart; one label has 20 times the rows of the others.
    let rows = Array2::from_shape_fn((1200, 8), |(row, column)| {
        let outlier = if row % 97 == 0 { 400.0 } else { 1.0 };
        let label_offset = if row % 24 < 4 && row % 24 == column { 3.0 } else { 0.0 };
        outlier * (noise(row, column) - 0.5 + label_offset)
    });
    let labels: Vec<Option<u32>> = (0..1200).map(|row| Some((row % 24).min(4))).collect();
    for l2 in [1e-3, 1.0, 100.0] {
        let spec = ClassifierSpec { l2, max_iter: 2000, ..ClassifierSpec::default() };
        let fitted = fit_classifier(rows.view(), &labels, None, &spec, threads(2)).unwrap();
        // The loss has one lowest point, and no slope.
        assert!(fitted.report.converged, "l2 {l2}");
        let scaled = fitted.head.scaler().transform(&rows).unwrap();
        let scores = scaled.dot(&fitted.head.weights().t()) + fitted.head.intercepts();
        let largest = scores.map_axis(Axis(1), |row| row.fold(f64::MIN, |most, &score| most.max(score)));
        let spread = largest.fold(f64::MIN, |most, &score| most.max(score))
            - largest.fold(f64::MAX, |least, &score| least.min(score));
        assert!(spread > 35.0 || l2 > 1.0, "l2 {l2}: {spread}");
    }
    let spec = ClassifierSpec { max_iter: 1, ..ClassifierSpec::default() };
    assert!(!fit_classifier(rows.view(), &labels, None, &spec, threads(2)).unwrap().report.converged);
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let rows = features(30, 12);
    let spec = ClassifierSpec::default();
    let fit = |rows: &Array2<f32>, labels: &[Option<u32>], spec: &ClassifierSpec| {
        fit_classifier(rows.view(), labels, None, spec, threads(2)).unwrap_err()
    };
    let labels = group_labels(30);
    assert_eq!(fit(&rows, &[Some(4); 30], &spec), LearnError::TooFewLabels { labels: 1 });
    assert_eq!(fit(&rows, &[None; 30], &spec), LearnError::TooFewLabels { labels: 0 });
    assert_eq!(fit(&Array2::zeros((0, 12)), &[], &spec), LearnError::TooFewLabels { labels: 0 });
    let mut one_alone = labels.clone();
    one_alone[3] = Some(8);
    assert_eq!(fit(&rows, &one_alone, &spec), LearnError::TooFewRowsOfLabel { label: 8, rows: 1, needed: 2 });
    assert!(matches!(fit(&rows, &labels[..29], &spec), LearnError::LengthMismatch { .. }));
    assert_eq!(fit(&Array2::zeros((30, 0)), &labels, &spec), LearnError::NoColumns);
    for value in [f32::NAN, f32::INFINITY] {
        let mut odd = rows.clone();
        odd[[29, 11]] = value;
        assert!(matches!(fit(&odd, &labels, &spec), LearnError::NotFinite { row: 29, column: 11, .. }));
    }
    for spec in [
        ClassifierSpec { test_share: 0.0, ..spec.clone() },
        ClassifierSpec { test_share: 1.0, ..spec.clone() },
        ClassifierSpec { test_share: f64::NAN, ..spec.clone() },
        ClassifierSpec { l2: 0.0, ..spec.clone() },
        ClassifierSpec { l2: f64::INFINITY, ..spec.clone() },
        ClassifierSpec { max_iter: 0, ..spec.clone() },
        ClassifierSpec { tol: -1.0, ..spec.clone() },
    ] {
        assert!(matches!(fit(&rows, &labels, &spec), LearnError::InvalidParameter { .. }), "{spec:?}");
    }
    assert!(serde_json::from_str::<ClassifierSpec>(r#"{"C": 1.0}"#).is_err());
    assert_eq!(serde_json::from_str::<ClassifierSpec>("{}").unwrap(), spec);

    let head = fitted().head;
    let wide = head.predict_rows(features(3, 13).view(), threads(1)).unwrap_err();
    assert_eq!(wide, LearnError::WidthMismatch { got: 13, expected: 12 });
    assert!(head.predict_probabilities(features(3, 11).view(), threads(1)).is_err());
    let not_finite = Array2::from_elem((2, 12), f64::NAN);
    assert!(matches!(
        head.predict_rows(not_finite.view(), threads(1)),
        Err(LearnError::NotFinite { row: 0, column: 0, .. })
    ));
}

#[test]
fn rows_that_are_all_equal_get_the_labels_shares() {
    let labels: Vec<Option<u32>> = (0..50).map(|row| Some(u32::from(row % 5 == 0))).collect();
    let rows = Array2::from_elem((50, 3), 0.1_f32);
    let fitted = fit_classifier(rows.view(), &labels, None, &ClassifierSpec::default(), threads(1)).unwrap();
    let probabilities = fitted.head.predict_probabilities(rows.view(), threads(1)).unwrap();
    assert_close(probabilities.row(0), &[0.8, 0.2], 1e-9);
    assert_eq!(fitted.report.test.unwrap().accuracy, 0.8);
}

fn named_head() -> ClassifierHead {
    let names = ["apple", "orange", "straw\"berry"].map(str::to_owned).to_vec();
    let lineage = Lineage::from([("feature_model".to_owned(), "sha256:00".into())]);
    fitted().head.with_label_names(names).unwrap().with_lineage(lineage)
}

#[test]
fn a_head_comes_back_exactly() {
    let head = named_head();
    let files = head.to_files();
    let read = ClassifierHead::from_files(&files).unwrap();
    assert_eq!(read, head);
    assert_eq!(read.to_files(), files);
    let rows = features(70, 12);
    assert_eq!(
        read.predict_probabilities(rows.view(), threads(1)).unwrap(),
        head.predict_probabilities(rows.view(), threads(1)).unwrap()
    );
    let mut names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.pop().unwrap(), CLASSIFIER_FILE);
    names.sort();
    assert_eq!(array_file_names(&files.last().unwrap().1).unwrap(), names);
    assert!(head.with_label_names(vec!["apple".to_owned()]).is_err());
}

#[test]
fn no_missing_cut_or_changed_file_gets_through_unseen_or_panics() {
    let head = named_head();
    let files = head.to_files();
    for index in 0..files.len() {
        let mut fewer = files.clone();
        let (removed, content) = fewer.remove(index);
        assert_eq!(
            ClassifierHead::from_files(&fewer),
            Err(ModelError::MissingFile { file: removed.clone() })
        );
        let is_manifest = removed == CLASSIFIER_FILE;
        for position in 0..content.len() {
            let mut changed = files.clone();
            changed[index].1[position] ^= 0x11;
            let mut cut = files.clone();
            cut[index].1.truncate(position);
            if is_manifest {
                // Free text may differ; what is computed with has its digests. Only the last newline may be missing.
                if let Ok(read) = ClassifierHead::from_files(&changed) {
                    assert_eq!(read.weights(), head.weights());
                    read.predict_rows(features(3, 12).view(), threads(1)).unwrap();
                }
                assert_eq!(ClassifierHead::from_files(&cut).is_ok(), position + 1 == content.len());
            } else {
                for damaged in [changed, cut] {
                    assert!(matches!(ClassifierHead::from_files(&damaged), Err(ModelError::Digest { .. })));
                }
            }
        }
    }
}

#[test]
fn a_manifest_that_does_not_fit_its_arrays_is_refused() {
    let refused = |edit: fn(&mut serde_json::Value)| {
        let mut files: Files = named_head().to_files();
        let (_, bytes) = files.last_mut().unwrap();
        let mut manifest = serde_json::from_slice(bytes).unwrap();
        edit(&mut manifest);
        *bytes = serde_json::to_vec(&manifest).unwrap();
        ClassifierHead::from_files(&files).unwrap_err()
    };
    let error = refused(|manifest| manifest["format_version"] = 2.into());
    assert!(matches!(error, ModelError::FormatVersion { found: 2, supported: 1, .. }), "{error}");
    let error = refused(|manifest| manifest["hidden_layers"] = 2.into());
    assert!(matches!(error, ModelError::Manifest { file: CLASSIFIER_FILE, .. }), "{error}");
    let inconsistent: [fn(&mut serde_json::Value); 6] = [
        |manifest| manifest["width"] = 13.into(),
        |manifest| manifest["labels"] = vec![0, 1].into(),
        |manifest| manifest["labels"] = vec![0, 1, 1].into(),
        |manifest| manifest["labels"] = vec![0, 2, 1].into(),
        |manifest| manifest["labels"] = vec![0, 1, 3].into(),
        |manifest| manifest["label_names"] = vec!["apple"].into(),
    ];
    for edit in inconsistent {
        let error = refused(edit);
        assert!(matches!(error, ModelError::Inconsistent { .. }), "{error}");
    }
    let error = refused(|manifest| manifest["files"]["classifier_mean.npy"]["shape"] = vec![2, 6].into());
    assert!(matches!(error, ModelError::Array { .. }), "{error}");
}
