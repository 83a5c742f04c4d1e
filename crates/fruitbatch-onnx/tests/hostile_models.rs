//! ONNX files that are damaged, or forged to exhaust memory: an answer, never a panic, bounded memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../fruitbatch-image/tests/common/counting_allocator.rs"]
mod counting_allocator;
#[path = "../../../fuzz/bodies/onnx_model.rs"]
mod onnx_model;

use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use fruitbatch_onnx::messages::{Attribute, DimensionValue, Graph, Model, Node, StringStringEntry, Tensor};
use fruitbatch_onnx::tensors::{float_tensor, float_value, int64_tensor, ints_attribute, with_raw_data};
use fruitbatch_onnx::{MAX_MESSAGE_BYTES, MAX_PACKED_BYTES, ReadModelError, read_model, write_model};

use crate::counting_allocator::peak_while;

/// One measurement at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What reading a file of that length may take: the messages (three times while their lists grow), packed integers (eight
/// bytes for one, and growing too), and texts.
fn most_memory(file: &[u8]) -> usize {
    3 * MAX_MESSAGE_BYTES as usize + 24 * (MAX_PACKED_BYTES as usize).min(file.len()) + 100 * file.len()
}

/// A file with everything in it that is read.
fn small_model() -> Model {
    let free = |name: &str| DimensionValue::Symbol(name.to_owned());
    let mut convolution = Node {
        op_type: "Conv".into(),
        input: vec!["input".into(), "kernel".into()],
        output: vec!["map".into()],
        attribute: vec![ints_attribute("pads", &[1, 1, 1, 1])],
        ..Node::default()
    };
    let constant = Some(int64_tensor("shape", &[2], &[1, -1]));
    convolution.attribute.push(Attribute { name: "value".into(), t: constant, ..Attribute::default() });
    Model {
        ir_version: 8,
        producer_name: "a test".into(),
        graph: Some(Graph {
            node: vec![convolution],
            name: "graph".into(),
            initializer: vec![
                float_tensor("kernel", &[1, 3, 1, 1], &[0.5, -1.0, 2.0]),
                Tensor {
                    float_data: vec![1.0, 2.0],
                    raw_data: Bytes::new(),
                    ..float_tensor("listed", &[2], &[])
                },
            ],
            input: vec![float_value(
                "input",
                vec![free("N"), DimensionValue::Fixed(3), free("H"), free("W")],
            )],
            output: vec![float_value("map", vec![free("N")])],
        }),
        ..Model::default()
    }
}

#[test]
fn files_that_the_fuzzer_knows_and_their_mutations_do_no_harm() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/onnx_model");
    let mut files: Vec<Vec<u8>> = std::fs::read_dir(&seeds)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    let small = write_model(&small_model()).to_vec();
    // Written anew where more of a file is read: `FRUITBATCH_WRITE_FUZZ_SEEDS=1`.
    if std::env::var_os("FRUITBATCH_WRITE_FUZZ_SEEDS").is_some() {
        std::fs::write(seeds.join("small-model"), &small).unwrap();
    }
    files.push(small);
    for file in files {
        onnx_model::check(&file);
        for length in 0..file.len() {
            onnx_model::check(&file[..length]);
        }
        for position in 0..file.len() {
            for byte in [0, 1, 0x0a, 0x7f, 0x80, 0xff, file[position] ^ 1, file[position] ^ 8] {
                let mut changed = file.clone();
                changed[position] = byte;
                onnx_model::check(&changed);
            }
        }
    }
}

/// A graph with so many of something.
type Bomb = fn(usize) -> Vec<u8>;

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn two_bytes_of_a_file_never_become_hundreds_in_memory() {
    const GRAPH: u8 = 7;
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let model = |graph: Vec<u8>| field(GRAPH, &graph);
    let bombs: [(&str, Bomb); 7] = [
        ("nodes", |count| field(1, &[]).repeat(count)),
        ("attributes", |count| field(1, &field(5, &[]).repeat(count))),
        ("attributes with tensors", |count| field(1, &field(5, &field(5, &[])).repeat(count))),
        ("initialisers", |count| field(5, &[]).repeat(count)),
        ("inputs", |count| field(11, &field(2, &field(1, &field(2, &[])))).repeat(count)),
        ("texts", |count| field(1, &field(1, &[]).repeat(count))),
        ("external data", |count| field(5, &field(13, &[]).repeat(count))),
    ];
    for (name, graph) in bombs {
        for count in [100_000, 1_900_000] {
            let file = Bytes::from(model(graph(count)));
            let limit = most_memory(&file);
            let (outcome, peak) = peak_while(|| read_model(file).map(drop));
            assert!(peak <= limit, "{count} {name}: {peak} bytes at the peak");
            if let Err(error) = outcome {
                assert!(matches!(error, ReadModelError::TooLarge { .. }), "{count} {name}: {error}");
            }
        }
    }
    let packed = Bytes::from(model(field(5, &field(1, &vec![1; 15 << 20]))));
    let limit = most_memory(&packed);
    let (outcome, peak) = peak_while(|| read_model(packed).map(drop));
    assert!(outcome.is_ok() && peak <= limit, "{peak} bytes at the peak");
    let packed = Bytes::from(model(field(5, &field(1, &vec![1; 17 << 20]))));
    assert!(matches!(read_model(packed), Err(ReadModelError::TooLarge { .. })));
}

#[test]
fn messages_nested_without_end_end_in_an_error() {
    // A graph in an attribute isn't read; its own attributes may hold graphs again, a hundred thousand deep.
    let mut graph = Vec::new();
    for _ in 0..2000 {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    assert!(read_model(Bytes::from(field(7, &graph))).is_ok());
    // Groups, an old form of nesting, in a field that isn't known.
    let groups = [[0xfb, 0x01].repeat(100_000), [0xfc, 0x01].repeat(100_000)].concat();
    assert!(read_model(Bytes::from([groups, field(7, &[])].concat())).is_err());
}

#[test]
fn data_in_other_files_are_refused_wherever_they_lie() {
    for location in ["weights.bin", "../../etc/passwd", "/etc/passwd", "https://example.org/w", ""] {
        let entry = StringStringEntry { key: "location".into(), value: location.into() };
        let external = Tensor { external_data: vec![entry], ..float_tensor("w", &[1], &[1.0]) };
        let marked = Tensor { data_location: 1, ..external.clone() };
        for tensor in [external, marked] {
            let error = with_raw_data(tensor).unwrap_err().to_string();
            assert!(error.contains("another file"), "{error}");
        }
    }
}

#[test]
fn shapes_are_counted_before_data_are_looked_at() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let shapes: [&[i64]; 6] =
        [&[i64::MAX], &[1 << 32, 1 << 32], &[1 << 62, 4, 1], &[0, i64::MAX, i64::MAX], &[-1], &[1 << 35]];
    for dims in shapes {
        let tensor = Tensor { dims: dims.to_vec(), ..float_tensor("w", &[1], &[1.0]) };
        let (outcome, peak) = peak_while(|| with_raw_data(tensor));
        assert!(outcome.is_err() && peak < 1 << 16, "{dims:?}: {peak} bytes at the peak");
    }
}
