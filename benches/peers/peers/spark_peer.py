"""PySpark's binaryFile, Keras in a pandas UDF, Spark ML: the chain that many come from."""

from pathlib import Path
from typing import Iterator

import numpy as np
import pandas as pd
from pyspark.ml.clustering import KMeans
from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, element_at, pandas_udf, split

from chain import BATCH, COMPONENTS, STARTS, arguments, pixels

folder, model_file, output, size, threads = arguments()


def keras_model(weights):
    """Keras's VGG16 with the weights that the ONNX model has, so that all peers compute the same."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.keras.applications.VGG16(weights=None, include_top=False, pooling="max", input_shape=(size, size, 3))
    model.set_weights(weights)
    return model


def onnx_weights():
    """Kernels [rows, columns, in, out] and biases, layer after layer."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(model_file).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = []
    for node in graph.node:
        if node.op_type == "Conv":
            weights += [tensors[node.input[1]].transpose(2, 3, 1, 0), tensors[node.input[2]]]
    return weights


spark = (
    SparkSession.builder.master(f"local[{threads}]")
    .config("spark.driver.memory", "4g")
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH)
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
spark.sparkContext.addPyFile(str(Path(__file__).with_name("chain.py")))
shared_weights = spark.sparkContext.broadcast(onnx_weights())


@pandas_udf("array<float>")
def embed(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    model = keras_model(shared_weights.value)
    for contents in batches:
        tensor = np.stack([pixels(content, size).transpose(1, 2, 0) for content in contents])
        yield pd.Series(list(model.predict(tensor, batch_size=BATCH, verbose=0)))


table = (
    spark.read.format("binaryFile")
    .option("pathGlobFilter", "*.jpg")
    .option("recursiveFileLookup", "true")
    .load(str(folder))
    .withColumn("label", element_at(split("path", "/"), -2))
    .repartition(2 * threads)
    .select("path", "label", embed("content").alias("features"))
    .withColumn("features", array_to_vector("features"))
    .cache()
)
labels = table.select("label").distinct().count()
scaled = StandardScaler(withMean=True, withStd=True, inputCol="features", outputCol="scaled").fit(table).transform(table)
projected = PCA(k=COMPONENTS, inputCol="scaled", outputCol="pca").fit(scaled).transform(scaled).cache()
best = min(
    (KMeans(k=labels, seed=seed, featuresCol="pca", predictionCol="cluster").fit(projected) for seed in range(STARTS)),
    key=lambda model: model.summary.trainingCost,
)
components = vector_to_array("pca")
columns = [components[index].alias(f"pc_{index + 1}") for index in range(COMPONENTS)]
best.transform(projected).select("path", "label", *columns, col("cluster")).toPandas().to_csv(
    output.parent / f"{output.name}.csv", index=False
)
print(f"{table.count()} photos")
