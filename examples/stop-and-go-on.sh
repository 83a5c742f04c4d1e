#!/usr/bin/env bash
# A run that is killed goes on; a new photo and a bad one come; the bad one is mended and taken again.
# Needs `make setup build` once before.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fruitbatch samples "$work/photos" --per-label 20
run=(fruitbatch run "$work/photos" --output "$work/out" --image-size 64 --chunk-size 8)

# Killed in the middle, without a chance to tidy up ...
"${run[@]}" --progress json >"$work/summary" 2>"$work/events" &
until grep -q chunk-committed "$work/events"; do sleep 0.1; done
kill -KILL $!
wait || true
# ... and the same command goes on.
"${run[@]}"

# A new photo, and a file that is none: the first is computed, the second booked, the rest not touched.
orange=$(find "$work/photos/Orange" -name '*.jpg' | sort | head -n 1)
cp "$orange" "$work/photos/Orange/new.jpg"
echo "no photo" >"$work/photos/Orange/broken.jpg"
"${run[@]}"
cat "$work/out/failures.csv"

# Mended, it is taken again: `retry` needs no other flags, they stand in the commit log.
cp "$orange" "$work/photos/Orange/broken.jpg"
fruitbatch retry "$work/out"
