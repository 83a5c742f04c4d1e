"""Makes features up, fits them with scikit-learn and fruitbatch in alternation, prints a table. Started by `run`."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import sklearn

from machine import measured_here

HERE = Path(__file__).parent
# Directions that the made-up features vary in, beside a little noise of each column's own.
DIRECTIONS = 60
STEPS = {
    "components": "scaler and PCA",
    "projection": "projection",
    "clustering": "KMeans",
    "scoring": "clusters of all rows, silhouette of 10,000",
}


def made_up_features(options):
    """float32, rows x columns: blobs in a few directions, with noise in the same ones, so that columns are correlated."""
    random = np.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape, dtype=np.float32)

    centres = normal(options.clusters, DIRECTIONS)
    noise_by_direction = np.linspace(2.0, 1.0, DIRECTIONS, dtype=np.float32)
    blobs = random.integers(options.clusters, size=options.rows)
    places = centres[blobs] + noise_by_direction * normal(options.rows, DIRECTIONS)
    features = places @ (normal(DIRECTIONS, options.columns) / np.sqrt(np.float32(DIRECTIONS)))
    features += np.float32(0.5) * normal(options.rows, options.columns)
    # Columns have units of their own, and means far from 0.
    return (features + np.float32(5.0)) * np.exp(normal(options.columns))


def figures_of(words, threads):
    """The JSON object that a program prints, run with so many threads."""
    variables = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    environment = {**os.environ, **dict.fromkeys(variables, str(threads))}
    done = subprocess.run([str(word) for word in words], env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{words[0]} failed")
    return json.loads(done.stdout)


def total(figures):
    return sum(figures[step] for step in STEPS)


def seconds_a_round(figures):
    """Of the rounds behind the first one, which is measured together with the start."""
    rounds = figures["rounds"] - 1
    return (figures["clustering"] - figures["first_round"]) / rounds if rounds else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run, with another seed each time")
    parser.add_argument("--rows", type=int, default=90_000)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--clusters", type=int, default=131)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="what scikit-learn computes in")
    parser.add_argument("--json", help="a file for every run's figures")
    parser.add_argument("--program", required=True, help="fruitbatch's side")
    options = parser.parse_args()

    runs = {"scikit-learn": [], "fruitbatch": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.npy"
        np.save(file, made_up_features(options))
        for seed in range(options.rounds):
            what = [file, options.components, options.clusters, seed, options.threads]
            commands = {
                "scikit-learn": [sys.executable, HERE / "scikit_learn.py", *what, options.dtype],
                "fruitbatch": [options.program, "fit", *what],
            }
            for name, words in commands.items():
                figures = figures_of(words, options.threads)
                runs[name].append(figures)
                print(f"round {seed + 1}: {name} took {total(figures):.2f} s", file=sys.stderr, flush=True)

    def median(name, figure):
        return statistics.median(figure(figures) for figures in runs[name])

    print(
        f"{options.rows} x {options.columns} features, {options.components} components, {options.clusters} clusters, "
        f"{options.threads} threads, medians of {options.rounds}"
    )
    print(measured_here())
    print(f"scikit-learn {sklearn.__version__} in {options.dtype}, numpy {np.__version__}")
    print()
    print("| | scikit-learn | fruitbatch | ratio |")
    print("|---|---:|---:|---:|")

    def line(title, figure, form):
        theirs, ours = median("scikit-learn", figure), median("fruitbatch", figure)
        print(f"| {title} | {theirs:{form}} | {ours:{form}} | {ours / theirs:.3f} |")

    for step, title in STEPS.items():
        line(f"{title}, s", lambda figures: figures[step], ".3f")
    line("together, s", total, ".3f")
    line("KMeans, start and first round, s", lambda figures: figures["first_round"], ".3f")
    line("KMeans, each further round, ms", lambda figures: 1e3 * seconds_a_round(figures), ".2f")
    line("KMeans, rounds", lambda figures: figures["rounds"], ".0f")
    line("inertia", lambda figures: figures["inertia"], ".6g")
    line("silhouette", lambda figures: figures["silhouette"], ".4f")
    if options.json:
        Path(options.json).write_text(json.dumps({"scikit-learn": sklearn.__version__, "runs": runs}, indent=1))


main()
