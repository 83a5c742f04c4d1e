//! How the table is cut into partitions and how its photos are read.

use crate::ScanError;

/// How the listing is cut into partitions, and how far reading runs ahead of computing.
///
/// # Memory
/// One running partition holds at most `3 * batch_bytes` of photos (one batch with the consumer, one ready, one being
/// filled) and another `batch_bytes` of photos on their way, each of the four rounded up by one photo of at most
/// `max_photo_bytes`. What lies in a batch is held once more while it is copied into Arrow's buffer.
///
/// # Choosing
/// A partition is one task of the cluster, and reading runs ahead only within a partition: it should be a few
/// `batch_rows` long. `batch_rows` is the number of photos a function such as `embed` sees at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanOptions {
    /// Photos a partition, at least 1. Default 32.
    pub rows_per_partition: usize,
    /// Photos read at the same time for one partition, at least 1. Default 16.
    pub read_concurrency: usize,
    /// Most photos in a batch, at least 1. Default 8.
    pub batch_rows: usize,
    /// A batch is closed before it would exceed this many bytes of photos (a single larger photo is a batch of its own).
    /// At most [`ScanOptions::LARGEST`]. Default 64 MiB.
    pub batch_bytes: u64,
    /// A photo larger than this isn't read: its `read_reason` is `too-large`. At most [`ScanOptions::LARGEST`].
    /// Default 256 MiB.
    pub max_photo_bytes: u64,
}

impl ScanOptions {
    /// The upper limit of both byte counts: a batch's offsets are 32 bits wide (Arrow's `Binary`), 2 GiB less one byte.
    pub const LARGEST: u64 = i32::MAX as u64;

    /// Checks every field against the range it documents.
    ///
    /// # Errors
    /// [`ScanError::Options`] naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), ScanError> {
        let counts = [
            ("rows_per_partition", self.rows_per_partition),
            ("read_concurrency", self.read_concurrency),
            ("batch_rows", self.batch_rows),
        ];
        for (name, value) in counts {
            if value == 0 {
                return Err(ScanError::Options { name, value: 0, smallest: 1, largest: u64::MAX });
            }
        }
        for (name, value) in [("batch_bytes", self.batch_bytes), ("max_photo_bytes", self.max_photo_bytes)] {
            if value == 0 || value > Self::LARGEST {
                return Err(ScanError::Options { name, value, smallest: 1, largest: Self::LARGEST });
            }
        }
        Ok(())
    }
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            rows_per_partition: 32,
            read_concurrency: 16,
            batch_rows: 8,
            batch_bytes: 64 << 20,
            max_photo_bytes: 256 << 20,
        }
    }
}
