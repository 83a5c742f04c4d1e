#!/usr/bin/env bash
# Any convolutional classifier in ONNX as the feature extractor.
#
#   examples/own-model.sh resnet50.onnx photos out
set -euo pipefail
model=${1:?usage: examples/own-model.sh MODEL.onnx INPUT OUT}
input=${2:?usage: examples/own-model.sh MODEL.onnx INPUT OUT}
output=${3:?usage: examples/own-model.sh MODEL.onnx INPUT OUT}
model=$(realpath "$model") input=$(realpath "$input") output=$(realpath -m "$output")
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

# `torch` is how most PyTorch models were trained: pixels in 0..1, ImageNet's mean and deviation.
fruitbatch model import "$model" --name mine --preprocessing torch
fruitbatch model inspect mine
fruitbatch run "$input" --output "$output" --model mine
