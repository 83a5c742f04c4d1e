#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (60 if none are given), on stable Rust: fuzz.sh [SECONDS]
# What a target stumbles over is kept in fuzz/artifacts; mended, it belongs into fuzz/seeds, which `cargo test` replays.
source "$(dirname "$0")/common.sh"

seconds=${1:-60}
cargo fuzz --version >/dev/null 2>&1 || fail "cargo-fuzz isn't installed" "cargo install cargo-fuzz"
# Other flags than those of the usual build: a folder of its own, or each would undo the other's.
export CARGO_TARGET_DIR=${FRUITBATCH_FUZZ_TARGET_DIR:-$cache/target-fuzz}

cd "$root/fuzz"
for target in $(cargo fuzz list); do
    say "fuzzing $target for $seconds s"
    folders=("corpus/$target" "seeds/$target")
    if [ "$target" = decode ]; then folders+=("$root/crates/fruitbatch-image/tests/fixtures"); fi
    mkdir -p "${folders[0]}"
    # Without a sanitizer: those need nightly Rust, and our own code checks its bounds and arithmetic itself.
    cargo fuzz run --sanitizer none "$target" "${folders[@]}" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536
done
