#!/usr/bin/env bash
# The main job on drawn photos, from nothing. Each step finds out by itself what is done already.
source "$(dirname "$0")/common.sh"

"$root/scripts/build.sh"
"$root/scripts/fetch-onnxruntime.sh"
use_capable_pip
cd "$root"
fruitbatch=$CARGO_TARGET_DIR/release/fruitbatch
"$fruitbatch" model fetch vgg16
"$fruitbatch" samples demo/photos
"$fruitbatch" run demo/photos --output demo/out
