"""A plain script: read, decode, infer in batches of 16, learn."""

import numpy as np

from chain import BATCH, arguments, features, learn, photos, pixels, session

folder, model, output, size, threads = arguments()
paths = photos(folder)
model = session(model, threads)
found = []
for start in range(0, len(paths), BATCH):
    batch = np.stack([pixels(path.read_bytes(), size) for path in paths[start : start + BATCH]])
    found.append(features(model, batch))
learn([str(path) for path in paths], np.concatenate(found), output)
