//! A map of rows in the plane that keeps neighbours together: t-SNE (van der Maaten and Hinton 2008), meant for looking at
//! scores on principal components ([`Pca`](crate::Pca)).
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use fruitbatch_learn::tsne::{TsneSpec, trustworthiness, tsne};
//! use ndarray::Array2;
//!
//! // Rows around a circle that was bent into space.
//! let points = Array2::from_shape_fn((90, 3), |(row, column)| {
//!     let angle = row as f64 / 90.0 * std::f64::consts::TAU;
//!     [angle.cos(), angle.sin(), (2.0 * angle).sin()][column]
//! });
//! let threads = NonZeroUsize::MIN;
//! let shown = tsne(points.view(), &TsneSpec::default(), threads, &|_done, _total| ())?;
//! assert_eq!(shown.map.dim(), (90, 2));
//! // Who is near in the map is near in space.
//! assert!(trustworthiness(points.view(), shown.map.view(), 5, threads)? > 0.99);
//! # Ok::<(), fruitbatch_learn::LearnError>(())
//! ```
//!
//! A map shows who is whose neighbour. Distances between groups that are far apart, and the size and density of groups, say
//! little in it.
//!
//! # How it is made
//! The descent is the crate `bhtsne`'s, by Barnes and Hut's approximation with an angle of 0.5. As in scikit-learn's
//! `TSNE(init="pca")`, it starts from the first two columns, looks at `3 perplexity + 1` neighbours of each row and pulls them
//! 12 times as hard in the first 250 rounds.
//!
//! The learning rate is the number of rows, at least 50. scikit-learn's `auto` comes to a twelfth of the rows in the same units
//! (its gradient has a factor 4 that `bhtsne`'s lacks), but lets the gains of coordinates grow without end where `bhtsne` stops
//! at 2: by the same rate a descent of 1000 rounds would end with a divergence higher by a fifth to a half.
//!
//! # The same bits
//! `bhtsne` sums coordinates in an order that depends on which thread is free, and a descent makes a different map of one
//! different bit. So the descent always runs on one thread; neighbours and figures, which take many, go by fixed blocks of
//! rows. Start and neighbours are given to it, so nothing is random beyond [`TsneSpec::seed`].

use std::num::NonZeroUsize;

use bhtsne::{Neighbor, SparseAffinities, tSNE};
use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::blocks::reduce_blocks;
use crate::metrics::sample_rows;
use crate::row_blocks::RowBlocks;
use crate::rows::{FiniteRows, check_finite};

/// The fewest rows that a map can be made of: each needs three others to be near to.
pub const MIN_TSNE_ROWS: usize = 4;

/// Standard deviation of the wider column of the start. Small, so that the first rounds move points freely.
const START_DEVIATION: f64 = 1e-4;

/// So many times stronger are neighbours pulled in the first [`EXAGGERATED_ITERATIONS`].
const EARLY_EXAGGERATION: f64 = 12.0;

const EXAGGERATED_ITERATIONS: usize = 250;

const MIN_LEARNING_RATE: f64 = 50.0;

/// Cells of the plane that look smaller than this (width over distance) repel as one point.
const ANGLE: f64 = 0.5;

/// Rows whose distances to all others a thread finds before it takes more.
const ROWS_PER_TASK: usize = 128;

/// What decides a map. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TsneSpec {
    /// About how many neighbours each row is drawn to, 1 or more. At most a third of the other rows is used: see
    /// [`TsneMap::perplexity`].
    pub perplexity: f64,
    /// The most rows to show, [`MIN_TSNE_ROWS`] or more. Of more rows a random sample is shown.
    pub max_rows: usize,
    /// Rounds of the descent, 250 or more.
    pub max_iter: usize,
    /// Start of the random numbers: of those that draw the sample, and of those that spread the start where fewer than two
    /// columns can.
    pub seed: u64,
}

impl Default for TsneSpec {
    fn default() -> Self {
        Self { perplexity: 30.0, max_rows: 5000, max_iter: 1000, seed: 0 }
    }
}

impl TsneSpec {
    /// Checks every value by itself, before there are any rows.
    ///
    /// # Errors
    /// [`LearnError::InvalidParameter`] with the first value that is out of its range.
    pub fn check(&self) -> Result<(), LearnError> {
        let refuse =
            |name, value: String, allowed| Err(LearnError::InvalidParameter { name, value, allowed });
        if !(self.perplexity >= 1.0 && self.perplexity.is_finite()) {
            return refuse("perplexity", self.perplexity.to_string(), "a finite number from 1");
        }
        if self.max_rows < MIN_TSNE_ROWS {
            return refuse("max_rows", self.max_rows.to_string(), "4 or more");
        }
        if self.max_iter < EXAGGERATED_ITERATIONS {
            return refuse("max_iter", self.max_iter.to_string(), "250 or more");
        }
        Ok(())
    }
}

/// Rows in the plane.
#[derive(Debug, Clone, PartialEq)]
pub struct TsneMap {
    /// Ascending numbers of the rows shown: all, or a sample of [`TsneSpec::max_rows`].
    pub rows: Vec<usize>,
    /// Their coordinates, n x 2, with mean 0.
    pub map: Array2<f64>,
    /// The perplexity used: the one asked for, but at most a third of the other rows shown, so that each row has the
    /// neighbours that it is spread over.
    pub perplexity: f64,
    /// What the descent makes small, in nats: Kullback and Leibler's divergence of the neighbourhoods in the map from those of
    /// the points. 0 where both are the same.
    pub kl_divergence: f64,
}

/// Shows the rows of `points` (n x d) in the plane. Rows that are all equal are all shown at the origin.
///
/// `progress` is told the rounds done and the rounds in all after each round, on another thread. `threads` are used for the
/// neighbours; no result depends on them.
///
/// # Memory and time
/// Of the points, no more than the rows shown are held. For n rows shown: 16 n d bytes, and about 60 n (3 perplexity + 1) for the neighbours (5000 rows of 50 columns at
/// perplexity 30: 31 MB). Time for n^2 d / 2 multiplications, then `max_iter` rounds of n (6 perplexity + log n) each: such
/// 5000 rows take about 7 s, 1000 rows 1 s.
///
/// # Errors
/// [`LearnError::InvalidParameter`], [`LearnError::NoColumns`], [`LearnError::TooFewRows`] below [`MIN_TSNE_ROWS`],
/// [`LearnError::NotFinite`], [`LearnError::ThreadNotStarted`], and those of the points where they aren't in memory.
pub fn tsne<B: RowBlocks<Value = f64>>(
    points: B,
    spec: &TsneSpec,
    threads: NonZeroUsize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<TsneMap, LearnError> {
    spec.check()?;
    let (row_count, width) = (points.row_count(), points.width());
    if width == 0 {
        return Err(LearnError::NoColumns);
    }
    if row_count < MIN_TSNE_ROWS {
        return Err(LearnError::TooFewRows { rows: row_count, needed: MIN_TSNE_ROWS });
    }
    FiniteRows(&points).check(threads)?;
    let (rows, points) = match sample_rows(row_count, spec.max_rows, spec.seed) {
        None => ((0..row_count).collect(), points.to_matrix()?.into_owned()),
        Some(sample) => {
            let points = points.select(&sample)?;
            (sample, points)
        }
    };
    let others = rows.len() - 1;
    let perplexity = spec.perplexity.min(others as f64 / 3.0);
    let Some(points) = to_unit_size(points) else {
        let map = Array2::zeros((rows.len(), 2));
        return Ok(TsneMap { rows, map, perplexity, kl_divergence: 0.0 });
    };
    let neighbour_count = others.min((3.0 * perplexity) as usize + 1);
    let neighbours = nearest_neighbours(points.view(), neighbour_count, threads);
    let start = start_of_descent(&points, spec.seed);
    let (map, affinities) = descend(&neighbours, start, perplexity, spec.max_iter, progress)?;
    let kl_divergence = kl_divergence(&affinities, map.as_chunks().0, threads);
    let map = Array2::from_shape_vec((rows.len(), 2), map).expect("the map has two coordinates a row");
    Ok(TsneMap { rows, map, perplexity, kl_divergence })
}

/// Venna and Kaski's trustworthiness of a map (n x 2) of points (n x d): 1 if the `n_neighbors` nearest rows of each row in
/// the map are its nearest among the points too, less the farther away they are in truth, about 0.5 for a random map. As
/// scikit-learn's `trustworthiness`; equally distant rows count in the order of their numbers.
///
/// Takes time for n^2 distances.
///
/// # Errors
/// [`LearnError::LengthMismatch`] unless there is one place in the map for each point, [`LearnError::NotFinite`],
/// [`LearnError::InvalidParameter`] unless `n_neighbors` is from 1 to below half the number of rows.
pub fn trustworthiness(
    points: ArrayView2<'_, f64>,
    map: ArrayView2<'_, f64>,
    n_neighbors: usize,
    threads: NonZeroUsize,
) -> Result<f64, LearnError> {
    let row_count = points.nrows();
    if map.nrows() != row_count {
        return Err(LearnError::LengthMismatch { what: "map", got: map.nrows(), expected: row_count });
    }
    if n_neighbors == 0 || 2 * n_neighbors >= row_count {
        return Err(LearnError::InvalidParameter {
            name: "n_neighbors",
            value: n_neighbors.to_string(),
            allowed: "from 1 to below half the number of rows",
        });
    }
    check_finite(points)?;
    check_finite(map)?;
    let neighbours = nearest_neighbours(map, n_neighbors, threads);
    let excess_ranks = for_each_row(points, threads, |row, squared_distances| {
        let nearer = |other: usize, than: usize| {
            (squared_distances[other], other) < (squared_distances[than], than) && other != row
        };
        let rank = |neighbour: usize| 1 + (0..row_count).filter(|&other| nearer(other, neighbour)).count();
        neighbours[row].iter().map(|neighbour| rank(neighbour.index).saturating_sub(n_neighbors)).sum()
    });
    let excess: usize = excess_ranks.iter().sum();
    let (rows, count) = (row_count as f64, n_neighbors as f64);
    Ok(1.0 - 2.0 * excess as f64 / (rows * count * (2.0 * rows - 3.0 * count - 1.0)))
}

/// The points moved and shrunk so that the first is at the origin and 1 is the largest absolute coordinate, which changes no
/// map but keeps squares of distances in range. `None` if all points are equal.
fn to_unit_size(mut points: Array2<f64>) -> Option<Array2<f64>> {
    // Halves, because the difference of two finite numbers needn't be finite.
    points *= 0.5;
    let first = points.row(0).to_owned();
    points -= &first;
    let largest = points.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    (largest > 0.0).then(|| points / largest)
}

/// What `work` makes of each row's number and its squared distances from all rows, in order.
fn for_each_row<T: Send>(
    points: ArrayView2<'_, f64>,
    threads: NonZeroUsize,
    work: impl Fn(usize, &[f64]) -> T + Sync,
) -> Vec<T> {
    let row_count = points.nrows();
    let columns = points.t().as_standard_layout().into_owned();
    let tasks = (0..row_count).step_by(ROWS_PER_TASK).collect();
    let results = reduce_blocks(threads, tasks, |_, first_row| {
        let mut squared_distances = vec![0.0; row_count];
        let rows = first_row..row_count.min(first_row + ROWS_PER_TASK);
        rows.map(|row| {
            squared_distances.fill(0.0);
            for (&coordinate, coordinates) in points.row(row).iter().zip(columns.rows()) {
                // As a slice, which the compiler turns into vector instructions.
                let coordinates = coordinates.to_slice().expect("rows of a standard layout are contiguous");
                for (squared_distance, other) in squared_distances.iter_mut().zip(coordinates) {
                    *squared_distance += (coordinate - other) * (coordinate - other);
                }
            }
            work(row, &squared_distances)
        })
        .collect::<Vec<T>>()
    });
    results.unwrap_or_default()
}

/// For each row its `count` nearest other rows, nearest first; of equally distant ones those with the lower numbers.
fn nearest_neighbours(
    points: ArrayView2<'_, f64>,
    count: usize,
    threads: NonZeroUsize,
) -> Vec<Vec<Neighbor<f64>>> {
    for_each_row(points, threads, |row, squared_distances| {
        let mut others: Vec<usize> = (0..squared_distances.len()).filter(|&other| other != row).collect();
        let order = |left: &usize, right: &usize| {
            squared_distances[*left].total_cmp(&squared_distances[*right]).then(left.cmp(right))
        };
        if count < others.len() {
            others.select_nth_unstable_by(count, order);
            others.truncate(count);
        }
        others.sort_unstable_by(order);
        let neighbour = |index: usize| Neighbor { index, distance: squared_distances[index].sqrt() };
        others.into_iter().map(neighbour).collect()
    })
}

/// The first two columns, centred and shrunk by one factor. A column that is constant or isn't there is noise instead, because
/// nothing would ever move points off a line.
fn start_of_descent(points: &Array2<f64>, seed: u64) -> Vec<f64> {
    let mut start = Array2::zeros((points.nrows(), 2));
    for (mut column, values) in start.columns_mut().into_iter().zip(points.columns()) {
        column.assign(&values);
        column -= values.mean().expect("there are rows");
    }
    let deviations = start.std_axis(Axis(0), 0.0);
    let widest = deviations[0].max(deviations[1]);
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    for (mut column, &deviation) in start.columns_mut().into_iter().zip(&deviations) {
        if deviation > 0.0 {
            column *= START_DEVIATION / widest;
        } else {
            column.mapv_inplace(|_| random.gen_range(-START_DEVIATION..START_DEVIATION));
        }
    }
    start.into_iter().collect()
}

/// The map, row by row, and the neighbourhoods of the points that it was made for.
fn descend(
    neighbours: &[Vec<Neighbor<f64>>],
    start: Vec<f64>,
    perplexity: f64,
    max_iter: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<(Vec<f64>, SparseAffinities<f64>), LearnError> {
    // One thread: see the module's page.
    let pool = ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(|error| LearnError::ThreadNotStarted { reason: error.to_string() })?;
    // The neighbours are known, so nothing is asked of the samples but their number.
    let samples = vec![(); neighbours.len()];
    Ok(pool.install(|| {
        let mut descent = tSNE::<f64, (), 2>::new(&samples);
        descent
            .perplexity(perplexity)
            .epochs(max_iter)
            .early_exaggeration(EARLY_EXAGGERATION)
            .stop_lying_epoch(EXAGGERATED_ITERATIONS)
            .momentum_switch_epoch(EXAGGERATED_ITERATIONS)
            .learning_rate((neighbours.len() as f64).max(MIN_LEARNING_RATE))
            .initial_embedding(start)
            .epoch_callback(|round, _| progress(round + 1, max_iter))
            .barnes_hut_with_neighbors(ANGLE, neighbours);
        (descent.embedding(), descent.affinities().expect("a descent has been made"))
    }))
}

/// The sum of p ln(p / q) over the pairs that are neighbours, where q is a pair's share of all pairs' weights in the map. (That
/// of `bhtsne` 0.7 takes each row's p from another pair.)
fn kl_divergence(affinities: &SparseAffinities<f64>, map: &[[f64; 2]], threads: NonZeroUsize) -> f64 {
    let weight = |left: [f64; 2], right: [f64; 2]| {
        1.0 / (1.0 + (left[0] - right[0]).powi(2) + (left[1] - right[1]).powi(2))
    };
    let tasks = map.chunks(ROWS_PER_TASK).collect();
    let total_weight = reduce_blocks(threads, tasks, |_, places: &[[f64; 2]]| {
        let of_place = |&place: &[f64; 2]| map.iter().map(|&other| weight(place, other)).sum::<f64>();
        places.iter().map(of_place).sum::<f64>()
    });
    // Without each place's own weight of 1.
    let total_weight = total_weight.unwrap_or_default() - map.len() as f64;
    let mut divergence = 0.0;
    for (&place, bounds) in map.iter().zip(affinities.rows().windows(2)) {
        let others = &affinities.columns()[bounds[0]..bounds[1]];
        let shares = &affinities.values()[bounds[0]..bounds[1]];
        for (&other, &share) in others.iter().zip(shares) {
            // The limit of p ln p at 0 is 0.
            if share > 0.0 {
                divergence += share * (share * total_weight / weight(place, map[other as usize])).ln();
            }
        }
    }
    divergence
}
