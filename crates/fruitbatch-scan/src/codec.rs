//! Tables and nodes as bytes, so that a scheduler and executors in other processes can rebuild them.
//!
//! An encoded item is six bytes `FBSCAN`, one byte for the version of the format, one for the kind of item, then a
//! protobuf message. A reader accepts its own version only: driver, scheduler and executors are one binary. No secret is
//! ever part of it ([`StorageOptions`] holds none), and decoding foreign or damaged bytes is an error, never a panic.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use fruitbatch_storage::{Location, StorageOptions};
use prost::Message;

use crate::ScanError;
use crate::image_row::ImageRow;
use crate::options::ScanOptions;
use crate::read_photos_exec::ReadPhotosExec;
use crate::table::ImageTable;

const MAGIC: &[u8; 6] = b"FBSCAN";
const VERSION: u8 = 1;
const TABLE: u8 = b'T';
const NODE: u8 = b'N';

/// `table` with its whole listing.
///
/// # Errors
/// [`ScanError::Codec`] if the storage options can't be written as JSON.
pub fn encode_table(table: &ImageTable) -> Result<Vec<u8>, ScanError> {
    let message = TableMessage {
        source: Some(SourceMessage::of(table.root(), table.storage_options(), table.options())?),
        photos: table.photos().iter().map(PhotoMessage::from).collect(),
    };
    Ok(seal(TABLE, &message))
}

/// The table that [`encode_table`] wrote.
///
/// # Errors
/// [`ScanError`] if the bytes are no such table or hold values out of range.
pub fn decode_table(bytes: &[u8]) -> Result<ImageTable, ScanError> {
    let message: TableMessage = open(TABLE, bytes)?;
    let (root, storage, options) = required(message.source, "the source")?.into_parts()?;
    Ok(ImageTable::new(root, storage, message.photos.into_iter().map(ImageRow::from).collect(), options))
}

/// `node` without its input.
///
/// # Errors
/// [`ScanError::Codec`] if the storage options can't be written as JSON.
pub fn encode_read_photos(node: &ReadPhotosExec) -> Result<Vec<u8>, ScanError> {
    let message = NodeMessage {
        source: Some(SourceMessage::of(node.root(), node.storage_options(), node.options())?),
        columns: node.columns().to_vec(),
    };
    Ok(seal(NODE, &message))
}

/// The node that [`encode_read_photos`] wrote, over `input`.
///
/// # Errors
/// [`ScanError`] if the bytes are no such node, hold values out of range, or don't fit the input.
pub fn decode_read_photos(bytes: &[u8], input: Arc<dyn ExecutionPlan>) -> Result<ReadPhotosExec, ScanError> {
    let message: NodeMessage = open(NODE, bytes)?;
    let (root, storage, options) = required(message.source, "the source")?.into_parts()?;
    ReadPhotosExec::try_new(root, storage, options, message.columns, input).map_err(ScanError::codec)
}

fn seal(kind: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([VERSION, kind]);
    bytes.extend(message.encode_to_vec());
    bytes
}

fn open<M: Message + Default>(kind: u8, bytes: &[u8]) -> Result<M, ScanError> {
    let Some([version, found_kind, payload @ ..]) = bytes.strip_prefix(MAGIC) else {
        return Err(ScanError::codec("it doesn't start as one of ours"));
    };
    if *version != VERSION {
        return Err(ScanError::codec(format!(
            "it has version {version} of the format, this is version {VERSION}"
        )));
    }
    if *found_kind != kind {
        return Err(ScanError::codec("it holds another kind of item"));
    }
    M::decode(payload).map_err(ScanError::codec)
}

fn required<T>(part: Option<T>, name: &str) -> Result<T, ScanError> {
    part.ok_or_else(|| ScanError::codec(format!("{name} is missing")))
}

#[derive(Clone, PartialEq, Message)]
struct TableMessage {
    #[prost(message, optional, tag = "1")]
    source: Option<SourceMessage>,
    #[prost(message, repeated, tag = "2")]
    photos: Vec<PhotoMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeMessage {
    #[prost(message, optional, tag = "1")]
    source: Option<SourceMessage>,
    #[prost(string, repeated, tag = "2")]
    columns: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SourceMessage {
    #[prost(string, tag = "1")]
    root: String,
    #[prost(string, tag = "2")]
    storage_json: String,
    #[prost(uint64, tag = "3")]
    rows_per_partition: u64,
    #[prost(uint64, tag = "4")]
    read_concurrency: u64,
    #[prost(uint64, tag = "5")]
    batch_rows: u64,
    #[prost(uint64, tag = "6")]
    batch_bytes: u64,
    #[prost(uint64, tag = "7")]
    max_photo_bytes: u64,
}

impl SourceMessage {
    fn of(root: &Location, storage: &StorageOptions, options: &ScanOptions) -> Result<Self, ScanError> {
        Ok(Self {
            root: root.to_string(),
            storage_json: serde_json::to_string(storage).map_err(ScanError::codec)?,
            rows_per_partition: options.rows_per_partition as u64,
            read_concurrency: options.read_concurrency as u64,
            batch_rows: options.batch_rows as u64,
            batch_bytes: options.batch_bytes,
            max_photo_bytes: options.max_photo_bytes,
        })
    }

    fn into_parts(self) -> Result<(Location, StorageOptions, ScanOptions), ScanError> {
        let count = |value: u64| usize::try_from(value).map_err(ScanError::codec);
        let options = ScanOptions {
            rows_per_partition: count(self.rows_per_partition)?,
            read_concurrency: count(self.read_concurrency)?,
            batch_rows: count(self.batch_rows)?,
            batch_bytes: self.batch_bytes,
            max_photo_bytes: self.max_photo_bytes,
        };
        options.validate()?;
        let root = self.root.parse().map_err(ScanError::codec)?;
        let storage = serde_json::from_str(&self.storage_json).map_err(ScanError::codec)?;
        Ok((root, storage, options))
    }
}

#[derive(Clone, PartialEq, Message)]
struct PhotoMessage {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(sint64, tag = "2")]
    modification_time: i64,
    #[prost(uint64, tag = "3")]
    length: u64,
    #[prost(string, tag = "4")]
    etag: String,
    #[prost(string, optional, tag = "5")]
    label: Option<String>,
    #[prost(string, optional, tag = "6")]
    split: Option<String>,
}

impl From<&ImageRow> for PhotoMessage {
    fn from(row: &ImageRow) -> Self {
        let ImageRow { path, modification_time, length, etag, label, split } = row.clone();
        Self { path, modification_time, length, etag, label, split }
    }
}

impl From<PhotoMessage> for ImageRow {
    fn from(message: PhotoMessage) -> Self {
        let PhotoMessage { path, modification_time, length, etag, label, split } = message;
        Self { path, modification_time, length, etag, label, split }
    }
}
