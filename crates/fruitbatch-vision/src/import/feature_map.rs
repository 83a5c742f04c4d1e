//! Where a classifier's convolutional part ends, and how its tensors lie in memory.
//!
//! Every tensor is given a [`Role`] by following the graph from the input. That needs no shapes, which files
//! often lack or bind to one size.

use std::collections::HashMap;

use fruitbatch_onnx::messages::Node;
use fruitbatch_onnx::tensors;

use super::error::ImportError;
use super::network::{Network, standard_operator};
use super::{InputLayout, TensorLayout};

/// An average pooling of at least this many pixels a side, with no convolution behind it, is the head's:
/// older exporters write global pooling as one of 7x7 or 8x8.
const HEAD_POOLING_SIDE: i64 = 5;
/// How many tensors an error message proposes.
const CANDIDATES_SHOWN: usize = 3;

/// What a tensor is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A feature map.
    Spatial(TensorLayout),
    /// A feature map put into another shape, by `Reshape` and the like; a convolution makes it a feature map
    /// again.
    Reshaped,
    /// Without spatial extent: pooled, flattened, a score.
    Vector,
}

/// The tensor to cut behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) tensor: String,
    pub(super) layout: TensorLayout,
}

/// Finds where the input's channels are.
pub(super) fn input_layout(network: &Network, wanted: InputLayout) -> Result<TensorLayout, ImportError> {
    let input = &network.input;
    let dims = tensors::declared_dims(input);
    let shape = dims.as_ref().map_or_else(|| "unknown".to_owned(), |dims| shape_text(dims));
    let wrong_shape = || ImportError::InputShape { input: input.name.clone(), shape: shape.clone() };
    let channels = match dims.as_deref() {
        None => (None, None),
        Some([_, second, _, last]) => (*second, *last),
        Some(_) => return Err(wrong_shape()),
    };
    let layout = match (wanted, channels) {
        (InputLayout::Nchw, _) => TensorLayout::Nchw,
        (InputLayout::Nhwc, _) => TensorLayout::Nhwc,
        (InputLayout::Auto, (Some(3), last)) if last != Some(3) => TensorLayout::Nchw,
        (InputLayout::Auto, (second, Some(3))) if second != Some(3) => TensorLayout::Nhwc,
        (InputLayout::Auto, _) => {
            let mut readers = network.nodes.iter().filter(|node| node.input.contains(&input.name)).peekable();
            let is_read = readers.peek().is_some();
            if is_read && readers.clone().all(|node| permutation(node) == Some(&[0, 3, 1, 2])) {
                TensorLayout::Nhwc
            } else if readers.any(|node| standard_operator(node) == Some("Conv")) {
                TensorLayout::Nchw
            } else {
                return Err(ImportError::AmbiguousLayout { input: input.name.clone(), shape });
            }
        }
    };
    let channel_count = match layout {
        TensorLayout::Nchw => channels.0,
        TensorLayout::Nhwc => channels.1,
    };
    if channel_count.is_some_and(|count| count != 3) {
        return Err(wrong_shape());
    }
    Ok(layout)
}

/// The tensor to cut behind: the one named, or the last feature map before the head.
pub(super) fn find_cut(
    network: &Network,
    input_layout: TensorLayout,
    named: Option<&str>,
) -> Result<Cut, ImportError> {
    let roles = roles(network, input_layout);
    let producers = network.producers();
    let cut = match named {
        Some(tensor) if producers.contains_key(tensor) => Cut {
            tensor: tensor.to_owned(),
            // A tensor of another role may be a feature map all the same; running it will tell.
            layout: match roles.get(tensor) {
                Some(Role::Spatial(layout)) => *layout,
                _ => TensorLayout::Nchw,
            },
        },
        Some(tensor) => {
            let candidates = body_feature_maps(network, &roles)
                .rev()
                .take(CANDIDATES_SHOWN)
                .map(|cut| format!("`{}`", cut.tensor))
                .collect::<Vec<_>>();
            return Err(ImportError::NoSuchTensor {
                cut: tensor.to_owned(),
                candidates: candidates.join(", "),
            });
        }
        None => body_feature_maps(network, &roles).next_back().ok_or(ImportError::NoFeatureMap)?,
    };
    Ok(without_trailing_transposes(network, &roles, &producers, cut))
}

/// The feature maps between the input and the head, in topological order.
fn body_feature_maps<'graph>(
    network: &'graph Network,
    roles: &'graph HashMap<&'graph str, Role>,
) -> impl DoubleEndedIterator<Item = Cut> + 'graph {
    let leads_to_output = network.ancestors(network.outputs.iter().map(String::as_str));
    let convolution_outputs = network
        .nodes
        .iter()
        .filter(|node| standard_operator(node) == Some("Conv"))
        .flat_map(|node| node.output.iter().map(String::as_str));
    let leads_to_convolution = network.ancestors(convolution_outputs);
    let has_convolution = leads_to_convolution.iter().any(|&leads| leads);
    network.nodes.iter().enumerate().filter(move |_| has_convolution).filter_map(move |(index, node)| {
        let output = node.output.first()?;
        let Some(Role::Spatial(layout)) = roles.get(output.as_str()) else { return None };
        let belongs_to_head = !leads_to_convolution[index] && is_head_pooling(node);
        (leads_to_output[index] && !belongs_to_head).then(|| Cut { tensor: output.clone(), layout: *layout })
    })
}

/// A cut behind a transposition is one before it: what is left of the network then ends in its own layout.
fn without_trailing_transposes(
    network: &Network,
    roles: &HashMap<&str, Role>,
    producers: &HashMap<&str, usize>,
    mut cut: Cut,
) -> Cut {
    while let Some(&index) = producers.get(cut.tensor.as_str()) {
        let node = &network.nodes[index];
        let transposed = permutation(node).and_then(|_| node.input.first());
        let Some((tensor, Role::Spatial(layout))) =
            transposed.and_then(|tensor| Some((tensor, *roles.get(tensor.as_str())?)))
        else {
            break;
        };
        if !producers.contains_key(tensor.as_str()) {
            break;
        }
        cut = Cut { tensor: tensor.clone(), layout };
    }
    cut
}

fn is_head_pooling(node: &Node) -> bool {
    standard_operator(node) == Some("AveragePool")
        && tensors::attribute(node, "kernel_shape").is_some_and(|kernel| {
            !kernel.ints.is_empty() && kernel.ints.iter().all(|&side| side >= HEAD_POOLING_SIDE)
        })
}

fn roles(network: &Network, input_layout: TensorLayout) -> HashMap<&str, Role> {
    let mut roles = HashMap::from([(network.input.name.as_str(), Role::Spatial(input_layout))]);
    for node in &network.nodes {
        let input_roles: Vec<Role> =
            node.input.iter().filter_map(|input| roles.get(input.as_str()).copied()).collect();
        if let Some(role) = output_role(network, node, &input_roles) {
            roles.extend(node.output.iter().map(|output| (output.as_str(), role)));
        }
    }
    roles
}

/// The role of what a node makes; nothing where it reads constants only.
fn output_role(network: &Network, node: &Node, input_roles: &[Role]) -> Option<Role> {
    let first = *input_roles.first()?;
    let most_spatial = input_roles
        .iter()
        .copied()
        .find(|role| matches!(role, Role::Spatial(_)))
        .or_else(|| input_roles.iter().copied().find(|&role| role == Role::Reshaped))
        .unwrap_or(Role::Vector);
    Some(match standard_operator(node).unwrap_or_default() {
        "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" | "LpPool" if first != Role::Vector => {
            Role::Spatial(TensorLayout::Nchw)
        }
        "Flatten" | "Gemm" | "Softmax" | "LogSoftmax" | "GlobalMaxPool" | "GlobalAveragePool"
        | "GlobalLpPool" | "ReduceMean" | "ReduceMax" | "ReduceSum" | "ReduceMin" | "ReduceL1"
        | "ReduceL2" | "ReduceProd" | "ArgMax" | "ArgMin" | "Shape" | "Size" => Role::Vector,
        "Transpose" => match (first, permutation(node)) {
            (Role::Spatial(TensorLayout::Nchw), Some([0, 2, 3, 1])) => Role::Spatial(TensorLayout::Nhwc),
            (Role::Spatial(TensorLayout::Nhwc), Some([0, 3, 1, 2])) => Role::Spatial(TensorLayout::Nchw),
            (Role::Spatial(layout), Some([0, 1, 2, 3])) => Role::Spatial(layout),
            (Role::Spatial(_), _) => Role::Reshaped,
            (other, _) => other,
        },
        // A dense layer applied to every pixel keeps the map: channels are the last axis then.
        "MatMul" => match first {
            Role::Spatial(TensorLayout::Nhwc)
                if node.input.get(1).is_some_and(|weights| network.constants.contains_key(weights)) =>
            {
                first
            }
            _ => Role::Vector,
        },
        "Reshape" | "Squeeze" | "Unsqueeze" | "Gather" | "Expand" | "Tile" | "Einsum" => {
            if first == Role::Vector { Role::Vector } else { Role::Reshaped }
        }
        // Activations, normalisation, arithmetic, concatenation, padding, resizing: what goes in comes out.
        _ => most_spatial,
    })
}

/// The permutation of a `Transpose`.
pub(super) fn permutation(node: &Node) -> Option<&[i64]> {
    if standard_operator(node) != Some("Transpose") {
        return None;
    }
    tensors::attribute(node, "perm").map(|perm| perm.ints.as_slice())
}

fn shape_text(dims: &[Option<i64>]) -> String {
    let dims: Vec<String> =
        dims.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |size| size.to_string())).collect();
    format!("[{}]", dims.join(", "))
}
