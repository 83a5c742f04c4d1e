"""Daft: files by URL, a class that holds the model, batches of 16."""

import daft
import numpy as np
from daft import DataType, Series, col

from chain import BATCH, arguments, features, learn, pixels, session

folder, model_file, output, size, threads = arguments()


@daft.cls(max_concurrency=1)
class Embedder:
    def __init__(self):
        self.model = session(model_file, threads)

    @daft.method.batch(return_dtype=DataType.embedding(DataType.float32(), 512), batch_size=BATCH)
    def embed(self, contents: Series):
        batch = np.stack([pixels(content, size) for content in contents.to_pylist()])
        return list(features(self.model, batch))


embedder = Embedder()
table = (
    daft.from_glob_path(str(folder / "**" / "*.jpg"))
    .with_column("content", col("path").download())
    .with_column("features", embedder.embed(col("content")))
    .select("path", "features")
    .sort("path")
    .collect()
    .to_pydict()
)
learn(table["path"], np.array(table["features"]), output)
