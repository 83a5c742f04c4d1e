#!/usr/bin/env bash
# Gets ONNX Runtime's shared library into the cache folder, out of its Python wheel. Nothing of it is Python:
# pip is asked for the wheel by platform and by a Python version of our choosing, whatever the system's is.
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

case $(processor) in
x86_64)
    wheel_sha256=1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536
    library_sha256=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3
    ;;
aarch64)
    wheel_sha256=0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc
    library_sha256=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467
    ;;
esac

folder=$(dirname "$onnxruntime_library")
if [ -f "$folder/LICENSE" ] && [ "$(sha256_of "$onnxruntime_library" 2>/dev/null)" = "$library_sha256" ]; then
    exit 0
fi

require_tools pip sha256sum
require_disk "$cache" 1 "fetching ONNX Runtime"
use_capable_pip
mkdir -p "$cache/onnxruntime"
# On the same file system as its destination, so that it appears there whole or not at all.
work=$(mktemp -d "$cache/onnxruntime/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "fetching ONNX Runtime $onnxruntime_version"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 312 --implementation cp --abi cp312 --platform "manylinux_2_28_$(processor)" \
    --dest "$work" "onnxruntime==$onnxruntime_version" ||
    fail "pip could not download onnxruntime $onnxruntime_version" "check the network, or pip's index and proxy settings"

wheel=$(find "$work" -name '*.whl')
[ "$(sha256_of "$wheel")" = "$wheel_sha256" ] ||
    fail "the wheel $(basename "$wheel") has the sha256 $(sha256_of "$wheel") instead of $wheel_sha256" \
        "it was changed on its way or in the index: don't use it"

mkdir "$work/$onnxruntime_version"
# Python's own unzip: it's there, `unzip` may not be.
python3 - "$wheel" "$work/$onnxruntime_version" "libonnxruntime.so.$onnxruntime_version" <<'PYTHON'
import shutil, sys, zipfile

wheel, folder, library = sys.argv[1:]
members = {
    "onnxruntime/capi/" + library: library,
    "onnxruntime/LICENSE": "LICENSE",
    "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt",
}
with zipfile.ZipFile(wheel) as archive:
    for member, name in members.items():
        with archive.open(member) as source, open(folder + "/" + name, "wb") as target:
            shutil.copyfileobj(source, target)
PYTHON

mkdir -p "$folder"
# The library last: who finds it finds its licence too.
for name in LICENSE ThirdPartyNotices.txt "$(basename "$onnxruntime_library")"; do
    mv -f "$work/$onnxruntime_version/$name" "$folder/$name"
done
say "ONNX Runtime lies in $folder"
