#!/usr/bin/env bash
# Holds the dependencies to deny.toml: licences, banned crates, sources, and known vulnerabilities where their database can be
# reached. cargo-deny is built once, into the cache folder.
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

cargo_deny_version=0.20.2

tool=$cache/cargo-deny-$cargo_deny_version
if [ ! -x "$tool/bin/cargo-deny" ]; then
    require_disk "$cache" 2 "building cargo-deny"
    say "building cargo-deny $cargo_deny_version"
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    # Without TLS libraries of its own: git fetches the database.
    cargo install --quiet --locked --no-default-features --version "$cargo_deny_version" --root "$tool" \
        --target-dir "$build" cargo-deny
fi

cd "$root"
"$tool/bin/cargo-deny" --all-features check --hide-inclusion-graph licenses bans sources

# The database of advisories is a git repository, which not every machine reaches.
if reached=$("$tool/bin/cargo-deny" fetch db 2>&1); then
    "$tool/bin/cargo-deny" --all-features check --hide-inclusion-graph advisories
else
    printf 'SKIPPED: check-dependencies-advisories: the database of advisories cannot be reached: %s\n' \
        "$(tail -n 1 <<<"$reached")"
fi
