//! `model import`: from any convolutional classifier to a canonical feature extractor.
//!
//! What is done to the file, in order:
//!
//! 1. It is read within bounds, and its graph checked: every tensor defined once and before it is read.
//! 2. The input's layout is found, from its shape or from what reads it.
//! 3. The head is cut off, behind a tensor that is named or behind the last feature map before pooling,
//!    flattening and dense layers.
//! 4. What no longer leads to the cut goes, weights too. A leading `Transpose` from NHWC goes; where the
//!    network computes on NHWC pixels first, one from NCHW is put before that. Batch and spatial dimensions
//!    become free.
//! 5. Blank photos show the width of the features, the smallest photo, how the feature map grows, and that no
//!    dimension is bound after all.
//!
//! The same file and options give the same bytes everywhere, and so the same digest.

mod canonical;
mod error;
mod feature_map;
mod network;
mod probe;

use std::collections::HashMap;

use bytes::Bytes;
use fruitbatch_onnx::messages::{DimensionValue, Model, Tensor};
use fruitbatch_onnx::{read_model, tensors, write_model};
use sha2::{Digest, Sha256};

pub use error::ImportError;
use network::Network;

use crate::catalogue::{CatalogueEntry, CatalogueError, Layout, ModelSource, is_model_name};
use crate::digest::ModelDigest;
use crate::pooling::FEATURE_MAP_TENSOR;
use crate::preprocessing::Preprocessing;

/// How a classifier is imported.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What the model will be called.
    pub name: String,
    /// The tensor behind which the head is cut off; by default the last feature map is found.
    pub cut: Option<String>,
    /// Where the input's channels are.
    pub input_layout: InputLayout,
    /// What the classifier was trained with.
    pub preprocessing: Preprocessing,
    /// One line for people.
    pub description: String,
    /// The weights' licence.
    pub licence: String,
    /// Whom the licence wants named.
    pub attribution: String,
    /// Where the file is from, as far as the catalogue shall remember.
    pub sources: Vec<ModelSource>,
}

impl ImportOptions {
    /// The defaults for a model of this name: cut and layout found, pixels as they are, nothing known of its
    /// origin.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cut: None,
            input_layout: InputLayout::Auto,
            preprocessing: "none".parse().expect("`none` is a preset"),
            description: String::new(),
            licence: "unknown".to_owned(),
            attribution: String::new(),
            sources: Vec::new(),
        }
    }
}

/// Where an imported model's input has its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputLayout {
    /// Found from the input's shape, else from the nodes that read it.
    Auto,
    /// Batch, channel, row, column: PyTorch's.
    Nchw,
    /// Batch, row, column, channel: Keras's.
    Nhwc,
}

impl std::str::FromStr for InputLayout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "nchw" => Ok(Self::Nchw),
            "nhwc" => Ok(Self::Nhwc),
            _ => Err(format!("`{text}` is no layout: expected `auto`, `nchw` or `nhwc`")),
        }
    }
}

/// The order of a four-dimensional tensor's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorLayout {
    /// Batch, channel, row, column.
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

/// What an import makes.
#[derive(Clone, Debug)]
pub struct ImportedModel {
    /// The canonical model's file: input `input` float32 `[N, 3, H, W]`, output `feature_map` float32 `[N, C,
    /// H', W']`.
    pub canonical_bytes: Bytes,
    /// Its digest.
    pub digest: ModelDigest,
    /// Its entry for a catalogue.
    pub entry: CatalogueEntry,
    /// What was done.
    pub report: ImportReport,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// The tensor that became the feature map.
    pub cut: String,
    /// Whether it was found rather than named.
    pub cut_was_found: bool,
    /// The classifier's input layout.
    pub input_layout: TensorLayout,
    /// Nodes in the file, constants not counted.
    pub nodes_before: usize,
    /// Nodes in the canonical model.
    pub nodes_after: usize,
    /// Weights and other constants in the file.
    pub constants_before: usize,
    /// Those in the canonical model.
    pub constants_after: usize,
}

/// Turns a classifier's file into a canonical feature extractor.
///
/// # Errors
/// The file isn't such a classifier, or ONNX Runtime isn't there to run it.
pub fn import_model(file: Bytes, options: &ImportOptions) -> Result<ImportedModel, ImportError> {
    if !is_model_name(&options.name) {
        return Err(CatalogueError::BadName { name: options.name.clone() }.into());
    }
    let network = Network::new(read_model(file)?)?;
    let input_layout = feature_map::input_layout(&network, options.input_layout)?;
    let cut = feature_map::find_cut(&network, input_layout, options.cut.as_deref())?;
    let (nodes_before, constants_before) = (network.nodes.len(), network.constants.len());
    let mut model = canonical::canonical_model(network, input_layout, &cut)?;
    let probed = probe::probe(&model, &cut.tensor)?;
    fix_channels(&mut model, probed.channels);
    let weights_digest = weights_digest(&model)?;
    let graph = model.graph.as_ref();
    let report = ImportReport {
        cut_was_found: options.cut.is_none(),
        input_layout,
        nodes_before,
        nodes_after: graph.map_or(0, |graph| graph.node.len()),
        constants_before,
        constants_after: graph.map_or(0, |graph| graph.initializer.len()),
        cut: cut.tensor,
    };
    let canonical_bytes = write_model(&model);
    let digest = ModelDigest::of(&canonical_bytes);
    let entry = CatalogueEntry {
        name: options.name.clone(),
        description: options.description.clone(),
        digest,
        weights_digest,
        layout: Layout::Nchw,
        preprocessing: options.preprocessing,
        output_width: probed.channels,
        feature_map: probed.extent,
        min_image_size: probed.min_image_size,
        licence: options.licence.clone(),
        attribution: options.attribution.clone(),
        sources: options.sources.clone(),
        quantized: None,
    };
    Ok(ImportedModel { canonical_bytes, digest, entry, report })
}

/// The SHA-256 over all convolutions' kernels, in HWIO order (row, column, input channel, output channel),
/// and biases, layer after layer, as little-endian float32: the same for the same weights, whatever
/// framework's file they came in.
///
/// # Errors
/// A kernel or bias isn't float32, or is damaged.
pub fn weights_digest(model: &Model) -> Result<ModelDigest, tensors::TensorError> {
    let mut hash = Sha256::new();
    let Some(graph) = model.graph.as_ref() else { return Ok(ModelDigest::from_hash(hash)) };
    let constants: HashMap<&str, &Tensor> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let constant = |name: Option<&String>| {
        let tensor = name.and_then(|name| constants.get(name.as_str()));
        tensor.map(|&tensor| tensors::with_raw_data(tensor.clone())).transpose()
    };
    for node in graph.node.iter().filter(|node| node.op_type == "Conv") {
        if let Some(kernel) = constant(node.input.get(1))? {
            let values: Vec<f32> = tensors::float_values(&kernel)?.collect();
            let dims: Vec<usize> = kernel.dims.iter().filter_map(|&dim| usize::try_from(dim).ok()).collect();
            // A forged kernel without values may have any number of empty rows.
            if let &[outputs, inputs, rows, columns] = dims.as_slice()
                && !values.is_empty()
            {
                let taps = rows * columns;
                let mut row = Vec::with_capacity(inputs * outputs * 4);
                for tap in 0..taps {
                    row.clear();
                    for input in 0..inputs {
                        row.extend(
                            (0..outputs).flat_map(|output| {
                                values[(output * inputs + input) * taps + tap].to_le_bytes()
                            }),
                        );
                    }
                    hash.update(&row);
                }
            }
        }
        if let Some(bias) = constant(node.input.get(2))? {
            hash.update(&bias.raw_data);
        }
    }
    Ok(ModelDigest::from_hash(hash))
}

fn fix_channels(model: &mut Model, channels: u32) {
    if let Some(graph) = model.graph.as_mut() {
        let free = |name: &str| DimensionValue::Symbol(name.to_owned());
        let dims = vec![free("N"), DimensionValue::Fixed(i64::from(channels)), free("H_out"), free("W_out")];
        graph.output = vec![tensors::float_value(FEATURE_MAP_TENSOR, dims)];
    }
}
