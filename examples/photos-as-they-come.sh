#!/usr/bin/env bash
# The speed layer: photos that arrive while the folder is watched are assigned to the clusters there are.
# Needs `make setup build` once before.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fruitbatch samples "$work/photos" --per-label 20
fruitbatch samples "$work/later" --per-label 3 --seed 1
mv "$work/later/Strawberry" "$work/photos/Strawberry of today"

# The first round fits a model. It is told as any run is, and every later one in a line.
fruitbatch run "$work/photos" --output "$work/out" --image-size 64 --watch=2s --progress none >"$work/said" &
watching=$!
wait_until_said() { until grep -q "$1" "$work/said"; do kill -0 "$watching"; sleep 0.5; done; }
wait_until_said watching
mv "$work/later/Orange" "$work/photos/Orange of today"
wait_until_said ' 3 new: 86 in the results'
kill "$watching"
wait "$watching"
cat "$work/said"
grep 'of today' "$work/out/results.csv" | cut -d, -f1-5
