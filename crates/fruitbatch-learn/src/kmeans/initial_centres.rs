//! The first centres of a run.

use std::num::NonZeroUsize;

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rand::Rng;
use rand::seq::index;
use rand_xoshiro::Xoshiro256Plus;

use super::KMeansInit;
use super::assign::squared_distances_into;
use crate::blocks::{Merge, ROWS_PER_BLOCK, reduce_blocks};

/// Draws `n_clusters` rows of `rows` (at least as many) to start from.
pub(super) fn draw(
    rows: &Array2<f64>,
    n_clusters: usize,
    init: KMeansInit,
    random: &mut Xoshiro256Plus,
    threads: NonZeroUsize,
) -> Array2<f64> {
    match init {
        KMeansInit::Random => {
            rows.select(Axis(0), &index::sample(random, rows.nrows(), n_clusters).into_vec())
        }
        KMeansInit::KMeansPlusPlus => greedy_k_means_plus_plus(rows, n_clusters, random, threads),
    }
}

/// For each candidate: the sum over all rows of the squared distance from the nearest centre, were it chosen.
struct Potentials(Array1<f64>);

impl Merge for Potentials {
    fn merge(self, later: Self) -> Self {
        Self(self.0 + later.0)
    }
}

/// One block of rows with their squared norms, their squared distances from the nearest centre, and room for those from the
/// candidates.
type Block<'a> = (((ArrayView2<'a, f64>, &'a [f64]), &'a [f64]), ArrayViewMut2<'a, f64>);

/// Arthur and Vassilvitskii's k-means++ in its greedy form: at each step, of several rows drawn with probability
/// proportional to the squared distance from the nearest centre, the one that lowers the sum of these most.
fn greedy_k_means_plus_plus(
    rows: &Array2<f64>,
    n_clusters: usize,
    random: &mut Xoshiro256Plus,
    threads: NonZeroUsize,
) -> Array2<f64> {
    let row_count = rows.nrows();
    // scikit-learn's number of candidates, after the authors' own experiments.
    let trials = 2 + (n_clusters as f64).ln() as usize;
    let squared_norms: Vec<f64> = rows.rows().into_iter().map(|row| row.dot(&row)).collect();
    let mut nearest = vec![f64::INFINITY; row_count];
    let mut candidate_distances = Array2::zeros((row_count, trials));
    let mut candidates = vec![random.gen_range(0..row_count)];
    let mut chosen = Vec::with_capacity(n_clusters);
    loop {
        let points = rows.select(Axis(0), &candidates);
        let mut distances = candidate_distances.slice_mut(s![.., ..candidates.len()]);
        let blocks = rows
            .axis_chunks_iter(Axis(0), ROWS_PER_BLOCK)
            .zip(squared_norms.chunks(ROWS_PER_BLOCK))
            .zip(nearest.chunks(ROWS_PER_BLOCK))
            .zip(distances.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK))
            .collect();
        let potentials =
            reduce_blocks(threads, blocks, |_, (((rows, norms), nearest), mut distances): Block<'_>| {
                squared_distances_into(rows, norms, &points, distances.view_mut());
                let mut potentials = vec![0.0; points.nrows()];
                for (row, &nearest) in distances.rows_mut().into_iter().zip(nearest) {
                    let row = row.into_slice().expect("a row's distances lie one behind the other");
                    for (distance, potential) in row.iter_mut().zip(&mut potentials) {
                        *distance = distance.min(nearest);
                        *potential += *distance;
                    }
                }
                Potentials(potentials.into())
            })
            .expect("there is at least one row")
            .0;
        let mut best = 0;
        for (index, potential) in potentials.iter().enumerate() {
            if *potential < potentials[best] {
                best = index;
            }
        }
        chosen.push(candidates[best]);
        if chosen.len() == n_clusters {
            return rows.select(Axis(0), &chosen);
        }
        for (nearest, &distance) in nearest.iter_mut().zip(distances.column(best)) {
            *nearest = distance;
        }
        let cumulative: Vec<f64> = nearest
            .iter()
            .scan(0.0, |sum, distance| {
                *sum += distance;
                Some(*sum)
            })
            .collect();
        candidates = (0..trials)
            .map(|_| {
                let drawn = random.r#gen::<f64>() * potentials[best];
                cumulative.partition_point(|&sum| sum < drawn).min(row_count - 1)
            })
            .collect();
    }
}
