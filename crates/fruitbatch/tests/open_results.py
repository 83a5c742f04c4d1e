"""Opens a run's outputs with pandas, DuckDB and Spark, and checks that all three see the same."""

import glob
import sys

import duckdb
import pandas
from pyspark.sql import SparkSession

out = sys.argv[1]

# pandas rounds decimals a little off unless told otherwise.
csv = pandas.read_csv(f"{out}/results.csv", keep_default_na=False, na_values=[""], float_precision="round_trip")
parquet = pandas.read_parquet(f"{out}/results.parquet")
assert list(csv.columns) == list(parquet.columns), (list(csv.columns), list(parquet.columns))
assert len(csv) == len(parquet) > 0
assert csv["path"].tolist() == parquet["path"].tolist()
for column in ["cluster", "label_index", "distance", "pc_1"]:
    # Shortest decimal forms read back to the same bits.
    assert (csv[column].fillna(-1) == parquet[column].fillna(-1)).all(), column
features = pandas.concat(pandas.read_parquet(part) for part in sorted(glob.glob(f"{out}/features/*.parquet")))
assert sorted(features["path"]) == parquet["path"].tolist()
width = len(features["features"].iloc[0])
assert all(len(vector) == width for vector in features["features"])
print("pandas", len(csv))

seen = duckdb.sql(f"SELECT path, label, cluster, distance FROM '{out}/results.csv' ORDER BY path").fetchall()
same = duckdb.sql(f"SELECT path, label, cluster, distance FROM '{out}/results.parquet' ORDER BY path").fetchall()
assert seen == same
assert [row[0] for row in seen] == parquet["path"].tolist()
total, = duckdb.sql(f"SELECT count(DISTINCT path) FROM '{out}/features/*.parquet'").fetchone()
assert total == len(parquet)
print("duckdb", len(seen))

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
table = spark.read.parquet(f"{out}/results.parquet")
assert table.count() == len(parquet)
assert dict(table.dtypes)["cluster"] == "int" and dict(table.dtypes)["distance"] == "double", table.dtypes
text = spark.read.csv(f"{out}/results.csv", header=True, inferSchema=True, escape='"')
assert [row["path"] for row in text.orderBy("path").collect()] == parquet["path"].tolist()
vectors = spark.read.parquet(f"{out}/features")
assert dict(vectors.dtypes)["features"] == "array<float>", vectors.dtypes
assert vectors.count() == len(parquet)
assert len(vectors.first()["features"]) == width
print("spark", table.count())
