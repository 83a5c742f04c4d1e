//! A file's graph, checked and sorted out: nodes, constants, one input.

use std::collections::{HashMap, HashSet};

use fruitbatch_onnx::messages::{Model, Node, OperatorSetId, Tensor, ValueInfo};
use fruitbatch_onnx::tensors;

use super::error::ImportError;

/// A network whose every tensor is known to be defined before it is read, and once only.
pub(super) struct Network {
    pub(super) ir_version: i64,
    pub(super) opset_import: Vec<OperatorSetId>,
    /// In topological order, without `Constant` nodes.
    pub(super) nodes: Vec<Node>,
    /// Weights and other constants by name.
    pub(super) constants: HashMap<String, Tensor>,
    pub(super) input: ValueInfo,
    pub(super) outputs: Vec<String>,
}

impl Network {
    pub(super) fn new(model: Model) -> Result<Self, ImportError> {
        let graph = model.graph.unwrap_or_default();
        let mut defined = HashSet::new();
        let mut constants = HashMap::new();
        for tensor in graph.initializer {
            define(&mut defined, &tensor.name)?;
            constants.insert(tensor.name.clone(), tensor);
        }
        let inputs: Vec<ValueInfo> =
            graph.input.into_iter().filter(|input| !constants.contains_key(&input.name)).collect();
        for input in &inputs {
            define(&mut defined, &input.name)?;
        }
        let mut nodes = Vec::with_capacity(graph.node.len());
        for node in graph.node {
            if let Some(tensor) =
                node.input.iter().find(|&tensor| !tensor.is_empty() && !defined.contains(tensor))
            {
                return Err(ImportError::UndefinedTensor { node: node_label(&node), tensor: tensor.clone() });
            }
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                define(&mut defined, output)?;
            }
            match constant_of(&node) {
                Some(tensor) => drop(constants.insert(tensor.name.clone(), tensor)),
                None => nodes.push(node),
            }
        }
        let [input] = <[ValueInfo; 1]>::try_from(inputs).map_err(|inputs| {
            /// A forged file has any number of inputs.
            const NAMES_SHOWN: usize = 8;
            let names: Vec<String> =
                inputs.iter().take(NAMES_SHOWN).map(|input| format!("`{}`", input.name)).collect();
            ImportError::Inputs { count: inputs.len(), names: names.join(", ") }
        })?;
        Ok(Self {
            ir_version: model.ir_version,
            opset_import: model.opset_import,
            nodes,
            constants,
            input,
            outputs: graph.output.into_iter().map(|output| output.name).collect(),
        })
    }

    /// Which node makes each tensor, by index.
    pub(super) fn producers(&self) -> HashMap<&str, usize> {
        self.nodes
            .iter()
            .enumerate()
            .flat_map(|(index, node)| node.output.iter().map(move |output| (output.as_str(), index)))
            .collect()
    }

    /// For each node, whether any of `wanted` depends on it.
    pub(super) fn ancestors<'name>(&'name self, wanted: impl IntoIterator<Item = &'name str>) -> Vec<bool> {
        let mut needed: HashSet<&str> = wanted.into_iter().collect();
        let mut is_ancestor = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if node.output.iter().any(|output| needed.contains(output.as_str())) {
                is_ancestor[index] = true;
                needed.extend(node.input.iter().map(String::as_str));
            }
        }
        is_ancestor
    }
}

/// A node as messages call it: its name, or what it makes.
pub(super) fn node_label(node: &Node) -> String {
    if node.name.is_empty() { node.output.first().cloned().unwrap_or_default() } else { node.name.clone() }
}

/// Whether the node is one of ONNX's own operators, and which.
pub(super) fn standard_operator(node: &Node) -> Option<&str> {
    matches!(node.domain.as_str(), "" | "ai.onnx").then_some(node.op_type.as_str())
}

fn define(defined: &mut HashSet<String>, tensor: &str) -> Result<(), ImportError> {
    if defined.insert(tensor.to_owned()) {
        return Ok(());
    }
    Err(ImportError::DuplicateTensor { tensor: tensor.to_owned() })
}

/// What a `Constant` node holds, as an initialiser: PyTorch writes small constants that way.
fn constant_of(node: &Node) -> Option<Tensor> {
    if standard_operator(node) != Some("Constant") {
        return None;
    }
    let name = node.output.first()?;
    let attribute = node.attribute.first()?;
    match attribute.name.as_str() {
        "value" => Some(Tensor { name: name.clone(), ..attribute.t.clone()? }),
        "value_float" => Some(tensors::float_tensor(name, &[], &[attribute.f])),
        "value_floats" => Some(tensors::float_tensor(name, &[attribute.floats.len()], &attribute.floats)),
        "value_int" => Some(tensors::int64_tensor(name, &[], &[attribute.i])),
        "value_ints" => Some(tensors::int64_tensor(name, &[attribute.ints.len()], &attribute.ints)),
        _ => None,
    }
}
