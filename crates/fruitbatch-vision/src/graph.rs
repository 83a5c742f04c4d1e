//! What all that rewrites graphs needs: finding who reads a tensor, making nodes, taking constants out.

use std::collections::HashSet;

use fruitbatch_onnx::messages::{Attribute, Graph, Node, Tensor};
use fruitbatch_onnx::tensors::{self, TensorError};

/// A node of ONNX's own, called after what it makes.
pub(crate) fn node(op_type: &str, input: Vec<String>, output: &str, attribute: Vec<Attribute>) -> Node {
    Node {
        op_type: op_type.to_owned(),
        input,
        output: vec![output.to_owned()],
        name: format!("{output}/{op_type}"),
        attribute,
        ..Node::default()
    }
}

/// A node that changes the order of axes.
pub(crate) fn transpose(input: &str, output: &str, perm: &[i64]) -> Node {
    node("Transpose", vec![input.to_owned()], output, vec![tensors::ints_attribute("perm", perm)])
}

/// The one node that reads a tensor, with its position, if there is but one, it is ONNX's own, and the graph doesn't give the tensor
/// out.
pub(crate) fn only_reader<'graph>(graph: &'graph Graph, tensor: &str) -> Option<(usize, &'graph Node)> {
    if graph.output.iter().any(|output| output.name == tensor) {
        return None;
    }
    let reads = |(_, node): &(usize, &Node)| node.input.iter().any(|input| input == tensor);
    let mut readers = graph.node.iter().enumerate().filter(reads);
    match (readers.next(), readers.next()) {
        (Some((position, node)), None) if node.domain.is_empty() => Some((position, node)),
        _ => None,
    }
}

/// A constant of the graph, its data raw; none if there is none of this name.
pub(crate) fn constant(graph: &Graph, name: &str) -> Option<Result<Tensor, TensorError>> {
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == name)?;
    Some(tensors::with_raw_data(tensor.clone()))
}

/// Takes out the constants that nothing reads any more.
pub(crate) fn drop_unread_constants(graph: &mut Graph) {
    let read: HashSet<&String> = graph
        .node
        .iter()
        .flat_map(|node| &node.input)
        .chain(graph.output.iter().map(|output| &output.name))
        .collect();
    let (kept, unread): (Vec<Tensor>, Vec<Tensor>) =
        std::mem::take(&mut graph.initializer).into_iter().partition(|tensor| read.contains(&tensor.name));
    graph.initializer = kept;
    // Old models list constants among the inputs too.
    graph.input.retain(|input| !unread.iter().any(|tensor| tensor.name == input.name));
}
