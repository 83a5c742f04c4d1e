//! The directory of a TIFF file, which is also the form of EXIF metadata (TIFF 6.0, section 2, and `BigTIFF`).
//!
//! Nothing is copied and nothing is allocated: a count in a hostile file can't ask for memory.

use crate::error::DecodeError;
use crate::format::Format;

/// The tags that are read (TIFF 6.0; `XMP` from the XMP specification, part 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Tag {
    ImageWidth = 256,
    ImageLength = 257,
    BitsPerSample = 258,
    Compression = 259,
    PhotometricInterpretation = 262,
    FillOrder = 266,
    StripOffsets = 273,
    Orientation = 274,
    SamplesPerPixel = 277,
    RowsPerStrip = 278,
    StripByteCounts = 279,
    PlanarConfiguration = 284,
    Predictor = 317,
    ColorMap = 320,
    TileWidth = 322,
    TileLength = 323,
    TileOffsets = 324,
    TileByteCounts = 325,
    ExtraSamples = 338,
    SampleFormat = 339,
    JpegTables = 347,
    Xmp = 700,
}

/// The first directory of a file.
pub(crate) struct Directory<'a> {
    file: &'a [u8],
    byte_order: ByteOrder,
    is_big: bool,
    /// The entries as they lie in the file.
    entries: std::slice::ChunksExact<'a, u8>,
}

impl<'a> Directory<'a> {
    pub(crate) fn read(file: &'a [u8]) -> Result<Self, DecodeError> {
        let byte_order = match file.get(..2) {
            Some(b"II") => ByteOrder::Little,
            Some(b"MM") => ByteOrder::Big,
            _ => return Err(DecodeError::corrupt(Format::Tiff, "no byte order")),
        };
        let is_big = match byte_order.number(file, 2, 2) {
            Some(42) => false,
            Some(43) => true,
            _ => return Err(DecodeError::corrupt(Format::Tiff, "an unknown version")),
        };
        let entries = Self::entries(file, byte_order, is_big)
            .ok_or_else(|| DecodeError::truncated(Format::Tiff, "the file ends before its directory does"))?;
        Ok(Self { file, byte_order, is_big, entries })
    }

    fn entries(
        file: &'a [u8],
        byte_order: ByteOrder,
        is_big: bool,
    ) -> Option<std::slice::ChunksExact<'a, u8>> {
        let (start_at, start_bytes, count_bytes, entry_bytes) =
            if is_big { (8, 8, 8, 20) } else { (4, 4, 2, 12) };
        let start = usize::try_from(byte_order.number(file, start_at, start_bytes)?).ok()?;
        let count = usize::try_from(byte_order.number(file, start, count_bytes)?).ok()?;
        let bytes = file.get(start.checked_add(count_bytes)?..)?.get(..count.checked_mul(entry_bytes)?)?;
        Some(bytes.chunks_exact(entry_bytes))
    }

    pub(crate) fn is_big_endian(&self) -> bool {
        self.byte_order == ByteOrder::Big
    }

    /// The numbers of a tag. `None` where the tag isn't there.
    pub(crate) fn numbers(&self, tag: Tag) -> Result<Option<Numbers<'a>>, DecodeError> {
        let Some(entry) = self.entry(tag) else { return Ok(None) };
        let number_bytes = match self.byte_order.number(entry, 2, 2) {
            Some(1) => 1,
            Some(3) => 2,
            Some(4 | 13) => 4,
            Some(16 | 18) => 8,
            kind => {
                return Err(DecodeError::corrupt(
                    Format::Tiff,
                    format_args!("{tag:?} is of the type {}", kind.unwrap_or(0)),
                ));
            }
        };
        let values = self.values(tag, entry, number_bytes)?;
        Ok(Some(Numbers { values, number_bytes, byte_order: self.byte_order }))
    }

    /// The first number of a tag. `None` where the tag isn't there or is empty.
    pub(crate) fn number(&self, tag: Tag) -> Result<Option<u64>, DecodeError> {
        Ok(self.numbers(tag)?.and_then(|numbers| numbers.get(0)))
    }

    /// The bytes of a tag that holds text or anything else. `None` where the tag isn't there.
    pub(crate) fn bytes(&self, tag: Tag) -> Result<Option<&'a [u8]>, DecodeError> {
        self.entry(tag).map(|entry| self.values(tag, entry, 1)).transpose()
    }

    /// The first entry of a tag, as it lies in the file.
    fn entry(&self, tag: Tag) -> Option<&'a [u8]> {
        self.entries.clone().find(|entry| self.byte_order.number(entry, 0, 2) == Some(tag as u64))
    }

    /// The values of an entry: in its last bytes if they fit there, else where those bytes point to.
    fn values(&self, tag: Tag, entry: &'a [u8], value_bytes: usize) -> Result<&'a [u8], DecodeError> {
        let field_bytes = if self.is_big { 8 } else { 4 };
        let find = || {
            let count = usize::try_from(self.byte_order.number(entry, 4, field_bytes)?).ok()?;
            let total_bytes = count.checked_mul(value_bytes)?;
            let field = entry.get(4 + field_bytes..)?;
            if total_bytes <= field_bytes {
                return field.get(..total_bytes);
            }
            let start = usize::try_from(self.byte_order.number(field, 0, field_bytes)?).ok()?;
            self.file.get(start..)?.get(..total_bytes)
        };
        find().ok_or_else(|| {
            DecodeError::truncated(Format::Tiff, format_args!("the file ends before its {tag:?}"))
        })
    }
}

/// The numbers of a tag as they lie in the file: several tags may point at the same hundred megabytes.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<'a> {
    values: &'a [u8],
    number_bytes: usize,
    byte_order: ByteOrder,
}

impl Numbers<'_> {
    /// No number: what a tag holds that isn't there.
    pub(crate) const NONE: Self = Self { values: &[], number_bytes: 1, byte_order: ByteOrder::Little };
    /// The number 1: the default of some tags.
    pub(crate) const ONE: Self = Self { values: &[1], ..Self::NONE };

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.number_bytes
    }

    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        self.byte_order.number(self.values, index.checked_mul(self.number_bytes)?, self.number_bytes)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl std::fmt::Debug for Numbers<'_> {
    /// The first few: the text ends up in a table of failures.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 8;
        let mut list = formatter.debug_list();
        list.entries(self.iter().take(SHOWN));
        if self.len() > SHOWN { list.finish_non_exhaustive() } else { list.finish() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// An unsigned number of `length` bytes, up to 8.
    fn number(self, bytes: &[u8], at: usize, length: usize) -> Option<u64> {
        let bytes = bytes.get(at..)?.get(..length)?.iter();
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self {
            Self::Little => bytes.rev().fold(0, append),
            Self::Big => bytes.fold(0, append),
        })
    }
}
