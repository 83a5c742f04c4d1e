//! The shapes of a canonical model's tensors, and the arithmetic behind them, from its graph alone.
//!
//! ONNX Runtime ends the process with a division by zero when a window leaves a feature map without pixels and a
//! convolution follows, so whether a photo is large enough has to be known before it runs.

use std::collections::{HashMap, HashSet};

use fruitbatch_onnx::messages::{Attribute, Graph, Node};
use fruitbatch_onnx::tensors;
use fruitbatch_winograd::Conv3x3;

use crate::fast_convolutions::{FastConvolutions, convolution_of};
use crate::pooling::INPUT_TENSOR;

type Shape = Vec<u64>;

/// What is known of one photo's way through a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PhotoFit {
    /// Every shape was followed. So many multiplications (each with its addition) are done by convolutions and dense
    /// layers.
    Fits {
        /// How many.
        multiply_accumulates: u64,
    },
    /// Some operator's shape isn't followed here; what could be followed fits.
    NotFollowed,
    /// A window is larger than the feature map it slides over.
    TooSmall,
}

/// Follows one photo of `height` x `width` through the graph.
pub(crate) fn follow_photo(graph: &Graph, height: u32, width: u32) -> PhotoFit {
    let mut multiply_accumulates = Some(0_u64);
    let followed = follow(graph, &Vec::new(), height, width, |node, shapes, output| {
        let work = output.and_then(|output| node_work(node, shapes, output));
        multiply_accumulates =
            multiply_accumulates.zip(work).and_then(|(total, work)| total.checked_add(work));
    });
    match (followed, multiply_accumulates) {
        (Err(TooSmall), _) => PhotoFit::TooSmall,
        (Ok(()), Some(multiply_accumulates)) => PhotoFit::Fits { multiply_accumulates },
        (Ok(()), None) => PhotoFit::NotFollowed,
    }
}

/// The most values that a node reads and writes for one photo of `height` x `width`, its parameters not counted; none if some
/// shape can't be followed or the photo is too small. `taken` are the convolutions that nodes of ours do.
pub(crate) fn largest_step(graph: &Graph, taken: &FastConvolutions, height: u32, width: u32) -> Option<u64> {
    let parameters: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut largest = Some(0_u64);
    let followed = follow(graph, taken, height, width, |node, shapes, output| {
        let read = node.input.iter().filter(|name| !name.is_empty() && !parameters.contains(name.as_str()));
        let step = read
            .map(|name| shapes.get(name.as_str()))
            .chain([output])
            .try_fold(0_u64, |sum, shape| sum.checked_add(checked_product(shape?)?));
        largest = largest.zip(step).map(|(largest, step)| largest.max(step));
    });
    followed.ok().and(largest)
}

/// A window is larger than the feature map it slides over.
struct TooSmall;

/// Shows every node of the graph, with the shapes known before it and that of its output.
fn follow<'graph>(
    graph: &'graph Graph,
    taken: &FastConvolutions,
    height: u32,
    width: u32,
    mut visit: impl FnMut(&Node, &HashMap<&'graph str, Shape>, Option<&Shape>),
) -> Result<(), TooSmall> {
    let mut shapes: HashMap<&str, Shape> =
        HashMap::from([(INPUT_TENSOR, vec![1, 3, height.into(), width.into()])]);
    for tensor in &graph.initializer {
        let dims: Option<Shape> = tensor.dims.iter().map(|&dim| u64::try_from(dim).ok()).collect();
        shapes.extend(dims.map(|dims| (tensor.name.as_str(), dims)));
    }
    for node in &graph.node {
        let inputs: Option<Vec<&Shape>> =
            node.input.iter().filter(|name| !name.is_empty()).map(|name| shapes.get(name.as_str())).collect();
        let output = inputs.and_then(|inputs| match convolution_of(node, taken) {
            Some(convolution) => convolved(convolution, inputs.first()?),
            None => output_shape(graph, node, &inputs),
        });
        if output.as_ref().is_some_and(|shape| shape.contains(&0)) {
            return Err(TooSmall);
        }
        visit(node, &shapes, output.as_ref());
        if let (Some(output), Some(name)) = (output, node.output.first()) {
            shapes.insert(name, output);
        }
    }
    Ok(())
}

/// What a convolution of ours makes, channels last as its input.
fn convolved(convolution: &Conv3x3, input: &Shape) -> Option<Shape> {
    let &[photos, height, width, _] = input.as_slice() else { return None };
    let (height, width) = (usize::try_from(height).ok()?, usize::try_from(width).ok()?);
    let (rows, columns) = convolution.output_size(height, width).unwrap_or_default();
    Some(vec![photos, rows as u64, columns as u64, convolution.channels().output as u64])
}

/// Multiplications a node does to make an output of this shape; none, if it is neither convolution nor dense layer.
fn node_work(node: &Node, shapes: &HashMap<&str, Shape>, output: &[u64]) -> Option<u64> {
    let for_each_value = match node.op_type.as_str() {
        "Conv" => checked_product(shapes.get(node.input.get(1)?.as_str())?.get(1..)?)?,
        "MatMul" => *shapes.get(node.input.get(1)?.as_str())?.first()?,
        _ => return Some(0),
    };
    for_each_value.checked_mul(checked_product(output)?)
}

/// The shape of a node's first output, a zero where a window doesn't fit; `None` for operators that aren't followed.
fn output_shape(graph: &Graph, node: &Node, inputs: &[&Shape]) -> Option<Shape> {
    let first = *inputs.first()?;
    match node.op_type.as_str() {
        "Conv" => {
            let kernel = *inputs.get(1)?;
            spatial(node, first, *kernel.first()?, kernel.get(2..)?)
        }
        "MaxPool" | "AveragePool" => {
            let kernel: Option<Shape> = tensors::attribute(node, "kernel_shape")?
                .ints
                .iter()
                .map(|&side| u64::try_from(side).ok())
                .collect();
            spatial(node, first, *first.get(1)?, &kernel?)
        }
        "GlobalMaxPool" | "GlobalAveragePool" => Some(vec![*first.first()?, *first.get(1)?, 1, 1]),
        "Transpose" => tensors::attribute(node, "perm")?
            .ints
            .iter()
            .map(|&axis| first.get(usize::try_from(axis).ok()?).copied())
            .collect(),
        "Flatten" => {
            let axis = tensors::attribute(node, "axis").map_or(1, |attribute| attribute.i);
            let (rows, columns) = first.split_at_checked(usize::try_from(axis).ok()?)?;
            Some(vec![checked_product(rows)?, checked_product(columns)?])
        }
        "Concat" => {
            let axis = axis(tensors::attribute(node, "axis")?.i, first.len())?;
            let mut output = first.clone();
            output[axis] = inputs.iter().try_fold(0_u64, |sum, shape| sum.checked_add(*shape.get(axis)?))?;
            Some(output)
        }
        "Pad" => {
            let name = node.input.get(1)?;
            let pads =
                tensors::int64_values(graph.initializer.iter().find(|tensor| tensor.name == *name)?).ok()?;
            if pads.len() != 2 * first.len() {
                return None;
            }
            let (before, after) = pads.split_at(first.len());
            first
                .iter()
                .zip(before.iter().zip(after))
                .map(|(&size, (&before, &after))| size.checked_add_signed(before)?.checked_add_signed(after))
                .collect()
        }
        "MatMul" => {
            let mut output = first.clone();
            *output.last_mut()? = *inputs.get(1)?.last()?;
            Some(output)
        }
        "Relu"
        | "LeakyRelu"
        | "PRelu"
        | "Clip"
        | "Sigmoid"
        | "HardSigmoid"
        | "HardSwish"
        | "Tanh"
        | "Elu"
        | "Selu"
        | "Erf"
        | "Gelu"
        | "Softplus"
        | "Sqrt"
        | "Exp"
        | "Identity"
        | "Dropout"
        | "BatchNormalization"
        | "InstanceNormalization"
        | "LRN" => Some(first.clone()),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Sum" => broadcast(inputs),
        _ => None,
    }
}

/// The shape behind a window that slides over the last two axes.
fn spatial(node: &Node, input: &Shape, channels: u64, kernel: &[u64]) -> Option<Shape> {
    let (&[photos, _, height, width], &[_, _]) = (input.as_slice(), kernel) else { return None };
    let list = |name: &str, default: u64, index: usize| match tensors::attribute(node, name) {
        Some(Attribute { ints, .. }) if !ints.is_empty() => {
            ints.get(index).and_then(|&value| u64::try_from(value).ok())
        }
        _ => Some(default),
    };
    let auto_pad = tensors::attribute(node, "auto_pad").map_or(&b""[..], |attribute| &attribute.s);
    let rounds_up = tensors::attribute(node, "ceil_mode").is_some_and(|attribute| attribute.i != 0);
    let side = |size: u64, axis: usize| {
        let stride = list("strides", 1, axis)?.max(1);
        if auto_pad.starts_with(b"SAME") {
            return Some(size.div_ceil(stride));
        }
        let padded = size.checked_add(list("pads", 0, axis)?)?.checked_add(list("pads", 0, axis + 2)?)?;
        let window = kernel[axis].checked_sub(1)?.checked_mul(list("dilations", 1, axis)?)?.checked_add(1)?;
        Some(match padded.checked_sub(window) {
            Some(slide) if rounds_up => slide.div_ceil(stride) + 1,
            Some(slide) => slide / stride + 1,
            None => 0,
        })
    };
    Some(vec![photos, channels, side(height, 0)?, side(width, 1)?])
}

fn broadcast(shapes: &[&Shape]) -> Option<Shape> {
    let rank = shapes.iter().map(|shape| shape.len()).max()?;
    let from_the_right = |shape: &Shape, axis: usize| {
        (axis + shape.len()).checked_sub(rank).and_then(|index| shape.get(index).copied()).unwrap_or(1)
    };
    Some(
        (0..rank)
            .map(|axis| shapes.iter().map(|shape| from_the_right(shape, axis)).max().unwrap_or(1))
            .collect(),
    )
}

fn axis(axis: i64, rank: usize) -> Option<usize> {
    let from_front = if axis < 0 { axis + i64::try_from(rank).ok()? } else { axis };
    usize::try_from(from_front).ok().filter(|&axis| axis < rank)
}

fn checked_product(sizes: &[u64]) -> Option<u64> {
    sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use fruitbatch_onnx::messages::AttributeType;

    use super::*;

    fn pooling(attribute: Vec<Attribute>) -> Node {
        Node { op_type: "MaxPool".into(), attribute, ..Node::default() }
    }

    fn side(size: u64, kernel: i64, stride: i64, pad: i64, ceil: bool) -> u64 {
        let node = pooling(vec![
            tensors::ints_attribute("kernel_shape", &[kernel; 2]),
            tensors::ints_attribute("strides", &[stride; 2]),
            tensors::ints_attribute("pads", &[pad; 4]),
            tensors::int_attribute("ceil_mode", i64::from(ceil)),
        ]);
        output_shape(&Graph::default(), &node, &[&vec![1, 3, size, size]]).unwrap()[2]
    }

    #[test]
    fn windows_give_the_sides_that_published_networks_have() {
        // The stem of ResNet: 224, 112, 56. SqueezeNet 1.1 rounds up: 111, 55. Inception's first step: 299, 149.
        assert_eq!(side(224, 7, 2, 3, false), 112);
        assert_eq!(side(112, 3, 2, 1, false), 56);
        assert_eq!(side(111, 3, 2, 0, true), 55);
        assert_eq!(side(299, 3, 2, 0, false), 149);
        assert_eq!(side(1, 2, 2, 0, false), 0);
        let same = Attribute {
            name: "auto_pad".into(),
            s: "SAME_UPPER".into(),
            r#type: AttributeType::String.into(),
            ..Attribute::default()
        };
        let kernel = tensors::ints_attribute("kernel_shape", &[3, 3]);
        let node = pooling(vec![kernel, tensors::ints_attribute("strides", &[2, 2]), same]);
        let output = output_shape(&Graph::default(), &node, &[&vec![1, 8, 7, 8]]);
        assert_eq!(output, Some(vec![1, 8, 4, 4]));
    }
}
