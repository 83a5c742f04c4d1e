//! The canonical form: one input, one unpooled feature map, float32, free dimensions, nothing that isn't
//! needed.

use std::collections::{HashMap, HashSet};

use fruitbatch_onnx::messages::{
    Attribute, AttributeType, DataType, DimensionValue, Graph, Model, Node, OperatorSetId, Tensor,
};
use fruitbatch_onnx::tensors;

use super::TensorLayout;
use super::error::ImportError;
use super::feature_map::{Cut, permutation};
use super::network::{Network, node_label, standard_operator};
use crate::graph::transpose;
use crate::pooling::{FEATURE_MAP_TENSOR, INPUT_TENSOR, is_reserved_name};

/// What the attributes of windows may be. Networks have kernels of up to 31; a forged file has more, to make ONNX
/// Runtime allocate without end, or zeros, to make it divide by them.
const WINDOW_ATTRIBUTES: [(&str, std::ops::RangeInclusive<i64>); 6] = [
    ("kernel_shape", 1..=256),
    ("strides", 1..=256),
    ("dilations", 1..=256),
    ("pads", 0..=256),
    ("output_padding", 0..=256),
    ("group", 1..=65_536),
];
/// Operators whose constants say how large their output is.
const SIZING_OPERATORS: [&str; 7] =
    ["ConstantOfShape", "Expand", "OneHot", "Pad", "Resize", "Tile", "Upsample"];
/// What those constants may multiply to: a feature map of 2,048 channels and 90 x 90 pixels. A forged file asks ONNX Runtime for
/// terabytes.
const MAX_CONSTANT_SIZE: u64 = 1 << 24;
/// What one of those constants may enlarge a side by.
const MAX_SCALE: f32 = 64.0;
/// More dimensions than any tensor has.
const MAX_RANK: usize = 64;
/// Initialisers need not be listed among the inputs from this version on.
const LEAST_IR_VERSION: i64 = 4;

/// Builds the canonical model; the feature map's channels are still to be found by running it.
pub(super) fn canonical_model(
    mut network: Network,
    input_layout: TensorLayout,
    cut: &Cut,
) -> Result<Model, ImportError> {
    let is_live = network.ancestors([cut.tensor.as_str()]);
    let mut live = is_live.iter();
    network.nodes.retain(|_| *live.next().unwrap_or(&false));
    for node in &network.nodes {
        refuse_unsupported(node)?;
        refuse_absurd_sizes(node, &network.constants)?;
    }
    let names = new_names(&network, input_layout, cut);
    let mut nodes = Vec::with_capacity(network.nodes.len() + 2);
    if input_layout == TensorLayout::Nhwc && names[&network.input.name] != INPUT_TENSOR {
        nodes.push(transpose(INPUT_TENSOR, &names[&network.input.name], &[0, 2, 3, 1]));
    }
    let mut initializer = Vec::new();
    let mut taken: HashSet<String> = HashSet::new();
    for node in network.nodes {
        if replaced_by_input(&node, &network.input.name, &names) {
            continue;
        }
        for tensor in &node.input {
            if let Some(constant) = network.constants.get_mut(tensor)
                && taken.insert(tensor.clone())
            {
                let constant = tensors::with_raw_data(std::mem::take(constant))?;
                initializer.push(Tensor { name: renamed(&names, tensor), ..constant });
            }
        }
        nodes.push(canonical_node(node, &names)?);
    }
    if cut.layout == TensorLayout::Nhwc {
        nodes.push(transpose(&renamed(&names, &cut.tensor), FEATURE_MAP_TENSOR, &[0, 3, 1, 2]));
    }
    let free = |name: &str| DimensionValue::Symbol(name.to_owned());
    Ok(Model {
        ir_version: network.ir_version.max(LEAST_IR_VERSION),
        producer_name: "fruitbatch".to_owned(),
        graph: Some(Graph {
            node: nodes,
            name: "feature_extractor".to_owned(),
            initializer,
            input: vec![tensors::float_value(
                INPUT_TENSOR,
                vec![free("N"), DimensionValue::Fixed(3), free("H"), free("W")],
            )],
            output: vec![tensors::float_value(
                FEATURE_MAP_TENSOR,
                vec![free("N"), free("C"), free("H_out"), free("W_out")],
            )],
        }),
        opset_import: network
            .opset_import
            .into_iter()
            .filter(|opset| matches!(opset.domain.as_str(), "" | "ai.onnx"))
            .map(|opset| OperatorSetId { domain: String::new(), ..opset })
            .collect(),
        functions: Vec::new(),
    })
}

fn refuse_unsupported(node: &Node) -> Result<(), ImportError> {
    let is_control_flow = ["If", "Loop", "Scan", "SequenceMap"].contains(&node.op_type.as_str())
        || node
            .attribute
            .iter()
            .any(|attribute| attribute.g.is_some() || attribute.r#type > AttributeType::Strings as i32);
    if is_control_flow {
        return Err(ImportError::ControlFlow { node: node_label(node), operator: node.op_type.clone() });
    }
    if standard_operator(node).is_none()
        || node.attribute.iter().any(|attribute| !attribute.ref_attr_name.is_empty())
    {
        return Err(ImportError::ForeignOperator {
            node: node_label(node),
            operator: node.op_type.clone(),
            domain: node.domain.clone(),
        });
    }
    for (name, range) in WINDOW_ATTRIBUTES {
        let Some(attribute) = tensors::attribute(node, name) else { continue };
        let values =
            if name == "group" { std::slice::from_ref(&attribute.i) } else { attribute.ints.as_slice() };
        if let Some(&value) = values.iter().find(|value| !range.contains(value)) {
            let expected = format!("{} to {}", range.start(), range.end());
            return Err(ImportError::AttributeRange {
                node: node_label(node),
                attribute: name.to_owned(),
                value,
                expected,
            });
        }
    }
    Ok(())
}

/// Constants that make a tensor beyond reason are refused here: ONNX Runtime allocates what it is told to.
fn refuse_absurd_sizes(node: &Node, constants: &HashMap<String, Tensor>) -> Result<(), ImportError> {
    if !standard_operator(node).is_some_and(|operator| SIZING_OPERATORS.contains(&operator)) {
        return Ok(());
    }
    let named = node.input.iter().filter_map(|name| Some((name, constants.get(name)?)));
    for (name, constant) in named {
        let refused = |value: i64, expected: String| ImportError::AttributeRange {
            node: node_label(node),
            attribute: name.clone(),
            value,
            expected,
        };
        let mut product = 1_u64;
        for value in first_integers(constant) {
            product = product.saturating_mul(value.unsigned_abs().max(1));
            if product > MAX_CONSTANT_SIZE {
                return Err(refused(value, format!("sizes of up to {MAX_CONSTANT_SIZE} values in all")));
            }
        }
        // What the other operators read as numbers are values and not sizes.
        if matches!(node.op_type.as_str(), "Resize" | "Upsample")
            && let Some(scale) = first_floats(constant).find(|scale| !(0.0..=MAX_SCALE).contains(scale))
        {
            return Err(refused(scale as i64, format!("scales of 0 to {MAX_SCALE}")));
        }
    }
    Ok(())
}

/// The first values of an int64 tensor, whichever way they are kept.
fn first_integers(tensor: &Tensor) -> impl Iterator<Item = i64> {
    let is_int64 = tensor.data_type == i32::from(DataType::Int64);
    let (raw, _) = tensor.raw_data.as_chunks::<8>();
    let values = raw.iter().map(|&bytes| i64::from_le_bytes(bytes)).chain(tensor.int64_data.iter().copied());
    values.take(if is_int64 { MAX_RANK } else { 0 })
}

/// The first values of a float32 tensor, whichever way they are kept.
fn first_floats(tensor: &Tensor) -> impl Iterator<Item = f32> {
    let is_float = tensor.data_type == i32::from(DataType::Float);
    let (raw, _) = tensor.raw_data.as_chunks::<4>();
    let values = raw.iter().map(|&bytes| f32::from_le_bytes(bytes)).chain(tensor.float_data.iter().copied());
    values.take(if is_float { MAX_RANK } else { 0 })
}

/// The canonical names of the tensors that change theirs.
fn new_names(network: &Network, input_layout: TensorLayout, cut: &Cut) -> HashMap<String, String> {
    let all_names: HashSet<&str> = network
        .nodes
        .iter()
        .flat_map(|node| node.input.iter().chain(&node.output))
        .map(String::as_str)
        .collect();
    let unused_name = |base: &str| {
        (1..=u32::MAX)
            .map(|number| format!("{base}.{number}"))
            .find(|name| !all_names.contains(name.as_str()) && !is_reserved_name(name))
    };
    let mut names: HashMap<String, String> = all_names
        .iter()
        .filter(|name| is_reserved_name(name))
        // A name inside the reserved prefix stays inside it with a number behind; a word in front takes it
        // out.
        .filter_map(|&name| Some((name.to_owned(), unused_name(&format!("tensor.{name}"))?)))
        .collect();
    let input = &network.input.name;
    let mut readers = network.nodes.iter().filter(|node| node.input.contains(input)).peekable();
    let only_transposed =
        readers.peek().is_some() && readers.all(|node| permutation(node) == Some(&[0, 3, 1, 2]));
    match input_layout {
        TensorLayout::Nchw => drop(names.insert(input.clone(), INPUT_TENSOR.to_owned())),
        TensorLayout::Nhwc if only_transposed => {
            names.insert(input.clone(), INPUT_TENSOR.to_owned());
            for node in network.nodes.iter().filter(|node| node.input.contains(input)) {
                names.extend(node.output.iter().map(|output| (output.clone(), INPUT_TENSOR.to_owned())));
            }
        }
        TensorLayout::Nhwc => {
            let nhwc_name =
                if is_reserved_name(input) { unused_name(&format!("tensor.{input}")) } else { None };
            names.insert(input.clone(), nhwc_name.unwrap_or_else(|| input.clone()));
        }
    }
    if cut.layout == TensorLayout::Nchw {
        names.insert(cut.tensor.clone(), FEATURE_MAP_TENSOR.to_owned());
    }
    names
}

/// Whether the node is a leading `Transpose` whose place the new input takes.
fn replaced_by_input(node: &Node, input: &str, names: &HashMap<String, String>) -> bool {
    node.input.iter().any(|read| read == input)
        && node.output.iter().any(|output| names.get(output).is_some_and(|name| name == INPUT_TENSOR))
}

fn canonical_node(node: Node, names: &HashMap<String, String>) -> Result<Node, ImportError> {
    let attribute = node
        .attribute
        .into_iter()
        .map(|attribute| match attribute.t {
            Some(tensor) => Ok(Attribute { t: Some(tensors::with_raw_data(tensor)?), ..attribute }),
            None => Ok(attribute),
        })
        .collect::<Result<_, ImportError>>()?;
    Ok(Node {
        input: node.input.iter().map(|tensor| renamed(names, tensor)).collect(),
        output: node.output.iter().map(|tensor| renamed(names, tensor)).collect(),
        attribute,
        domain: String::new(),
        ..node
    })
}

fn renamed(names: &HashMap<String, String>, tensor: &str) -> String {
    names.get(tensor).map_or_else(|| tensor.to_owned(), Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operator: &str, constant: Tensor) -> Result<(), ImportError> {
        let node = Node { op_type: operator.into(), input: vec!["x".into(), "c".into()], ..Node::default() };
        refuse_absurd_sizes(&node, &HashMap::from([("c".to_owned(), constant)]))
    }

    #[test]
    fn constants_that_ask_for_terabytes_are_refused_and_those_of_networks_are_not() {
        let integers = |values: &[i64]| tensors::int64_tensor("c", &[values.len()], values);
        let floats = |values: &[f32]| tensors::float_tensor("c", &[values.len()], values);
        assert!(check("Pad", integers(&[0, 0, 3, 3, 0, 0, 3, 3])).is_ok());
        assert!(check("Expand", integers(&[1, 2048, 7, 7])).is_ok());
        assert!(check("Resize", floats(&[1.0, 1.0, 2.0, 2.0])).is_ok());
        assert!(check("Reshape", integers(&[-1, 1 << 40])).is_ok());
        for (operator, constant) in [
            ("Pad", integers(&[0, 0, 1 << 40, 0, 0, 0, 0, 0])),
            ("Expand", integers(&[1 << 20, 1 << 20])),
            ("Tile", integers(&[i64::MIN])),
            ("ConstantOfShape", integers(&[i64::MAX, i64::MAX])),
            ("Resize", floats(&[1.0, 1.0, 1e9, 1.0])),
            ("Upsample", floats(&[f32::NAN])),
            ("Upsample", Tensor { raw_data: bytes::Bytes::new(), float_data: vec![65.0], ..floats(&[1.0]) }),
        ] {
            let error = check(operator, constant).unwrap_err();
            assert!(matches!(error, ImportError::AttributeRange { .. }), "{operator}: {error}");
        }
    }
}
