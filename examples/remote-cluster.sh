#!/usr/bin/env bash
# A scheduler and two executors, here on one machine and on loopback; on a fleet each runs on its own (docs/fleet.md).
# Needs `make setup build` once before.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
fruitbatch samples "$work/photos" --per-label 20

fruitbatch scheduler --bind 127.0.0.1:50050 &
for port in 50051 50052; do
    fruitbatch executor --scheduler 127.0.0.1:50050 --bind "127.0.0.1:$port" --slots 1 &
done
# The run waits for the scheduler and for executors by itself.
fruitbatch run "$work/photos" --output "$work/out" --image-size 64 --scheduler df://127.0.0.1:50050
