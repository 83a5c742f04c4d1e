# shellcheck shell=bash disable=SC2034 # Variables set here are used by the scripts that source it.
# What the other scripts share; sourced, not run.

set -euo pipefail

# The root of the repository, whatever the caller's folder.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Where everything fetched is kept: the same folder that `fruitbatch` itself uses.
cache=${FRUITBATCH_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:?set HOME or FRUITBATCH_CACHE_DIR}/.cache}/fruitbatch}

# A build folder in the clone (made by plain `cargo build`) is used if there is one. Else builds go to the cache
# folder, so that a fresh clone finds the dependencies built.
if [ -z "${CARGO_TARGET_DIR:-}" ]; then
    if [ -d "$root/target" ]; then CARGO_TARGET_DIR=$root/target; else CARGO_TARGET_DIR=$cache/target; fi
fi
export CARGO_TARGET_DIR

onnxruntime_version=1.31.1
onnxruntime_library=$cache/onnxruntime/$onnxruntime_version/libonnxruntime.so.$onnxruntime_version

# ONNX Runtime with other execution providers, each in a folder of its own with all that it loads.
onnxruntime_openvino_version=1.24.1
onnxruntime_openvino_folder=$cache/onnxruntime-openvino/$onnxruntime_openvino_version
onnxruntime_cuda_version=1.31.1
onnxruntime_cuda_folder=$cache/onnxruntime-cuda/$onnxruntime_cuda_version

# A build folder with everything, its tests and the lints took 5.1 GB; the linker and rustc are the ones that need memory.
build_disk_gb=8
build_memory_gb=4

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $1"
    shift
    for hint in "$@"; do say "hint: $hint"; done
    exit 1
}

# x86_64 or aarch64, as wheels and compilers name them.
processor() {
    case $(uname -m) in
    x86_64 | amd64) echo x86_64 ;;
    aarch64 | arm64) echo aarch64 ;;
    *) fail "fruitbatch runs on x86-64 and aarch64, and this machine is $(uname -m)" ;;
    esac
}

# The folder itself or the first one above it that exists.
existing_part() {
    local folder=$1
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    printf '%s\n' "$folder"
}

# require_disk FOLDER GIGABYTES PURPOSE
require_disk() {
    local free_kb
    free_kb=$(df -Pk "$(existing_part "$1")" | awk 'NR == 2 { print $4 }')
    if [ "$free_kb" -lt $(($2 * 1000000)) ]; then
        fail "$3 needs about $2 GB of disk, and $1 has $((free_kb / 1000000)) GB left" \
            "free some space, or name another folder in CARGO_TARGET_DIR (builds) or FRUITBATCH_CACHE_DIR (all that is fetched)"
    fi
}

# require_memory GIGABYTES PURPOSE
require_memory() {
    local free_kb limit
    free_kb=$(awk '/^(MemAvailable|SwapFree):/ { sum += $2 } END { print sum }' /proc/meminfo)
    # A container may be given less than its host has.
    limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
    if [ "$limit" != max ] && [ $((limit / 1024)) -lt "$free_kb" ]; then free_kb=$((limit / 1024)); fi
    if [ "$free_kb" -lt $(($1 * 1000000)) ]; then
        fail "$2 needs about $1 GB of memory, and $((free_kb / 1000000)) GB are free" \
            "close other programs, add swap, or build with less at once: CARGO_BUILD_JOBS=1"
    fi
}

# require_tools TOOL...: the one message tells everything that is missing.
require_tools() {
    local missing=()
    for tool in "$@"; do
        case $tool in
        cargo) command -v cargo >/dev/null || missing+=("Rust $rust_version or newer (rustup.rs, or your system's package)") ;;
        cc) command -v cc >/dev/null || missing+=("a C compiler (Debian: apt-get install build-essential; Fedora: dnf install gcc)") ;;
        pip) python3 -m pip --version >/dev/null 2>&1 || missing+=("Python's pip (Debian: apt-get install python3-pip)") ;;
        *) command -v "$tool" >/dev/null || missing+=("$tool") ;;
        esac
    done
    [ ${#missing[@]} -eq 0 ] || fail "something is missing on this machine" "${missing[@]/#/install }"
}

rust_version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")

# 1.95.0 is at least 1.95.
require_rust() {
    local found
    found=$(rustc --version | awk '{ print $2 }')
    [ "$(printf '%s\n' "$rust_version" "$found" | sort -V | head -n 1)" = "$rust_version" ] ||
        fail "fruitbatch needs Rust $rust_version or newer, and $found is installed" "run \`rustup update stable\`"
}

sha256_of() { sha256sum "$1" | awk '{ print $1 }'; }

# Makes `python3 -m pip`, here and in what is started from here, one that can be asked for another Python's wheels.
# pip learned that with version 20; an older one can still install a newer one, which is kept in the cache folder.
use_capable_pip() {
    local major folder=$cache/pip-20.3.4
    major=$(python3 -m pip --version | awk '{ split($2, parts, "."); print parts[1] }')
    [ "$major" -lt 20 ] || return 0
    if [ ! -d "$folder" ]; then
        say "this pip is old (version $major): getting version 20.3.4 for our own use"
        rm -rf "$folder.part"
        python3 -m pip install --quiet --no-deps --target "$folder.part" pip==20.3.4
        mv "$folder.part" "$folder"
    fi
    export PYTHONPATH=$folder${PYTHONPATH:+:$PYTHONPATH}
}
