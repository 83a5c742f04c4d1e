#!/usr/bin/env bash
# Formatting, clippy, rustdoc and (where it is installed) shellcheck; warnings are errors.
source "$(dirname "$0")/common.sh"

cd "$root"
cargo fmt --all --check
if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh deploy/compose/*.sh benches/*/run benches/common/build.sh .ci/run; fi
if command -v hadolint >/dev/null; then hadolint deploy/docker/Dockerfile; fi
cargo clippy --release --locked --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps
