//! The first centres of a run.

use std::num::NonZeroUsize;

use ndarray::{Array1, Array2, ArrayViewMut2, Axis, s};
use rand::Rng;
use rand::seq::index;
use rand_xoshiro::Xoshiro256Plus;

use super::KMeansInit;
use super::assign::squared_distances_into;
use crate::LearnError;
use crate::blocks::{Merge, ROWS_PER_BLOCK};
use crate::row_blocks::{RowBlocks, reduce_rows_with};

/// Draws `n_clusters` rows of `rows` (at least as many) to start from.
pub(super) fn draw<B: RowBlocks<Value = f64>>(
    rows: &B,
    n_clusters: usize,
    init: KMeansInit,
    random: &mut Xoshiro256Plus,
    threads: NonZeroUsize,
) -> Result<Array2<f64>, LearnError> {
    match init {
        KMeansInit::Random => rows.select(&index::sample(random, rows.row_count(), n_clusters).into_vec()),
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

/// The squared norms of one block of rows, their squared distances from the nearest centre, and room for those from the
/// candidates.
type Block<'a> = ((&'a [f64], &'a [f64]), ArrayViewMut2<'a, f64>);

/// Arthur and Vassilvitskii's k-means++ in its greedy form: at each step, of several rows drawn with probability
/// proportional to the squared distance from the nearest centre, the one that lowers the sum of these most.
///
/// One pass over the rows for each cluster. Holds `8 (4 + ln k)` bytes a row.
fn greedy_k_means_plus_plus<B: RowBlocks<Value = f64>>(
    rows: &B,
    n_clusters: usize,
    random: &mut Xoshiro256Plus,
    threads: NonZeroUsize,
) -> Result<Array2<f64>, LearnError> {
    let row_count = rows.row_count();
    // scikit-learn's number of candidates, after the authors' own experiments.
    let trials = 2 + (n_clusters as f64).ln() as usize;
    let mut squared_norms = vec![0.0; row_count];
    let blocks = squared_norms.chunks_mut(ROWS_PER_BLOCK).collect();
    reduce_rows_with(threads, rows, blocks, |_, rows, norms: &mut [f64]| {
        for (norm, row) in norms.iter_mut().zip(rows.rows()) {
            *norm = row.dot(&row);
        }
        Ok(())
    })?;
    let mut nearest = vec![f64::INFINITY; row_count];
    let mut candidate_distances = Array2::zeros((row_count, trials));
    let mut candidates = vec![random.gen_range(0..row_count)];
    let mut chosen = Vec::with_capacity(n_clusters);
    loop {
        let points = rows.select(&candidates)?;
        let mut distances = candidate_distances.slice_mut(s![.., ..candidates.len()]);
        let blocks = squared_norms
            .chunks(ROWS_PER_BLOCK)
            .zip(nearest.chunks(ROWS_PER_BLOCK))
            .zip(distances.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK))
            .collect();
        let potentials = reduce_rows_with(
            threads,
            rows,
            blocks,
            |_, rows, ((norms, nearest), mut distances): Block<'_>| {
                squared_distances_into(rows, norms, &points, distances.view_mut());
                let mut potentials = vec![0.0; points.nrows()];
                for (row, &nearest) in distances.rows_mut().into_iter().zip(nearest) {
                    let row = row.into_slice().expect("a row's distances lie one behind the other");
                    for (distance, potential) in row.iter_mut().zip(&mut potentials) {
                        *distance = distance.min(nearest);
                        *potential += *distance;
                    }
                }
                Ok(Potentials(potentials.into()))
            },
        )?
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
            return rows.select(&chosen);
        }
        for (nearest, &distance) in nearest.iter_mut().zip(distances.column(best)) {
            *nearest = distance;
        }
        let drawn: Vec<f64> = (0..trials).map(|_| random.r#gen::<f64>() * potentials[best]).collect();
        candidates = rows_at(&nearest, &drawn);
    }
}

/// For each of the `drawn` numbers the first row up to which the distances sum up to it, or the last row.
fn rows_at(distances: &[f64], drawn: &[f64]) -> Vec<usize> {
    let mut rows = vec![distances.len() - 1; drawn.len()];
    // No number, of a potential that is infinite, is where 0 is.
    let mut ascending: Vec<(f64, usize)> = drawn.iter().map(|&drawn| drawn.max(0.0)).zip(0..).collect();
    ascending.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut ascending = ascending.into_iter().peekable();
    let mut sum = 0.0;
    for (row, distance) in distances.iter().enumerate() {
        sum += distance;
        while let Some((_, place)) = ascending.next_if(|&(drawn, _)| sum >= drawn) {
            rows[place] = row;
        }
        if ascending.peek().is_none() {
            break;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_in_proportion_to_its_distance() {
        let distances = [1.0, 0.0, 2.0, 0.5];
        assert_eq!(rows_at(&distances, &[3.2, 0.0, 1.0, 1.1, 3.0, 9.9, f64::NAN]), [3, 0, 0, 2, 2, 3, 0]);
        assert_eq!(rows_at(&[0.0, 0.0], &[0.0, 0.0]), [0, 0]);
    }
}
