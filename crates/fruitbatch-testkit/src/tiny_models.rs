//! Small generated ONNX models with weights from a seed.
//!
//! A [`TinyNet`] has three blocks of 3x3 convolution, ReLU and 2x2 max pooling, as VGG has five: stride 8, at
//! least 8 x 8 pixels, some 35 million multiplications at 224 x 224, so that a photo takes a millisecond. The
//! same weights come as a bare backbone, as a classifier the way PyTorch exports it (NCHW) and the way Keras
//! does (NHWC with leading `Transpose`), and as numbers ([`TinyNet::layers`]), for tests that compute the
//! convolutions themselves.

use fruitbatch_onnx::messages::{
    Attribute, AttributeType, DimensionValue, Graph, Model, Node, OperatorSetId, Tensor,
};
use fruitbatch_onnx::{tensors, write_model};
use rand::{RngCore, SeedableRng};
use rand_xoshiro::SplitMix64;

/// The last spatial tensor in each of the classifiers: where an import has to cut.
pub const FEATURE_MAP_TENSOR: &str = "block3/pool";
/// How many classes the classifiers tell apart.
pub const CLASSES: usize = 5;
/// The side, in pixels, of the photos that the classifiers are bound to by their dense layers.
pub const CLASSIFIER_IMAGE_SIZE: usize = 32;
/// Pixels a feature map's pixel stands for, in each direction.
pub const STRIDE: usize = 8;

/// A 3x3 convolution's numbers.
#[derive(Clone, Debug)]
pub struct ConvolutionLayer {
    /// `[output_channels, input_channels, 3, 3]`, row-major.
    pub kernel: Vec<f32>,
    /// One for each output channel.
    pub bias: Vec<f32>,
    /// Channels read.
    pub input_channels: usize,
    /// Channels made.
    pub output_channels: usize,
}

/// Three blocks of convolution, ReLU and max pooling.
#[derive(Clone, Debug)]
pub struct TinyNet {
    /// The convolutions, first to last.
    pub layers: Vec<ConvolutionLayer>,
    head_weights: Vec<f32>,
}

impl TinyNet {
    /// A net with `width` output channels; the same for the same seed and width.
    pub fn new(seed: u64, width: usize) -> Self {
        let mut random = SplitMix64::seed_from_u64(seed);
        let layers = [(3, 8), (8, 16), (16, width)]
            .map(|(input_channels, output_channels)| {
                // He's initialisation by its standard deviation, sqrt(2 / fan in), keeps activations of one
                // size through the depth.
                let spread = (2.0 / (input_channels * 9) as f32).sqrt() * 3.0_f32.sqrt();
                ConvolutionLayer {
                    kernel: uniform(&mut random, output_channels * input_channels * 9, spread),
                    bias: uniform(&mut random, output_channels, 0.1),
                    input_channels,
                    output_channels,
                }
            })
            .to_vec();
        let side = CLASSIFIER_IMAGE_SIZE / STRIDE;
        let head_weights = uniform(&mut random, width * side * side * CLASSES, 0.1);
        Self { layers, head_weights }
    }

    /// Channels of the feature map.
    pub fn width(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output_channels)
    }

    /// The blocks alone: `input` `[N,3,H,W]` to `feature_map` `[N,width,H/8,W/8]`.
    pub fn backbone(&self) -> Vec<u8> {
        let mut builder = Builder::default();
        builder.blocks(self, "input", "feature_map");
        let free = |name: &str| DimensionValue::Symbol(name.to_owned());
        builder.finish(
            tensors::float_value("input", vec![free("N"), DimensionValue::Fixed(3), free("H"), free("W")]),
            tensors::float_value(
                "feature_map",
                vec![free("N"), DimensionValue::Fixed(self.width() as i64), free("H_out"), free("W_out")],
            ),
        )
    }

    /// A classifier as PyTorch exports it: `pixels` `[1,3,32,32]`, then `Flatten`, `Gemm` and `Softmax` to
    /// `scores` `[1,5]`.
    pub fn nchw_classifier(&self) -> Vec<u8> {
        let mut builder = Builder::default();
        builder.blocks(self, "pixels", FEATURE_MAP_TENSOR);
        builder.node("Flatten", &[FEATURE_MAP_TENSOR], "head/flat", vec![tensors::int_attribute("axis", 1)]);
        builder.head_weights(self);
        builder.node("Gemm", &["head/flat", "head/W", "head/b"], "head/logits", vec![]);
        builder.node("Softmax", &["head/logits"], "scores", vec![tensors::int_attribute("axis", 1)]);
        let side = DimensionValue::Fixed(CLASSIFIER_IMAGE_SIZE as i64);
        builder.finish(
            tensors::float_value(
                "pixels",
                vec![DimensionValue::Fixed(1), DimensionValue::Fixed(3), side.clone(), side],
            ),
            tensors::float_value(
                "scores",
                vec![DimensionValue::Fixed(1), DimensionValue::Fixed(CLASSES as i64)],
            ),
        )
    }

    /// A classifier as Keras exports it: `image` `[N,32,32,3]`, a leading `Transpose`, the blocks, a
    /// `Transpose` back, then `Reshape`, `MatMul`, `Add` and `Softmax` to `scores` `[N,5]`.
    pub fn nhwc_classifier(&self) -> Vec<u8> {
        let mut builder = Builder::default();
        builder.node(
            "Transpose",
            &["image"],
            "image/nchw",
            vec![tensors::ints_attribute("perm", &[0, 3, 1, 2])],
        );
        builder.blocks(self, "image/nchw", FEATURE_MAP_TENSOR);
        self.finish_nhwc(builder)
    }

    /// A classifier that normalises its pixels before the leading `Transpose`: `image` / 255 in NHWC;
    /// otherwise as [`TinyNet::nhwc_classifier`].
    pub fn nhwc_classifier_with_rescaling(&self) -> Vec<u8> {
        let mut builder = Builder::default();
        builder.initializers.push(tensors::float_tensor("rescaling/divisor", &[], &[255.0]));
        builder.node("Div", &["image", "rescaling/divisor"], "image/rescaled", vec![]);
        builder.node(
            "Transpose",
            &["image/rescaled"],
            "image/nchw",
            vec![tensors::ints_attribute("perm", &[0, 3, 1, 2])],
        );
        builder.blocks(self, "image/nchw", FEATURE_MAP_TENSOR);
        self.finish_nhwc(builder)
    }

    fn finish_nhwc(&self, mut builder: Builder) -> Vec<u8> {
        let flat_width = self.head_weights.len() / CLASSES;
        builder.node(
            "Transpose",
            &[FEATURE_MAP_TENSOR],
            "head/nhwc",
            vec![tensors::ints_attribute("perm", &[0, 2, 3, 1])],
        );
        builder.initializers.push(tensors::int64_tensor("head/shape", &[2], &[-1, flat_width as i64]));
        builder.node("Reshape", &["head/nhwc", "head/shape"], "head/flat", vec![]);
        builder.head_weights(self);
        builder.node("MatMul", &["head/flat", "head/W"], "head/products", vec![]);
        builder.node("Add", &["head/products", "head/b"], "head/logits", vec![]);
        builder.node("Softmax", &["head/logits"], "scores", vec![tensors::int_attribute("axis", -1)]);
        let side = DimensionValue::Fixed(CLASSIFIER_IMAGE_SIZE as i64);
        let batch = DimensionValue::Symbol("unk__1".to_owned());
        builder.finish(
            tensors::float_value("image", vec![batch.clone(), side.clone(), side, DimensionValue::Fixed(3)]),
            tensors::float_value("scores", vec![batch, DimensionValue::Fixed(CLASSES as i64)]),
        )
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    initializers: Vec<Tensor>,
}

impl Builder {
    fn node(&mut self, op_type: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) {
        self.nodes.push(Node {
            op_type: op_type.to_owned(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: format!("{output}/{op_type}"),
            attribute,
            ..Node::default()
        });
    }

    fn blocks(&mut self, net: &TinyNet, input: &str, output: &str) {
        let mut current = input.to_owned();
        for (index, layer) in net.layers.iter().enumerate() {
            let block = format!("block{}", index + 1);
            let (kernel, bias) = (format!("{block}/kernel"), format!("{block}/bias"));
            let shape = [layer.output_channels, layer.input_channels, 3, 3];
            self.initializers.push(tensors::float_tensor(&kernel, &shape, &layer.kernel));
            self.initializers.push(tensors::float_tensor(&bias, &shape[..1], &layer.bias));
            let (convolved, rectified) = (format!("{block}/conv"), format!("{block}/relu"));
            let convolution = vec![
                tensors::ints_attribute("kernel_shape", &[3, 3]),
                tensors::ints_attribute("pads", &[1; 4]),
            ];
            self.node("Conv", &[&current, &kernel, &bias], &convolved, convolution);
            self.node("Relu", &[&convolved], &rectified, vec![]);
            let pooled =
                if index + 1 == net.layers.len() { output.to_owned() } else { format!("{block}/pool") };
            let pooling = vec![
                tensors::ints_attribute("kernel_shape", &[2, 2]),
                tensors::ints_attribute("strides", &[2, 2]),
            ];
            self.node("MaxPool", &[&rectified], &pooled, pooling);
            current = pooled;
        }
    }

    fn head_weights(&mut self, net: &TinyNet) {
        let shape = [net.head_weights.len() / CLASSES, CLASSES];
        self.initializers.push(tensors::float_tensor("head/W", &shape, &net.head_weights));
        self.initializers.push(tensors::float_tensor("head/b", &shape[1..], &[0.0; CLASSES]));
    }

    fn finish(
        self,
        input: fruitbatch_onnx::messages::ValueInfo,
        output: fruitbatch_onnx::messages::ValueInfo,
    ) -> Vec<u8> {
        let model = Model {
            ir_version: 8,
            producer_name: "tiny_models".to_owned(),
            graph: Some(Graph {
                node: self.nodes,
                name: "tiny".to_owned(),
                initializer: self.initializers,
                input: vec![input],
                output: vec![output],
            }),
            opset_import: vec![OperatorSetId { domain: String::new(), version: 13 }],
            functions: vec![],
        };
        write_model(&model).to_vec()
    }
}

/// A model whose only node is a loop with a body, which no import accepts.
pub fn model_with_control_flow() -> Vec<u8> {
    let mut builder = Builder::default();
    let body = Attribute {
        name: "body".to_owned(),
        r#type: AttributeType::Graph.into(),
        g: Some(fruitbatch_onnx::messages::NestedGraph {}),
        ..Attribute::default()
    };
    builder.node("Loop", &["input"], "output", vec![body]);
    let dims = || vec![1, 3, 32, 32].into_iter().map(DimensionValue::Fixed).collect();
    builder.finish(tensors::float_value("input", dims()), tensors::float_value("output", dims()))
}

/// Weights from `-spread` to `spread`, the same on every machine.
fn uniform(random: &mut SplitMix64, count: usize, spread: f32) -> Vec<f32> {
    (0..count).map(|_| ((random.next_u64() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0) * spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_model_and_another_seed_another() {
        assert_eq!(TinyNet::new(1, 16).backbone(), TinyNet::new(1, 16).backbone());
        assert_ne!(TinyNet::new(1, 16).backbone(), TinyNet::new(2, 16).backbone());
    }
}
