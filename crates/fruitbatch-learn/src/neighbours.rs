//! The nearest rows of a fixed set, and what their labels say of a new row.

use linfa_nn::distance::L2Dist;
use linfa_nn::{CommonNearestNeighbour, NearestNeighbour};
use ndarray::{Array2, ArrayView2};

use crate::LearnError;
use crate::rows::{check_finite, check_width};

/// One of the nearest rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Its number in the fixed set.
    pub row: usize,
    /// The Euclidean distance from it.
    pub distance: f64,
}

/// What the labels of the nearest rows say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vote {
    /// The label that most of them have; of those with as many votes, the one whose first voter is nearer.
    pub label: u32,
    /// The part of the voters that have it, above 0 and at most 1.
    pub share: f64,
}

/// The `n_neighbors` rows of `points` (n x k) nearest to each of `queries` (m x k), the nearest first, of equally near ones the
/// lower row first; all rows if there are fewer. By a k-d tree: time grows with m log n for few columns.
///
/// # Errors
/// [`LearnError::WidthMismatch`] and [`LearnError::NotFinite`].
pub fn nearest_rows(
    points: &Array2<f64>,
    queries: ArrayView2<'_, f64>,
    n_neighbors: usize,
) -> Result<Vec<Vec<Neighbour>>, LearnError> {
    check_width(&queries, points.ncols())?;
    check_finite(points.view())?;
    check_finite(queries)?;
    if points.nrows() == 0 || points.ncols() == 0 {
        return Ok(vec![Vec::new(); queries.nrows()]);
    }
    let index = CommonNearestNeighbour::KdTree
        .from_batch(points, L2Dist)
        .expect("there are columns, and the tree takes any finite rows");
    let nearest = |query| -> Vec<Neighbour> {
        let found = index.k_nearest(query, n_neighbors).expect("the query has as many columns, all finite");
        let mut found: Vec<Neighbour> = found
            .into_iter()
            .map(|(point, row)| {
                let squared: f64 = point.iter().zip(query).map(|(one, other)| (one - other).powi(2)).sum();
                Neighbour { row, distance: squared.sqrt() }
            })
            .collect();
        found.sort_by(|one, other| {
            one.distance.total_cmp(&other.distance).then_with(|| one.row.cmp(&other.row))
        });
        found
    };
    Ok(queries.rows().into_iter().map(nearest).collect())
}

/// The vote of neighbours, nearest first, by the labels of the set's rows; rows without a label don't vote. `None` if nobody does.
pub fn vote(neighbours: &[Neighbour], labels: &[Option<u32>]) -> Option<Vote> {
    let votes: Vec<u32> = neighbours.iter().filter_map(|neighbour| labels[neighbour.row]).collect();
    let count = |label: u32| votes.iter().filter(|&&other| other == label).count();
    // The first of equals is the nearest.
    let winner =
        votes.iter().copied().reduce(|best, label| if count(label) > count(best) { label } else { best })?;
    Some(Vote { label: winner, share: count(winner) as f64 / votes.len() as f64 })
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_nearest_come_first_and_equals_by_their_number() {
        let points = array![[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [0.0, -1.0]];
        let found = nearest_rows(&points, array![[0.0, 0.0]].view(), 4).unwrap();
        let rows: Vec<usize> = found[0].iter().map(|neighbour| neighbour.row).collect();
        let distances: Vec<f64> = found[0].iter().map(|neighbour| neighbour.distance).collect();
        assert_eq!(rows, [0, 2, 3, 1]);
        assert_eq!(distances, [0.0, 1.0, 1.0, 5.0]);
    }

    #[test]
    fn fewer_rows_than_asked_for_are_all_found() {
        let found = nearest_rows(&array![[1.0]], array![[0.0], [5.0]].view(), 10).unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        let nobody = nearest_rows(&Array2::zeros((0, 1)), array![[0.0]].view(), 3).unwrap();
        assert_eq!(nobody, [vec![]]);
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let points = array![[0.0, 0.0]];
        assert!(nearest_rows(&points, array![[0.0]].view(), 1).is_err());
        assert!(nearest_rows(&points, array![[0.0, f64::NAN]].view(), 1).is_err());
    }

    #[test]
    fn most_votes_win_and_of_equals_the_nearer() {
        let at = |row| Neighbour { row, distance: row as f64 };
        let neighbours = [at(0), at(1), at(2), at(3), at(4)];
        let labels = [Some(7), Some(5), Some(5), Some(7), None];
        assert_eq!(vote(&neighbours, &labels), Some(Vote { label: 7, share: 0.5 }));
        let labels = [Some(7), Some(5), Some(5), None, None];
        assert_eq!(vote(&neighbours, &labels), Some(Vote { label: 5, share: 2.0 / 3.0 }));
        assert_eq!(vote(&neighbours, &[None; 5]), None);
    }
}
