//! How much arithmetic a canonical model does, from its graph alone.

use std::collections::HashMap;

use fruitbatch_onnx::messages::{Attribute, Graph, Node};
use fruitbatch_onnx::tensors;

use crate::pooling::INPUT_TENSOR;

type Shape = Vec<u64>;

/// Multiplications (each with its addition) that convolutions and dense layers do for one photo of `height` x `width`.
/// `None` where the graph has an operator whose output's shape isn't followed here, or the photo is too small.
pub(crate) fn multiply_accumulates(graph: &Graph, height: u32, width: u32) -> Option<u64> {
    let mut shapes: HashMap<&str, Shape> =
        HashMap::from([(INPUT_TENSOR, vec![1, 3, height.into(), width.into()])]);
    for tensor in &graph.initializer {
        let dims: Option<Shape> = tensor.dims.iter().map(|&dim| u64::try_from(dim).ok()).collect();
        shapes.insert(&tensor.name, dims?);
    }
    let mut total: u64 = 0;
    for node in &graph.node {
        let inputs: Option<Vec<&Shape>> =
            node.input.iter().filter(|name| !name.is_empty()).map(|name| shapes.get(name.as_str())).collect();
        let output = output_shape(graph, node, &inputs?)?;
        if let ("Conv" | "MatMul" | "Gemm", Some(weights)) =
            (node.op_type.as_str(), node.input.get(1).and_then(|name| shapes.get(name.as_str())))
        {
            let for_each_output: u64 = if node.op_type == "Conv" {
                checked_product(weights.get(1..)?)?
            } else {
                *weights.first()?
            };
            total = total.checked_add(for_each_output.checked_mul(checked_product(&output)?)?)?;
        }
        for name in node.output.iter().take(1) {
            shapes.insert(name, output.clone());
        }
    }
    Some(total)
}

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
        let slide = padded.checked_sub(window)?;
        Some(if rounds_up { slide.div_ceil(stride) } else { slide / stride } + 1)
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
