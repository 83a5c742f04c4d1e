"""Ray Data: binary files, and actors that hold the model, batches of 16."""

import numpy as np
import ray

from chain import BATCH, arguments, features, learn, pixels, session

folder, model_file, output, size, threads = arguments()


class Embedder:
    def __init__(self):
        self.model = session(model_file, 1)

    def __call__(self, batch):
        tensor = np.stack([pixels(content, size) for content in batch["bytes"]])
        return {"path": batch["path"], "features": features(self.model, tensor)}


# One more than compute: a slot for reading, without which the actors would take all and wait for ever.
ray.init(num_cpus=threads + 1, include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
table = (
    ray.data.read_binary_files(str(folder), include_paths=True, file_extensions=["jpg", "jpeg", "png"])
    .map_batches(Embedder, batch_size=BATCH, num_cpus=1, concurrency=threads)
    .take_all()
)
table.sort(key=lambda row: row["path"])
learn([row["path"] for row in table], np.stack([row["features"] for row in table]), output)
