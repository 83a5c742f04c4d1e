#!/usr/bin/env python3
"""Image files of every kind, and the pixels that Pillow reads from them.

    make_fixtures.py fixtures FOLDER        a few small files, and manifest.json with the digests of Pillow's pixels
    make_fixtures.py corpus FOLDER          every kind of file, and manifest.json likewise
    make_fixtures.py photos MANIFEST PATH...  digests of the pixels of existing files
    make_fixtures.py resizes MANIFEST       digests of resized images, which are drawn by a formula

`tests/fixtures` holds what the first and the last command wrote with Pillow 13.0.0. Pillow alone is needed.

What Pillow can't write is written byte by byte here, or is a file of Pillow's with a patched header.
"""

import hashlib
import io
import json
import struct
import sys
import warnings
import zlib
from pathlib import Path

import PIL
from PIL import Image, ImageOps

warnings.simplefilter("ignore")

FIXTURES = """
    jpeg-420-odd jpeg-progressive jpeg-progressive-cut-short jpeg-440 jpeg-411 jpeg-gray jpeg-cmyk jpeg-ycck
    jpeg-restarts jpeg-orientation-6 jpeg-orientation-xmp png-gray-1 png-gray-16 png-gray-alpha png-rgb-16-interlaced
    png-palette-4 png-palette-transparent png-rgba png-orientation-5 gif-interlaced gif-small-frame
    gif-large-frame gif-two-frames webp-lossy webp-lossless-alpha webp-animated webp-orientation-8 tiff-lzw
    tiff-gray-16-big-endian tiff-palette-4 tiff-cmyk tiff-jpeg-ycbcr tiff-fax-4 tiff-tiles tiff-planes
    tiff-orientation-3 tiff-associated-alpha bmp-1 bmp-4 bmp-8 bmp-16-565 bmp-24 bmp-32 bmp-rle-8
""".split()


def sample(x, y, channel):
    """Soft gradients with some texture: what photos are like, and what codecs are made for."""
    texture = ((x * 7919 + y * 104729 + channel * 31) >> 3) % 23
    return (x * (3 + channel) + y * (5 - channel) + texture + 60 * (((x // 9) + (y // 7)) % 2)) % 256


def draw(mode, width, height):
    channels = len(Image.new(mode, (1, 1)).getbands())
    data = bytes(sample(x, y, c) for y in range(height) for x in range(width) for c in range(channels))
    return Image.frombytes(mode, (width, height), data)


def palette_image(width, height, colors):
    image = Image.frombytes("P", (width, height), bytes(sample(x, y, 0) % colors for y in range(height) for x in range(width)))
    image.putpalette([sample(entry, 3, channel) for entry in range(colors) for channel in range(3)])
    return image


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


# JPEG


def jpeg_segment(file, marker):
    """Where the payload of a segment begins."""
    at = 2
    while file[at + 1] != marker:
        at += 2 + struct.unpack_from(">H", file, at + 2)[0]
    return at + 4


def jpeg_patched(file, first_sampling=None, size=None, adobe_transform=None):
    """The same coefficients under another header. The count of blocks has to stay what it was."""
    file = bytearray(file)
    frame = next(m for m in (0xC0, 0xC2) if b"\xff%c\x00" % m in bytes(file))
    at = jpeg_segment(file, frame)
    if first_sampling:
        file[at + 7] = first_sampling
    if size:
        struct.pack_into(">HH", file, at + 1, size[1], size[0])
    if adobe_transform is not None:
        file[jpeg_segment(file, 0xEE) + 11] = adobe_transform
    return bytes(file)


def jpeg_cut_after_scans(file, scans):
    """A progressive file that ends, properly, after a few of its scans: its blocks are smoothed when decoded."""
    at = -1
    for _ in range(scans + 1):
        at = file.index(b"\xff\xda", at + 1)
    return file[:at] + b"\xff\xd9"


def jpegs():
    for width, height in [(1, 1), (3, 2), (8, 8), (17, 16), (33, 47), (100, 100)]:
        for sampling, name in enumerate(["444", "422", "420"]):
            for quality in (35, 90):
                for progressive in (False, True):
                    options = dict(quality=quality, subsampling=sampling, progressive=progressive)
                    kind = "progressive" if progressive else "baseline"
                    yield f"jpeg-{name}-{width}x{height}-q{quality}-{kind}", saved(draw("RGB", width, height), "JPEG", **options)
        yield f"jpeg-gray-{width}x{height}", saved(draw("L", width, height), "JPEG")
        yield f"jpeg-cmyk-{width}x{height}", saved(draw("CMYK", width, height), "JPEG")
    yield "jpeg-420-odd", saved(draw("RGB", 21, 13), "JPEG", quality=75)
    yield "jpeg-gray", saved(draw("L", 19, 11), "JPEG")
    yield "jpeg-cmyk", saved(draw("CMYK", 18, 10), "JPEG", quality=60)
    yield "jpeg-rgb", saved(draw("RGB", 33, 20), "JPEG", keep_rgb=True)
    yield "jpeg-restarts", saved(draw("RGB", 40, 24), "JPEG", restart_marker_blocks=2, quality=50)
    yield "jpeg-restart-rows", saved(draw("RGB", 40, 50), "JPEG", restart_marker_rows=1)
    yield "jpeg-optimized", saved(draw("RGB", 40, 50), "JPEG", optimize=True)
    progressive = saved(draw("RGB", 40, 40), "JPEG", progressive=True, quality=70)
    yield "jpeg-progressive", progressive
    yield "jpeg-progressive-gray", saved(draw("L", 40, 40), "JPEG", progressive=True)
    yield "jpeg-progressive-cmyk", saved(draw("CMYK", 40, 40), "JPEG", progressive=True)
    yield "jpeg-progressive-cut-short", jpeg_cut_after_scans(progressive, 3)
    for scans in range(1, progressive.count(b"\xff\xda")):
        yield f"jpeg-progressive-{scans}-scans", jpeg_cut_after_scans(progressive, scans)
    half, quarter = (saved(draw("RGB", 64, 64), "JPEG", subsampling=s, quality=30) for s in (1, 2))
    for width, height in [(64, 64), (61, 58)]:
        size = (width, height)
        yield f"jpeg-440-{width}x{height}", jpeg_patched(half, 0x12, size)
        yield f"jpeg-411-{width}x{height}", jpeg_patched(quarter, 0x41, size)
        yield f"jpeg-441-{width}x{height}", jpeg_patched(quarter, 0x14, size)
    half, quarter = (saved(draw("RGB", 32, 32), "JPEG", subsampling=s, quality=30) for s in (1, 2))
    yield "jpeg-440", jpeg_patched(half, 0x12, (31, 32))
    yield "jpeg-411", jpeg_patched(quarter, 0x41, (30, 31))
    yield "jpeg-ycck", jpeg_patched(saved(draw("CMYK", 18, 10), "JPEG", quality=60), adobe_transform=2)
    for orientation in range(0, 10):
        yield f"jpeg-orientation-{orientation}", saved(draw("RGB", 12, 7), "JPEG", exif=exif(orientation))
    yield "jpeg-orientation-xmp", saved(draw("RGB", 12, 7), "JPEG", xmp=XMP % 8)
    yield "jpeg-orientation-both", saved(draw("RGB", 12, 7), "JPEG", exif=exif(3), xmp=XMP % 8)
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x07\0\0\0\0\0\0"
    yield "jpeg-orientation-big-endian", saved(draw("RGB", 12, 7), "JPEG", exif=b"Exif\0\0" + tiff)
    long = b"II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    yield "jpeg-orientation-long", saved(draw("RGB", 12, 7), "JPEG", exif=b"Exif\0\0" + long)
    yield "jpeg-exif-absurd", saved(draw("RGB", 12, 7), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 30)
    yield "jpeg-trailing-bytes", saved(draw("RGB", 12, 7), "JPEG") + b"\0" * 100


# PNG

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(width, height, bits, color, interlaced=False, chunks=(), after=()):
    channels = PNG_CHANNELS[color]
    largest = (1 << bits) - 1

    def row(y, columns):
        samples = [(sample(x, y, c) * 257 + x * 13) & 0xFFFF for x in columns for c in range(channels)]
        if bits == 16:
            return b"".join(struct.pack(">H", s if x % 3 else s % 300) for x, s in enumerate(samples))
        number = "".join(f"{(s >> 8) & largest:0{bits}b}" for s in samples)
        number += "0" * (-len(number) % 8)
        return int(number, 2).to_bytes(len(number) // 8, "big") if number else b""

    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    data = b""
    for left, top, step_x, step_y in passes:
        columns = range(left, width, step_x)
        if len(columns):
            data += b"".join(b"\0" + row(y, columns) for y in range(top, height, step_y))
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    packed = zlib.compress(data, 9)
    all_chunks = [(b"IHDR", header), *chunks, (b"IDAT", packed[:40]), (b"IDAT", packed[40:]), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in all_chunks
    )


def pngs():
    for interlaced in (False, True):
        suffix = "-interlaced" if interlaced else ""
        for color, name, depths in [
            (0, "gray", (1, 2, 4, 8, 16)),
            (2, "rgb", (8, 16)),
            (3, "palette", (1, 2, 4, 8)),
            (4, "gray-alpha", (8, 16)),
            (6, "rgba", (8, 16)),
        ]:
            for bits in depths:
                palette = bytes(sample(i, 5, c) for i in range(1 << bits) for c in range(3)) if color == 3 else b""
                chunks = [(b"PLTE", palette)] if palette else []
                yield f"png-{name}-{bits}{suffix}", png(13, 9, bits, color, interlaced, chunks)
                if color == 3:
                    transparency = bytes(sample(i, 1, 2) for i in range(1 << bits))
                    yield f"png-palette-{bits}-transparent{suffix}", png(13, 9, bits, 3, interlaced, chunks + [(b"tRNS", transparency)])
                    short = [(b"PLTE", palette[: 3 << (bits - 1)])]
                    yield f"png-palette-{bits}-short{suffix}", png(13, 9, bits, 3, interlaced, short)
                if color in (0, 2):
                    key = struct.pack(">H", 1) * PNG_CHANNELS[color]
                    yield f"png-{name}-{bits}-transparent{suffix}", png(13, 9, bits, color, interlaced, [(b"tRNS", key)])
    for width, height in [(1, 1), (2, 3), (9, 1)]:
        yield f"png-interlaced-{width}x{height}", png(width, height, 8, 2, True)
    yield "png-gray-alpha", saved(draw("LA", 10, 9), "PNG")
    yield "png-rgba", saved(draw("RGBA", 10, 9), "PNG")
    yield "png-palette-transparent", saved(palette_image(16, 9, 7), "PNG", transparency=b"\x00\x80\xff\x10")
    yield "png-filters", saved(draw("RGB", 50, 60), "PNG", optimize=True)
    for orientation in range(1, 9):
        yield f"png-orientation-{orientation}", saved(draw("RGB", 9, 5), "PNG", exif=exif(orientation))
    tiff = exif(6)[6:]
    yield "png-orientation-behind", png(13, 9, 8, 2, after=[(b"eXIf", tiff)])
    profile = "\nexif\n%8d\n%s\n" % (len(exif(6)), exif(6).hex())
    yield "png-orientation-text", png(13, 9, 8, 2, chunks=[(b"tEXt", b"Raw profile type exif\0" + profile.encode())])
    packed = zlib.compress(profile.encode())
    yield "png-orientation-packed-text", png(13, 9, 8, 2, chunks=[(b"zTXt", b"Raw profile type exif\0\0" + packed)])
    yield "png-orientation-xmp", png(13, 9, 8, 2, chunks=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % 5)])
    frames = [draw("RGB", 12, 8), draw("RGB", 12, 8).transpose(Image.Transpose.ROTATE_180)]
    yield "png-animated", saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    yield "png-animated-default", saved(frames[0], "PNG", save_all=True, append_images=frames, default_image=True)


# GIF


def gif_patched(file, screen=None, position=None):
    file = bytearray(file)
    if screen:
        struct.pack_into("<HH", file, 6, *screen)
    if position:
        at = file.index(b",", 13 + 3 * (2 << (file[10] & 7)))
        struct.pack_into("<HH", file, at + 1, *position)
    return bytes(file)


def gifs():
    for colors in (2, 3, 7, 16, 200, 256):
        yield f"gif-{colors}", saved(palette_image(30, 20, colors), "GIF", interlace=0)
    yield "gif-gray", saved(draw("L", 30, 20), "GIF")
    yield "gif-noise", saved(Image.frombytes("L", (90, 90), hashlib.shake_128(b"noise").digest(8100)), "GIF")
    for height in (1, 2, 3, 5, 8, 17):
        yield f"gif-interlaced-{height}", saved(palette_image(14, height, 9), "GIF", interlace=1)
    interlaced = saved(palette_image(14, 11, 9), "GIF", interlace=1)
    yield "gif-interlaced", interlaced
    transparent = saved(palette_image(14, 11, 9), "GIF", transparency=4, interlace=0)
    yield "gif-transparent", transparent
    yield "gif-small-frame", gif_patched(transparent, (20, 16), (3, 2))
    yield "gif-small-opaque-frame", gif_patched(interlaced, (20, 16), (3, 2))
    yield "gif-large-frame", gif_patched(interlaced, (9, 6), (3, 2))
    yield "gif-no-screen", gif_patched(interlaced, (0, 0))
    frames = [palette_image(14, 11, 9), palette_image(14, 11, 5)]
    yield "gif-two-frames", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    frames = [draw("RGB", 14, 11), draw("RGBA", 14, 11)]
    yield "gif-frames-of-their-own-palettes", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "gif-comment", saved(palette_image(14, 11, 9), "GIF", comment=b"x" * 700)


# WebP


def webps():
    for width, height in [(1, 1), (2, 2), (15, 17), (16, 16), (33, 47), (120, 90)]:
        for quality in (5, 50, 80, 100):
            yield f"webp-lossy-{width}x{height}-q{quality}", saved(draw("RGB", width, height), "WEBP", quality=quality)
        yield f"webp-lossless-{width}x{height}", saved(draw("RGB", width, height), "WEBP", lossless=True)
        yield f"webp-alpha-{width}x{height}", saved(draw("RGBA", width, height), "WEBP", quality=70)
        yield f"webp-lossless-alpha-{width}x{height}", saved(draw("RGBA", width, height), "WEBP", lossless=True, exact=True)
    for method in range(7):
        yield f"webp-method-{method}", saved(draw("RGB", 70, 50), "WEBP", quality=60, method=method)
    yield "webp-palette", saved(palette_image(40, 30, 12).convert("RGB"), "WEBP", lossless=True)
    yield "webp-lossy", saved(draw("RGB", 21, 18), "WEBP", quality=60)
    yield "webp-lossless-alpha", saved(draw("RGBA", 12, 9), "WEBP", lossless=True)
    for orientation in range(1, 9):
        yield f"webp-orientation-{orientation}", saved(draw("RGB", 9, 5), "WEBP", quality=40, exif=exif(orientation))
    yield "webp-orientation-xmp", saved(draw("RGB", 9, 5), "WEBP", quality=40, xmp=XMP % 6)
    for mode in ("RGB", "RGBA"):
        for lossless in (False, True):
            frames = [draw(mode, 24, 16), draw(mode, 24, 16).transpose(Image.Transpose.ROTATE_180)]
            name = f"webp-animated-{mode.lower()}-{'lossless' if lossless else 'lossy'}"
            yield name, saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=lossless, quality=40)
    # A first frame whose rim is transparent is stored as a smaller frame.
    small = Image.new("RGBA", (24, 16))
    small.paste(draw("RGBA", 9, 7), (6, 4))
    for lossless in (False, True):
        name = f"webp-animated-small-frame-{'lossless' if lossless else 'lossy'}"
        yield name, saved(small, "WEBP", save_all=True, append_images=[draw("RGBA", 24, 16)], lossless=lossless)
    frames = [draw("RGB", 12, 8), draw("RGB", 12, 8).transpose(Image.Transpose.ROTATE_180)]
    yield "webp-animated", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=40)


# TIFF


def tiff(width, height, chunks, tags, order="<", tile=None, rows_per_strip=None, big=False):
    """`chunks`: the packed strips or tiles. `tags`: further tags, each with a list of SHORTs or bytes."""
    name, offset_size = ("Q", 8) if big else ("I", 4)
    kinds = {"offsets": (16, "Q") if big else (4, "I"), "short": (3, "H"), "bytes": (7, "s"), "long": (4, "I")}
    header = 16 if big else 8
    offsets, at = [], header
    for chunk in chunks:
        offsets.append(at)
        at += len(chunk)
    entries = {256: ("long", [width]), 257: ("long", [height])}
    if tile:
        entries |= {322: ("long", [tile[0]]), 323: ("long", [tile[1]])}
        entries |= {324: ("offsets", offsets), 325: ("offsets", [len(c) for c in chunks])}
    else:
        entries |= {278: ("long", [rows_per_strip or height])}
        entries |= {273: ("offsets", offsets), 279: ("offsets", [len(c) for c in chunks])}
    for tag, value in tags.items():
        entries[tag] = ("bytes", value) if isinstance(value, bytes) else ("short", value)
    directory, extra = b"", b""
    entry_size = 20 if big else 12
    directory_size = (8 if big else 2) + entry_size * len(entries) + offset_size
    for tag, (kind, value) in sorted(entries.items()):
        code, letter = kinds[kind]
        packed = value if kind == "bytes" else struct.pack(f"{order}{len(value)}{letter}", *value)
        if len(packed) > offset_size:
            where = at + directory_size + len(extra)
            extra += packed
            packed = struct.pack(order + name, where)
        directory += struct.pack(f"{order}HH{name}", tag, code, len(value)) + packed.ljust(offset_size, b"\0")
    count = struct.pack(order + ("Q" if big else "H"), len(entries))
    magic = b"II" if order == "<" else b"MM"
    if big:
        magic += struct.pack(order + "HHHQ", 43, 8, 0, at)
    else:
        magic += struct.pack(order + "HI", 42, at)
    return magic + b"".join(chunks) + count + directory + b"\0" * offset_size + extra


def rows_of(width, height, bits, channels, order="<"):
    return [
        b"".join(
            sample(x, y, c).to_bytes(1, "little") if bits == 8 else struct.pack(order + "H", (sample(x, y, c) * 257 + x * 13) % (300 if x % 3 == 0 else 65536))
            for x in range(width)
            for c in range(channels)
        )
        for y in range(height)
    ]


def tiffs():
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"):
        for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "I", "F"):
            if mode == "P":
                image = palette_image(37, 23, 40)
            elif mode == "1":
                image = draw("L", 37, 23).convert("1")
            elif mode in ("I", "F"):
                image = draw("L", 37, 23).convert(mode).point(lambda value: value * 3 - 200)
            elif mode == "I;16":
                image = Image.frombytes("I;16", (37, 23), b"".join(rows_of(37, 23, 16, 1)))
            else:
                image = draw(mode, 37, 23)
            name = f"tiff-{mode.lower().replace(';', '-')}-{(compression or 'raw').replace('tiff_', '')}"
            try:
                yield name, saved(image, "TIFF", compression=compression)
            except (OSError, KeyError, ValueError):
                continue
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        for mode in ("L", "RGB", "RGBA"):
            yield f"tiff-{mode.lower()}-{compression}-differences", saved(draw(mode, 37, 23), "TIFF", compression=compression, tiffinfo={317: 2})
    for quality in (40, 90):
        for mode in ("L", "RGB", "CMYK"):
            yield f"tiff-{mode.lower()}-jpeg-q{quality}", saved(draw(mode, 37, 23), "TIFF", compression="jpeg", quality=quality)
    yield "tiff-jpeg-ycbcr-large", saved(draw("YCbCr", 70, 90), "TIFF", compression="jpeg", tiffinfo={278: 16})
    yield "tiff-jpeg-ycbcr", saved(draw("YCbCr", 20, 18), "TIFF", compression="jpeg", quality=40)
    yield "tiff-fax-4", saved(draw("L", 37, 23).convert("1"), "TIFF", compression="group4")
    yield "tiff-lzw", saved(draw("RGB", 14, 9), "TIFF", compression="tiff_lzw")
    yield "tiff-cmyk", saved(draw("CMYK", 9, 8), "TIFF")
    for orientation in range(1, 9):
        yield f"tiff-orientation-{orientation}", saved(draw("RGB", 9, 5), "TIFF", tiffinfo={274: orientation})
    pages = [draw("RGB", 9, 5), draw("L", 30, 20)]
    yield "tiff-two-pages", saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    width, height = 21, 14
    for order, ending in (("<", ""), (">", "-big-endian")):
        # Pillow takes BigTIFF files in little-endian order alone.
        for big in (False, True) if order == "<" else (False,):
            suffix = ending + ("-bigtiff" if big else "")
            options = dict(order=order, big=big)
            gray = {258: [16], 259: [1], 262: [1], 277: [1]}
            yield f"tiff-gray-16{suffix}", tiff(width, height, [b"".join(rows_of(width, height, 16, 1, order))], gray, **options)
            rgb = {258: [16] * 3, 259: [1], 262: [2], 277: [3]}
            yield f"tiff-rgb-16{suffix}", tiff(width, height, [b"".join(rows_of(width, height, 16, 3, order))], rgb, **options)
            strips = [zlib.compress(b"".join(rows_of(width, height, 16, 3, order)[y : y + 4])) for y in range(0, height, 4)]
            yield f"tiff-rgb-16-deflate{suffix}", tiff(width, height, strips, rgb | {259: [8]}, rows_per_strip=4, **options)
            cmyk = {258: [16] * 4, 259: [1], 262: [5], 277: [4]}
            yield f"tiff-cmyk-16{suffix}", tiff(width, height, [b"".join(rows_of(width, height, 16, 4, order))], cmyk, **options)
            for extra, name in ((0, "unspecified"), (1, "associated"), (2, "unassociated")):
                for bits in (8, 16):
                    rgba = {258: [bits] * 4, 259: [1], 262: [2], 277: [4], 338: [extra]}
                    data = b"".join(rows_of(width, height, bits, 4, order))
                    yield f"tiff-rgba-{bits}-{name}{suffix}", tiff(width, height, [data], rgba, **options)
            for bits in (1, 2, 4, 8):
                packed = hashlib.shake_128(b"indices").digest(((width * bits + 7) // 8) * height)
                for photometric, name in ((0, "white-is-zero"), (1, "black-is-zero")):
                    gray = {258: [bits], 259: [1], 262: [photometric], 277: [1]}
                    yield f"tiff-{name}-{bits}{suffix}", tiff(width, height, [packed], gray, **options)
                    if (bits, photometric) != (8, 0):  # Pillow fails on it.
                        yield f"tiff-{name}-{bits}-reversed{suffix}", tiff(width, height, [packed], gray | {266: [2]}, **options)
                palette = {258: [bits], 259: [1], 262: [3], 277: [1], 320: [sample(i, 9, 0) * 256 + 7 for i in range(3 << bits)]}
                yield f"tiff-palette-{bits}{suffix}", tiff(width, height, [packed], palette, **options)
    rows = rows_of(48, 32, 8, 3)
    tiles = [b"".join(row[x * 3 : (x + 16) * 3] for row in rows[y : y + 16]) for y in range(0, 32, 16) for x in range(0, 48, 16)]
    rgb = {258: [8] * 3, 259: [1], 262: [2], 277: [3]}
    yield "tiff-tiles-large", tiff(41, 27, tiles, rgb, tile=(16, 16))
    deflated = [zlib.compress(t) for t in tiles]
    yield "tiff-tiles-deflate", tiff(41, 27, deflated, rgb | {259: [8]}, tile=(16, 16))
    tiles = [zlib.compress(bytes(sample(x, y, 0) for y in range(top, top + 16) for x in range(left, left + 16))) for top in (0, 16) for left in (0, 16)]
    yield "tiff-tiles", tiff(27, 19, tiles, {258: [8], 259: [8], 262: [1], 277: [1]}, tile=(16, 16))
    planes = [zlib.compress(bytes(sample(x, y, c) for y in range(14) for x in range(21))) for c in range(3)]
    yield "tiff-planes", tiff(21, 14, planes, rgb | {259: [8], 284: [2]})
    planes = [bytes(sample(x, y, c) for y in range(14) for x in range(21)) for c in range(3)]
    yield "tiff-planes-raw", tiff(21, 14, planes, rgb | {284: [2]})
    yield "tiff-orientation-xmp", tiff(21, 14, planes, rgb | {284: [2], 700: XMP % 6})
    rgba = {258: [8] * 4, 259: [1], 262: [2], 277: [4], 338: [1]}
    yield "tiff-associated-alpha", tiff(11, 8, [b"".join(rows_of(11, 8, 8, 4))], rgba)


# BMP


def bmp(width, height, bits, rows, palette=b"", compression=0, masks=b"", top_down=False, colors=0):
    offset = 14 + 40 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, compression, len(rows), 0, 0, colors, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + masks + palette + rows


def bmp_palette(colors):
    return bytes(0 if c == 3 else sample(i, 2, c) for i in range(colors) for c in range(4))


def bmps():
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        image = palette_image(13, 9, 30) if mode == "P" else draw("L", 13, 9).convert("1") if mode == "1" else draw(mode, 13, 9)
        yield f"bmp-of-{mode.lower()}", saved(image, "BMP")
    noise = hashlib.shake_128(b"rows").digest(4096)
    for bits in (1, 4, 8, 16, 24, 32):
        stride = (13 * bits + 31) // 32 * 4
        palette = bmp_palette(1 << bits) if bits <= 8 else b""
        for top_down in (False, True):
            suffix = "-top-down" if top_down else ""
            yield f"bmp-{bits}{suffix}", bmp(13, 9, bits, noise[: stride * 9], palette, top_down=top_down)
    gray = bytes(v for i in range(256) for v in (i, i, i, 0))
    yield "bmp-8-gray", bmp(13, 9, 8, noise[: 16 * 9], gray)
    yield "bmp-8-few-colors", bmp(13, 9, 8, noise[: 16 * 9], bmp_palette(100), colors=100)
    yield "bmp-1-black-first", bmp(13, 9, 1, noise[: 4 * 9], b"\0\0\0\0\xff\xff\xff\0")
    yield "bmp-1-white-first", bmp(13, 9, 1, noise[: 4 * 9], b"\xff\xff\xff\0\0\0\0\0")
    for name, masks in {
        "16-565": (0xF800, 0x7E0, 0x1F), "16-555": (0x7C00, 0x3E0, 0x1F), "32-bgrx": (0xFF0000, 0xFF00, 0xFF),
        "32-xbgr": (0xFF000000, 0xFF0000, 0xFF00),
    }.items():
        bits = int(name[:2])
        stride = (13 * bits + 31) // 32 * 4
        yield f"bmp-{name}", bmp(13, 9, bits, noise[: stride * 9], compression=3, masks=struct.pack("<III", *masks))
    core = struct.pack("<IHHHH", 12, 13, 9, 1, 8)
    palette = bytes(sample(i, 2, c) for i in range(256) for c in range(3))
    yield "bmp-os2", b"BM" + struct.pack("<IHHI", 0, 0, 0, 26 + 768) + core + palette + noise[: 16 * 9]
    # Runs, an early end of a row, literal pixels, a run beyond the end of its row, a jump, and the end.
    runs = b"\x05\x07\x08\x09" + b"\x02\x03\0\0" + b"\0\x03\x01\x02\x03\0" + b"\x30\x04" + b"\0\x02\x03\x02" + b"\x05\x06\0\0"
    runs += b"\0\x04\x01\x02\x03\x04\0\0" * 4 + b"\x0d\x05\0\x01"
    yield "bmp-rle-8", bmp(13, 9, 8, runs, bmp_palette(16), compression=1, colors=16)
    runs = b"\x05\x78\x08\x9a" + b"\0\x05\x12\x34\x50\0" + b"\x30\x4b" + b"\0\x02\x03\x02" + b"\x05\x6c\0\0"
    runs += b"\0\x04\x12\x34\0\0" * 5 + b"\x0d\x5a\0\x01"
    yield "bmp-rle-4", bmp(13, 9, 4, runs, bmp_palette(16), compression=2, colors=16)


def corpus():
    for kind in (jpegs, pngs, gifs, webps, tiffs, bmps):
        yield from kind()


def digest(pixels):
    """The first 64 bits of the SHA-256."""
    return hashlib.sha256(pixels).hexdigest()[:16]


def expectation(file):
    """Size and digest of Pillow's pixels, or null where Pillow reads none."""
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"width": upright.width, "height": upright.height, "sha256": digest(upright.tobytes())}


def write_files(folder, names=None):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, data in corpus():
        if names is None or name in names:
            assert name not in expected, f"two files of the name {name}"
            (folder / name).write_bytes(data)
            expected[name] = expectation(io.BytesIO(data))
    missing = set(names or []) - set(expected)
    assert not missing, f"no such file: {missing}"
    write_manifest(folder / "manifest.json", expected)


def write_manifest(path, expected):
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(expected.items()))
    Path(path).write_text("{\n" + lines + "\n}\n")


def formula_image(width, height):
    """Noise from a linear congruential generator, the same as in the tests."""
    state, data = width * 31 + height, bytearray(width * height * 3)
    for at in range(len(data)):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        data[at] = state >> 24
    return Image.frombytes("RGB", (width, height), bytes(data))


def resizes():
    sizes = [(100, 100, 224, 224), (100, 100, 416, 416), (57, 83, 224, 224), (301, 199, 224, 224), (224, 224, 224, 224)]
    sizes += [(1, 1, 5, 7), (5, 7, 1, 1), (2, 3, 224, 100), (640, 9, 31, 64), (9, 640, 64, 31), (50, 60, 50, 31), (50, 60, 21, 60)]
    state = 1
    for _ in range(50):
        sides = []
        for _ in range(4):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            sides.append(1 + (state >> 16) % 130)
        sizes.append(tuple(sides))
    expected = {}
    for width, height, new_width, new_height in sizes:
        image = formula_image(width, height)
        for name, filter in (("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR), ("nearest", Image.Resampling.NEAREST)):
            resized = image.resize((new_width, new_height), filter)
            expected[f"{width}x{height} {new_width}x{new_height} {name}"] = digest(resized.tobytes())
    return expected


def main(command, target, *rest):
    if command == "fixtures":
        write_files(target, FIXTURES)
    elif command == "corpus":
        write_files(target)
    elif command == "photos":
        write_manifest(target, {path: expectation(path) for path in rest})
    elif command == "resizes":
        write_manifest(target, resizes())
    else:
        sys.exit(__doc__)
    print(f"Pillow {PIL.__version__}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
