//! One run of Lloyd's algorithm: rows to their nearest centres, centres to the mean of their rows, until nothing moves.

use std::num::NonZeroUsize;

use ndarray::{Array2, ArrayView1, ArrayView2};

use super::assign::{CentreProducts, squared_distance};
use crate::LearnError;
use crate::blocks::{Merge, ROWS_PER_BLOCK};
use crate::row_blocks::{RowBlocks, reduce_rows_with};
use crate::rows::to_unit_length;

/// What a run arrives at.
pub(super) struct Run {
    pub(super) centres: Array2<f64>,
    pub(super) inertia: f64,
    pub(super) n_iter: usize,
    /// The nearest of the centres for each row.
    pub(super) clusters: Vec<i32>,
}

/// Sum and number of the rows of each cluster.
struct ClusterSums {
    sums: Array2<f64>,
    sizes: Vec<u64>,
}

impl Merge for ClusterSums {
    fn merge(mut self, later: Self) -> Self {
        self.sums += &later.sums;
        for (size, later) in self.sizes.iter_mut().zip(later.sizes) {
            *size += later;
        }
        self
    }
}

/// A row that may become a centre: its squared distance from its own centre, and its number.
struct FarRow {
    squared_distance: f64,
    row: usize,
}

/// The rows farthest from their centres, the farthest first, of equals the lowest number first.
struct FarthestRows {
    rows: Vec<FarRow>,
    /// The most that are kept.
    most: usize,
}

impl FarthestRows {
    fn new(mut rows: Vec<FarRow>, most: usize) -> Self {
        rows.sort_by(|left, right| {
            right.squared_distance.total_cmp(&left.squared_distance).then(left.row.cmp(&right.row))
        });
        rows.truncate(most);
        Self { rows, most }
    }
}

impl Merge for FarthestRows {
    fn merge(mut self, later: Self) -> Self {
        self.rows.extend(later.rows);
        Self::new(self.rows, self.most)
    }
}

/// Runs from `centres` on. `rows` (n x width, n at least 1) should lie about the origin, or be of unit length where the centres
/// have to stay so (`is_spherical`). Holds 8 bytes a row.
pub(super) fn run<B: RowBlocks<Value = f64>>(
    rows: &B,
    mut centres: Array2<f64>,
    max_iter: usize,
    absolute_tol: f64,
    is_spherical: bool,
    threads: NonZeroUsize,
) -> Result<Run, LearnError> {
    let mut clusters = vec![-1; rows.row_count()];
    let mut previous_clusters = clusters.clone();
    let mut n_iter = 0;
    let mut unchanged = false;
    while n_iter < max_iter {
        n_iter += 1;
        let products = CentreProducts::new(centres);
        let mut cluster_sums = assign_and_sum(rows, &products, &mut clusters, threads)?;
        relocate_empty_clusters(rows, &products.centres, &mut clusters, &mut cluster_sums, threads)?;
        let mut new_centres = average(cluster_sums);
        if is_spherical {
            to_unit_length(&mut new_centres);
        }
        let squared_shift: f64 = new_centres
            .rows()
            .into_iter()
            .zip(products.centres.rows())
            .map(|(new_centre, centre)| squared_distance(new_centre, centre))
            .sum();
        centres = new_centres;
        unchanged = clusters == previous_clusters;
        if unchanged || squared_shift <= absolute_tol {
            break;
        }
        previous_clusters.copy_from_slice(&clusters);
    }
    if !unchanged {
        // The centres have moved since the rows were assigned to them.
        let products = CentreProducts::new(centres);
        for_each_block(rows, &mut clusters, threads, |_, block, clusters| products.nearest(block, clusters))?;
        centres = products.centres;
    }
    let inertia = for_each_block(rows, &mut clusters, threads, |_, block, clusters| {
        block
            .rows()
            .into_iter()
            .zip(clusters)
            .map(|(row, &mut cluster)| squared_distance(row, centres.row(cluster as usize)))
            .sum()
    })?;
    Ok(Run { centres, inertia, n_iter, clusters })
}

fn for_each_block<B: RowBlocks<Value = f64>, M: Merge + Send>(
    rows: &B,
    clusters: &mut [i32],
    threads: NonZeroUsize,
    work: impl Fn(usize, ArrayView2<'_, f64>, &mut [i32]) -> M + Sync,
) -> Result<M, LearnError> {
    let clusters = clusters.chunks_mut(ROWS_PER_BLOCK).collect();
    let merged = reduce_rows_with(threads, rows, clusters, |block, rows, clusters: &mut [i32]| {
        Ok(work(block, rows, clusters))
    })?;
    Ok(merged.expect("there is at least one row"))
}

fn assign_and_sum<B: RowBlocks<Value = f64>>(
    rows: &B,
    products: &CentreProducts,
    clusters: &mut [i32],
    threads: NonZeroUsize,
) -> Result<ClusterSums, LearnError> {
    for_each_block(rows, clusters, threads, |_, block, clusters| {
        products.nearest(block, clusters);
        let mut sums = Array2::zeros(products.centres.raw_dim());
        let mut sizes = vec![0; products.centres.nrows()];
        for (row, &mut cluster) in block.rows().into_iter().zip(clusters) {
            let mut sum = sums.row_mut(cluster as usize);
            sum += &row;
            sizes[cluster as usize] += 1;
        }
        ClusterSums { sums, sizes }
    })
}

/// Gives each cluster without rows one of the rows that are farthest from their own centres (of equals the first).
///
/// Does nothing if every row lies on a centre: there are then fewer distinct rows than clusters.
fn relocate_empty_clusters<B: RowBlocks<Value = f64>>(
    rows: &B,
    centres: &Array2<f64>,
    clusters: &mut [i32],
    cluster_sums: &mut ClusterSums,
    threads: NonZeroUsize,
) -> Result<(), LearnError> {
    let empty: Vec<usize> =
        (0..cluster_sums.sizes.len()).filter(|&cluster| cluster_sums.sizes[cluster] == 0).collect();
    if empty.is_empty() {
        return Ok(());
    }
    let farthest = for_each_block(rows, clusters, threads, |block, rows, clusters| {
        let far_rows = rows.rows().into_iter().zip(clusters).zip(block * ROWS_PER_BLOCK..);
        let far_row = |((values, cluster), row): ((ArrayView1<'_, f64>, &mut i32), usize)| FarRow {
            squared_distance: squared_distance(values, centres.row(*cluster as usize)),
            row,
        };
        FarthestRows::new(far_rows.map(far_row).collect(), empty.len())
    })?
    .rows;
    if farthest[0].squared_distance == 0.0 {
        return Ok(());
    }
    let numbers: Vec<usize> = farthest.iter().map(|far_row| far_row.row).collect();
    let values = rows.select(&numbers)?;
    for ((new_cluster, row), values) in empty.into_iter().zip(numbers).zip(values.rows()) {
        let old_cluster = clusters[row] as usize;
        let mut old_sum = cluster_sums.sums.row_mut(old_cluster);
        old_sum -= &values;
        cluster_sums.sums.row_mut(new_cluster).assign(&values);
        cluster_sums.sizes[old_cluster] -= 1;
        cluster_sums.sizes[new_cluster] = 1;
    }
    Ok(())
}

/// The means. A cluster still without rows takes the centre of the largest one, where it does no harm.
fn average(cluster_sums: ClusterSums) -> Array2<f64> {
    let ClusterSums { sums: mut centres, sizes } = cluster_sums;
    for (mut centre, &size) in centres.rows_mut().into_iter().zip(&sizes) {
        if size > 0 {
            centre /= size as f64;
        }
    }
    let mut largest = 0;
    for (cluster, size) in sizes.iter().enumerate() {
        if *size > sizes[largest] {
            largest = cluster;
        }
    }
    let largest_centre = centres.row(largest).to_owned();
    for (mut centre, &size) in centres.rows_mut().into_iter().zip(&sizes) {
        if size == 0 {
            centre.assign(&largest_centre);
        }
    }
    centres
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::moments::ColumnMoments;

    /// Runs of scikit-learn from given centres; `tests/scikit_learn_figures.py` made them. The third one starts with two
    /// centres that no row is near to.
    #[derive(Deserialize)]
    struct Figures {
        lloyd: Vec<LloydFigures>,
    }

    #[derive(Deserialize)]
    struct LloydFigures {
        initial_centres: Vec<Vec<f64>>,
        centres: Vec<Vec<f64>>,
        inertia: f64,
        n_iter: usize,
    }

    fn matrix(rows: &[Vec<f64>]) -> Array2<f64> {
        Array2::from_shape_fn((rows.len(), rows[0].len()), |(row, column)| rows[row][column])
    }

    #[test]
    fn runs_from_given_centres_take_the_steps_of_scikit_learn() {
        let figures: Figures =
            serde_json::from_str(include_str!("../../tests/fixtures/scikit_learn_figures.json")).unwrap();
        let rows = Array2::from_shape_fn((200, 4), |(row, column)| {
            ((row * 7919 + column * 104_729 + row * row * (column + 3) * 31) % 1009) as f64 / 1009.0
        });
        let moments = ColumnMoments::of_block(rows.view());
        let centred = &rows - moments.mean();
        let default_tol = 1e-4 * moments.variance(0).mean().unwrap();
        let options = [(300, default_tol), (300, 0.0), (300, default_tol), (3, default_tol)];
        assert_eq!(figures.lloyd.len(), options.len());
        for (expected, (max_iter, tol)) in figures.lloyd.iter().zip(options) {
            let start = matrix(&expected.initial_centres) - moments.mean();
            let run = run(&centred, start, max_iter, tol, false, NonZeroUsize::MIN).unwrap();
            assert_eq!(run.n_iter, expected.n_iter);
            assert!((run.inertia / expected.inertia - 1.0).abs() < 1e-12, "inertia {}", run.inertia);
            let difference = run.centres + moments.mean() - matrix(&expected.centres);
            assert!(difference.iter().all(|difference| difference.abs() < 1e-12), "{difference}");
        }
    }

    #[test]
    fn rows_that_are_all_equal_leave_the_spare_clusters_empty() {
        let rows = Array2::from_elem((5, 2), 3.0);
        let start = rows.slice(ndarray::s![..3, ..]).to_owned();
        let run = run(&rows, start, 300, 0.0, false, NonZeroUsize::MIN).unwrap();
        assert_eq!((run.inertia, run.n_iter), (0.0, 1));
        assert_eq!(run.centres, Array2::from_elem((3, 2), 3.0));
    }
}
