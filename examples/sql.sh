#!/usr/bin/env bash
# Questions about photos and about what a run made of them: docs/sql.md has more.
# Needs `make setup build` once before.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh
PATH="$CARGO_TARGET_DIR/release:$PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fruitbatch samples "$work/photos" --per-label 20
fruitbatch run "$work/photos" --output "$work/out" --progress none
cd "$work"

# What lies there: nothing but the listing is read.
fruitbatch sql "SELECT label, count(*) AS photos, avg(length) AS bytes FROM images('photos') GROUP BY label ORDER BY label"

# Which labels fell into which cluster.
fruitbatch sql "SELECT cluster, label, count(*) AS photos FROM results('out') GROUP BY ALL ORDER BY ALL"

# The photos most like one of them.
fruitbatch sql "
  SELECT b.path, cosine_similarity(a.features, b.features) AS similarity
  FROM features('out') a, features('out') b
  WHERE a.path = 'Orange/0_100.jpg' AND b.path <> a.path
  ORDER BY similarity DESC LIMIT 10"

# New photos into the clusters that are there, as a file.
fruitbatch samples new --per-label 2 --seed 7
fruitbatch sql "
  SELECT path, cluster_of(embed(content, 'vgg16'), 'out') AS cluster, nearest_label_of(embed(content, 'vgg16'), 'out') AS label
  FROM images('new') ORDER BY path" --output clusters.csv
cat clusters.csv
