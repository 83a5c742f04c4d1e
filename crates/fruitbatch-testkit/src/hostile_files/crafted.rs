//! Files made by hand to exhaust memory or time, or to lead a decoder astray.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use weezl::BitOrder;

use super::{GOOD_FILES, HostileFile, Random, crc32};

/// What a bomb unpacks to.
const BOMB_BYTES: usize = 64 << 20;

/// Every crafted file; names are without numbers here.
pub fn crafted_files() -> Vec<HostileFile> {
    [other_files(), png_files(), jpeg_files(), gif_files(), webp_files(), tiff_files(), bmp_files()].concat()
}

fn file(name: &str, bytes: impl Into<Vec<u8>>) -> HostileFile {
    HostileFile { name: name.to_owned(), bytes: bytes.into() }
}

fn good(name: &str) -> Vec<u8> {
    let found = GOOD_FILES.iter().find(|(good, _)| *good == name);
    found.map(|(_, bytes)| bytes.to_vec()).unwrap_or_default()
}

fn deflate_zeros(length: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 16];
    let mut left = length;
    while left > 0 {
        let step = left.min(zeros.len());
        encoder.write_all(&zeros[..step]).expect("a vector takes all bytes");
        left -= step;
    }
    encoder.finish().expect("a vector takes all bytes")
}

fn other_files() -> Vec<HostileFile> {
    let noise: Vec<u8> = {
        let mut random = Random::new(1);
        (0..5000).map(|_| random.next() as u8).collect()
    };
    vec![
        file("empty.jpg", []),
        file("empty.png", []),
        file("one-byte.jpg", [0xff]),
        file("zeros.jpg", vec![0; 5000]),
        file("ones.png", vec![0xff; 5000]),
        file("noise.webp", noise.clone()),
        file("html.jpg", *b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"),
        file("html-behind-spaces.jpg", [vec![b' '; 3000], b"<html></html>".to_vec()].concat()),
        file("s3-error.png", *b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code></Error>"),
        file("svg.png", *b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>"),
        file("text.jpg", *b"see you on monday\n"),
        file("utf16.jpg", *b"\xff\xfes\0e\0e\0"),
        file("pdf.jpg", *b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
        file("zip.jpg", *b"PK\x03\x04\x14\0\0\0"),
        file("video.jpg", *b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2mp41"),
        file("heic.jpg", *b"\0\0\0\x20ftypheic\0\0\0\0mif1heic"),
        file("signature-jpeg.jpg", *b"\xff\xd8\xff"),
        file("signature-png.png", *b"\x89PNG\r\n\x1a\n"),
        file("signature-gif.gif", *b"GIF89a"),
        file("signature-webp.webp", *b"RIFF\x04\0\0\0WEBP"),
        file("signature-riff.webp", *b"RIFF"),
        file("signature-tiff.tif", *b"II*\0"),
        file("signature-bmp.bmp", *b"BM"),
        file("noise-jpeg.jpg", [b"\xff\xd8\xff\xe0".as_slice(), &noise].concat()),
        file("noise-png.png", [b"\x89PNG\r\n\x1a\n".as_slice(), &noise].concat()),
        file("noise-gif.gif", [b"GIF89a".as_slice(), &noise].concat()),
        file("noise-webp.webp", [b"RIFF\x90\x13\0\0WEBPVP8 \x84\x13\0\0".as_slice(), &noise].concat()),
        file("noise-tiff.tif", [b"MM\0*\0\0\0\x08".as_slice(), &noise].concat()),
        file("noise-bmp.bmp", [b"BM".as_slice(), &noise].concat()),
    ]
}

fn png(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, body) in chunks {
        png.extend((body.len() as u32).to_be_bytes());
        let chunk = [name.as_slice(), body].concat();
        png.extend(&chunk);
        png.extend(crc32(&chunk).to_be_bytes());
    }
    png
}

fn png_header(width: u32, height: u32, bits: u8, color: u8, interlaced: u8) -> (&'static [u8; 4], Vec<u8>) {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    (b"IHDR", [sides.as_slice(), &[bits, color, 0, 0, interlaced]].concat())
}

fn png_files() -> Vec<HostileFile> {
    let end = || (b"IEND", Vec::new());
    let bomb = deflate_zeros(BOMB_BYTES);
    let pixels = || (b"IDAT", deflate_zeros(8 * 25));
    let small = || png_header(8, 8, 8, 2, 0);
    let sized = |name: &str, width, height, bits, color, interlaced| {
        let header = png_header(width, height, bits, color, interlaced);
        file(name, png(&[header, (b"IDAT", deflate_zeros(300)), end()]))
    };
    let with =
        |name: &str, chunk: (&'static [u8; 4], Vec<u8>)| file(name, png(&[small(), chunk, pixels(), end()]));
    let packed_text = |keyword: &str| [keyword.as_bytes(), b"\0\0", &bomb].concat();
    let exif_of_entries = {
        let mut exif = b"II*\0\x08\0\0\0\xff\xff".to_vec();
        exif.extend(b"\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0".repeat(65_535));
        exif
    };
    let mut many_chunks = vec![small()];
    many_chunks.extend((0..20_000).map(|_| (b"tEXt", b"Comment\0again".to_vec())));
    many_chunks.extend([pixels(), end()]);
    let mut split_pixels = vec![small()];
    split_pixels.extend(pixels().1.iter().map(|byte| (b"IDAT", vec![*byte])));
    split_pixels.push(end());
    let mut frames = vec![small(), (b"acTL", [0x7fff_ffff_u32.to_be_bytes(), [0; 4]].concat()), pixels()];
    let frame_control = [0_u32, 8, 8, 0, 0, 0, 0].map(u32::to_be_bytes).concat()[..26].to_vec();
    frames.extend((0..5000).map(|_| (b"fcTL", frame_control.clone())));
    frames.push(end());
    let mut claims_4_gib = png(&[small()]);
    claims_4_gib.extend(b"\xff\xff\xff\xffIDAT");
    let mut text_claims_2_gib = png(&[small()]);
    text_claims_2_gib.extend(b"\x7f\xff\xff\xfftEXtComment\0");
    vec![
        sized("png-65535x65535.png", 65_535, 65_535, 8, 6, 0),
        sized("png-2147483647x2147483647.png", 0x7fff_ffff, 0x7fff_ffff, 16, 6, 1),
        sized("png-wide.png", 0x7fff_ffff, 1, 16, 6, 0),
        sized("png-high.png", 1, 0x7fff_ffff, 1, 0, 1),
        sized("png-4294967295x1.png", u32::MAX, 1, 8, 0, 0),
        sized("png-0x0.png", 0, 0, 8, 0, 0),
        sized("png-1x1.png", 1, 1, 8, 2, 0),
        sized("png-1x1-interlaced.png", 1, 1, 1, 0, 1),
        sized("png-1000x1000-of-300-bytes.png", 1000, 1000, 16, 6, 0),
        sized("png-1000x1000-interlaced-of-300-bytes.png", 1000, 1000, 16, 6, 1),
        sized("png-13000x13000-of-300-bytes.png", 13_000, 13_000, 16, 6, 1),
        sized("png-bits-3.png", 8, 8, 3, 0, 0),
        sized("png-palette-missing.png", 8, 8, 8, 3, 0),
        file(
            "png-8000x8000-black.png",
            png(&[png_header(8000, 8000, 1, 0, 0), (b"IDAT", deflate_zeros(1001 * 8000)), end()]),
        ),
        file("png-bomb-idat.png", png(&[small(), (b"IDAT", bomb.clone()), end()])),
        file(
            "png-bomb-idat-interlaced.png",
            png(&[png_header(8, 8, 8, 2, 1), (b"IDAT", bomb.clone()), end()]),
        ),
        file("png-bomb-behind-pixels.png", png(&[small(), pixels(), (b"fdAT", bomb.clone()), end()])),
        with("png-bomb-iccp.png", (b"iCCP", packed_text("icc"))),
        with("png-bomb-ztxt.png", (b"zTXt", packed_text("Raw profile type exif"))),
        with("png-bomb-itxt.png", (b"iTXt", [b"XML:com.adobe.xmp\0\x01\0\0\0".as_slice(), &bomb].concat())),
        with("png-exif-of-65535-entries.png", (b"eXIf", exif_of_entries)),
        with("png-exif-of-noise.png", (b"eXIf", vec![0xa5; 100_000])),
        with("png-palette-of-one-byte.png", (b"PLTE", vec![1])),
        with("png-palette-of-300-entries.png", (b"PLTE", vec![1; 900])),
        with("png-unknown-critical-chunk.png", (b"XYZW", vec![1; 9])),
        file("png-20000-texts.png", png(&many_chunks)),
        file("png-pixels-byte-by-byte.png", png(&split_pixels)),
        file("png-frames-without-end.png", png(&frames)),
        file("png-chunk-claims-4-gib.png", claims_4_gib),
        file("png-text-claims-2-gib.png", text_claims_2_gib),
    ]
}

/// A JPEG segment.
fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [[0xff, marker], length].concat().into_iter().chain(payload.iter().copied()).collect()
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap_or(0)
}

/// The file with `new` in place of the bytes `at` bytes behind the first frame header.
fn jpeg_with_frame(good: &[u8], frame_marker: u8, at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let start = find(good, &[0xff, frame_marker]) + at;
    for (byte, new) in bytes[start..].iter_mut().zip(new) {
        *byte = *new;
    }
    bytes
}

/// The file with more segments behind its first two bytes.
fn jpeg_with_segments(good: &[u8], segments: &[u8]) -> Vec<u8> {
    [&good[..2], segments, &good[2..]].concat()
}

/// EXIF whose directories point at themselves, at each other and out of the file.
fn cyclic_exif() -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x03\0".to_vec();
    exif.extend(b"\x69\x87\x04\0\x01\0\0\0\x08\0\0\0"); // the EXIF directory is this one
    exif.extend(b"\x25\x88\x04\0\x01\0\0\0\xff\xff\xff\xff"); // the GPS directory is nowhere
    exif.extend(b"\x12\x01\x03\0\xff\xff\xff\x7f\x00\0\0\0"); // two thousand million orientations
    exif.extend(8_u32.to_le_bytes());
    exif
}

fn jpeg_files() -> Vec<HostileFile> {
    const BASELINE: u8 = 0xc0;
    const PROGRESSIVE: u8 = 0xc2;
    let color = good("jpeg-420-odd");
    let progressive = good("jpeg-progressive");
    // Behind the marker: length, precision, height, width, components.
    let sized = |name: &str, sides: [u8; 4]| file(name, jpeg_with_frame(&color, BASELINE, 5, &sides));
    let progressive_sized = |sides: [u8; 4]| jpeg_with_frame(&progressive, PROGRESSIVE, 5, &sides);
    let scans: Vec<usize> =
        (0..progressive.len() - 1).filter(|at| progressive[*at..].starts_with(&[0xff, 0xda])).collect();
    let last_scan = &progressive[scans[scans.len() - 1]..progressive.len() - 2];
    let with_scans = |start: &[u8], count: usize| {
        [&start[..start.len() - 2], last_scan.repeat(count).as_slice(), &[0xff, 0xd9]].concat()
    };
    let icc = segment(0xe2, &[b"ICC_PROFILE\0\x01\xff".as_slice(), &vec![0x55; 65_000]].concat());
    let absurd_icc = segment(0xe2, &[b"ICC_PROFILE\0\x00\x00".as_slice(), &[0xff; 100]].concat());
    let exif = segment(0xe1, &[b"Exif\0\0".as_slice(), &vec![b'I'; 65_000]].concat());
    let tables = segment(0xdb, &[&[0_u8][..], &[1; 64]].concat());
    let huffman = segment(0xc4, &[&[0_u8][..], &[0xff; 16], &[0; 240]].concat());
    let mut sampling = color.clone();
    let frame = find(&color, &[0xff, BASELINE]);
    for component in 0..3 {
        sampling[frame + 11 + 3 * component] = 0x44;
    }
    let arithmetic = |sides| jpeg_with_frame(&progressive_sized(sides), PROGRESSIVE, 1, &[0xca]);
    vec![
        sized("jpeg-65535x65535.jpg", [0xff; 4]),
        sized("jpeg-65500x65500.jpg", [0xff, 0xdc, 0xff, 0xdc]),
        sized("jpeg-0x0.jpg", [0; 4]),
        sized("jpeg-height-0.jpg", [0, 0, 0, 21]),
        sized("jpeg-1x1.jpg", [0, 1, 0, 1]),
        sized("jpeg-65500x1.jpg", [0xff, 0xdc, 0, 1]),
        sized("jpeg-1x65500.jpg", [0, 1, 0xff, 0xdc]),
        sized("jpeg-1000x1000-of-700-bytes.jpg", [3, 0xe8, 3, 0xe8]),
        sized("jpeg-13000x13000-of-700-bytes.jpg", [0x32, 0xc8, 0x32, 0xc8]),
        file("jpeg-progressive-13000x13000.jpg", progressive_sized([0x32, 0xc8, 0x32, 0xc8])),
        file("jpeg-20-more-scans.jpg", with_scans(&progressive, 20)),
        file("jpeg-1000-more-scans.jpg", with_scans(&progressive, 1000)),
        file("jpeg-30000-more-scans.jpg", with_scans(&progressive, 30_000)),
        file("jpeg-1000x1000-90-scans.jpg", with_scans(&progressive_sized([3, 0xe8, 3, 0xe8]), 80)),
        file("jpeg-13000x13000-90-scans.jpg", with_scans(&progressive_sized([0x32, 0xc8, 0x32, 0xc8]), 80)),
        file(
            "jpeg-13000x13000-1000-scans.jpg",
            with_scans(&progressive_sized([0x32, 0xc8, 0x32, 0xc8]), 1000),
        ),
        file("jpeg-arithmetic-1000x1000-90-scans.jpg", with_scans(&arithmetic([3, 0xe8, 3, 0xe8]), 80)),
        file(
            "jpeg-arithmetic-13000x13000-90-scans.jpg",
            with_scans(&arithmetic([0x32, 0xc8, 0x32, 0xc8]), 80),
        ),
        file("jpeg-12-bits.jpg", jpeg_with_frame(&color, BASELINE, 4, &[12])),
        file("jpeg-lossless.jpg", jpeg_with_frame(&color, BASELINE, 1, &[0xc3])),
        file("jpeg-hierarchical.jpg", jpeg_with_frame(&color, BASELINE, 1, &[0xc5])),
        file("jpeg-claims-progressive.jpg", jpeg_with_frame(&color, BASELINE, 1, &[PROGRESSIVE])),
        file("jpeg-claims-arithmetic.jpg", jpeg_with_frame(&color, BASELINE, 1, &[0xc9])),
        file("jpeg-0-components.jpg", jpeg_with_frame(&color, BASELINE, 9, &[0])),
        file("jpeg-255-components.jpg", jpeg_with_frame(&color, BASELINE, 9, &[255])),
        file("jpeg-sampling-4x4.jpg", sampling),
        file("jpeg-exif-cyclic.jpg", jpeg_with_segments(&color, &segment(0xe1, &cyclic_exif()))),
        file("jpeg-exif-of-100-segments.jpg", jpeg_with_segments(&color, &exif.repeat(100))),
        file("jpeg-icc-of-255-segments.jpg", jpeg_with_segments(&color, &icc.repeat(64))),
        file("jpeg-icc-absurd.jpg", jpeg_with_segments(&color, &absurd_icc.repeat(300))),
        file("jpeg-10000-tables.jpg", jpeg_with_segments(&color, &tables.repeat(10_000))),
        file("jpeg-huffman-too-many-codes.jpg", jpeg_with_segments(&color, &huffman)),
        file("jpeg-20000-comments.jpg", jpeg_with_segments(&color, &segment(0xfe, b"again").repeat(20_000))),
        file("jpeg-20000-starts.jpg", jpeg_with_segments(&color, &[0xff, 0xd8].repeat(20_000))),
        file("jpeg-fill-bytes.jpg", jpeg_with_segments(&color, &[0xff; 1 << 20])),
        file("jpeg-restart-each-block.jpg", jpeg_with_segments(&color, &segment(0xdd, &[0, 1]))),
        file("jpeg-cmyk-of-an-unknown-transform.jpg", {
            let cmyk = good("jpeg-cmyk");
            let mut bytes = cmyk.clone();
            // Behind `Adobe`: version, two flags and the transform.
            if let Some(transform) = bytes.get_mut(find(&cmyk, b"Adobe") + 11) {
                *transform = 0x7f;
            }
            bytes
        }),
    ]
}

fn gif(screen: [u16; 2], flags: u8, rest: &[u8]) -> Vec<u8> {
    let screen = screen.map(u16::to_le_bytes).concat();
    let palette = if flags & 0x80 == 0 { 0 } else { 3 * (2_usize << (flags & 7)) };
    [b"GIF89a".as_slice(), &screen, &[flags, 0, 0], &vec![0x77; palette], rest].concat()
}

fn gif_frame(place: [u16; 4], code_bits: u8, packed: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x2c];
    frame.extend(place.map(u16::to_le_bytes).concat());
    frame.extend([0, code_bits]);
    for block in packed.chunks(255) {
        frame.push(block.len() as u8);
        frame.extend_from_slice(block);
    }
    frame.push(0);
    frame
}

fn lzw_zeros(length: usize, order: BitOrder, tiff: bool) -> Vec<u8> {
    let mut encoder = if tiff {
        weezl::encode::Encoder::with_tiff_size_switch(order, 8)
    } else {
        weezl::encode::Encoder::new(order, 8)
    };
    encoder.encode(&vec![0; length]).unwrap_or_default()
}

fn gif_files() -> Vec<HostileFile> {
    const PALETTE: u8 = 0x80;
    let bomb = lzw_zeros(BOMB_BYTES / 16, BitOrder::Lsb, false);
    let small = gif_frame([0, 0, 4, 4], 8, &lzw_zeros(16, BitOrder::Lsb, false));
    let framed =
        |name: &str, screen, frame: &[u8]| file(name, gif(screen, PALETTE | 7, &[frame, b";"].concat()));
    let comments = b"\x21\xfe\x05again\0".repeat(20_000);
    let clear_codes = gif_frame([0, 0, 4, 4], 2, &[0x24, 0x49, 0x92].repeat(30_000));
    vec![
        framed("gif-65535x65535.gif", [0xffff; 2], &small),
        framed("gif-frame-65535x65535.gif", [4, 4], &gif_frame([0, 0, 0xffff, 0xffff], 8, &bomb)),
        framed("gif-frame-far-outside.gif", [4, 4], &gif_frame([0xffff, 0xffff, 4, 4], 8, &bomb)),
        framed("gif-0x0.gif", [0, 0], &gif_frame([0; 4], 8, &[])),
        framed("gif-frame-0x0.gif", [4, 4], &gif_frame([0; 4], 8, &[])),
        framed("gif-frame-0x4.gif", [4, 4], &gif_frame([1, 1, 0, 4], 8, &bomb)),
        framed("gif-1x1.gif", [1, 1], &gif_frame([0, 0, 1, 1], 8, &lzw_zeros(1, BitOrder::Lsb, false))),
        framed("gif-bomb.gif", [4, 4], &gif_frame([0, 0, 4, 4], 8, &bomb)),
        framed("gif-2000x2000-black.gif", [2000, 2000], &gif_frame([0, 0, 2000, 2000], 8, &bomb)),
        framed("gif-13000x13000-of-a-few-bytes.gif", [13_000, 13_000], &small),
        framed("gif-1000x1000-without-pixels.gif", [1000, 1000], &gif_frame([0, 0, 1000, 1000], 8, &[])),
        framed("gif-clear-codes.gif", [4, 4], &clear_codes),
        framed("gif-10000-frames.gif", [4, 4], &small.repeat(10_000)),
        framed("gif-20000-comments.gif", [4, 4], &[comments.as_slice(), &small].concat()),
        framed("gif-code-of-0-bits.gif", [4, 4], &gif_frame([0, 0, 4, 4], 0, &bomb[..100])),
        framed("gif-code-of-12-bits.gif", [4, 4], &gif_frame([0, 0, 4, 4], 12, &bomb[..100])),
        framed("gif-code-of-255-bits.gif", [4, 4], &gif_frame([0, 0, 4, 4], 255, &bomb[..100])),
        framed(
            "gif-unknown-blocks.gif",
            [4, 4],
            &[b"\x21\x99\x01\x01\0".repeat(5000).as_slice(), &small].concat(),
        ),
        framed("gif-no-frames.gif", [4, 4], &[]),
        file("gif-no-palette.gif", gif([4, 4], 0, &[small.as_slice(), b";"].concat())),
    ]
}

fn riff(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let body: Vec<u8> = chunks.iter().flat_map(|(name, body)| riff_chunk(name.as_slice(), body)).collect();
    [b"RIFF".as_slice(), &(body.len() as u32 + 4).to_le_bytes(), b"WEBP", &body].concat()
}

fn riff_chunk(name: &[u8], body: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if body.len().is_multiple_of(2) { &[] } else { &[0] };
    [name, &(body.len() as u32).to_le_bytes(), body, padding].concat()
}

/// An extended header: flags and the sides of the canvas.
fn vp8x(flags: u8, width: u32, height: u32) -> (&'static [u8; 4], Vec<u8>) {
    let side = |side: u32| side.saturating_sub(1).to_le_bytes()[..3].to_vec();
    (b"VP8X", [vec![flags, 0, 0, 0], side(width), side(height)].concat())
}

/// A key frame of that size that ends soon.
fn vp8(width: u16, height: u16) -> Vec<u8> {
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    [[0x10, 0x10, 0].as_slice(), &[0x9d, 0x01, 0x2a], &sides, &[0; 400]].concat()
}

fn vp8l(width: u32, height: u32, rest: &[u8]) -> Vec<u8> {
    let header = (width - 1) | (height - 1) << 14;
    [[0x2f].as_slice(), &header.to_le_bytes(), rest].concat()
}

fn animation_frame(place: [u32; 4], chunk: &[u8]) -> Vec<u8> {
    let place: Vec<u8> = place.iter().flat_map(|number| number.to_le_bytes()[..3].to_vec()).collect();
    [place.as_slice(), &[0; 4], chunk].concat()
}

fn webp_files() -> Vec<HostileFile> {
    const ANIMATED: u8 = 0x02;
    const ALPHA: u8 = 0x10;
    const EXIF: u8 = 0x08;
    let lossless = good("webp-lossless-alpha");
    // The only chunk, without its header.
    let pixels = |file: &[u8]| file.get(20..).unwrap_or_default().to_vec();
    let frame = |width: u32, height: u32, chunk: &[u8]| {
        (b"ANMF", animation_frame([0, 0, width - 1, height - 1], chunk))
    };
    let control = || (b"ANIM", vec![0; 6]);
    let small_frame = frame(12, 9, &riff_chunk(b"VP8L", &pixels(&lossless)));
    let mut frames = vec![vp8x(ANIMATED | ALPHA, 12, 9), control()];
    frames.extend(vec![small_frame.clone(); 10_000]);
    let hidden = frame(16_383, 16_383, &riff_chunk(b"VP8 ", &vp8(16_383, 16_383)));
    let mut endless_exif = riff(&[vp8x(EXIF, 12, 9), (b"VP8L", pixels(&lossless))]);
    endless_exif.extend(b"EXIF\xff\xff\xff\xff");
    let mut announces_4_gib = lossless.clone();
    announces_4_gib[4..8].copy_from_slice(&[0xff; 4]);
    let mut announces_nothing = lossless.clone();
    announces_nothing[4..8].copy_from_slice(&[0; 4]);
    vec![
        file("webp-canvas-16777216x16777216.webp", riff(&[vp8x(0, 1 << 24, 1 << 24), (b"VP8 ", vp8(8, 8))])),
        file("webp-canvas-65535x65535.webp", riff(&[vp8x(0, 65_535, 65_535), (b"VP8 ", vp8(8, 8))])),
        file("webp-lossy-16383x16383.webp", riff(&[(b"VP8 ", vp8(0x3fff, 0x3fff))])),
        file("webp-lossy-13000x13000.webp", riff(&[(b"VP8 ", vp8(13_000, 13_000))])),
        file("webp-lossy-0x0.webp", riff(&[(b"VP8 ", vp8(0, 0))])),
        file("webp-lossy-1x1.webp", riff(&[(b"VP8 ", vp8(1, 1))])),
        file("webp-lossy-1000x1000-of-400-bytes.webp", riff(&[(b"VP8 ", vp8(1000, 1000))])),
        file("webp-lossy-larger-than-canvas.webp", riff(&[vp8x(0, 8, 8), (b"VP8 ", vp8(0x3fff, 0x3fff))])),
        file("webp-lossless-16384x16384.webp", riff(&[(b"VP8L", vp8l(1 << 14, 1 << 14, &[0; 100]))])),
        file("webp-lossless-13000x13000.webp", riff(&[(b"VP8L", vp8l(13_000, 13_000, &[0; 100]))])),
        file("webp-lossless-1000x1000-of-zeros.webp", riff(&[(b"VP8L", vp8l(1000, 1000, &[0; 100]))])),
        file("webp-lossless-1000x1000-of-ones.webp", riff(&[(b"VP8L", vp8l(1000, 1000, &[0xff; 100]))])),
        file("webp-lossless-1x1.webp", riff(&[(b"VP8L", vp8l(1, 1, &pixels(&lossless)[5..]))])),
        file(
            "webp-lossless-larger-than-canvas.webp",
            riff(&[vp8x(ALPHA, 8, 8), (b"VP8L", vp8l(1 << 14, 1 << 14, &[0; 100]))]),
        ),
        file(
            "webp-alpha-of-noise.webp",
            riff(&[vp8x(ALPHA, 1000, 1000), (b"ALPH", vec![0x01; 500]), (b"VP8 ", vp8(1000, 1000))]),
        ),
        file("webp-10000-frames.webp", riff(&frames)),
        file("webp-frame-larger-than-canvas.webp", riff(&[vp8x(ANIMATED, 12, 9), control(), hidden.clone()])),
        file(
            "webp-frame-behind-a-small-one.webp",
            riff(&[vp8x(ANIMATED, 16_383, 16_383), control(), (b"VP8 ", vp8(8, 8)), hidden]),
        ),
        file("webp-animation-without-frames.webp", riff(&[vp8x(ANIMATED, 12, 9), control()])),
        file("webp-exif-claims-4-gib.webp", endless_exif),
        file(
            "webp-exif-cyclic.webp",
            riff(&[vp8x(EXIF, 12, 9), (b"VP8L", pixels(&lossless)), (b"EXIF", cyclic_exif())]),
        ),
        file("webp-announces-4-gib.webp", announces_4_gib),
        file("webp-announces-nothing.webp", announces_nothing),
        file(
            "webp-icc-of-1-mib.webp",
            riff(&[vp8x(0x20, 12, 9), (b"ICCP", vec![0x55; 1 << 20]), (b"VP8L", pixels(&lossless))]),
        ),
    ]
}

/// A value of a TIFF's tag.
enum Value {
    Long(u32),
    /// A type, a count, and where the values are said to lie.
    Elsewhere(u16, u32, u32),
}

/// A little-endian TIFF: its directory, then `data` at [`tiff_data_at`].
fn tiff(tags: &[(u16, Value)], next_directory: u32, data: &[u8]) -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        file.extend(tag.to_le_bytes());
        let (kind, count, value) = match *value {
            Value::Long(value) => (4, 1, value),
            Value::Elsewhere(kind, count, at) => (kind, count, at),
        };
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(next_directory.to_le_bytes());
    file.extend_from_slice(data);
    file
}

/// Where the data of a [`tiff`] with so many tags lie.
fn tiff_data_at(tags: usize) -> u32 {
    8 + 2 + tags as u32 * 12 + 4
}

const SHORT: u16 = 3;
const LONG: u16 = 4;
const BYTE: u16 = 1;

/// A gray image in one strip.
fn tiff_strip(width: u32, height: u32, bits: u32, compression: u32, data: &[u8]) -> Vec<u8> {
    const TAGS: usize = 9;
    let tags: [(u16, Value); TAGS] = [
        (256, Value::Long(width)),
        (257, Value::Long(height)),
        (258, Value::Long(bits)),
        (259, Value::Long(compression)),
        (262, Value::Long(1)),
        (273, Value::Long(tiff_data_at(TAGS))),
        (277, Value::Long(1)),
        (278, Value::Long(height)),
        (279, Value::Long(data.len() as u32)),
    ];
    tiff(&tags, 0, data)
}

/// A gray image in tiles that all lie at the same place.
fn tiff_tiles(side: u32, tile: [u32; 2], compression: u32, stored: &[u8], byte_counts: bool) -> Vec<u8> {
    let tiles = side.div_ceil(tile[0]) * side.div_ceil(tile[1]);
    let count = if byte_counts { 10 } else { 9 };
    let data_at = tiff_data_at(count);
    let offsets = data_at.to_le_bytes().repeat(tiles as usize);
    let lengths = (stored.len() as u32).to_le_bytes().repeat(tiles as usize);
    let tables_at = data_at + stored.len() as u32;
    let mut tags = vec![
        (256, Value::Long(side)),
        (257, Value::Long(side)),
        (258, Value::Long(8)),
        (259, Value::Long(compression)),
        (262, Value::Long(1)),
        (277, Value::Long(1)),
        (322, Value::Long(tile[0])),
        (323, Value::Long(tile[1])),
        (324, Value::Elsewhere(LONG, tiles, tables_at)),
    ];
    if byte_counts {
        tags.push((325, Value::Elsewhere(LONG, tiles, tables_at + offsets.len() as u32)));
    }
    tiff(&tags, 0, &[stored, &offsets, &lengths].concat())
}

fn tiff_files() -> Vec<HostileFile> {
    const LZW: u32 = 5;
    const FAX: u32 = 4;
    const JPEG: u32 = 7;
    const DEFLATE: u32 = 8;
    const PACK_BITS: u32 = 32_773;
    let deflate_bomb = deflate_zeros(BOMB_BYTES);
    let lzw_bomb = lzw_zeros(BOMB_BYTES / 16, BitOrder::Msb, true);
    let sized = |name: &str, width, height| file(name, tiff_strip(width, height, 8, 1, &[0; 100]));
    // Two tags of one megabyte of numbers each, which overlap.
    let counts_at = tiff_data_at(9);
    let many_numbers = |kind, count| {
        [
            (256, Value::Long(8)),
            (257, Value::Long(8)),
            (258, Value::Elsewhere(kind, count, counts_at)),
            (259, Value::Long(1)),
            (262, Value::Long(1)),
            (273, Value::Elsewhere(kind, count, counts_at)),
            (277, Value::Long(1)),
            (279, Value::Elsewhere(kind, count, counts_at)),
            (338, Value::Elsewhere(kind, count, counts_at)),
        ]
    };
    let gray_jpeg = good("jpeg-gray");
    let tall_jpeg = jpeg_with_frame(&gray_jpeg, 0xc0, 5, &[0xff, 0xdc, 0, 8]);
    let mut cyclic = tiff_strip(4, 4, 8, 1, &[0; 16]);
    let next_at = 8 + 2 + 9 * 12;
    cyclic[next_at..next_at + 4].copy_from_slice(&8_u32.to_le_bytes());
    let mut directory_in_the_header = tiff_strip(4, 4, 8, 1, &[0; 16]);
    directory_in_the_header[4..8].copy_from_slice(&[0; 4]);
    let mut directory_far_outside = tiff_strip(4, 4, 8, 1, &[0; 16]);
    directory_far_outside[4..8].copy_from_slice(&[0xff; 4]);
    let big_tiff =
        [b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0".as_slice(), &u64::MAX.to_le_bytes(), &[0; 100]].concat();
    let big_tiff_entries = [
        b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".as_slice(),
        &256_u16.to_le_bytes(),
        &16_u16.to_le_bytes(),
        &[0xff; 16],
    ]
    .concat();
    vec![
        sized("tiff-65535x65535.tif", 65_535, 65_535),
        sized("tiff-4294967295x4294967295.tif", u32::MAX, u32::MAX),
        sized("tiff-4294967295x1.tif", u32::MAX, 1),
        sized("tiff-0x0.tif", 0, 0),
        sized("tiff-1x1.tif", 1, 1),
        sized("tiff-1000x1000-of-100-bytes.tif", 1000, 1000),
        sized("tiff-13000x13000-of-100-bytes.tif", 13_000, 13_000),
        file("tiff-bomb-deflate.tif", tiff_strip(8, 8, 8, DEFLATE, &deflate_bomb)),
        file("tiff-bomb-lzw.tif", tiff_strip(8, 8, 8, LZW, &lzw_bomb)),
        file("tiff-bomb-fax.tif", tiff_strip(8, 8, 1, FAX, &[0xff; 1 << 20])),
        file("tiff-fax-65535x1000.tif", tiff_strip(65_535, 1000, 1, FAX, &[0xff; 1000])),
        file("tiff-fax-of-zeros.tif", tiff_strip(1000, 1000, 1, FAX, &[0; 1000])),
        file("tiff-bomb-pack-bits.tif", tiff_strip(8, 8, 8, PACK_BITS, &[0x81, 0].repeat(100_000))),
        file("tiff-pack-bits-of-nothing.tif", tiff_strip(1000, 1000, 8, PACK_BITS, &[0x80; 1 << 20])),
        file("tiff-8000x8000-deflate.tif", tiff_strip(8000, 8000, 8, DEFLATE, &deflate_bomb)),
        file("tiff-compression-65535.tif", tiff_strip(8, 8, 8, 65_535, &[0; 64])),
        file("tiff-bits-65535.tif", tiff_strip(8, 8, 65_535, 1, &[0; 64])),
        file("tiff-bits-0.tif", tiff_strip(8, 8, 0, 1, &[0; 64])),
        file("tiff-directory-cyclic.tif", cyclic),
        file("tiff-directory-in-the-header.tif", directory_in_the_header),
        file("tiff-directory-far-outside.tif", directory_far_outside),
        file("tiff-big-of-endless-entries.tif", big_tiff),
        file("tiff-big-of-endless-numbers.tif", big_tiff_entries),
        file("tiff-65535-entries.tif", [b"II*\0\x08\0\0\0\xff\xff".as_slice(), &[7; 65_535 * 12]].concat()),
        file("tiff-many-bytes-as-numbers.tif", tiff(&many_numbers(BYTE, 1 << 20), 0, &[8; 1 << 20])),
        file("tiff-many-shorts-as-numbers.tif", tiff(&many_numbers(SHORT, 1 << 19), 0, &[8; 1 << 20])),
        file("tiff-4294967295-numbers.tif", tiff(&many_numbers(LONG, u32::MAX), 0, &[8; 100])),
        file("tiff-tiles-1x1-pack-bits.tif", tiff_tiles(400, [1, 1], PACK_BITS, &[0x80; 100_000], true)),
        file("tiff-tiles-1x1-deflate.tif", tiff_tiles(400, [1, 1], DEFLATE, &deflate_bomb, false)),
        file("tiff-tiles-8x8-lzw.tif", tiff_tiles(1000, [8, 8], LZW, &lzw_bomb, false)),
        file("tiff-tiles-8x1-of-tall-jpegs.tif", tiff_tiles(200, [8, 1], JPEG, &tall_jpeg, true)),
        file("tiff-tiles-1073741824x1.tif", tiff_tiles(8, [1 << 30, 1], DEFLATE, &deflate_bomb, true)),
        file("tiff-tiles-0x0.tif", tiff_strip_of_no_tiles()),
    ]
}

/// Tiles without sides.
fn tiff_strip_of_no_tiles() -> Vec<u8> {
    let tags = [
        (256, Value::Long(8)),
        (257, Value::Long(8)),
        (258, Value::Long(8)),
        (262, Value::Long(1)),
        (322, Value::Long(0)),
        (323, Value::Long(0)),
        (324, Value::Long(8)),
        (325, Value::Long(8)),
    ];
    tiff(&tags, 0, &[0; 64])
}

struct Bitmap {
    width: i32,
    height: i32,
    bits: u16,
    compression: u32,
    colors: u32,
    data_at: u32,
}

impl Bitmap {
    fn file(&self, name: &str, data: &[u8]) -> HostileFile {
        let mut bytes = b"BM".to_vec();
        bytes.extend([0; 8]);
        bytes.extend(self.data_at.to_le_bytes());
        bytes.extend(40_u32.to_le_bytes());
        bytes.extend(self.width.to_le_bytes());
        bytes.extend(self.height.to_le_bytes());
        bytes.extend(1_u16.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        bytes.extend(self.compression.to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend(self.colors.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend_from_slice(data);
        file(name, bytes)
    }
}

fn bmp_files() -> Vec<HostileFile> {
    const RUNS_8: u32 = 1;
    const RUNS_4: u32 = 2;
    const FIELDS: u32 = 3;
    let direct = |width, height| Bitmap { width, height, bits: 24, compression: 0, colors: 0, data_at: 54 };
    let runs = |width, height| Bitmap { width, height, bits: 8, compression: RUNS_8, colors: 1, data_at: 58 };
    let palette = [0, 0, 0, 0];
    let with_palette = |data: &[u8]| [palette.as_slice(), data].concat();
    vec![
        direct(65_535, 65_535).file("bmp-65535x65535.bmp", &[0; 100]),
        direct(i32::MAX, i32::MAX).file("bmp-2147483647x2147483647.bmp", &[0; 100]),
        direct(8, i32::MIN).file("bmp-height-of-least-number.bmp", &[0; 100]),
        direct(i32::MIN, 8).file("bmp-width-of-least-number.bmp", &[0; 100]),
        direct(-8, -8).file("bmp-negative.bmp", &[0; 300]),
        direct(0, 0).file("bmp-0x0.bmp", &[]),
        direct(1, 1).file("bmp-1x1.bmp", &[1, 2, 3, 0]),
        direct(1000, 1000).file("bmp-1000x1000-of-100-bytes.bmp", &[0; 100]),
        direct(13_000, 13_000).file("bmp-13000x13000-of-100-bytes.bmp", &[0; 100]),
        Bitmap { data_at: u32::MAX, ..direct(8, 8) }.file("bmp-pixels-far-outside.bmp", &[0; 300]),
        Bitmap { data_at: 1, ..direct(8, 8) }.file("bmp-pixels-in-the-header.bmp", &[0; 300]),
        Bitmap { bits: 65_535, ..direct(8, 8) }.file("bmp-65535-bits.bmp", &[0; 300]),
        Bitmap { compression: u32::MAX, ..direct(8, 8) }.file("bmp-compression-4294967295.bmp", &[0; 300]),
        Bitmap { compression: FIELDS, bits: 32, ..direct(8, 8) }.file("bmp-fields-of-zeros.bmp", &[0; 400]),
        Bitmap { compression: FIELDS, bits: 16, ..direct(8, 8) }.file("bmp-fields-of-ones.bmp", &[0xff; 400]),
        Bitmap { colors: u32::MAX, bits: 8, ..direct(8, 8) }.file("bmp-4294967295-colors.bmp", &[0; 400]),
        Bitmap { colors: 65_536, bits: 8, ..direct(8, 8) }.file("bmp-65536-colors.bmp", &[0; 400]),
        runs(1000, 1000).file("bmp-runs-skip-far.bmp", &with_palette(&[0, 2, 255, 255, 0, 1])),
        runs(1000, 1000).file("bmp-runs-end-of-line.bmp", &with_palette(&[0, 0].repeat(2000))),
        runs(1000, 1000).file("bmp-runs-of-nothing.bmp", &with_palette(&[0, 2, 0, 0].repeat(100_000))),
        runs(10, 10).file("bmp-runs-beyond-the-row.bmp", &with_palette(&[255, 0].repeat(2000))),
        runs(10, 10).file(
            "bmp-literals-beyond-the-row.bmp",
            &with_palette(&[0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0].repeat(99)),
        ),
        runs(13_000, 13_000).file("bmp-runs-13000x13000.bmp", &with_palette(&[255, 0].repeat(100))),
        Bitmap { bits: 4, compression: RUNS_4, ..runs(10, 10) }
            .file("bmp-runs-4.bmp", &with_palette(&[0, 5, 1, 2, 3, 0, 9, 7].repeat(99))),
    ]
}
