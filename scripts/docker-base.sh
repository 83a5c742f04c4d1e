#!/usr/bin/env bash
# Makes a base image for deploy/docker/Dockerfile out of Debian's packages, for machines that can pull none: what the public
# slim image holds, and the CA certificates that TLS needs.
source "$(dirname "$0")/common.sh"

# The Debian release that the Dockerfile's own bases are of.
suite=$(sed -n 's/^ARG DEBIAN=//p' "$root/deploy/docker/Dockerfile")
mirror=()
tag=

usage() {
    cat <<USAGE
usage: scripts/docker-base.sh [--suite SUITE] [--mirror URL] [TAG]

Makes the Docker image TAG (fruitbatch-base:SUITE if none is given) with debootstrap. Needs root and a running Docker engine.

  --suite SUITE   the Debian release [default: $suite]
  --mirror URL    where its packages come from [default: debootstrap's own]
USAGE
}

while [ $# -gt 0 ]; do
    case $1 in
    --suite) suite=${2:?--suite needs a value} && shift 2 ;;
    --mirror) mirror=("${2:?--mirror needs a value}") && shift 2 ;;
    -h | --help) usage && exit ;;
    -*) usage >&2 && exit 2 ;;
    *) tag=$1 && shift ;;
    esac
done
tag=${tag:-fruitbatch-base:$suite}

command -v debootstrap >/dev/null || fail "debootstrap is missing" "Debian, Ubuntu: apt-get install debootstrap"
[ "$(id -u)" -eq 0 ] || fail "debootstrap needs root" "run this with sudo"
docker info >/dev/null 2>&1 || fail "there is no Docker engine to make an image in"
require_disk "${TMPDIR:-/tmp}" 1 "making a base image"

work=$(mktemp -d)
# Should debootstrap be ended in the middle, /proc may still be mounted in there.
trap 'rm -rf --one-file-system "$work"' EXIT
base=$work/base
say "making $tag of Debian's $suite"
# Files in a folder that no other user can look into are still to be read by everybody inside the image.
umask 022
debootstrap --variant=minbase --include=ca-certificates "$suite" "$base" "${mirror[@]}" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail "debootstrap failed" "check the network, or name another mirror with --mirror"
}

# What the slim images leave out too. Copyright files stay: their licences want them beside the programs.
(
    cd "$base"
    rm -rf dev/* var/{cache/apt,cache/ldconfig,lib/apt/lists,log}/* usr/share/{groff,info,lintian,locale,man}/*
    find usr/share/doc -type f ! -name copyright -delete
    find usr/share/doc -type d -empty -delete
)
# And not to come back with packages that are installed later.
cat >"$base/etc/dpkg/dpkg.cfg.d/docker" <<'DPKG'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
DPKG
# The building machine's own name and name servers.
: >"$base/etc/hostname"
: >"$base/etc/resolv.conf"

tar --create --directory "$base" --numeric-owner . |
    docker import --change 'CMD ["bash"]' --message "debootstrap --variant=minbase $suite" - "$tag" >/dev/null
say "$tag: $(($(docker image inspect --format '{{.Size}}' "$tag") / 1000000)) MB"
