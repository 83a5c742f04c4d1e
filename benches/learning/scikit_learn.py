"""scikit-learn's side: FILE.npy COMPONENTS CLUSTERS SEED THREADS DTYPE. Prints how long each step took, as JSON."""

import json
import sys
import time

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

file, components, clusters, seed, threads, dtype = sys.argv[1:7]
components, clusters, seed, threads = int(components), int(clusters), int(seed), int(threads)
# What fruitbatch's silhouette is taken over too.
SILHOUETTE_ROWS = 10_000

figures = {}


def timed(step, work):
    began = time.perf_counter()
    result = work()
    figures[step] = time.perf_counter() - began
    return result


def scale_and_decompose():
    scaled = StandardScaler(copy=False).fit_transform(features)
    return scaled, PCA(components, svd_solver="covariance_eigh").fit(scaled)


def kmeans(max_iter):
    return KMeans(
        clusters, init="k-means++", n_init=1, max_iter=max_iter, tol=1e-4, algorithm="lloyd", random_state=seed
    ).fit(projected)


def score():
    found = model.predict(projected)
    sample = min(SILHOUETTE_ROWS, len(projected))
    return silhouette_score(projected, found, sample_size=sample, random_state=seed, n_jobs=threads)


features = np.load(file).astype(dtype)
with threadpool_limits(limits=threads):
    scaled, pca = timed("components", scale_and_decompose)
    projected = timed("projection", lambda: pca.transform(scaled))
    model = timed("clustering", lambda: kmeans(max_iter=300))
    timed("first_round", lambda: kmeans(max_iter=1))
    silhouette = timed("scoring", score)
print(
    json.dumps(
        {**figures, "rounds": int(model.n_iter_), "inertia": float(model.inertia_), "silhouette": float(silhouette)}
    )
)
