#!/usr/bin/env bash
# Builds the whole workspace. Always all of it: building one package alone selects other features of its dependencies, and
# cargo would build those twice.
source "$(dirname "$0")/common.sh"

"$root/scripts/check-machine.sh"
cd "$root"
cargo build --release --locked --workspace
