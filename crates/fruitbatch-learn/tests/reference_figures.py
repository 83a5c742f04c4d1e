"""Prints what scikit-learn says of the partitions of the reference features that tests/reference.rs checks.

    python -m venv VENV && VENV/bin/pip install scikit-learn==1.9.1 pyarrow
    VENV/bin/python tests/reference_figures.py SHARED/reference/fruits-928_features_224.parquet
"""

import sys

import numpy as np
import pyarrow.parquet as pq
from sklearn import metrics

table = pq.read_table(sys.argv[1])
rows = np.array(table["features"].to_pylist(), dtype=np.float64)
labels = np.unique(np.array(table["label"].to_pylist()), return_inverse=True)[1]
# A partition that every language finds in the same way: by the column of the largest feature.
clusters = rows.argmax(axis=1) % 5

for name, partition in [("labels", labels), ("clusters", clusters)]:
    silhouettes = metrics.silhouette_samples(rows, partition)
    print(name)
    print("  silhouette", silhouettes.mean(), "row 0:", silhouettes[0], "row 927:", silhouettes[927])
    print("  silhouette by cluster", [float(silhouettes[partition == c].mean()) for c in np.unique(partition)])
    print("  calinski_harabasz", metrics.calinski_harabasz_score(rows, partition))
    print("  davies_bouldin", metrics.davies_bouldin_score(rows, partition))
print("homogeneity, completeness, v", metrics.homogeneity_completeness_v_measure(labels, clusters))
table = metrics.cluster.contingency_matrix(labels, clusters)
print("purity", table.max(axis=0).sum() / table.sum())
