# `make` lists what can be made. The work is done by scripts/, which also run by themselves.
# Builds go to ./target if it exists, else to the cache folder, unless CARGO_TARGET_DIR names another.

.DEFAULT_GOAL := help
.PHONY: help setup openvino gpu build demo test verify lint check-deploy dist image clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Check this machine and fetch ONNX Runtime into the cache folder
	@scripts/check-machine.sh
	@scripts/fetch-onnxruntime.sh

openvino: ## Fetch ONNX Runtime with OpenVINO, for --provider openvino (bf16 on processors that have it)
	@scripts/fetch-onnxruntime.sh openvino

gpu: ## Fetch ONNX Runtime with CUDA, for --provider cuda
	@scripts/fetch-onnxruntime.sh cuda

build: ## Build everything
	@scripts/build.sh

demo: ## Set up, build, and run the whole chain with VGG16 on drawn photos (results in demo/out)
	@scripts/demo.sh

test: ## Set up and run all tests
	@scripts/test.sh

verify: ## Hold the promised figures against the reference, with the real model and photos
	@scripts/verify.sh

lint: ## Check formatting, clippy and rustdoc
	@scripts/lint.sh

check-deploy: ## Check what stands in deploy/, without a cluster or a cloud
	@scripts/check-deploy.sh

dist: ## Make a tarball in dist/ that runs on any Linux with glibc 2.28 or newer
	@scripts/dist.sh

image: ## Make the Docker image of the tarball in dist/
	@scripts/docker-image.sh

clean: ## Remove demo/, dist/ and target/ (the cache folder stays)
	rm -rf demo dist target
