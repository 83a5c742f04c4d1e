"""Writes tests/fixtures/spark_ml_figures.json: what Spark ML gives for the features of formula_features.py.

    python -m venv VENV && VENV/bin/pip install pyspark==4.3.0 numpy
    VENV/bin/python tests/spark_ml_figures.py        # needs Java 17
"""

import json
import pathlib

import pyspark
from formula_features import features
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
rows = [(index, Vectors.dense([float(value) for value in row])) for index, row in enumerate(features(200, 12))]
frame = spark.createDataFrame(rows, ["row", "features"])

# The parameters of the original chain: withStd=True, withMean=False are Spark's defaults.
scaler = StandardScaler(inputCol="features", outputCol="scaled").fit(frame)
scaled = scaler.transform(frame)
pca = PCA(k=5, inputCol="scaled", outputCol="pca").fit(scaled)
projected = pca.transform(scaled)
kmeans = KMeans(k=3, seed=1, featuresCol="pca").fit(projected)
all_rows = projected.orderBy("row").collect()

figures = {
    "made_with": f"pyspark {pyspark.__version__}",
    "scaler_std": scaler.std.toArray().tolist(),
    "components": pca.pc.toArray().T.tolist(),
    "explained_variance_ratio": pca.explainedVariance.toArray().tolist(),
    "scaled_first_row": all_rows[0].scaled.toArray().tolist(),
    "projected": [row.pca.toArray().tolist() for row in all_rows[:20]],
    "training_cost": kmeans.summary.trainingCost,
    "cluster_sizes": sorted(kmeans.summary.clusterSizes, reverse=True),
}
target = pathlib.Path(__file__).parent / "fixtures" / "spark_ml_figures.json"
target.write_text(json.dumps(figures, indent=1) + "\n")
spark.stop()
