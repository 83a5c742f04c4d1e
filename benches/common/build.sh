#!/usr/bin/env bash
# Builds one of the programs that belong to a comparison, and says where it lies: benches/common/build.sh NAME
# shellcheck source=../../scripts/common.sh
source "$(dirname "$0")/../../scripts/common.sh"

"$root/scripts/check-machine.sh"
cd "$root"
cargo bench --locked --workspace --bench "$1" --no-run --message-format=json-render-diagnostics |
    python3 -c '
import json, sys

built = map(json.loads, sys.stdin)
print(next(it["executable"] for it in built if it.get("executable") and it["target"]["name"] == sys.argv[1]))
' "$1"
