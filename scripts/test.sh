#!/usr/bin/env bash
# Sets up what the tests need and runs all of them. Arguments go to `cargo test`.
source "$(dirname "$0")/common.sh"

"$root/scripts/check-machine.sh"
"$root/scripts/fetch-onnxruntime.sh"
if python=$("$root/scripts/setup-test-python.sh"); then
    export FRUITBATCH_PYTHON=$python
else
    say "going on without: tests that need it say so and are skipped"
fi
cd "$root"
cargo test --release --locked --workspace "$@"
