"""What the Python peers share: the photos, their pixels, the model, and the learning behind it."""

import csv
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

BATCH = 16
COMPONENTS = 10
STARTS = 10
# Of the channels blue, green, red: Keras's "caffe" preprocessing.
MEAN = np.array([103.939, 116.779, 123.68], dtype=np.float32)


def arguments():
    """INPUT, MODEL, OUTPUT, IMAGE_SIZE, THREADS."""
    folder, model, output, size, threads = sys.argv[1:6]
    return Path(folder), model, Path(output), int(size), int(threads)


def photos(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def pixels(content, size):
    """A file's bytes as the model wants them: [3, size, size]."""
    photo = Image.open(io.BytesIO(content)).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(photo, dtype=np.float32)[:, :, ::-1] - MEAN).transpose(2, 0, 1)


def session(model, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def features(model, batch):
    """[photos, 512]: the feature map's maxima."""
    return model.run(None, {"input": batch})[0].max(axis=(2, 3))


def learn(paths, matrix, output):
    """Scaling, principal components, clusters; results.csv."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    labels = [Path(path).parent.name for path in paths]
    scaled = StandardScaler().fit_transform(np.asarray(matrix, dtype=np.float64))
    projected = PCA(COMPONENTS, svd_solver="full").fit_transform(scaled)
    clusters = KMeans(len(set(labels)), n_init=STARTS, random_state=0).fit_predict(projected)
    output.mkdir(parents=True, exist_ok=True)
    with open(output / "results.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", *(f"pc_{i + 1}" for i in range(COMPONENTS)), "cluster"])
        for path, label, row, cluster in zip(paths, labels, projected, clusters):
            writer.writerow([path, label, *row, cluster])
    print(f"{len(paths)} photos")
