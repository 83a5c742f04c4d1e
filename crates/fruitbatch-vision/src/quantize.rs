//! `model quantize`: a canonical model whose convolutions compute in 8-bit integers.
//!
//! Activations become unsigned bytes with one scale a tensor, taken from the least and the largest value that photos of the user's
//! own give (static, min-max calibration); weights become signed bytes with one scale an output channel, symmetric around zero;
//! biases become 32-bit integers of the products' scale. The graph says so with pairs of `QuantizeLinear` and `DequantizeLinear`
//! ("QDQ"), standard ONNX that any runtime can compute and that ONNX Runtime fuses into integer convolutions. A `Relu` behind a
//! convolution goes: bytes that begin at zero cut off what it would. A `MaxPool` keeps the bytes of its input.
//!
//! Integer convolutions of unsigned by signed bytes are exact where the processor has instructions for them (VNNI on x86-64, the dot
//! product on aarch64). Without them ONNX Runtime adds pairs of products in 16 bits, which overflow for large weights; weights of 7
//! bits ([`WeightBits::Seven`]) don't, on any processor. A model with 8 is refused where they would ([`saturates_here`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use bytes::Bytes;
use fruitbatch_onnx::messages::{DataType, DimensionValue, Graph, Model, Node, OperatorSetId, Tensor};
use fruitbatch_onnx::{read_model, tensors, write_model};
use serde::Deserialize;

use crate::embed_spec::EmbedSpec;
use crate::fast_convolutions::FastConvolutions;
use crate::graph::{constant, drop_unread_constants, node, only_reader};
use crate::inference::{InferenceError, InferenceOptions, InferenceSession};
use crate::kernel_path::integers;
use crate::memory::{DecodeGate, Shares};
use crate::mini_batches::{MiniBatch, MiniBatchCollector};
use crate::prepared_photo::PhotoPreparer;

/// What tensors made here are called.
const PREFIX: &str = "fruitbatch/int8/";
/// The output of the calibrating model.
const RANGES: &str = "fruitbatch/int8/ranges";
/// The first operator set in which `DequantizeLinear` knows a scale for each channel.
const OPSET: i64 = 13;
/// Operators that mean the same in each operator set from 9 to [`OPSET`].
const UNCHANGED_SINCE_9: [&str; 18] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Concat",
    "Conv",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "PRelu",
    "Relu",
    "Sigmoid",
    "Sub",
    "Tanh",
    "Transpose",
];

/// How fine weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub enum WeightBits {
    /// -63 to 63: exact on every processor.
    Seven,
    /// -127 to 127: exact where there are instructions for it.
    Eight,
}

impl WeightBits {
    /// The finest that are exact on this processor.
    pub fn for_this_processor() -> Self {
        if multiplies_bytes_exactly() { Self::Eight } else { Self::Seven }
    }

    fn largest(self) -> f32 {
        match self {
            Self::Seven => 63.0,
            Self::Eight => 127.0,
        }
    }
}

impl TryFrom<i64> for WeightBits {
    type Error = String;

    fn try_from(bits: i64) -> Result<Self, String> {
        match bits {
            7 => Ok(Self::Seven),
            8 => Ok(Self::Eight),
            other => Err(format!("weights can have 7 or 8 bits, not {other}")),
        }
    }
}

impl From<WeightBits> for i64 {
    fn from(bits: WeightBits) -> Self {
        match bits {
            WeightBits::Seven => 7,
            WeightBits::Eight => 8,
        }
    }
}

impl fmt::Display for WeightBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", i64::from(*self))
    }
}

/// Why a model can't be quantised.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The file isn't a model.
    #[error(transparent)]
    Read(#[from] fruitbatch_onnx::ReadModelError),
    /// A weight is damaged, or of a type that isn't float32.
    #[error(transparent)]
    Tensor(#[from] tensors::TensorError),
    /// There is nothing to quantise.
    #[error("the model has no convolution with constant weights, or is quantised already")]
    NothingToQuantize,
    /// Its operators would mean something else beside the ones that integers need.
    #[error(
        "the model is of operator set {opset}, in which `{operator}` means something else than in {OPSET}: export it anew"
    )]
    Opset {
        /// Its operator set.
        opset: i64,
        /// The operator.
        operator: String,
    },
    /// ONNX Runtime isn't there or fails.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// Nothing to calibrate with.
    #[error(
        "none of the {given} photos for calibration can be used: name a folder with photos of the kind that will be run"
    )]
    NoPhotos {
        /// How many there were.
        given: usize,
    },
    /// The model gives something that isn't a number.
    #[error("`{tensor}` has values that are no numbers")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },
}

/// The least and the largest value of each tensor that becomes bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    ranges: BTreeMap<String, (f32, f32)>,
    /// Photos that it was taken from.
    pub photos: usize,
}

/// Runs the canonical model on photos and notes what its tensors range over. `spec` says how photos are prepared; what can't be
/// decoded is left out.
///
/// # Errors
/// See [`QuantizeError`].
pub fn calibrate(
    canonical: Bytes,
    spec: &EmbedSpec,
    photos: &[Bytes],
    threads: usize,
) -> Result<Calibration, QuantizeError> {
    let mut model = read_model(canonical)?;
    let names = observe(&mut model)?;
    let options = InferenceOptions::on_cpu(threads);
    let mut session = InferenceSession::load(&write_model(&model), FastConvolutions::default(), options)?;
    let mut calibration = Calibration { ranges: BTreeMap::new(), photos: 0 };
    let gate = DecodeGate::default();
    let mut preparer = PhotoPreparer::new(spec, Shares::UNLIMITED, &gate);
    let mut collector = MiniBatchCollector::new(spec, Shares::UNLIMITED.batch_pixels);
    let mut observed = |batches: Vec<MiniBatch>| -> Result<(), QuantizeError> {
        for batch in batches {
            let (_, ranges) = session.run(&batch.values, batch.shape())?;
            for (name, range) in names.iter().zip(ranges.as_chunks::<2>().0) {
                let [least, largest] = *range;
                if !(least.is_finite() && largest.is_finite()) {
                    return Err(QuantizeError::NotFinite { tensor: name.clone() });
                }
                let kept = calibration.ranges.entry(name.clone()).or_insert((least, largest));
                *kept = (kept.0.min(least), kept.1.max(largest));
            }
            calibration.photos += batch.rows.len();
        }
        Ok(())
    };
    for (row, photo) in photos.iter().enumerate() {
        if let Ok(photo) = preparer.prepare(photo) {
            observed(collector.add(row, &photo))?;
        }
    }
    observed(collector.take_all())?;
    if calibration.photos == 0 {
        return Err(QuantizeError::NoPhotos { given: photos.len() });
    }
    Ok(calibration)
}

/// The canonical model in integers.
///
/// # Errors
/// See [`QuantizeError`].
pub fn quantized_model(
    canonical: Bytes,
    calibration: &Calibration,
    bits: WeightBits,
) -> Result<Bytes, QuantizeError> {
    let mut model = read_model(canonical)?;
    raise_opset(&mut model)?;
    let graph = model.graph.take().ok_or(QuantizeError::NothingToQuantize)?;
    let mut writer =
        Writer { calibration, bits, nodes: Vec::new(), constants: Vec::new(), quantized: HashMap::new() };
    let plan = Plan::of(&graph);
    for (position, node) in graph.node.iter().enumerate() {
        match plan.steps.get(&position) {
            Some(Step::Convolution { output, relu }) => {
                writer.convolution(&graph, node, output, *relu)?;
            }
            Some(Step::Pooling) => writer.pooling(node),
            None if plan.fused.contains(&position) => {}
            None => writer.nodes.push(node.clone()),
        }
    }
    let initializer = graph.initializer.iter().cloned().chain(writer.constants).collect();
    let mut quantized = Graph { node: writer.nodes, initializer, ..graph };
    drop_unread_constants(&mut quantized);
    model.graph = Some(quantized);
    Ok(write_model(&model))
}

/// Whether integer convolutions of this model would overflow on this processor.
pub fn saturates_here(model: &Model) -> bool {
    !multiplies_bytes_exactly() && has_full_range_weights(model)
}

fn has_full_range_weights(model: &Model) -> bool {
    let constants = model.graph.iter().flat_map(|graph| &graph.initializer);
    let mut bytes = constants.filter(|tensor| tensor.data_type == DataType::Int8 as i32);
    bytes.any(|tensor| tensor.raw_data.iter().any(|byte| byte.cast_signed().unsigned_abs() > 64))
}

/// As all processors do but those of x86_64 without VNNI.
fn multiplies_bytes_exactly() -> bool {
    cfg!(not(target_arch = "x86_64")) || integers().is_some()
}

/// What becomes of the nodes, by their position.
struct Plan {
    steps: BTreeMap<usize, Step>,
    /// Nodes that a convolution's step stands for as well.
    fused: BTreeSet<usize>,
}

enum Step {
    /// A convolution, and perhaps the ReLU behind it, that make this tensor.
    Convolution { output: String, relu: bool },
    /// A pooling of bytes.
    Pooling,
}

impl Plan {
    fn of(graph: &Graph) -> Self {
        let constants: BTreeSet<&str> = graph
            .initializer
            .iter()
            .filter(|tensor| tensor.data_type == DataType::Float as i32)
            .map(|tensor| tensor.name.as_str())
            .collect();
        let mut plan = Self { steps: BTreeMap::new(), fused: BTreeSet::new() };
        let mut bytes: BTreeSet<&str> = BTreeSet::new();
        for (position, node) in graph.node.iter().enumerate() {
            let constant = |index: usize| {
                node.input.get(index).is_none_or(|name| name.is_empty() || constants.contains(name.as_str()))
            };
            let Some(output) = node.output.first() else { continue };
            match node.op_type.as_str() {
                "Conv" if node.domain.is_empty() && node.input.len() > 1 && constant(1) && constant(2) => {
                    let relu = only_reader(graph, output).filter(|(_, reader)| reader.op_type == "Relu");
                    let output = relu.map_or(output, |(_, reader)| &reader.output[0]);
                    bytes.insert(output);
                    plan.fused.extend(relu.map(|(position, _)| position));
                    let step = Step::Convolution { output: output.clone(), relu: relu.is_some() };
                    plan.steps.insert(position, step);
                }
                "MaxPool" if node.output.len() == 1 && bytes.contains(node.input[0].as_str()) => {
                    bytes.insert(output);
                    plan.steps.insert(position, Step::Pooling);
                }
                _ => {}
            }
        }
        plan
    }

    /// The tensors whose ranges have to be known.
    fn tensors(&self, graph: &Graph) -> BTreeSet<String> {
        let mut made = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        for (position, step) in &self.steps {
            let node = &graph.node[*position];
            match step {
                Step::Convolution { output, .. } => {
                    if !made.contains(&node.input[0]) {
                        wanted.insert(node.input[0].clone());
                    }
                    made.insert(output.clone());
                    wanted.insert(output.clone());
                }
                Step::Pooling => {
                    made.insert(node.output[0].clone());
                }
            }
        }
        wanted
    }
}

/// Makes the ranges of all tensors that become bytes the model's one output, and says which they are.
fn observe(model: &mut Model) -> Result<Vec<String>, QuantizeError> {
    let graph = model.graph.as_mut().ok_or(QuantizeError::NothingToQuantize)?;
    let plan = Plan::of(graph);
    if plan.steps.is_empty() {
        return Err(QuantizeError::NothingToQuantize);
    }
    let names: Vec<String> = plan.tensors(graph).into_iter().collect();
    let one = format!("{RANGES}/one");
    graph.initializer.push(tensors::int64_tensor(&one, &[1], &[1]));
    let mut ends = Vec::new();
    for (index, name) in names.iter().enumerate() {
        for operator in ["ReduceMin", "ReduceMax"] {
            let (scalar, end) =
                (format!("{RANGES}/{index}/{operator}"), format!("{RANGES}/{index}/{operator}/1"));
            let keep = vec![tensors::int_attribute("keepdims", 0)];
            graph.node.push(node(operator, vec![name.clone()], &scalar, keep));
            graph.node.push(node("Reshape", vec![scalar, one.clone()], &end, vec![]));
            ends.push(end);
        }
    }
    graph.node.push(node("Concat", ends, RANGES, vec![tensors::int_attribute("axis", 0)]));
    graph.output = vec![tensors::float_value(RANGES, vec![DimensionValue::Symbol("ranges".to_owned())])];
    Ok(names)
}

fn raise_opset(model: &mut Model) -> Result<(), QuantizeError> {
    let own = |set: &&mut OperatorSetId| set.domain.is_empty() || set.domain == "ai.onnx";
    let Some(set) = model.opset_import.iter_mut().find(own) else { return Ok(()) };
    if set.version >= OPSET {
        return Ok(());
    }
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let changed = |node: &&Node| set.version < 9 || !UNCHANGED_SINCE_9.contains(&node.op_type.as_str());
    if let Some(node) = nodes.into_iter().find(changed) {
        return Err(QuantizeError::Opset { opset: set.version, operator: node.op_type.clone() });
    }
    set.version = OPSET;
    Ok(())
}

/// Of a tensor of bytes: what 0 and 1 stand for, by the names of the constants that say so.
#[derive(Clone)]
struct Bytes8 {
    scale: f32,
    scale_name: String,
    zero_name: String,
    /// The tensor turned back into numbers.
    numbers: String,
}

struct Writer<'a> {
    calibration: &'a Calibration,
    bits: WeightBits,
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
    /// By the name of the tensor in the canonical model.
    quantized: HashMap<String, Bytes8>,
}

impl Writer<'_> {
    fn convolution(
        &mut self,
        graph: &Graph,
        conv: &Node,
        output: &str,
        relu: bool,
    ) -> Result<(), QuantizeError> {
        let input = if let Some(input) = self.quantized.get(&conv.input[0]) {
            input.clone()
        } else {
            let numbers = format!("{PREFIX}{}", conv.input[0]);
            self.round_trip(&conv.input[0], &conv.input[0], numbers, false)
        };
        let (weights, scales) = self.weights(graph, conv, output)?;
        let mut inputs = vec![input.numbers.clone(), weights];
        if let Some(bias) = conv.input.get(2).filter(|name| !name.is_empty()) {
            inputs.push(self.bias(graph, bias, output, input.scale, &scales)?);
        }
        let sums = format!("{PREFIX}{output}/sums");
        let made = Node { input: inputs, output: vec![sums.clone()], ..conv.clone() };
        self.nodes.push(made);
        let bytes = self.round_trip(&sums, output, output.to_owned(), relu);
        self.quantized.insert(output.to_owned(), bytes);
        Ok(())
    }

    fn pooling(&mut self, pool: &Node) {
        let Some(bytes) = self.quantized.get(&pool.input[0]).cloned() else {
            self.nodes.push(pool.clone());
            return;
        };
        let output = &pool.output[0];
        let largest = format!("{PREFIX}{output}/largest");
        self.nodes.push(Node {
            input: vec![bytes.numbers.clone()],
            output: vec![largest.clone()],
            ..pool.clone()
        });
        let pooled = Bytes8 { numbers: output.clone(), ..bytes };
        self.pair(&largest, output, &pooled);
        self.quantized.insert(output.clone(), pooled);
    }

    /// Turns the tensor `from` into bytes and back into `numbers`, over the range of `of`.
    fn round_trip(&mut self, from: &str, of: &str, numbers: String, relu: bool) -> Bytes8 {
        let (least, largest) = self.calibration.ranges.get(of).copied().unwrap_or((0.0, 1.0));
        // Zero is a byte of its own: padding and ReLU are exact.
        let (least, largest) = (if relu { 0.0 } else { least.min(0.0) }, largest.max(0.0));
        let scale = if largest > least { (largest - least) / 255.0 } else { 1.0 };
        let zero = (-least / scale).round().clamp(0.0, 255.0) as u8;
        let bytes = Bytes8 {
            scale,
            scale_name: format!("{PREFIX}{of}/scale"),
            zero_name: format!("{PREFIX}{of}/zero"),
            numbers,
        };
        self.constants.push(tensors::float_tensor(&bytes.scale_name, &[], &[scale]));
        self.constants.push(raw_tensor(&bytes.zero_name, &[], DataType::Uint8, vec![zero]));
        self.pair(from, of, &bytes);
        bytes
    }

    fn pair(&mut self, from: &str, of: &str, bytes: &Bytes8) {
        let name = format!("{PREFIX}{of}/bytes");
        let parameters =
            |tensor: &str| vec![tensor.to_owned(), bytes.scale_name.clone(), bytes.zero_name.clone()];
        self.nodes.push(node("QuantizeLinear", parameters(from), &name, vec![]));
        self.nodes.push(node("DequantizeLinear", parameters(&name), &bytes.numbers, vec![]));
    }

    /// Bytes with a scale for each output channel. Returns the tensor and the scales.
    fn weights(
        &mut self,
        graph: &Graph,
        conv: &Node,
        output: &str,
    ) -> Result<(String, Vec<f32>), QuantizeError> {
        let tensor = required(graph, &conv.input[1])?;
        let values: Vec<f32> = tensors::float_values(&tensor)?.collect();
        let channels = usize::try_from(tensor.dims.first().copied().unwrap_or(0)).unwrap_or(0).max(1);
        let per_channel = (values.len() / channels).max(1);
        let largest = self.bits.largest();
        let scales: Vec<f32> = values
            .chunks_exact(per_channel)
            .map(|filter| filter.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / largest)
            .map(|scale| if scale > 0.0 && scale.is_finite() { scale } else { 1.0 })
            .collect();
        let bytes: Vec<u8> = values
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let scale = scales.get(index / per_channel).copied().unwrap_or(1.0);
                ((value / scale).round().clamp(-largest, largest) as i8).cast_unsigned()
            })
            .collect();
        let name = format!("{PREFIX}{output}/weights");
        self.constants.push(raw_tensor(&format!("{name}/bytes"), &tensor.dims, DataType::Int8, bytes));
        self.constants.push(raw_tensor(
            &format!("{name}/zeros"),
            &[scales.len() as i64],
            DataType::Int8,
            vec![0; scales.len()],
        ));
        self.dequantize_by_channel(&name, "bytes", &scales);
        Ok((name, scales))
    }

    /// Integers of the products' scale.
    fn bias(
        &mut self,
        graph: &Graph,
        bias: &str,
        output: &str,
        input_scale: f32,
        weight_scales: &[f32],
    ) -> Result<String, QuantizeError> {
        let tensor = required(graph, bias)?;
        let scales: Vec<f32> = weight_scales.iter().map(|scale| scale * input_scale).collect();
        let integers: Vec<u8> = tensors::float_values(&tensor)?
            .zip(&scales)
            .flat_map(|(value, scale)| {
                // A cast keeps what is too large at the end of the range.
                ((f64::from(value) / f64::from(*scale)).round() as i32).to_le_bytes()
            })
            .collect();
        let name = format!("{PREFIX}{output}/bias");
        let dims = [scales.len() as i64];
        self.constants.push(raw_tensor(&format!("{name}/integers"), &dims, DataType::Int32, integers));
        self.constants.push(raw_tensor(
            &format!("{name}/zeros"),
            &dims,
            DataType::Int32,
            vec![0; 4 * scales.len()],
        ));
        self.dequantize_by_channel(&name, "integers", &scales);
        Ok(name)
    }

    fn dequantize_by_channel(&mut self, name: &str, what: &str, scales: &[f32]) {
        let scale_name = format!("{name}/scales");
        self.constants.push(tensors::float_tensor(&scale_name, &[scales.len()], scales));
        let inputs = vec![format!("{name}/{what}"), scale_name, format!("{name}/zeros")];
        self.nodes.push(node("DequantizeLinear", inputs, name, vec![tensors::int_attribute("axis", 0)]));
    }
}

fn required(graph: &Graph, name: &str) -> Result<Tensor, QuantizeError> {
    Ok(constant(graph, name).ok_or(QuantizeError::NothingToQuantize)??)
}

fn raw_tensor(name: &str, dims: &[i64], data_type: DataType, data: Vec<u8>) -> Tensor {
    Tensor {
        dims: dims.to_vec(),
        data_type: data_type.into(),
        name: name.to_owned(),
        raw_data: data.into(),
        ..Tensor::default()
    }
}
