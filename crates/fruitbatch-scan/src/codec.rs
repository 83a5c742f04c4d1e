//! Tables and nodes as bytes, so that a scheduler and executors in other processes can rebuild them.
//!
//! An encoded item is six bytes `FBSCAN`, one byte for the version of the format, one for the kind of item, then a
//! protobuf message. A reader accepts its own version only: driver, scheduler and executors are one binary. No secret is
//! ever part of it ([`StorageOptions`] holds none), and decoding foreign or damaged bytes is an error, never a panic.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::protobuf;
use fruitbatch_storage::{Location, StorageOptions};
use prost::Message;

use crate::ScanError;
use crate::image_row::ImageRow;
use crate::options::ScanOptions;
use crate::part_table::{Part, PartFiles, PartTable};
use crate::read_parts_exec::ReadPartsExec;
use crate::read_photos_exec::ReadPhotosExec;
use crate::table::ImageTable;

const MAGIC: &[u8; 6] = b"FBSCAN";
const VERSION: u8 = 2;
const TABLE: u8 = b'T';
const NODE: u8 = b'N';
const PART_TABLE: u8 = b'P';
const PARTS_NODE: u8 = b'R';

/// The bytes of a table of this crate; none if it is another.
///
/// # Errors
/// As [`encode_table`].
pub fn encode_provider(table: &dyn TableProvider) -> Result<Option<Vec<u8>>, ScanError> {
    if let Some(images) = table.downcast_ref::<ImageTable>() {
        return encode_table(images).map(Some);
    }
    table.downcast_ref::<PartTable>().map(encode_part_table).transpose()
}

/// The table that [`encode_provider`] wrote.
///
/// # Errors
/// [`ScanError`] if the bytes are no such table or hold values out of range.
pub fn decode_provider(bytes: &[u8]) -> Result<Arc<dyn TableProvider>, ScanError> {
    match kind_of(bytes) {
        Some(PART_TABLE) => Ok(Arc::new(decode_part_table(bytes)?)),
        _ => Ok(Arc::new(decode_table(bytes)?)),
    }
}

/// The bytes of a node of this crate, without its input; none if it is another.
///
/// # Errors
/// As [`encode_read_photos`].
pub fn encode_node(node: &dyn ExecutionPlan) -> Result<Option<Vec<u8>>, ScanError> {
    if let Some(read_photos) = node.downcast_ref::<ReadPhotosExec>() {
        return encode_read_photos(read_photos).map(Some);
    }
    node.downcast_ref::<ReadPartsExec>().map(encode_read_parts).transpose()
}

/// The node that [`encode_node`] wrote, over `input`.
///
/// # Errors
/// [`ScanError`] if the bytes are no such node, hold values out of range, or don't fit the input.
pub fn decode_node(bytes: &[u8], input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, ScanError> {
    match kind_of(bytes) {
        Some(PARTS_NODE) => Ok(Arc::new(decode_read_parts(bytes, input)?)),
        _ => Ok(Arc::new(decode_read_photos(bytes, input)?)),
    }
}

/// `table` with its whole listing.
///
/// # Errors
/// [`ScanError::Codec`] if the storage options can't be written as JSON.
pub fn encode_table(table: &ImageTable) -> Result<Vec<u8>, ScanError> {
    let message = TableMessage {
        source: Some(SourceMessage::of(table.root(), table.storage_options(), table.options())?),
        photos: table.photos().iter().map(PhotoMessage::from).collect(),
        listing: table.listing_files().map(PartsMessage::of).transpose()?,
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
    Ok(match message.listing {
        Some(listing) => ImageTable::listed_in_parts(root, storage, listing.into_files()?, options),
        None => {
            ImageTable::new(root, storage, message.photos.into_iter().map(ImageRow::from).collect(), options)
        }
    })
}

/// `table`: where its files lie, which they are, and the schema.
///
/// # Errors
/// [`ScanError::Codec`] if the storage options or the schema can't be written.
pub fn encode_part_table(table: &PartTable) -> Result<Vec<u8>, ScanError> {
    let message = PartTableMessage {
        files: Some(PartsMessage::of(table.files())?),
        schema: Some(schema_message(&table.schema())?),
    };
    Ok(seal(PART_TABLE, &message))
}

/// The table that [`encode_part_table`] wrote.
///
/// # Errors
/// [`ScanError`] if the bytes are no such table or hold values out of range.
pub fn decode_part_table(bytes: &[u8]) -> Result<PartTable, ScanError> {
    let message: PartTableMessage = open(PART_TABLE, bytes)?;
    let files = required(message.files, "the files")?.into_files()?;
    Ok(PartTable::new(files, schema_of(message.schema)?))
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

/// `node` without its input.
///
/// # Errors
/// [`ScanError::Codec`] if the storage options or the schema can't be written.
pub fn encode_read_parts(node: &ReadPartsExec) -> Result<Vec<u8>, ScanError> {
    let message = PartsNodeMessage {
        root: node.root().to_string(),
        storage_json: serde_json::to_string(node.storage_options()).map_err(ScanError::codec)?,
        schema: Some(schema_message(&node.schema())?),
    };
    Ok(seal(PARTS_NODE, &message))
}

/// The node that [`encode_read_parts`] wrote, over `input`.
///
/// # Errors
/// [`ScanError`] if the bytes are no such node, hold values out of range, or don't fit the input.
pub fn decode_read_parts(bytes: &[u8], input: Arc<dyn ExecutionPlan>) -> Result<ReadPartsExec, ScanError> {
    let message: PartsNodeMessage = open(PARTS_NODE, bytes)?;
    let (root, storage) = place(&message.root, &message.storage_json)?;
    ReadPartsExec::try_new(root, storage, schema_of(message.schema)?, input).map_err(ScanError::codec)
}

fn kind_of(bytes: &[u8]) -> Option<u8> {
    bytes.get(MAGIC.len() + 1).copied()
}

fn place(root: &str, storage_json: &str) -> Result<(Location, StorageOptions), ScanError> {
    let root = root.parse().map_err(ScanError::codec)?;
    Ok((root, serde_json::from_str(storage_json).map_err(ScanError::codec)?))
}

fn schema_message(schema: &SchemaRef) -> Result<protobuf::Schema, ScanError> {
    protobuf::Schema::try_from(schema.as_ref()).map_err(ScanError::codec)
}

fn schema_of(message: Option<protobuf::Schema>) -> Result<SchemaRef, ScanError> {
    let schema = Schema::try_from(&required(message, "the schema")?).map_err(ScanError::codec)?;
    Ok(Arc::new(schema))
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
    #[prost(message, optional, tag = "3")]
    listing: Option<PartsMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PartTableMessage {
    #[prost(message, optional, tag = "1")]
    files: Option<PartsMessage>,
    #[prost(message, optional, tag = "2")]
    schema: Option<protobuf::Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct PartsNodeMessage {
    #[prost(string, tag = "1")]
    root: String,
    #[prost(string, tag = "2")]
    storage_json: String,
    #[prost(message, optional, tag = "3")]
    schema: Option<protobuf::Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct PartsMessage {
    #[prost(string, tag = "1")]
    root: String,
    #[prost(string, tag = "2")]
    storage_json: String,
    #[prost(message, repeated, tag = "3")]
    parts: Vec<PartMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PartMessage {
    #[prost(string, tag = "1")]
    file: String,
    #[prost(string, tag = "2")]
    sha256: String,
    #[prost(uint64, optional, tag = "3")]
    rows: Option<u64>,
}

impl PartsMessage {
    fn of(files: &PartFiles) -> Result<Self, ScanError> {
        let parts =
            files.parts.iter().cloned().map(|Part { file, sha256, rows }| PartMessage { file, sha256, rows });
        Ok(Self {
            root: files.root.to_string(),
            storage_json: serde_json::to_string(&files.storage).map_err(ScanError::codec)?,
            parts: parts.collect(),
        })
    }

    fn into_files(self) -> Result<PartFiles, ScanError> {
        let (root, storage) = place(&self.root, &self.storage_json)?;
        let parts =
            self.parts.into_iter().map(|PartMessage { file, sha256, rows }| Part { file, sha256, rows });
        Ok(PartFiles { root, storage, parts: parts.collect() })
    }
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
        let (root, storage) = place(&self.root, &self.storage_json)?;
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
