#!/usr/bin/env bash
# Holds the promised figures against the reference, with the real model and real photos. Arguments go to `fruitbatch-verify`.
source "$(dirname "$0")/common.sh"

"$root/scripts/build.sh"
"$root/scripts/fetch-onnxruntime.sh"
use_capable_pip
cd "$root"
"$CARGO_TARGET_DIR/release/fruitbatch" model fetch vgg16
"$CARGO_TARGET_DIR/release/fruitbatch-verify" "$@"
