//! Which image format a file is in, told from its first bytes. Names and extensions are never looked at.

use std::fmt;

/// The formats that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG (JFIF, EXIF, Adobe, also the first picture of an MPO file).
    Jpeg,
    /// PNG, also the default picture of an APNG file.
    Png,
    /// GIF, first frame.
    Gif,
    /// WebP, first frame.
    WebP,
    /// TIFF and `BigTIFF`, first page.
    Tiff,
    /// Windows and OS/2 bitmap.
    Bmp,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
        })
    }
}

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sniffed {
    /// A format that is decoded.
    Decodable(Format),
    /// A cut-off beginning of a format's signature.
    CutOff(Format),
    /// An image format, by name, that is not decoded.
    OtherImage(&'static str),
    /// Anything else, with what it looks like.
    NotAnImage(&'static str),
}

/// Signatures of the formats that are decoded. WebP's has four bytes of length in its middle and stands apart.
const SIGNATURES: [(&[u8], Format); 10] = [
    (b"\xff\xd8\xff", Format::Jpeg),
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"GIF87a", Format::Gif),
    (b"GIF89a", Format::Gif),
    (b"II\x2a\0", Format::Tiff),
    (b"MM\0\x2a", Format::Tiff),
    (b"II\x2b\0", Format::Tiff),
    (b"MM\0\x2b", Format::Tiff),
    (b"BM", Format::Bmp),
    (b"RIFF", Format::WebP),
];

/// Signatures of image formats that are not decoded.
const OTHER_IMAGES: [(&[u8], &str); 15] = [
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"qoif", "QOI"),
    (b"DDS ", "DirectDraw surface (DDS)"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\0\0\x01\0", "Windows icon (ICO)"),
    (b"\0\0\x02\0", "Windows cursor (CUR)"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw (RAF)"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"farbfeld", "farbfeld"),
    (b"%!PS", "PostScript"),
];

/// Brands in the `ftyp` box of an ISO base media file that make it a still image.
const IMAGE_BRANDS: [(&[u8; 4], &str); 10] = [
    (b"avif", "AVIF"),
    (b"avis", "AVIF"),
    (b"heic", "HEIC"),
    (b"heix", "HEIC"),
    (b"heim", "HEIC"),
    (b"heis", "HEIC"),
    (b"hevc", "HEIC"),
    (b"mif1", "HEIF"),
    (b"msf1", "HEIF"),
    (b"crx ", "Canon raw (CR3)"),
];

/// Signatures of what is often uploaded in place of an image.
const OTHER_FILES: [(&[u8], &str); 6] = [
    (b"%PDF", "the file is a PDF document"),
    (b"PK\x03\x04", "the file is a ZIP archive"),
    (b"\x1f\x8b", "the file is a gzip archive"),
    (b"\x7fELF", "the file is a program"),
    (b"MZ", "the file is a program"),
    (b"<?php", "the file is a PHP script"),
];

/// Tells the format of a file that has at least one byte.
pub(crate) fn sniff(bytes: &[u8]) -> Sniffed {
    if bytes.starts_with(b"RIFF") && bytes.len() >= 12 {
        return match &bytes[8..12] {
            b"WEBP" => Sniffed::Decodable(Format::WebP),
            _ => Sniffed::NotAnImage("the file is a RIFF container without an image (audio or video)"),
        };
    }
    for (signature, format) in SIGNATURES {
        if format != Format::WebP && bytes.starts_with(signature) {
            return Sniffed::Decodable(format);
        }
        if signature.starts_with(bytes) || (format == Format::WebP && bytes.starts_with(signature)) {
            return Sniffed::CutOff(format);
        }
    }
    if let Some((_, name)) = OTHER_IMAGES.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        return Sniffed::OtherImage(name);
    }
    if let Some(brand) = bytes.get(4..12).and_then(|head| head.strip_prefix(b"ftyp")) {
        let image = IMAGE_BRANDS.iter().find(|(image_brand, _)| brand == *image_brand);
        return match image {
            Some((_, name)) => Sniffed::OtherImage(name),
            None => Sniffed::NotAnImage("the file is a video"),
        };
    }
    if let [b'P', b'1'..=b'7' | b'F' | b'f', separator, ..] = bytes
        && separator.is_ascii_whitespace()
    {
        return Sniffed::OtherImage("Netpbm (PBM, PGM, PPM, PAM, PFM)");
    }
    if let Some((_, found)) = OTHER_FILES.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        return Sniffed::NotAnImage(found);
    }
    sniff_text(bytes)
}

fn sniff_text(bytes: &[u8]) -> Sniffed {
    const LOOKED_AT: usize = 1024;
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().to_ascii_lowercase();
    let contains = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    if head.starts_with(b"<svg") || (head.starts_with(b"<") && contains(b"<svg") && !contains(b"<html")) {
        Sniffed::OtherImage("SVG")
    } else if head.starts_with(b"<!doctype html") || contains(b"<html") {
        Sniffed::NotAnImage("the file is an HTML page")
    } else if head.starts_with(b"<?xml") {
        Sniffed::NotAnImage("the file is an XML document")
    } else if head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        Sniffed::NotAnImage("the file is plain text")
    } else {
        Sniffed::NotAnImage("the file starts like no known image format")
    }
}
