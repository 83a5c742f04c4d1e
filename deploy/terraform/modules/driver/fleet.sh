#!/bin/bash
# fruitbatch-fleet up|down: starts the executors; sends them home, and this instance too.
set -euo pipefail

set_capacity() { aws autoscaling set-desired-capacity --auto-scaling-group-name "$1" --desired-capacity "$2"; }

case ${1:-} in
up)
    set_capacity "$EXECUTOR_GROUP" "$EXECUTORS"
    ;;
down)
    set_capacity "$EXECUTOR_GROUP" 0
    # What the run had to say last.
    systemctl stop amazon-cloudwatch-agent.service || true
    set_capacity "$DRIVER_GROUP" 0
    ;;
*)
    echo "usage: fruitbatch-fleet up|down" >&2
    exit 2
    ;;
esac
