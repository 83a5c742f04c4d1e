#!/usr/bin/env bash
# A folder of photos, one folder a label, to clusters: what `make demo` does, step by step.
# Needs `make setup build` once before.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

fruitbatch doctor
fruitbatch samples demo/photos
fruitbatch run demo/photos --output demo/out

# The same command again computes nothing twice; other clusters need no new features.
fruitbatch run demo/photos --output demo/out --n-clusters 3
