//! The last step of the chain: rows of scores to clusters, by any of the algorithms.

use std::num::NonZeroUsize;

use linfa::ParamGuard;

use crate::LearnError;
use crate::density::{DensityClusters, check_row_count};
use crate::kmeans::{Assignment, KMeans, Restarts, order_by_size};
use crate::mixture::GaussianMixture;
use crate::row_blocks::RowBlocks;
use crate::spec::{Algorithm, LearnSpec};

/// What an algorithm has fitted: enough to say of any row which cluster it belongs to.
///
/// Whatever the algorithm, cluster 0 is the largest, then by falling size; of equal sizes the one whose first row comes first.
#[derive(Debug, Clone, PartialEq)]
pub enum Clusterer {
    /// Centres: a row belongs to the nearest. Of [`Algorithm::KMeans`] and [`Algorithm::SphericalKMeans`].
    KMeans(KMeans),
    /// Normal distributions: a row belongs to the most probable.
    GaussianMixture(GaussianMixture),
    /// Rows with their clusters: a row belongs with the nearest if that is near enough, else it is noise. Of
    /// [`Algorithm::Dbscan`] and [`Algorithm::Hdbscan`].
    Density(DensityClusters),
}

/// A fitted clusterer and the figures of its fit, as far as its algorithm has them.
pub(crate) struct ClustererFit {
    pub(crate) clusterer: Clusterer,
    pub(crate) inertia: Option<f64>,
    pub(crate) n_iter: Option<usize>,
    pub(crate) log_likelihood: Option<f64>,
    pub(crate) restarts: Option<Restarts>,
}

impl Clusterer {
    /// Fits the algorithm of `spec` on `points` (n x k); by density, `n_clusters` plays no part. All but KMeans need the points
    /// as a matrix.
    pub(crate) fn fit<B: RowBlocks<Value = f64>>(
        points: &B,
        spec: &LearnSpec,
        n_clusters: usize,
        threads: NonZeroUsize,
    ) -> Result<ClustererFit, LearnError> {
        let without_figures = |clusterer| ClustererFit {
            clusterer,
            inertia: None,
            n_iter: None,
            log_likelihood: None,
            restarts: None,
        };
        let kmeans = |is_spherical: bool| {
            let params = spec.kmeans.params(n_clusters, threads).spherical(is_spherical);
            params.check()?.fit_restarts(points)
        };
        if matches!(spec.algorithm, Algorithm::Dbscan | Algorithm::Hdbscan) {
            check_row_count(points.row_count())?;
        }
        let mut fit = match spec.algorithm {
            // These number their clusters themselves.
            Algorithm::KMeans | Algorithm::SphericalKMeans => {
                let (kmeans, restarts) = kmeans(spec.algorithm == Algorithm::SphericalKMeans)?;
                return Ok(ClustererFit {
                    inertia: Some(kmeans.inertia()),
                    n_iter: Some(kmeans.n_iter()),
                    log_likelihood: None,
                    restarts: Some(restarts),
                    clusterer: Self::KMeans(kmeans),
                });
            }
            Algorithm::GaussianMixture => {
                let (kmeans, _) = kmeans(false)?;
                let start = kmeans.assign(points, threads)?.clusters;
                let points = points.to_matrix()?;
                let mixture = &spec.gaussian_mixture;
                let fit = GaussianMixture::fit(points.view(), &start, n_clusters, mixture, threads)?;
                ClustererFit {
                    n_iter: Some(fit.n_iter),
                    log_likelihood: Some(fit.log_likelihood),
                    ..without_figures(Self::GaussianMixture(fit.mixture))
                }
            }
            Algorithm::Dbscan => {
                let points = points.to_matrix()?;
                without_figures(Self::Density(DensityClusters::dbscan(points.view(), &spec.dbscan, threads)?))
            }
            Algorithm::Hdbscan => {
                let points = points.to_matrix()?;
                without_figures(Self::Density(DensityClusters::hdbscan(
                    points.view(),
                    &spec.hdbscan,
                    threads,
                )?))
            }
        };
        let clusters = fit.clusterer.assign(points, threads)?.clusters;
        let order = order_by_size(&clusters, fit.clusterer.n_clusters());
        match &mut fit.clusterer {
            Self::KMeans(_) => {}
            Self::GaussianMixture(mixture) => mixture.reorder(&order),
            Self::Density(density) => density.reorder(&order),
        }
        Ok(fit)
    }

    /// Number of clusters, without noise.
    pub fn n_clusters(&self) -> usize {
        match self {
            Self::KMeans(kmeans) => kmeans.n_clusters(),
            Self::GaussianMixture(mixture) => mixture.means.nrows(),
            Self::Density(density) => density.n_clusters(),
        }
    }

    /// The cluster of each row (n x k), [`NOISE`](crate::NOISE) for none, and the Euclidean distance from its centre, mean or
    /// nearest kept row. A row's result doesn't depend on the rows around it.
    pub(crate) fn assign<B: RowBlocks<Value = f64>>(
        &self,
        points: &B,
        threads: NonZeroUsize,
    ) -> Result<Assignment, LearnError> {
        match self {
            Self::KMeans(kmeans) => kmeans.assign(points, threads),
            Self::GaussianMixture(mixture) => mixture.assign(points, threads),
            Self::Density(density) => density.assign(points, threads),
        }
    }
}
