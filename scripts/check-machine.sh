#!/usr/bin/env bash
# Checks tools, disk and memory before anything long begins: says all that is missing, and how to get it.
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

[ "$(uname -s)" = Linux ] || fail "fruitbatch is built for Linux, and this machine runs $(uname -s)"
processor >/dev/null
require_tools cargo cc git pip
require_rust
# What is built already needs room and memory no more.
if [ ! -x "$CARGO_TARGET_DIR/release/fruitbatch" ]; then
    require_disk "$CARGO_TARGET_DIR" "$build_disk_gb" "building fruitbatch"
    require_memory "$build_memory_gb" "building fruitbatch"
fi
require_disk "$cache" 1 "setting up fruitbatch"
