"""How the time and the memory of a run grow with the number of photos. Started by `run`."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import measured_here

STAGES = ["list", "start", "extract", "fit", "write"]
# Subfolders, which are the photos' labels.
LABELS = 200
# ext4 allows 65,000 links to a file.
LINKS_A_FILE = 50_000
# Pixels that photos are resized to: the side that the small model was made for.
IMAGE_SIZE = 32
# Seconds between looks at the memory.
LOOK = 1.0
# Disk that a photo takes at most: its name, its features, its rows in the results. And what is there without photos.
BYTES_A_PHOTO, BYTES_ALWAYS = 2_000, 200_000_000


class Place:
    """A temporary folder with drawn photos, a small model and nothing of the user's own configuration."""

    def __init__(self, folder, options):
        self.folder, self.options = folder, options
        for name in ["config", "cache", "photos"]:
            (folder / name).mkdir()
        own = {name: value for name, value in os.environ.items() if not name.startswith("FRUITBATCH_")}
        self.environment = own | {
            "FRUITBATCH_CONFIG_DIR": str(folder / "config"),
            "FRUITBATCH_CACHE_DIR": str(folder / "cache"),
            "ORT_DYLIB_PATH": options.onnxruntime,
        }
        model = folder / "tiny.onnx"
        subprocess.run([options.model_writer, "write", model, str(options.width)], check=True, stdout=subprocess.DEVNULL)
        self.fruitbatch("model", "import", model, "--name", "tiny")
        self.fruitbatch("samples", folder / "drawn", "--size", options.size)
        self.drawn = sorted((folder / "drawn").rglob("*.jpg"))
        self.photos = 0

    def fruitbatch(self, *words):
        """Runs the program; the memory it held, looked at once a second."""
        words = [self.options.fruitbatch, *(str(word) for word in words)]
        with open(self.folder / "log", "w+") as log:
            process = subprocess.Popen(words, env=self.environment, stdout=log, stderr=log)
            resident = []
            while True:
                try:
                    status = process.wait(timeout=LOOK)
                    break
                except subprocess.TimeoutExpired:
                    resident += resident_bytes(process.pid)
            if status != 0:
                log.seek(0)
                sys.exit(f"`{' '.join(words)}` ended with {status}:\n{log.read()[-4000:]}")
        return resident

    def grow_to(self, photos):
        """Adds hard links to the drawn photos until there are so many."""
        free = shutil.disk_usage(self.folder).free
        needed = photos * BYTES_A_PHOTO + BYTES_ALWAYS
        if free < needed:
            sys.exit(f"{photos} photos need some {needed / 1e9:.1f} GB, and {self.folder} has {free / 1e9:.1f}: set TMPDIR")
        for number in range(self.photos, photos):
            label = self.folder / "photos" / f"label {number % LABELS:03}"
            if number < LABELS:
                label.mkdir()
            which, round_number = number % len(self.drawn), number // len(self.drawn)
            if round_number % LINKS_A_FILE == LINKS_A_FILE - 1:
                # As many links as a file may have: go on with a copy.
                copy = self.folder / f"drawn {which} {round_number}.jpg"
                shutil.copyfile(self.drawn[which], copy)
                self.drawn[which] = copy
            os.link(self.drawn[which], label / f"{number:08}.jpg")
        self.photos = photos

    def run(self, output):
        """`fruitbatch run` over the photos: its timings by its own account, and the memory that was seen."""
        flags = ["--model", "tiny", "--image-size", IMAGE_SIZE, "--n-clusters", 4, "--progress", "none", "--report=false"]
        if self.options.slots:
            flags += ["--slots", self.options.slots]
        resident = self.fruitbatch("run", self.folder / "photos", "--output", output, *flags)
        metrics = json.loads((output / "metrics.json").read_text())
        if (metrics["listed"], metrics["failures"]) != (self.photos, 0):
            sys.exit(f"of {self.photos} photos {metrics['listed']} were listed, and {metrics['failures']} failed")
        timings = metrics["timings"]
        stages = dict.fromkeys(STAGES, 0.0)
        for stage in timings["stages"]:
            stages[stage["stage"]] += stage["seconds"]
        return {
            "photos": self.photos,
            "computed": timings["photos_computed"],
            "stages": stages,
            "commits": timings["commit_seconds"],
            "total": timings["total_seconds"],
            "peak_bytes": timings["peak_memory_bytes"],
            "resident_bytes": resident,
        }


def resident_bytes(process_id):
    """The memory that a process holds at present, as a list of one; of none if it has just ended."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return []
    return [1024 * int(kilobytes) for kilobytes in re.findall(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)]


def heading(options):
    print(
        f"photos of {options.size}x{options.size} pixels, a model of {options.width} features at {IMAGE_SIZE}x{IMAGE_SIZE}, "
        f"{options.slots or len(os.sched_getaffinity(0))} slots"
    )
    print(measured_here())
    print()


def growth(place, counts):
    """Each number of photos: a run from nothing, and the same command again, which finds all of it done."""
    found = []
    for photos in counts:
        place.grow_to(photos)
        output = place.folder / "out"
        first = place.run(output)
        again = place.run(output)
        if (first["computed"], again["computed"]) != (photos, 0):
            sys.exit(f"{first['computed']} photos were computed, and {again['computed']} of {photos} again")
        shutil.rmtree(output)
        found.append({"first": first, "again": again})
        print(f"{photos} photos took {first['total']:.1f} s, and {again['total']:.1f} s again", file=sys.stderr, flush=True)

    heading(place.options)
    print("| photos | list | start | extract | fit | write | total | a photo | of it commits | peak | again | peak again |")
    print("|---:" * 12 + "|")
    for runs in found:
        first, again = runs["first"], runs["again"]
        stages = " | ".join(f"{first['stages'][stage]:.2f} s" for stage in STAGES)
        print(
            f"| {first['photos']:,} | {stages} | {first['total']:.2f} s | {1e6 * first['total'] / first['photos']:.0f} µs "
            f"| {first['commits']:.2f} s | {first['peak_bytes'] / 1e6:.0f} MB "
            f"| {again['total']:.2f} s | {again['peak_bytes'] / 1e6:.0f} MB |"
        )
    return found


def memory(place, counts):
    """One run for each number of photos: whether what the process holds stays level while it works."""
    found = []
    for photos in counts:
        place.grow_to(photos)
        output = place.folder / "out"
        found.append(place.run(output))
        shutil.rmtree(output)

    heading(place.options)
    print("| photos | total | looks | first | at a quarter | median | at three quarters | last | peak |")
    print("|---:" * 9 + "|")
    for run in found:
        seen = run["resident_bytes"]
        if not seen:
            sys.exit(f"{run['photos']} photos took less than {LOOK:.0f} s: ask for more by --photos")
        looks = [seen[0], seen[len(seen) // 4], statistics.median(seen), seen[3 * len(seen) // 4], seen[-1], run["peak_bytes"]]
        megabytes = " | ".join(f"{look / 1e6:.0f} MB" for look in looks)
        print(f"| {run['photos']:,} | {run['total']:.1f} s | {len(seen)} | {megabytes} |")
    return found


def counts(text):
    found = sorted({int(count) for count in text.split(",")})
    if found[0] < LABELS:
        raise argparse.ArgumentTypeError(f"at least {LABELS} photos, one for each label")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=counts, help="numbers of photos, with commas between them")
    parser.add_argument("--memory", action="store_true", help="how much memory a run holds from second to second")
    parser.add_argument("--width", type=int, default=16, help="features of a photo")
    parser.add_argument("--size", type=int, default=100, help="the side of a photo in pixels")
    parser.add_argument("--slots", type=int, help="tasks at a time")
    parser.add_argument("--json", help="a file for every run's figures")
    parser.add_argument("--fruitbatch", required=True)
    parser.add_argument("--model-writer", required=True)
    parser.add_argument("--onnxruntime", required=True)
    options = parser.parse_args()
    if options.width < 10:
        parser.error("a run keeps 10 components, so --width must be 10 or more")

    with tempfile.TemporaryDirectory(prefix="fruitbatch-growth-") as folder:
        place = Place(Path(folder), options)
        if options.memory:
            found = memory(place, options.photos or [100_000])
        else:
            found = growth(place, options.photos or [1_000, 10_000, 100_000, 1_000_000])
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))


main()
