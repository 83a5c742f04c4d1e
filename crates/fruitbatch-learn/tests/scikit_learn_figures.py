"""Writes tests/fixtures/scikit_learn_figures.json: what scikit-learn gives for the features of formula_features.py.

    python -m venv VENV && VENV/bin/pip install scikit-learn==1.9.1
    VENV/bin/python tests/scikit_learn_figures.py
"""

import json
import pathlib

import numpy as np
import sklearn
from formula_features import features, noise
from sklearn.cluster import DBSCAN, HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    completeness_score,
    davies_bouldin_score,
    homogeneity_score,
    normalized_mutual_info_score,
    silhouette_samples,
    silhouette_score,
)
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import Normalizer, StandardScaler

rows = features(200, 12).astype(np.float64)
scaler = StandardScaler().fit(rows)
scaled = scaler.transform(rows)
pca = PCA(svd_solver="full").fit(scaled)
scores = pca.transform(scaled)
whitened = PCA(n_components=4, svd_solver="full", whiten=True).fit_transform(scaled)
wide = StandardScaler().fit_transform(features(8, 12).astype(np.float64))
wide_pca = PCA(svd_solver="full").fit(wide)

labels = [[row * row * 7 % 11 % 4 for row in range(200)], [row % 3 for row in range(200)], [0] * 200, list(range(200))]
clusters = [[row * 13 % 17 % 5 for row in range(200)], [row % 3 + row % 50 // 48 for row in range(200)], [0] * 200, list(range(200))]
metrics = [
    {
        "labels": label,
        "clusters": cluster,
        "ari": adjusted_rand_score(labels[label], clusters[cluster]),
        "nmi": normalized_mutual_info_score(labels[label], clusters[cluster]),
        "homogeneity": homogeneity_score(labels[label], clusters[cluster]),
        "completeness": completeness_score(labels[label], clusters[cluster]),
    }
    for label in range(4)
    for cluster in range(4)
]

# Rows without groups, so that Lloyd's algorithm takes its time.
points = np.array([[noise(row, column) for column in range(4)] for row in range(200)])
far_away = points[:6].copy()
far_away[4] = 50.0
far_away[5] = 60.0


def lloyd(initial_centres, **options):
    fitted = KMeans(len(initial_centres), init=initial_centres, n_init=1, algorithm="lloyd", **options).fit(points)
    return {
        "initial_centres": initial_centres.tolist(),
        "centres": fitted.cluster_centers_.tolist(),
        "inertia": fitted.inertia_,
        "n_iter": fitted.n_iter_,
    }


mixture = GaussianMixture(3, random_state=0).fit(scores[:, :4])


class FromThirds(GaussianMixture):
    """Starts from the rows dealt out in turn, so that EM takes its time."""

    def _initialize_parameters(self, rows, *_, **__):
        self._initialize(rows, np.eye(3)[np.arange(len(rows)) % 3])


slow_mixture = FromThirds(3, tol=1e-5, max_iter=200).fit(points)
# Components in the order of their first rows.
order = mixture.predict(scores[:3, :4])
unit_pca = PCA(n_components=2, svd_solver="full").fit(StandardScaler().fit_transform(Normalizer().fit_transform(rows)))

figures = {
    "made_with": f"scikit-learn {sklearn.__version__}",
    "scaler_mean": scaler.mean_.tolist(),
    "scaler_scale": scaler.scale_.tolist(),
    "explained_variance": pca.explained_variance_.tolist(),
    "explained_variance_ratio": pca.explained_variance_ratio_.tolist(),
    "components": pca.components_[:4].tolist(),
    "scores_of_first_rows": scores[:5, :4].tolist(),
    "whitened_scores_of_first_rows": whitened[:5].tolist(),
    "components_for_shares": [
        [share, int(PCA(n_components=share, svd_solver="full").fit(scaled).n_components_)] for share in [0.3, 0.5, 0.8, 0.95, 0.999]
    ],
    "explained_variance_ratio_of_8_rows": wide_pca.explained_variance_ratio_.tolist(),
    "labels": labels,
    "clusters": clusters,
    "metrics": metrics,
    "silhouettes_of_scores": [silhouette_score(scores[:, :4], clusters[0]), silhouette_score(scores[:, :4], clusters[1])],
    "silhouettes_of_first_rows": [silhouette_samples(scores[:, :4], clusters[i])[:8].tolist() for i in range(2)],
    "silhouettes_by_cluster": [
        [silhouette_samples(scores[:, :4], clusters[i])[np.array(clusters[i]) == c].mean() for c in sorted(set(clusters[i]))]
        for i in range(2)
    ],
    "calinski_harabasz_of_scores": [calinski_harabasz_score(scores[:, :4], clusters[i]) for i in range(2)],
    "davies_bouldin_of_scores": [davies_bouldin_score(scores[:, :4], clusters[i]) for i in range(2)],
    "kmeans_inertia_of_scores": KMeans(3, n_init=10, random_state=0).fit(scores[:, :4]).inertia_,
    "mixture": {
        "weights": mixture.weights_[order].tolist(),
        "means": mixture.means_[order].ravel().tolist(),
        "covariances": mixture.covariances_[order].ravel().tolist(),
        "lower_bound": mixture.lower_bound_,
        "n_iter": mixture.n_iter_,
    },
    "mixture_from_thirds": {
        "weights": slow_mixture.weights_.tolist(),
        "means": slow_mixture.means_.ravel().tolist(),
        "covariances": slow_mixture.covariances_.ravel().tolist(),
        "lower_bound": slow_mixture.lower_bound_,
        "n_iter": slow_mixture.n_iter_,
    },
    "dbscan": DBSCAN(eps=0.1, min_samples=5).fit(points[:, :2]).labels_.tolist(),
    "dbscan_core_rows": DBSCAN(eps=0.1, min_samples=5).fit(points[:, :2]).core_sample_indices_.tolist(),
    "hdbscan": HDBSCAN(min_cluster_size=8, min_samples=4, copy=True).fit(points[:, :2]).labels_.tolist(),
    "explained_variance_of_unit_rows": unit_pca.explained_variance_.tolist(),
    "lloyd": [lloyd(points[:6]), lloyd(points[:6], tol=0.0), lloyd(far_away), lloyd(points[:6], max_iter=3)],
}
target = pathlib.Path(__file__).parent / "fixtures" / "scikit_learn_figures.json"
target.write_text(json.dumps(figures, indent=1) + "\n")
