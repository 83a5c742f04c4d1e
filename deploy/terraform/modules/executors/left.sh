#!/bin/bash
# Tells the Auto Scaling group that the executor has left, if the group waits for that: its hook would otherwise keep the
# instance, which costs, until its time has passed.
set -euo pipefail

metadata=http://169.254.169.254/latest
token=$(curl --silent --fail --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token")
get() { curl --silent --fail --header "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/$1"; }

[ "$(get autoscaling/target-lifecycle-state)" = Terminated ] || exit 0
instance=$(get instance-id)
# What it has to say last.
systemctl stop amazon-cloudwatch-agent.service || true
aws autoscaling complete-lifecycle-action --lifecycle-action-result CONTINUE \
    --auto-scaling-group-name "$EXECUTOR_GROUP" --lifecycle-hook-name "$EXECUTOR_HOOK" --instance-id "$instance"
