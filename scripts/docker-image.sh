#!/usr/bin/env bash
# Builds the image of deploy/docker/Dockerfile for this machine's processor out of a program that is built already.
source "$(dirname "$0")/common.sh"

usage() {
    cat <<USAGE
usage: scripts/docker-image.sh [--dist TARBALL | --binary FILE --onnxruntime FILE] [--provider PROVIDER] [--base IMAGE]
                               [--models FOLDER] [TAG]

Makes the Docker image TAG out of a tarball of \`make dist\`: the one in dist/ if none is named. TAG is fruitbatch if none is given, and
fruitbatch:PROVIDER with --provider.

  --dist TARBALL        another tarball
  --binary FILE         the program itself instead, as cargo built it; it may need the glibc of the machine it was built on
  --onnxruntime FILE    the library for it [default: the one of \`make setup\`]
  --provider PROVIDER   put ONNX Runtime with this execution provider inside too: openvino or cuda (\`make openvino\`, \`make gpu\`)
  --base IMAGE          the image to put it on [default: the Dockerfile's; scripts/docker-base.sh makes one without a registry]
  --models FOLDER       a folder of models to put inside, such as ~/.cache/fruitbatch/models [default: none]
USAGE
}

dist='' binary='' provider='' base='' models='' tag=''
library=$onnxruntime_library
while [ $# -gt 0 ]; do
    case $1 in
    --dist) dist=${2:?--dist needs a value} && shift 2 ;;
    --binary) binary=${2:?--binary needs a value} && shift 2 ;;
    --onnxruntime) library=${2:?--onnxruntime needs a value} && shift 2 ;;
    --provider) provider=${2:?--provider needs a value} && shift 2 ;;
    --base) base=${2:?--base needs a value} && shift 2 ;;
    --models) models=${2:?--models needs a value} && shift 2 ;;
    -h | --help) usage && exit ;;
    -*) usage >&2 && exit 2 ;;
    *) tag=$1 && shift ;;
    esac
done
tag=${tag:-fruitbatch${provider:+:$provider}}
case $provider in
'') provider_folder='' ;;
openvino) provider_folder=$onnxruntime_openvino_folder ;;
cuda) provider_folder=$onnxruntime_cuda_folder ;;
*) fail "there is no image for the provider $provider" "name openvino or cuda, or none for the CPU alone" ;;
esac
if [ -n "$dist" ] && [ -n "$binary" ]; then fail "--dist and --binary exclude each other"; fi

docker info >/dev/null 2>&1 || fail "there is no Docker engine to make an image in"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
case $(processor) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
esac

if [ -n "$provider" ]; then
    "$root/scripts/fetch-onnxruntime.sh" "$provider"
    require_disk "${TMPDIR:-/tmp}" $(($(du -sk "$provider_folder" | cut -f 1) / 1000000 + 1)) "gathering what goes into the image"
fi

# The context is a folder of its own: nothing else is sent to the engine, and dist/ stays as it is.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
prebuilt=$work/dist/prebuilt/$architecture
mkdir -p "$prebuilt" "$work/dist/models"
if [ -n "$binary" ]; then
    for file in "$binary" "$library"; do [ -f "$file" ] || fail "$file is not there"; done
    mkdir "$prebuilt/bin" "$prebuilt/lib" "$prebuilt/licences"
    install --mode 755 "$binary" "$prebuilt/bin/fruitbatch"
    install --mode 644 "$library" "$prebuilt/lib/libonnxruntime.so.$onnxruntime_version"
    install --mode 644 "$root/LICENSE" "$prebuilt/"
    for text in LICENSE ThirdPartyNotices.txt; do
        [ ! -f "$(dirname "$library")/$text" ] ||
            install --mode 644 "$(dirname "$library")/$text" "$prebuilt/licences/onnxruntime-$text"
    done
else
    dist=${dist:-$root/dist/fruitbatch-$version-$(processor)-linux.tar.gz}
    [ -f "$dist" ] || fail "$dist is not there" "run \`make dist\`, or name a program with --binary"
    tar --extract --file "$dist" --directory "$prebuilt" --strip-components 1 --no-same-owner
fi
if [ -n "$provider" ]; then
    # With its links, and its licences where the others are.
    mkdir -p "$prebuilt/lib/onnxruntime-$provider" "$prebuilt/licences/onnxruntime-$provider"
    find "$provider_folder" -name '*.so*' -exec cp --no-dereference -t "$prebuilt/lib/onnxruntime-$provider" {} +
    find "$provider_folder" -type f ! -name '*.so*' ! -name SHA256SUMS -exec cp -t "$prebuilt/licences/onnxruntime-$provider" {} +
    # Whatever the umask was under which they were fetched.
    chmod -R u=rwX,go=rX "$prebuilt/lib" "$prebuilt/licences"
fi
# As the program itself tells it, which may be older than this checkout. `doctor` ends in an error where a model is missing.
revision=$("$prebuilt/bin/fruitbatch" doctor 2>/dev/null | sed -n 's/^ok  *fruitbatch .*(\([0-9a-f]\{40\}\))$/\1/p' || true)
# The names of its functions, of use in backtraces alone, are a fifth of the program.
if command -v strip >/dev/null; then strip --strip-all "$prebuilt/bin/fruitbatch"; fi
arguments=(--build-arg BINARIES=prebuilt --build-arg "VERSION=$version" --build-arg "REVISION=${revision:-unknown}"
    --build-arg "PROVIDER=${provider:-cpu}")
if [ -n "$models" ]; then
    install --mode 644 "$models"/*.onnx "$work/dist/models/" || fail "there are no models in $models"
    arguments+=(--build-arg MODELS=folder)
fi
if [ -n "$base" ]; then arguments+=(--build-arg "BASE=$base"); fi

# Docker's older builder, where there is no other, makes every stage (none of them may need Rust, then), knows no processor, and
# leaves each step behind as an image without a name.
older_builder=$(docker buildx version >/dev/null 2>&1 || echo true)
if [ -n "$older_builder" ]; then
    base=${base:-debian:$(sed -n 's/^ARG DEBIAN=//p' "$root/deploy/docker/Dockerfile")-slim}
    arguments+=(--build-arg "RUST=$base" --build-arg "TARGETARCH=$architecture" --no-cache)
    export DOCKER_BUILDKIT=0
fi
say "building $tag"
docker build --file "$root/deploy/docker/Dockerfile" "${arguments[@]}" --tag "$tag" "$work" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail "the image could not be built" "where nothing can be pulled, make a base with scripts/docker-base.sh and name it with --base"
}
if [ -n "$older_builder" ]; then
    # The newest first; those that the image is made of, and those with a name, stay.
    sed -n 's/^ ---> \([0-9a-f]\{12\}\)$/\1/p' "$work/log" | tac | while read -r step; do
        if [ "$(docker image inspect --format '{{len .RepoTags}}' "$step" 2>/dev/null)" = 0 ]; then
            docker image rm "$step" >/dev/null 2>&1 || true
        fi
    done
fi
say "$tag: $(($(docker image inspect --format '{{.Size}}' "$tag") / 1000000)) MB"
