#!/usr/bin/env bash
# Installs one peer's Python packages (peers/requirements/NAME.txt), unless they are there, and prints their folder.
# shellcheck source=../../scripts/common.sh
source "$(dirname "$0")/../../scripts/common.sh"

requirements=$root/benches/peers/requirements/$1.txt
folder=$cache/peers/$1
if ! cmp -s "$requirements" "$folder/requirements.txt"; then
    require_tools pip
    require_disk "$cache" 4 "installing a peer's Python packages"
    say "installing the packages of $1"
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
    cp "$requirements" "$folder/requirements.txt"
fi
echo "$folder"
