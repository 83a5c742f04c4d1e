"""Writes tests/fixtures/scikit_learn_figures.json: what scikit-learn gives for the features of formula_features.py.

    python -m venv VENV && VENV/bin/pip install scikit-learn==1.9.1
    VENV/bin/python tests/scikit_learn_figures.py
"""

import json
import pathlib

import numpy as np
import sklearn
from formula_features import features, noise
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score
from sklearn.preprocessing import StandardScaler

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
    "kmeans_inertia_of_scores": KMeans(3, n_init=10, random_state=0).fit(scores[:, :4]).inertia_,
    "lloyd": [lloyd(points[:6]), lloyd(points[:6], tol=0.0), lloyd(far_away), lloyd(points[:6], max_iter=3)],
}
target = pathlib.Path(__file__).parent / "fixtures" / "scikit_learn_figures.json"
target.write_text(json.dumps(figures, indent=1) + "\n")
