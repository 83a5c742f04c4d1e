#!/usr/bin/env bash
# Learn from some photos, then ask about others: a classifier, and predictions for photos that came later.
# Needs `make setup build` once before.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fruitbatch samples "$work/photos" --per-label 30
fruitbatch samples "$work/new" --per-label 3 --seed 1

fruitbatch run "$work/photos" --output "$work/out" --image-size 64
fruitbatch train "$work/out"
fruitbatch predict --model-dir "$work/out/model" "$work/new"
