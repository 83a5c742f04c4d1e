//! A walk over a file's protobuf framing before it is decoded.
//!
//! Two bytes on the wire can become a message of some hundred bytes in memory, and one byte an integer of
//! eight. A real network has some thousand nodes and its bulk in raw tensor data, so counting messages and
//! packed integers first keeps the memory that decoding may take within a small multiple of the file's size
//! and a fixed amount: messages take [`MAX_MESSAGE_BYTES`], up to three times while their lists grow.

use std::mem::size_of;

use crate::messages;

/// The most fields, of all messages together, that a file may have: some hundred times what the largest
/// vision models have.
pub const MAX_ITEMS: u64 = 2_000_000;
/// The most bytes that the messages may take in memory, without their texts and data: ten times what 10,000 nodes
/// with five attributes each take.
pub const MAX_MESSAGE_BYTES: u64 = 256 << 20;
/// The most bytes of packed integers: they hold shapes, never weights.
pub const MAX_PACKED_BYTES: u64 = 16 << 20;
/// Protobuf's own limit on the depth of nested messages.
const MAX_DEPTH: usize = 100;

/// Why a file isn't read as a model.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelError {
    /// The framing is broken: cut off, or not protobuf at all.
    #[error("not an ONNX model, or a damaged one: {0}")]
    Malformed(&'static str),
    /// The framing is right but the content isn't.
    #[error("not an ONNX model, or a damaged one: {0}")]
    Decode(#[from] prost::DecodeError),
    /// More messages or packed integers than any real network.
    #[error(
        "the model has more than {limit} {what}, which no real network has; check where the file is from"
    )]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The file holds no graph.
    #[error("not an ONNX model: the file holds no graph")]
    NoGraph,
}

#[derive(Clone, Copy)]
enum MessageKind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// A message all of whose fields are scalars or texts.
    Flat,
}

enum FieldContent {
    Message(MessageKind),
    PackedIntegers,
    Bytes,
}

impl MessageKind {
    /// What a length-delimited field holds; fields that [`crate::messages`] doesn't declare are skipped when
    /// decoding.
    fn content_of(self, field: u64) -> FieldContent {
        use FieldContent::{Bytes, Message, PackedIntegers};
        match (self, field) {
            (Self::Model, 7) => Message(Self::Graph),
            (Self::Model, 8 | 25) | (Self::Tensor, 13) | (Self::Shape, 1) => Message(Self::Flat),
            (Self::Graph, 1) => Message(Self::Node),
            (Self::Graph | Self::Attribute, 5) => Message(Self::Tensor),
            (Self::Graph, 11 | 12) => Message(Self::ValueInfo),
            (Self::Node, 5) => Message(Self::Attribute),
            (Self::ValueInfo, 2) => Message(Self::Type),
            (Self::Type, 1) => Message(Self::TensorType),
            (Self::TensorType, 2) => Message(Self::Shape),
            (Self::Attribute, 8) | (Self::Tensor, 1 | 5 | 7) => PackedIntegers,
            _ => Bytes,
        }
    }
}

impl MessageKind {
    /// What a message takes in memory, besides what its own messages, texts and data take.
    fn bytes_in_memory(self) -> u64 {
        let bytes = match self {
            Self::Model => size_of::<messages::Model>(),
            Self::Graph => size_of::<messages::Graph>(),
            Self::Node => size_of::<messages::Node>(),
            Self::Attribute => size_of::<messages::Attribute>(),
            Self::Tensor => size_of::<messages::Tensor>(),
            Self::ValueInfo => size_of::<messages::ValueInfo>(),
            Self::Type => size_of::<messages::Type>(),
            Self::TensorType => size_of::<messages::TensorType>(),
            Self::Shape => size_of::<messages::TensorShape>(),
            Self::Flat => size_of::<messages::StringStringEntry>().max(size_of::<messages::Dimension>()),
        };
        bytes as u64
    }
}

/// Checks the whole file.
pub(crate) fn check(file: &[u8]) -> Result<(), ReadModelError> {
    let mut totals = Totals { items: 0, message_bytes: 0, packed_bytes: 0 };
    totals.walk(file, MessageKind::Model, 0)
}

struct Totals {
    items: u64,
    message_bytes: u64,
    packed_bytes: u64,
}

impl Totals {
    fn walk(&mut self, mut rest: &[u8], kind: MessageKind, depth: usize) -> Result<(), ReadModelError> {
        if depth > MAX_DEPTH {
            return Err(ReadModelError::Malformed("its messages are nested too deeply"));
        }
        while !rest.is_empty() {
            self.items += 1;
            if self.items > MAX_ITEMS {
                return Err(ReadModelError::TooLarge { what: "fields", limit: MAX_ITEMS });
            }
            let key = take_varint(&mut rest)?;
            match key & 7 {
                0 => drop(take_varint(&mut rest)?),
                1 => drop(take(&mut rest, 8)?),
                2 => {
                    let length = take_varint(&mut rest)?;
                    let content = take(&mut rest, length)?;
                    match kind.content_of(key >> 3) {
                        FieldContent::Message(kind) => {
                            self.message_bytes += kind.bytes_in_memory();
                            if self.message_bytes > MAX_MESSAGE_BYTES {
                                let what = "bytes of messages";
                                return Err(ReadModelError::TooLarge { what, limit: MAX_MESSAGE_BYTES });
                            }
                            self.walk(content, kind, depth + 1)?;
                        }
                        FieldContent::PackedIntegers => {
                            self.packed_bytes += length;
                            if self.packed_bytes > MAX_PACKED_BYTES {
                                let what = "bytes of packed integers";
                                return Err(ReadModelError::TooLarge { what, limit: MAX_PACKED_BYTES });
                            }
                        }
                        FieldContent::Bytes => {}
                    }
                }
                5 => drop(take(&mut rest, 4)?),
                _ => return Err(ReadModelError::Malformed("it has a field of an unknown wire type")),
            }
        }
        Ok(())
    }
}

fn take<'file>(rest: &mut &'file [u8], length: u64) -> Result<&'file [u8], ReadModelError> {
    let (taken, left) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(ReadModelError::Malformed("it ends in the middle of a field"))?;
    *rest = left;
    Ok(taken)
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, ReadModelError> {
    let mut value = 0;
    for (index, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(ReadModelError::Malformed("it ends in the middle of a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_of_empty_nodes_is_refused_before_it_is_decoded() {
        // Field 1 of the graph, length 0: two bytes a node.
        let nodes = [0x0a, 0x00].repeat(3_000_000);
        let mut file = vec![0x3a];
        prost::encoding::encode_varint(nodes.len() as u64, &mut file);
        file.extend(nodes);
        assert!(matches!(check(&file), Err(ReadModelError::TooLarge { .. })));
    }

    #[test]
    fn broken_framing_is_refused() {
        for file in [
            &b"\x3a"[..],
            b"\x3a\x05\x0a",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x0b",
            b"<!DOCTYPE html>",
        ] {
            assert!(check(file).is_err(), "{file:?}");
        }
    }
}
