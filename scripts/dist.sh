#!/usr/bin/env bash
# Makes dist/fruitbatch-VERSION-PROCESSOR-linux.tar.gz: unpack it anywhere on a Linux with glibc 2.28 or newer and run
# bin/fruitbatch. The build machine may be newer: zig's C compiler (out of a Python wheel) links against the symbols that
# glibc 2.28 had.
source "$(dirname "$0")/common.sh"

oldest_glibc=2.28
ziglang_version=0.17.0
cargo_zigbuild_version=0.24.0

"$root/scripts/check-machine.sh"
"$root/scripts/fetch-onnxruntime.sh"
require_disk "$CARGO_TARGET_DIR" 4 "building for distribution (its own build of all dependencies)"
cd "$root"

zig=$cache/zig-$ziglang_version-$cargo_zigbuild_version
if [ ! -d "$zig" ]; then
    require_disk "$cache" 1 "installing zig's C compiler"
    use_capable_pip
    say "installing zig $ziglang_version"
    rm -rf "$zig.part"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --target "$zig.part" \
        "ziglang==$ziglang_version" "cargo-zigbuild==$cargo_zigbuild_version"
    mv "$zig.part" "$zig"
fi

# Its own folder below the build folder, so plain builds stay as they are. The C libraries inside are linked statically:
# LZMA's would take the system's if it found one.
target=$(processor)-unknown-linux-gnu
LZMA_API_STATIC=1 CARGO_ZIGBUILD_ZIG_PATH=$zig/ziglang/zig PATH=$zig/bin:$PATH \
    cargo zigbuild --release --locked --package fruitbatch --target "$target.$oldest_glibc"

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=fruitbatch-$version-$(processor)-linux
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/$name
mkdir -p "$stage/bin" "$stage/lib"
cp "$CARGO_TARGET_DIR/$target/release/fruitbatch" "$stage/bin/"
if command -v strip >/dev/null; then strip --strip-debug "$stage/bin/fruitbatch"; fi
cp "$onnxruntime_library" "$stage/lib/"
mkdir -p "$stage/licences"
for text in LICENSE ThirdPartyNotices.txt; do
    cp "$(dirname "$onnxruntime_library")/$text" "$stage/licences/onnxruntime-$text"
done
python3 scripts/third_party_licences.py "$target" "$stage/licences/rust-crates.txt"
cp -R configs LICENSE README.md "$stage/"

# No symbol version beyond the oldest glibc. The names stand in the file as they are, so no tool has to be there.
for file in "$stage/bin/fruitbatch" "$stage/lib/"*; do
    newest=$(grep -aoE 'GLIBC_2\.[0-9]+' "$file" | sort -Vu | tail -n 1)
    [ "$(printf '%s\n' "$newest" "GLIBC_$oldest_glibc" | sort -V | tail -n 1)" = "GLIBC_$oldest_glibc" ] ||
        fail "$(basename "$file") needs $newest, and the promise is glibc $oldest_glibc"
done

# No library but glibc's own.
foreign=$(readelf --dynamic "$stage/bin/fruitbatch" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -vE '^(libc|libm|libdl|libpthread|librt|ld-linux-[a-z0-9-]+)\.so' || true)
[ -z "$foreign" ] || fail "the program needs libraries that other machines may lack:" "$foreign"

mkdir -p dist
tar --create --gzip --file "dist/$name.tar.gz" --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner "$name"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")

# As a stranger would: unpacked elsewhere, with no environment and a home that has nothing of ours.
mkdir -p "$work/elsewhere/home"
tar --extract --file "dist/$name.tar.gz" --directory "$work/elsewhere"
unpacked=$work/elsewhere/$name
# doctor ends in an error because no model was fetched there; what counts is that it runs and finds its own library.
env -i HOME="$work/elsewhere/home" PATH=/usr/bin:/bin "$unpacked/bin/fruitbatch" doctor >"$work/doctor" || true
if ! grep -qF "$unpacked/bin/../lib/$(basename "$onnxruntime_library")" "$work/doctor"; then
    cat "$work/doctor" >&2
    fail "the unpacked program does not find its ONNX Runtime"
fi
env -i HOME="$work/elsewhere/home" "$unpacked/bin/fruitbatch" samples "$work/elsewhere/photos" --per-label 1

say "dist/$name.tar.gz ($(du -h "dist/$name.tar.gz" | cut -f 1)) needs glibc $oldest_glibc or newer and nothing else"
