"""Writes tests/fixtures/scikit_learn_tsne_figures.json: scikit-learn's t-SNE of the features of formula_features.py.

    python -m venv VENV && VENV/bin/pip install scikit-learn==1.9.1
    VENV/bin/python tests/scikit_learn_tsne_figures.py
"""

import json
import pathlib

import numpy as np
import sklearn
from formula_features import features
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.preprocessing import StandardScaler

scaled = StandardScaler().fit_transform(features(400, 12).astype(np.float64))
scores = PCA(n_components=6, svd_solver="full").fit_transform(scaled)
tsne = TSNE(init="pca", random_state=0).fit(scores)

figures = {
    "made_with": f"scikit-learn {sklearn.__version__}",
    "kl_divergence": float(tsne.kl_divergence_),
    "trustworthiness": trustworthiness(scores, tsne.embedding_, n_neighbors=5),
    "trustworthiness_of_first_columns": [
        [count, trustworthiness(scores, scores[:, :2], n_neighbors=count)] for count in [1, 5, 60, 199]
    ],
}
target = pathlib.Path(__file__).parent / "fixtures" / "scikit_learn_tsne_figures.json"
target.write_text(json.dumps(figures, indent=1) + "\n")
