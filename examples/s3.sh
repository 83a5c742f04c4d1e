#!/usr/bin/env bash
# From an S3 prefix to an S3 prefix. Credentials come from the AWS chain (environment, profile, SSO, instance role); for
# an S3-compatible server set AWS_ENDPOINT_URL_S3 (or give --endpoint-url).
#
#   examples/s3.sh s3://bucket/fruits/ s3://bucket/clusters/
set -euo pipefail
input=${1:?usage: examples/s3.sh s3://bucket/photos/ s3://bucket/clusters/}
output=${2:?usage: examples/s3.sh s3://bucket/photos/ s3://bucket/clusters/}
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

fruitbatch run "$input" --output "$output" --glob '*.jpg' --dry-run
fruitbatch run "$input" --output "$output" --glob '*.jpg'
