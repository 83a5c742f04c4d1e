//! 3x3 convolutions by Winograd's algorithm inside of ONNX Runtime: the graph is rewritten when a session is loaded, the stored
//! model stays standard ONNX.
//!
//! Each `Conv` that [`fruitbatch_winograd`] can do becomes a node of our own, with the `Relu` and the 2x2 `MaxPool` behind it if
//! nothing else reads what is in between. Such nodes want channels last ("NHWC"), so there is a `Transpose` where a chain of them
//! begins and one where it ends.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fruitbatch_onnx::messages::{Graph, Model, Node, OperatorSetId};
use fruitbatch_onnx::tensors;
use fruitbatch_winograd::{ChannelCounts, Conv3x3, Epilogue, Padding, Workers, Workspace};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use crate::graph::{constant, drop_unread_constants, only_reader, transpose};

/// The domain of our own operators.
const DOMAIN: &str = "fruitbatch";
/// Our operator's name.
const OPERATOR: &str = "Conv3x3";
/// Its attribute: which convolution it is.
const INDEX: &str = "index";
/// What tensors made here are called.
const PREFIX: &str = "fruitbatch/conv3x3/";
const CHANNELS_LAST: [i64; 4] = [0, 2, 3, 1];
const CHANNELS_FIRST: [i64; 4] = [0, 3, 1, 2];

/// The convolutions that were taken out of a graph, in the order of the nodes that took their places.
pub(crate) type FastConvolutions = Vec<Arc<Conv3x3>>;

/// Replaces what can be done faster.
pub(crate) fn take_convolutions(model: &mut Model) -> FastConvolutions {
    let Some(graph) = model.graph.as_mut() else { return Vec::new() };
    let mut convolutions = Vec::new();
    let mut rewritten = Vec::with_capacity(graph.node.len());
    // Tensors that a node of ours makes, by the name that they have with the channels first.
    let mut channels_last = HashMap::new();
    let mut fused = HashSet::new();
    for (position, node) in graph.node.iter().enumerate() {
        if fused.contains(&position) {
            continue;
        }
        let Some(found) = Candidate::at(graph, position) else {
            rewritten.push(node.clone());
            continue;
        };
        fused.extend(found.fused.iter().copied());
        let index = convolutions.len();
        let input = channels_last.get(&node.input[0]).cloned().unwrap_or_else(|| {
            let name = format!("{PREFIX}{index}/input");
            rewritten.push(transpose(&node.input[0], &name, &CHANNELS_LAST));
            name
        });
        let output = format!("{PREFIX}{index}/output");
        rewritten.push(Node {
            name: format!("{PREFIX}{index}"),
            input: vec![input],
            output: vec![output.clone()],
            op_type: OPERATOR.to_owned(),
            attribute: vec![tensors::int_attribute(INDEX, index as i64)],
            domain: DOMAIN.to_owned(),
        });
        // Removed again below if nobody reads it.
        rewritten.push(transpose(&output, &found.output, &CHANNELS_FIRST));
        channels_last.insert(found.output, output);
        convolutions.push(Arc::new(found.convolution));
    }
    if convolutions.is_empty() {
        return convolutions;
    }
    let read: HashSet<&str> = rewritten
        .iter()
        .flat_map(|node| node.input.iter())
        .chain(graph.output.iter().map(|output| &output.name))
        .map(String::as_str)
        .collect();
    let unread: HashSet<String> =
        channels_last.into_keys().filter(|name| !read.contains(name.as_str())).collect();
    rewritten.retain(|node| !node.output.iter().any(|output| unread.contains(output)));
    graph.node = rewritten;
    drop_unread_constants(graph);
    model.opset_import.push(OperatorSetId { domain: DOMAIN.to_owned(), version: 1 });
    convolutions
}

/// The convolution that a node of ours does.
pub(crate) fn convolution_of<'taken>(
    node: &Node,
    taken: &'taken FastConvolutions,
) -> Option<&'taken Conv3x3> {
    let index = (node.domain == DOMAIN).then(|| tensors::attribute(node, INDEX)).flatten()?.i;
    Some(taken.get(usize::try_from(index).ok()?)?)
}

/// A convolution that can be replaced.
struct Candidate {
    convolution: Conv3x3,
    /// The nodes behind it that it does as well.
    fused: Vec<usize>,
    /// The tensor that all of them together make.
    output: String,
}

impl Candidate {
    fn at(graph: &Graph, position: usize) -> Option<Self> {
        let node = &graph.node[position];
        let padding = padding(node)?;
        let (weights, channels) = filters(graph, node)?;
        let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => Some(floats(graph, name)?),
            None => None,
        };
        let (mut fused, mut output) = (Vec::new(), node.output.first()?.clone());
        let mut epilogue = Epilogue::default();
        while let Some((next, reader)) = only_reader(graph, &output) {
            match reader.op_type.as_str() {
                "Relu" if epilogue == Epilogue::default() => epilogue.relu = true,
                "MaxPool" if !epilogue.max_pool_2x2 && is_2x2(reader) => epilogue.max_pool_2x2 = true,
                _ => break,
            }
            fused.push(next);
            output.clone_from(reader.output.first()?);
        }
        let convolution = Conv3x3::new(&weights, channels, bias.as_deref(), padding, epilogue).ok()?;
        Some(Self { convolution, fused, output })
    }
}

/// The weights of a 3x3 convolution of stride 1 over all channels, if the node is one.
fn filters(graph: &Graph, node: &Node) -> Option<(Vec<f32>, ChannelCounts)> {
    let is_plain = node.op_type == "Conv"
        && node.domain.is_empty()
        && int_or(node, "group", 1) == 1
        && ints_or(node, "strides", &[1, 1]) == [1, 1]
        && ints_or(node, "dilations", &[1, 1]) == [1, 1];
    if !is_plain {
        return None;
    }
    let name = node.input.get(1)?;
    let shape = graph.initializer.iter().find(|tensor| tensor.name == *name)?.dims.as_slice();
    let &[output, input, 3, 3] = shape else { return None };
    let channels =
        ChannelCounts { input: usize::try_from(input).ok()?, output: usize::try_from(output).ok()? };
    Some((floats(graph, name)?, channels))
}

/// The values of a constant tensor of floats.
fn floats(graph: &Graph, name: &str) -> Option<Vec<f32>> {
    let tensor = constant(graph, name)?.ok()?;
    tensors::float_values(&tensor).ok().map(Iterator::collect)
}

fn padding(node: &Node) -> Option<Padding> {
    let auto = tensors::attribute(node, "auto_pad").map_or(&b"NOTSET"[..], |attribute| &attribute.s);
    match auto {
        b"NOTSET" => {
            let &[top, left, bottom, right] = ints_or(node, "pads", &[0; 4]) else { return None };
            let side = |side: i64| usize::try_from(side).ok();
            Some(Padding { top: side(top)?, left: side(left)?, bottom: side(bottom)?, right: side(right)? })
        }
        b"VALID" => Some(Padding::default()),
        b"SAME_UPPER" | b"SAME_LOWER" => Some(Padding::all(1)),
        _ => None,
    }
}

/// Whether it is the pooling that [`Epilogue::max_pool_2x2`] is.
fn is_2x2(pool: &Node) -> bool {
    let auto = tensors::attribute(pool, "auto_pad").map_or(&b"NOTSET"[..], |attribute| &attribute.s);
    pool.output.len() == 1
        && ints_or(pool, "kernel_shape", &[]) == [2, 2]
        && ints_or(pool, "strides", &[1, 1]) == [2, 2]
        && ints_or(pool, "dilations", &[1, 1]) == [1, 1]
        && ints_or(pool, "pads", &[0; 4]) == [0; 4]
        && int_or(pool, "ceil_mode", 0) == 0
        && matches!(auto, b"NOTSET" | b"VALID")
}

fn int_or(node: &Node, name: &str, default: i64) -> i64 {
    tensors::attribute(node, name).map_or(default, |attribute| attribute.i)
}

fn ints_or<'a>(node: &'a Node, name: &str, default: &'a [i64]) -> &'a [i64] {
    tensors::attribute(node, name).map_or(default, |attribute| &attribute.ints)
}

/// Our operator, with the convolutions of one session, whose threads they run on.
pub(crate) fn operators(convolutions: FastConvolutions, threads: usize) -> ort::Result<OperatorDomain> {
    let workspace = Arc::new(Workspace::default());
    OperatorDomain::new(DOMAIN)?.add(FastConvolution { convolutions, threads, workspace })
}

struct FastConvolution {
    convolutions: FastConvolutions,
    threads: usize,
    /// One for all: they run one after another.
    workspace: Arc<Workspace>,
}

impl Operator for FastConvolution {
    type Kernel<'attr> = FastKernel;

    fn name(&self) -> &str {
        OPERATOR
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel(&self, context: &KernelContext<'_>) -> ort::Result<FastKernel> {
        let index = context.get::<i64>(INDEX).and_then(|index| usize::try_from(index).ok());
        let convolution = index.and_then(|index| self.convolutions.get(index));
        let convolution = convolution.ok_or_else(|| ort::Error::new("there is no such convolution"))?;
        Ok(FastKernel {
            convolution: Arc::clone(convolution),
            threads: self.threads,
            workspace: Arc::clone(&self.workspace),
        })
    }
}

struct FastKernel {
    convolution: Arc<Conv3x3>,
    threads: usize,
    workspace: Arc<Workspace>,
}

impl Kernel for FastKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let input = context.input(0)?.ok_or_else(|| ort::Error::new("there is no input"))?;
        let (shape, input) = input.try_extract_tensor::<f32>()?;
        let size = |side: &i64| usize::try_from(*side).ok();
        let ([photos, height, width], Some(channels)) = (
            [0, 1, 2].map(|axis| shape.get(axis).and_then(size).unwrap_or(0)),
            shape.get(3).and_then(size).filter(|_| shape.len() == 4),
        ) else {
            return Err(ort::Error::new("the input has no photos, rows, columns and channels"));
        };
        let ChannelCounts { input: expected, output: channels_out } = self.convolution.channels();
        if channels != expected {
            return Err(ort::Error::new(format!("the input has {channels} channels instead of {expected}")));
        }
        let (rows, columns) = self.convolution.output_size(height, width).map_err(ort::Error::wrap)?;
        let output_shape = [photos, rows, columns, channels_out].map(|side| side as i64);
        let output = context.output(0, output_shape)?;
        let mut output = output.ok_or_else(|| ort::Error::new("there is no output"))?;
        let (_, output) = output.try_extract_tensor_mut::<f32>()?;
        let workers = SessionThreads { context, count: self.threads };
        self.convolution
            .run([photos, height, width], input, output, &workers, &self.workspace)
            .map_err(ort::Error::wrap)
    }
}

/// The threads that the session has anyway.
struct SessionThreads<'a> {
    context: &'a ComputeContext,
    count: usize,
}

impl Workers for SessionThreads<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // As many batches as ONNX Runtime thinks fit: 0. Should it refuse, what it hasn't done is done here.
        if self.context.par_for(tasks, 0, task).is_err() {
            (0..tasks).for_each(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use fruitbatch_onnx::messages::{Attribute, DimensionValue};

    use super::*;

    fn node(op_type: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) -> Node {
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        crate::graph::node(op_type, inputs, output, attribute)
    }

    /// Of 8 channels each, from `input` to `output`.
    fn conv(input: &str, output: &str, more: Vec<Attribute>) -> Node {
        let mut attributes = vec![tensors::ints_attribute("pads", &[1; 4])];
        attributes.extend(more);
        node("Conv", &[input, "W", "B"], output, attributes)
    }

    fn pool(input: &str, output: &str, more: Vec<Attribute>) -> Node {
        let mut attributes = vec![
            tensors::ints_attribute("kernel_shape", &[2, 2]),
            tensors::ints_attribute("strides", &[2, 2]),
        ];
        attributes.extend(more);
        node("MaxPool", &[input], output, attributes)
    }

    /// The operators of a graph from `x` to `y` after the rewriting, and the convolutions' epilogues.
    fn rewritten(nodes: Vec<Node>) -> (Vec<String>, usize) {
        let dims = || vec![DimensionValue::Symbol("d".to_owned()); 4];
        let graph = Graph {
            node: nodes,
            initializer: vec![
                tensors::float_tensor("W", &[8, 8, 3, 3], &[0.5; 576]),
                tensors::float_tensor("B", &[8], &[0.0; 8]),
            ],
            input: vec![tensors::float_value("x", dims())],
            output: vec![tensors::float_value("y", dims())],
            ..Graph::default()
        };
        let mut model = Model { graph: Some(graph), ..Model::default() };
        let convolutions = take_convolutions(&mut model);
        let graph = model.graph.expect("it is still there");
        // Whatever is read is there.
        let made: HashSet<&String> = graph.node.iter().flat_map(|node| &node.output).collect();
        let constants: HashSet<&String> = graph.initializer.iter().map(|tensor| &tensor.name).collect();
        for name in graph.node.iter().flat_map(|node| &node.input).chain(graph.output.iter().map(|y| &y.name))
        {
            assert!(name == "x" || made.contains(name) || constants.contains(name), "{name}");
        }
        (graph.node.into_iter().map(|node| node.op_type).collect(), convolutions.len())
    }

    #[test]
    fn a_chain_is_taken_whole() {
        let chain = vec![
            conv("x", "a", vec![]),
            node("Relu", &["a"], "b", vec![]),
            conv("b", "c", vec![]),
            node("Relu", &["c"], "d", vec![]),
            pool("d", "e", vec![]),
            conv("e", "y", vec![]),
        ];
        let expected = ["Transpose", "Conv3x3", "Conv3x3", "Conv3x3", "Transpose"].map(str::to_owned);
        assert_eq!(rewritten(chain), (expected.to_vec(), 3));
    }

    #[test]
    fn what_others_read_stays() {
        let branch = vec![
            conv("x", "a", vec![]),
            node("Relu", &["a"], "b", vec![]),
            conv("b", "c", vec![]),
            node("Add", &["a", "c"], "y", vec![]),
        ];
        // `a` is read twice: its ReLU is no part of it.
        let (operators, convolutions) = rewritten(branch);
        assert_eq!(convolutions, 2);
        let count = |name: &str| operators.iter().filter(|operator| *operator == name).count();
        assert_eq!((count("Relu"), count("Add"), count("Conv3x3")), (1, 1, 2), "{operators:?}");

        // An output of the graph in the middle of what could be one.
        let middle = vec![conv("x", "y", vec![]), node("Relu", &["y"], "unread", vec![])];
        let (operators, convolutions) = rewritten(middle);
        assert_eq!(convolutions, 1);
        assert!(operators.contains(&"Relu".to_owned()), "{operators:?}");
    }

    #[test]
    fn what_is_not_the_same_is_left_alone() {
        for attribute in [
            tensors::ints_attribute("strides", &[2, 2]),
            tensors::ints_attribute("dilations", &[2, 2]),
            tensors::int_attribute("group", 2),
        ] {
            let name = attribute.name.clone();
            assert_eq!(rewritten(vec![conv("x", "y", vec![attribute])]).1, 0, "{name}");
        }
        let computed = vec![
            node("Relu", &["W"], "V", vec![]),
            node("Conv", &["x", "V"], "y", vec![tensors::ints_attribute("pads", &[1; 4])]),
        ];
        assert_eq!(rewritten(computed).1, 0, "weights that are computed");
        for attribute in
            [tensors::int_attribute("ceil_mode", 1), tensors::ints_attribute("pads", &[0, 0, 1, 1])]
        {
            let name = attribute.name.clone();
            let (operators, convolutions) =
                rewritten(vec![conv("x", "a", vec![]), pool("a", "y", vec![attribute])]);
            assert_eq!(convolutions, 1);
            assert!(operators.contains(&"MaxPool".to_owned()), "{name}: {operators:?}");
        }
    }
}
