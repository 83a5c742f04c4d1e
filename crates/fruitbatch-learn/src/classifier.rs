//! A classifier head: labels of feature vectors by multinomial logistic regression, and figures about how well it does on rows
//! that it wasn't trained on.
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use fruitbatch_learn::classifier::{ClassifierHead, ClassifierSpec, fit_classifier};
//! use ndarray::Array2;
//!
//! // Rows of three labels around three centres.
//! let features = Array2::from_shape_fn((60, 4), |(row, column)| {
//!     (100 * usize::from(row % 3 == column) + (row * 7 + column * 5) % 11) as f32
//! });
//! let labels: Vec<Option<u32>> = (0..60).map(|row| Some(row % 3)).collect();
//! let threads = NonZeroUsize::MIN;
//! let fitted = fit_classifier(features.view(), &labels, None, &ClassifierSpec::default(), threads)?;
//! assert_eq!((fitted.split.training.len(), fitted.split.test.len()), (48, 12));
//! assert_eq!(fitted.report.test.map(|test| test.accuracy), Some(1.0));
//!
//! // Kept as files, read again, applied to rows.
//! let names = ["apple", "lemon", "pear"].map(str::to_owned).to_vec();
//! let files = fitted.head.with_label_names(names)?.to_files();
//! let head = ClassifierHead::from_files(&files)?;
//! let predictions = head.predict_rows(features.view(), threads)?;
//! assert_eq!(head.label_names()[predictions.labels[1] as usize], "lemon");
//! assert!(predictions.probabilities[1] > 0.9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is fitted
//! Columns are brought to mean 0 and standard deviation 1 over the training rows. Then, as scikit-learn's
//! `LogisticRegression(C=1 / l2)`, weights W and intercepts b make the sum of `-ln p(label)` over the training rows plus
//! `l2 / 2 |W|^2` least, where p is the softmax of `W x + b`; for two labels, where scikit-learn has one vector of weights and
//! this head two of half its length, the penalty is the same. The descent is L-BFGS in f64; sums go over fixed blocks of rows
//! (see [`blocks`](crate::blocks)), so the result depends on rows, labels and spec alone.
//!
//! # Why not `linfa_logistic::MultiLogisticRegression`
//! Version 0.8.1 sums the exponentials of every row relative to the largest score of all rows. Where that is 35 above a row's
//! own largest, the row's loss is wrong and the line search gives up: begun with a step as long as the mean loss's slope, on
//! VGG16 features of 4960 photos of 31 kinds of fruit, after one round, at an accuracy of 0.92 instead of 1.
//!
//! # Files
//! A head is a folder of `classifier.json` and one `.npy` file for each array, which numpy opens; it may be the folder of a
//! [`LearnModel`](crate::LearnModel).
//!
//! | file | shape | what |
//! |---|---|---|
//! | `classifier_mean.npy` | d | mean of each column |
//! | `classifier_scale.npy` | d | what each column is divided by |
//! | `classifier_weights.npy` | l x d | weights of each label |
//! | `classifier_intercepts.npy` | l | intercept of each label |

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use argmin::core::{CostFunction, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use linfa::{Float, ParamGuard};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewD, ArrayViewMut1, ArrayViewMut2, Axis, s};
use rand::SeedableRng;
use rand::seq::index;
use rand_xoshiro::Xoshiro256Plus;
use serde::{Deserialize, Serialize};

use crate::array_files::{self, ArrayFiles, of_dimension, parse_manifest};
use crate::blocks::{Merge, ROWS_PER_BLOCK, reduce_blocks};
use crate::chosen_rows::ChosenRows;
use crate::model::Lineage;
use crate::moments::ColumnMoments;
use crate::row_blocks::{RowBlocks, reduce_rows, reduce_rows_with};
use crate::rows::{FiniteRows, check_finite, check_width};
use crate::scaler::StandardScaler;
use crate::{LearnError, ModelError};

/// Name of the manifest inside of a head's folder.
pub const CLASSIFIER_FILE: &str = "classifier.json";

/// The form of heads' folders that this crate writes and reads.
pub const CLASSIFIER_FORMAT_VERSION: u32 = 1;

/// Earlier rounds by which L-BFGS guesses the loss's curvature, as many as scikit-learn's.
const REMEMBERED_ROUNDS: usize = 10;

/// What decides a head. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifierSpec {
    /// The share of each label's rows that are kept out of the training, to test on: between 0 and 1, both excluded.
    pub test_share: f64,
    /// Strength of the penalty on large weights, above 0: the inverse of scikit-learn's `C`.
    pub l2: f64,
    /// The most rounds of the descent, 1 or more.
    pub max_iter: usize,
    /// The descent has converged when no slope of the mean loss is steeper than this, above 0.
    pub tol: f64,
    /// Start of the random numbers that draw the rows to test on.
    pub seed: u64,
}

impl Default for ClassifierSpec {
    fn default() -> Self {
        Self { test_share: 0.2, l2: 1.0, max_iter: 100, tol: 1e-4, seed: 0 }
    }
}

impl ClassifierSpec {
    /// Checks every value by itself, before there are any rows.
    ///
    /// # Errors
    /// [`LearnError::InvalidParameter`] with the first value that is out of its range.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse =
            |name, value: String, allowed| Err(LearnError::InvalidParameter { name, value, allowed });
        let is_positive = |value: f64| value > 0.0 && value.is_finite();
        if !(self.test_share > 0.0 && self.test_share < 1.0) {
            return refuse("test_share", self.test_share.to_string(), "between 0 and 1, both excluded");
        }
        if !is_positive(self.l2) {
            return refuse("l2", self.l2.to_string(), "a finite number above 0");
        }
        if self.max_iter == 0 {
            return refuse("max_iter", self.max_iter.to_string(), "1 or more");
        }
        if !is_positive(self.tol) {
            return refuse("tol", self.tol.to_string(), "a finite number above 0");
        }
        Ok(())
    }
}

/// Which rows a head is trained on and which it is tested on: row numbers, ascending, each in one of the two at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Rows to train on.
    pub training: Vec<usize>,
    /// Rows to test on.
    pub test: Vec<usize>,
}

impl Split {
    /// Keeps the labels' shares in both parts: of a label's n rows, `n test_share` rounded to the nearest number, but at least
    /// 1 and at most n - 1, are drawn at random to test on. Rows without a label are in neither part.
    ///
    /// # Errors
    /// [`LearnError::InvalidParameter`] unless `test_share` is between 0 and 1, [`LearnError::TooFewRowsOfLabel`] for a label
    /// on a single row.
    pub fn stratified(labels: &[Option<u32>], test_share: f64, seed: u64) -> Result<Self, LearnError> {
        ClassifierSpec { test_share, ..ClassifierSpec::default() }.check()?;
        let mut rows_by_label: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (row, label) in labels.iter().enumerate() {
            if let Some(label) = label {
                rows_by_label.entry(*label).or_default().push(row);
            }
        }
        let mut random = Xoshiro256Plus::seed_from_u64(seed);
        let mut split = Self::default();
        for (label, rows) in rows_by_label {
            if rows.len() < 2 {
                return Err(LearnError::TooFewRowsOfLabel { label, rows: rows.len(), needed: 2 });
            }
            let test_count = ((rows.len() as f64 * test_share).round() as usize).clamp(1, rows.len() - 1);
            let mut is_test = vec![false; rows.len()];
            for position in index::sample(&mut random, rows.len(), test_count) {
                is_test[position] = true;
            }
            for (row, is_test) in rows.into_iter().zip(is_test) {
                if is_test { &mut split.test } else { &mut split.training }.push(row);
            }
        }
        split.training.sort_unstable();
        split.test.sort_unstable();
        Ok(split)
    }

    /// Refuses numbers that aren't rows, aren't ascending or are in both parts.
    fn check(&self, rows: usize) -> Result<(), LearnError> {
        let mut seen = vec![false; rows];
        for part in [&self.training, &self.test] {
            let ascending = part.is_sorted_by(|left, right| left < right);
            let fresh = |&row: &usize| seen.get_mut(row).is_some_and(|seen| !std::mem::replace(seen, true));
            if !ascending || !part.iter().all(fresh) {
                return Err(LearnError::InvalidParameter {
                    name: "split",
                    value: format!("{} training rows and {} test rows", self.training.len(), self.test.len()),
                    allowed: "ascending numbers of rows, each in one part at most",
                });
            }
        }
        Ok(())
    }
}

/// How good the predictions of one label are. Where a figure divides by 0 it is 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelFigures {
    /// The label.
    pub label: u32,
    /// Share of the rows predicted to have it that have it.
    pub precision: f64,
    /// Share of the rows that have it that were predicted to.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Rows that have it.
    pub support: u64,
}

/// How good predictions are: scikit-learn's figures with `zero_division=0`.
///
/// ```
/// use fruitbatch_learn::classifier::ClassificationReport;
///
/// let report = ClassificationReport::new(&[0, 0, 1, 1], &[0, 1, 1, 1])?;
/// assert_eq!(report.confusion_matrix, [[1, 1], [0, 2]]);
/// assert_eq!(report.accuracy, 0.75);
/// assert_eq!(report.macro_recall, 0.75);
/// # Ok::<(), fruitbatch_learn::LearnError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// Rows whose label was predicted.
    pub rows: u64,
    /// Share of rows whose label was predicted rightly.
    pub accuracy: f64,
    /// Mean of the labels' precisions, each label weighing the same.
    pub macro_precision: f64,
    /// Mean of the labels' recalls.
    pub macro_recall: f64,
    /// Mean of the labels' f1.
    pub macro_f1: f64,
    /// The labels that rows have or were predicted to have, rising.
    pub labels: Vec<LabelFigures>,
    /// Rows by label (first index) and predicted label (second index), in the order of `labels`.
    pub confusion_matrix: Vec<Vec<u64>>,
}

impl ClassificationReport {
    /// Compares the label of each row with the one predicted.
    ///
    /// # Errors
    /// [`LearnError::LengthMismatch`] if the two differ in length, [`LearnError::NoRows`].
    pub fn new(labels: &[u32], predicted: &[u32]) -> Result<Self, LearnError> {
        if labels.len() != predicted.len() {
            return Err(LearnError::LengthMismatch {
                what: "predicted",
                got: predicted.len(),
                expected: labels.len(),
            });
        }
        if labels.is_empty() {
            return Err(LearnError::NoRows);
        }
        let positions: BTreeMap<u32, usize> =
            labels.iter().chain(predicted).copied().collect::<BTreeSet<u32>>().into_iter().zip(0..).collect();
        let mut confusion_matrix = vec![vec![0_u64; positions.len()]; positions.len()];
        for (label, predicted) in labels.iter().zip(predicted) {
            confusion_matrix[positions[label]][positions[predicted]] += 1;
        }
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let figures: Vec<LabelFigures> = positions
            .iter()
            .map(|(&label, &position)| {
                let right = confusion_matrix[position][position];
                let support: u64 = confusion_matrix[position].iter().sum();
                let predictions: u64 = confusion_matrix.iter().map(|row| row[position]).sum();
                LabelFigures {
                    label,
                    precision: share(right, predictions),
                    recall: share(right, support),
                    f1: share(2 * right, support + predictions),
                    support,
                }
            })
            .collect();
        let mean =
            |figure: fn(&LabelFigures) -> f64| figures.iter().map(figure).sum::<f64>() / figures.len() as f64;
        let right = (0..positions.len()).map(|position| confusion_matrix[position][position]).sum();
        Ok(Self {
            rows: labels.len() as u64,
            accuracy: share(right, labels.len() as u64),
            macro_precision: mean(|figures| figures.precision),
            macro_recall: mean(|figures| figures.recall),
            macro_f1: mean(|figures| figures.f1),
            labels: figures,
            confusion_matrix,
        })
    }
}

/// What [`fit_classifier`] returns.
#[derive(Debug, Clone)]
pub struct FittedClassifier {
    /// To be applied to new rows and to be kept.
    pub head: ClassifierHead,
    /// Which rows it was trained and tested on.
    pub split: Split,
    /// The figures.
    pub report: ClassifierReport,
}

/// The figures about a fit. The same input gives the same figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassifierReport {
    /// Whether the descent converged; if not, `max_iter` or `tol` was too small, and the head may still be good.
    pub converged: bool,
    /// Figures over the training rows.
    pub training: ClassificationReport,
    /// Figures over the test rows; null without any.
    pub test: Option<ClassificationReport>,
}

/// Trains a head on features (n x d) and tests it.
///
/// - `labels`: the number of each row's label, `None` for a row without one; such rows have no part in anything.
/// - `split`: which rows to train and to test on; without it [`Split::stratified`] by the spec. All labels of training rows are
///   known to the head; a test row of another label counts as predicted wrongly.
/// - `threads`: no result depends on them.
///
/// # Memory and time
/// Features are read block by block, once for each round and a few times before and after, and never copied as a whole. Held: for l labels about 250 l d bytes for the descent, and on each
/// of t threads a block of 1024 rows (16 KiB a column) and the slopes of some blocks. A round takes two products of n x d x l.
/// 13,000 rows of 512 columns and 31 labels: below 40 MB and about 2 s on two threads.
///
/// # Errors
/// [`LearnError::InvalidParameter`], [`LearnError::LengthMismatch`], [`LearnError::NoColumns`], [`LearnError::NotFinite`],
/// [`LearnError::TooFewLabels`] below 2 labels, [`LearnError::TooFewRowsOfLabel`],
/// [`LearnError::DescentFailed`], and those of the features where they aren't in memory.
pub fn fit_classifier<B: RowBlocks>(
    features: B,
    labels: &[Option<u32>],
    split: Option<&Split>,
    spec: &ClassifierSpec,
    threads: NonZeroUsize,
) -> Result<FittedClassifier, LearnError> {
    spec.check()?;
    let (row_count, width) = (features.row_count(), features.width());
    if labels.len() != row_count {
        return Err(LearnError::LengthMismatch { what: "labels", got: labels.len(), expected: row_count });
    }
    if width == 0 {
        return Err(LearnError::NoColumns);
    }
    FiniteRows(&features).check(threads)?;
    let mut split = match split {
        Some(split) => {
            split.check(row_count)?;
            split.clone()
        }
        None => Split::stratified(labels, spec.test_share, spec.seed)?,
    };
    split.training.retain(|&row| labels[row].is_some());
    split.test.retain(|&row| labels[row].is_some());
    let labels_of = |rows: &[usize]| -> Vec<u32> { rows.iter().filter_map(|&row| labels[row]).collect() };
    let training_labels = labels_of(&split.training);
    let known_labels: Vec<u32> =
        training_labels.iter().copied().collect::<BTreeSet<u32>>().into_iter().collect();
    if known_labels.len() < 2 {
        return Err(LearnError::TooFewLabels { labels: known_labels.len() });
    }

    let mut is_training = vec![false; row_count];
    for &row in &split.training {
        is_training[row] = true;
    }
    let rows = ChosenRows::new(&features, Some(&is_training))?;
    let scaler = StandardScaler::params().check()?.fit_moments(&ColumnMoments::of_rows(&rows, threads)?)?;
    let positions: Vec<usize> =
        training_labels.iter().map(|label| known_labels.partition_point(|known| known < label)).collect();
    let loss = Loss {
        rows: &rows,
        scaler: &scaler,
        positions: &positions,
        label_count: known_labels.len(),
        penalty: penalty(spec.l2, known_labels.len()),
        threads,
        last: RefCell::default(),
        failure: &RefCell::default(),
    };
    let Descent { weights, intercepts, converged } = descend(loss, spec)?;
    let head = ClassifierHead {
        spec: spec.clone(),
        scaler,
        weights,
        intercepts,
        labels: known_labels,
        label_names: Vec::new(),
        rows_fitted: rows.row_count(),
        lineage: Lineage::new(),
    };

    let predict = |rows: &ChosenRows<'_, &B>| {
        let predictions =
            reduce_rows(threads, rows, |rows| head.most_probable(&head.scaler.scale_rows(rows)))?;
        let labels = predictions.unwrap_or_default().into_iter().map(|(label, _)| label);
        Ok::<_, LearnError>(labels.collect::<Vec<u32>>())
    };
    let training = ClassificationReport::new(&training_labels, &predict(&rows)?)?;
    let test = if split.test.is_empty() {
        None
    } else {
        let mut is_test = vec![false; row_count];
        for &row in &split.test {
            is_test[row] = true;
        }
        let predictions = predict(&ChosenRows::new(&features, Some(&is_test))?)?;
        Some(ClassificationReport::new(&labels_of(&split.test), &predictions)?)
    };
    Ok(FittedClassifier { head, split, report: ClassifierReport { converged, training, test } })
}

/// The mean loss over the training rows, as a function of weights and intercepts: l rows of d weights and the intercept, all
/// in one vector. By its mean the first step, which is as long as the slope, is of the right size for any number of rows.
struct Loss<'a, B> {
    rows: &'a B,
    scaler: &'a StandardScaler,
    /// The column of each row's label.
    positions: &'a [usize],
    label_count: usize,
    penalty: f64,
    threads: NonZeroUsize,
    /// Loss and slopes at the same place are asked for one after the other, but are found together.
    last: RefCell<Option<Place>>,
    /// Why rows couldn't be read, if they couldn't: the descent itself may end without a word of it.
    failure: &'a RefCell<Option<LearnError>>,
}

/// Where the loss was asked for, and what was found there.
#[derive(Clone)]
struct Place {
    parameters: Vec<f64>,
    loss: f64,
    slopes: Vec<f64>,
}

/// Loss of some rows, and its slopes by weights and intercepts (l x (d + 1)).
struct LossAndSlopes(f64, Array2<f64>);

impl Merge for LossAndSlopes {
    fn merge(self, later: Self) -> Self {
        Self(self.0 + later.0, self.1 + later.1)
    }
}

impl<B: RowBlocks> Loss<'_, B> {
    fn shape(&self) -> (usize, usize) {
        (self.label_count, self.rows.width() + 1)
    }

    /// The mean loss at `parameters`, and its slopes.
    ///
    /// # Errors
    /// Those of the rows.
    fn at(&self, parameters: &[f64]) -> Result<Place, LearnError> {
        if let Some(place) = self.last.borrow().as_ref().filter(|place| place.parameters == parameters) {
            return Ok(place.clone());
        }
        let Self { rows, scaler, positions, .. } = *self;
        let (width, shape) = (rows.width(), self.shape());
        let (weights, intercepts) = parts(parameters, shape);
        let positions = positions.chunks(ROWS_PER_BLOCK).collect();
        let sums = reduce_rows_with(self.threads, rows, positions, |_, rows, positions: &[usize]| {
            let scaled = scaler.scale_rows(rows);
            let mut loss = 0.0;
            let mut errors = scores(&scaled, weights, intercepts);
            for (mut row, &position) in errors.rows_mut().into_iter().zip(positions) {
                let own_score = row[position];
                loss += softmax_in_place(row.view_mut()) - own_score;
                row[position] -= 1.0;
            }
            let mut slopes = Array2::zeros(shape);
            slopes.slice_mut(s![.., ..width]).assign(&errors.t().dot(&scaled));
            slopes.column_mut(width).assign(&errors.sum_axis(Axis(0)));
            Ok(LossAndSlopes(loss, slopes))
        })
        .inspect_err(|error| {
            self.failure.replace(Some(error.clone()));
        })?;
        let LossAndSlopes(mut loss, mut slopes) =
            sums.unwrap_or_else(|| LossAndSlopes(0.0, Array2::zeros(shape)));
        loss += 0.5 * self.penalty * weights.iter().map(|weight| weight * weight).sum::<f64>();
        slopes.slice_mut(s![.., ..width]).scaled_add(self.penalty, &weights);
        let row_count = rows.row_count() as f64;
        let place = Place {
            parameters: parameters.to_vec(),
            loss: loss / row_count,
            slopes: slopes.into_iter().map(|slope| slope / row_count).collect(),
        };
        self.last.replace(Some(place.clone()));
        Ok(place)
    }
}

impl<B: RowBlocks> CostFunction for Loss<'_, B> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        Ok(self.at(parameters)?.loss)
    }
}

impl<B: RowBlocks> Gradient for Loss<'_, B> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        Ok(self.at(parameters)?.slopes)
    }
}

/// Weights (l x d) and intercepts (l) in the vector of both.
fn parts(parameters: &[f64], shape: (usize, usize)) -> (ArrayView2<'_, f64>, ArrayView1<'_, f64>) {
    let parameters =
        ArrayView2::from_shape(shape, parameters).expect("the vector is as long as weights and intercepts");
    let (weights, intercepts) = parameters.split_at(Axis(1), shape.1 - 1);
    (weights, intercepts.remove_axis(Axis(1)))
}

/// `W x + b` of scaled rows, n x l.
fn scores(
    scaled: &Array2<f64>,
    weights: ArrayView2<'_, f64>,
    intercepts: ArrayView1<'_, f64>,
) -> Array2<f64> {
    scaled.dot(&weights.t()) + intercepts
}

/// Makes scores probabilities. Returns the logarithm of the sum of the scores' exponentials.
fn softmax_in_place(mut scores: ArrayViewMut1<'_, f64>) -> f64 {
    let largest = scores.fold(f64::NEG_INFINITY, |largest, &score| largest.max(score));
    scores.mapv_inplace(|score| (score - largest).exp());
    let sum = scores.sum();
    scores /= sum;
    largest + sum.ln()
}

/// Where a descent ended.
struct Descent {
    /// l x d.
    weights: Array2<f64>,
    intercepts: Array1<f64>,
    converged: bool,
}

/// Goes down from weights of 0 and the intercepts that are best for them, the logarithms of the labels' shares.
fn descend<B: RowBlocks>(loss: Loss<'_, B>, spec: &ClassifierSpec) -> Result<Descent, LearnError> {
    let failure = loss.failure;
    let failed = |error: argmin::core::Error| {
        failure.take().unwrap_or_else(|| LearnError::DescentFailed { reason: error.to_string() })
    };
    let shape = loss.shape();
    let mut start = Array2::<f64>::zeros(shape);
    for &position in loss.positions {
        start[[position, shape.1 - 1]] += 1.0;
    }
    start.column_mut(shape.1 - 1).mapv_inplace(|rows| (rows / loss.positions.len() as f64).ln());
    let start: Vec<f64> = start.into_iter().collect();

    let solver = LBFGS::new(MoreThuenteLineSearch::new(), REMEMBERED_ROUNDS)
        // Of the slopes' Euclidean length, which is no shorter than the steepest of them.
        .with_tolerance_grad(spec.tol)
        .map_err(failed)?;
    let mut result = Executor::new(loss, solver)
        .configure(|state| state.param(start.clone()).max_iters(spec.max_iter as u64))
        .run()
        .map_err(failed)?;
    if let Some(error) = failure.take() {
        return Err(error);
    }
    let parameters = result.state.take_best_param().unwrap_or(start);
    let loss = result
        .problem
        .take_problem()
        .ok_or_else(|| LearnError::DescentFailed { reason: "the loss wasn't handed back".to_owned() })?;
    let (weights, intercepts) = parts(&parameters, shape);
    Ok(Descent {
        weights: weights.as_standard_layout().into_owned(),
        intercepts: intercepts.to_owned(),
        converged: loss.at(&parameters)?.slopes.iter().all(|slope| slope.abs() <= spec.tol),
    })
}

/// The penalty on weights of which each label has its own. Those of two labels are each other's opposite and half as long as
/// the single vector that the spec's penalty is meant for, so they count half as much together.
fn penalty(l2: f64, label_count: usize) -> f64 {
    if label_count == 2 { 2.0 * l2 } else { l2 }
}

/// What a head says of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelPredictions {
    /// The most probable label of each row; of equally probable ones the lowest number.
    pub labels: Vec<u32>,
    /// The probability of that label.
    pub probabilities: Vec<f64>,
}

/// A trained classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierHead {
    spec: ClassifierSpec,
    scaler: StandardScaler,
    /// l x d.
    weights: Array2<f64>,
    intercepts: Array1<f64>,
    labels: Vec<u32>,
    label_names: Vec<String>,
    rows_fitted: usize,
    lineage: Lineage,
}

impl ClassifierHead {
    /// The spec it was trained by.
    pub fn spec(&self) -> &ClassifierSpec {
        &self.spec
    }

    /// What brings rows to mean 0 and standard deviation 1 before the weights.
    pub fn scaler(&self) -> &StandardScaler {
        &self.scaler
    }

    /// Weights of the scaled columns, l x d.
    pub fn weights(&self) -> &Array2<f64> {
        &self.weights
    }

    /// Intercepts of the l labels.
    pub fn intercepts(&self) -> &Array1<f64> {
        &self.intercepts
    }

    /// The labels that it knows, rising.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Names of the labels by number; empty if none were given.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// Width of the feature vectors that it takes.
    pub fn width(&self) -> usize {
        self.scaler.width()
    }

    /// Rows it was trained on.
    pub fn rows_fitted(&self) -> usize {
        self.rows_fitted
    }

    /// Where the head comes from.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Says where the head comes from.
    #[must_use]
    pub fn with_lineage(mut self, lineage: Lineage) -> Self {
        self.lineage = lineage;
        self
    }

    /// Gives the labels their names, in the order of their numbers.
    ///
    /// # Errors
    /// [`LearnError::LengthMismatch`] unless there is one name for each label number up to the largest one known.
    pub fn with_label_names(mut self, label_names: Vec<String>) -> Result<Self, LearnError> {
        let expected = self.names_needed();
        if label_names.len() != expected {
            return Err(LearnError::LengthMismatch { what: "label_names", got: label_names.len(), expected });
        }
        self.label_names = label_names;
        Ok(self)
    }

    /// The most probable label of each row (n x d), and how probable it is. A row gets the same answer in any company; threads
    /// change nothing but the time.
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    pub fn predict_rows<F: Float>(
        &self,
        rows: ArrayView2<'_, F>,
        threads: NonZeroUsize,
    ) -> Result<LabelPredictions, LearnError> {
        check_width(&rows, self.width())?;
        check_finite(rows)?;
        let blocks = rows.axis_chunks_iter(Axis(0), ROWS_PER_BLOCK).collect();
        let predictions = reduce_blocks(threads, blocks, |_, rows: ArrayView2<'_, F>| {
            self.most_probable(&self.scaler.scale_rows(rows))
        });
        let (labels, probabilities) = predictions.unwrap_or_default().into_iter().unzip();
        Ok(LabelPredictions { labels, probabilities })
    }

    /// The probability of each label (columns, in the order of [`ClassifierHead::labels`]) for each row: n x l.
    ///
    /// # Errors
    /// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
    pub fn predict_probabilities<F: Float>(
        &self,
        rows: ArrayView2<'_, F>,
        threads: NonZeroUsize,
    ) -> Result<Array2<f64>, LearnError> {
        check_width(&rows, self.width())?;
        check_finite(rows)?;
        let mut probabilities = Array2::zeros((rows.nrows(), self.labels.len()));
        let blocks = rows
            .axis_chunks_iter(Axis(0), ROWS_PER_BLOCK)
            .zip(probabilities.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK))
            .collect();
        reduce_blocks(
            threads,
            blocks,
            |_, (rows, mut block): (ArrayView2<'_, F>, ArrayViewMut2<'_, f64>)| {
                block.assign(&self.probabilities_of_scaled(&self.scaler.scale_rows(rows)));
            },
        );
        Ok(probabilities)
    }

    /// n x l.
    fn probabilities_of_scaled(&self, scaled: &Array2<f64>) -> Array2<f64> {
        let mut scores = scores(scaled, self.weights.view(), self.intercepts.view());
        for row in scores.rows_mut() {
            softmax_in_place(row);
        }
        scores
    }

    /// Each scaled row's label of the largest probability, and that probability.
    fn most_probable(&self, scaled: &Array2<f64>) -> Vec<(u32, f64)> {
        let best = |row: ArrayView1<'_, f64>| {
            let first = (self.labels[0], row[0]);
            self.labels
                .iter()
                .copied()
                .zip(row.iter().copied())
                .fold(first, |best, other| if other.1 > best.1 { other } else { best })
        };
        self.probabilities_of_scaled(scaled).rows().into_iter().map(best).collect()
    }

    fn names_needed(&self) -> usize {
        self.labels.last().map_or(0, |&largest| largest as usize + 1)
    }
}

/// What `classifier.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format_version: u32,
    /// Version of this crate that wrote the head.
    crate_version: String,
    /// Width of a feature vector.
    width: usize,
    spec: ClassifierSpec,
    rows_fitted: usize,
    constant_columns: usize,
    labels: Vec<u32>,
    label_names: Vec<String>,
    lineage: Lineage,
    files: ArrayFiles,
}

/// Names of the files that a head's manifest asks for, without the manifest itself.
///
/// # Errors
/// [`ModelError::Manifest`] and [`ModelError::FormatVersion`].
pub fn array_file_names(manifest: &[u8]) -> Result<Vec<String>, ModelError> {
    let manifest: Manifest = parse_manifest(CLASSIFIER_FILE, manifest, CLASSIFIER_FORMAT_VERSION)?;
    Ok(manifest.files.into_keys().collect())
}

const MEAN: &str = "classifier_mean.npy";
const SCALE: &str = "classifier_scale.npy";
const WEIGHTS: &str = "classifier_weights.npy";
const INTERCEPTS: &str = "classifier_intercepts.npy";

impl ClassifierHead {
    /// The head as files: name and content, the manifest last. Equal heads give equal bytes.
    pub fn to_files(&self) -> Vec<(String, Vec<u8>)> {
        let arrays: [(&str, ArrayViewD<'_, f64>); 4] = [
            (MEAN, self.scaler.mean.view().into_dyn()),
            (SCALE, self.scaler.scale.view().into_dyn()),
            (WEIGHTS, self.weights.view().into_dyn()),
            (INTERCEPTS, self.intercepts.view().into_dyn()),
        ];
        let (mut files, entries) = array_files::write(&arrays);
        let manifest = Manifest {
            format_version: CLASSIFIER_FORMAT_VERSION,
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            width: self.width(),
            spec: self.spec.clone(),
            rows_fitted: self.rows_fitted,
            constant_columns: self.scaler.constant_columns,
            labels: self.labels.clone(),
            label_names: self.label_names.clone(),
            lineage: self.lineage.clone(),
            files: entries,
        };
        let mut manifest = serde_json::to_vec_pretty(&manifest).expect("a manifest has only string keys");
        manifest.push(b'\n');
        files.push((CLASSIFIER_FILE.to_owned(), manifest));
        files
    }

    /// The head in these files, exactly as it was written. Files that the manifest doesn't name are ignored.
    ///
    /// # Errors
    /// [`ModelError`] with the first thing that isn't as the manifest says.
    pub fn from_files(files: &[(String, Vec<u8>)]) -> Result<Self, ModelError> {
        let manifest: Manifest = parse_manifest(
            CLASSIFIER_FILE,
            array_files::content(files, CLASSIFIER_FILE)?,
            CLASSIFIER_FORMAT_VERSION,
        )?;
        let array = |file: &str| array_files::read(files, CLASSIFIER_FILE, &manifest.files, file);
        let scaler = StandardScaler {
            mean: of_dimension(MEAN, array(MEAN)?)?,
            scale: of_dimension(SCALE, array(SCALE)?)?,
            with_mean: true,
            constant_columns: manifest.constant_columns,
        };
        let head = Self {
            scaler,
            weights: of_dimension(WEIGHTS, array(WEIGHTS)?)?,
            intercepts: of_dimension(INTERCEPTS, array(INTERCEPTS)?)?,
            spec: manifest.spec,
            labels: manifest.labels,
            label_names: manifest.label_names,
            rows_fitted: manifest.rows_fitted,
            lineage: manifest.lineage,
        };
        head.check_parts(manifest.width)?;
        Ok(head)
    }

    /// Checks that the arrays fit together, so that nothing can go wrong when they are applied.
    fn check_parts(&self, width: usize) -> Result<(), ModelError> {
        let inconsistent = |reason: String| Err(ModelError::Inconsistent { reason });
        let label_count = self.labels.len();
        let sizes = [
            (MEAN, self.scaler.mean.len(), width),
            (SCALE, self.scaler.scale.len(), width),
            (WEIGHTS, self.weights.ncols(), width),
            (WEIGHTS, self.weights.nrows(), label_count),
            (INTERCEPTS, self.intercepts.len(), label_count),
        ];
        for (file, found, expected) in sizes {
            if found != expected {
                return inconsistent(format!("a side of `{file}` is {found} instead of {expected}"));
            }
        }
        if width == 0 || label_count < 2 || !self.labels.is_sorted_by(|left, right| left < right) {
            return inconsistent(
                "it has no columns, or labels that aren't two or more rising numbers".to_owned(),
            );
        }
        if !self.label_names.is_empty() && self.label_names.len() != self.names_needed() {
            return inconsistent(format!(
                "{} label names for label numbers up to {}",
                self.label_names.len(),
                self.labels[label_count - 1]
            ));
        }
        let is_finite = |value: &f64| value.is_finite();
        let numbers = [
            (MEAN, self.scaler.mean.iter().all(is_finite)),
            (SCALE, self.scaler.scale.iter().all(|&value| value > 0.0 && value.is_finite())),
            (WEIGHTS, self.weights.iter().all(is_finite)),
            (INTERCEPTS, self.intercepts.iter().all(is_finite)),
        ];
        match numbers.iter().find(|(_, sound)| !sound) {
            Some((file, _)) => inconsistent(format!("`{file}` holds a number that it can't hold")),
            None => Ok(()),
        }
    }
}
