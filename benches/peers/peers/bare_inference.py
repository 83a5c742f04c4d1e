"""ONNX Runtime alone. Prints the seconds that its runs took: all else isn't measured."""

import time

import numpy as np

from chain import BATCH, arguments, photos, pixels, session

folder, model, output, size, threads = arguments()
paths = photos(folder)
model = session(model, threads)
batches = [
    np.stack([pixels(path.read_bytes(), size) for path in paths[start : start + BATCH]])
    for start in range(0, len(paths), BATCH)
]
model.run(None, {"input": batches[0]})
began = time.perf_counter()
for batch in batches:
    model.run(None, {"input": batch})
print(f"{time.perf_counter() - began:.6f} seconds of inference")
