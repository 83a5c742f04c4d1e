//! [`EmbedSpec`]: everything that decides what a photo's features are, as one text.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fruitbatch_image::{DecodeLimits, Filter};

use crate::catalogue::{Catalogue, CatalogueError};
use crate::crop::Crop;
use crate::digest::ModelDigest;
use crate::pooling::Pooling;
use crate::preprocessing::{Preprocessing, PreprocessingError};
use crate::provider::{Provider, ProviderChoice};

/// What the canonical text begins with: its kind and the version of its format.
const FORMAT: &str = "embed/2";
/// Photos that are inferred at once by default, at [`DEFAULT_IMAGE_SIZE`].
const DEFAULT_BATCH_SIZE: u32 = 8;
/// The side that models such as VGG16 were trained at.
const DEFAULT_IMAGE_SIZE: u32 = 224;
/// Smaller photos are inferred so many at once by default: more take no less time.
const LARGEST_DEFAULT_BATCH_SIZE: u32 = 32;
/// What photos at native size are scaled down to: twice the side that models were trained at and a little more, so that one photo
/// has fewer pixels than a default batch.
const DEFAULT_MAX_SIDE: u32 = 512;
/// The largest square that photos are resized to: 16 times the largest that ImageNet models are trained at.
const LARGEST_IMAGE_SIZE: u32 = 8192;
/// The largest batch.
const LARGEST_BATCH_SIZE: u32 = 1024;
/// How it is written that photos have no largest side.
const NO_MAX_SIDE: &str = "none";
/// The widest feature vector: what a list of 4 GiB holds.
const LARGEST_WIDTH: u64 = 1 << 30;

/// The size photos are inferred at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageSize {
    /// Resized to a square of this side in pixels, whatever their shape.
    Square(u32),
    /// As they are, but for those that are scaled down to the largest side.
    Native,
}

/// How photos are resized: Pillow's filters of these names, antialiased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resize {
    /// Cubic convolution with a = -0.5.
    Bicubic,
    /// Linear interpolation.
    Bilinear,
    /// The nearest pixel.
    Nearest,
}

/// The arithmetic of inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floating point throughout.
    Fp32,
    /// Convolutions in 16-bit floating point with 8 bits of a number, summed in 32 bits, where a [`Provider`] has it.
    Bf16,
    /// Convolutions in 8-bit integers, with features that are not quite the same: see [`crate::quantized_model`].
    Int8,
}

/// How 3x3 convolutions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Convolution {
    /// The fastest way there is for each: by Winograd's algorithm where its stride is 1, about as exact as the direct way (see
    /// [`fruitbatch_winograd`]).
    Auto,
    /// As ONNX Runtime does it, product by product.
    Direct,
}

/// What a person asks for: a model by name and how to use it.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedOptions {
    /// The model's name in the catalogue.
    pub model: String,
    /// The size photos are inferred at.
    pub image_size: ImageSize,
    /// The part of each that is taken.
    pub crop: Crop,
    /// How they are brought to that size.
    pub resize: Resize,
    /// At native size: larger photos are scaled down until their longer side has so many pixels; `None`: 512.
    pub max_side: Option<u32>,
    /// How feature maps become vectors.
    pub pooling: Pooling,
    /// The arithmetic. A model in integers computes in these.
    pub precision: Precision,
    /// What carries it out.
    pub provider: ProviderChoice,
    /// Whether that is done on this machine, so that the best provider is one that is installed here.
    pub on_this_machine: bool,
    /// How convolutions are computed.
    pub convolution: Convolution,
    /// Photos inferred at once, 1 to 1024; `None`: as many as have the pixels of 8 at 224, 32 at most. The features are the same
    /// bits for any. At native size: as many as have the pixels of so many at 224, which are more where photos are small.
    pub batch_size: Option<u32>,
    /// The largest photo in pixels; `None`: 178,956,970.
    pub max_pixels: Option<u64>,
    /// The largest photo file in bytes; `None`: 256 MiB.
    pub max_bytes: Option<u64>,
}

impl EmbedOptions {
    /// The reference chain's settings for a model: 224 pixels, bicubic, maximum pooling, batches of 8.
    pub fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            image_size: ImageSize::Square(DEFAULT_IMAGE_SIZE),
            crop: Crop::None,
            resize: Resize::Bicubic,
            max_side: None,
            pooling: Pooling::Max,
            precision: Precision::Fp32,
            provider: ProviderChoice::Only(Provider::Cpu),
            on_this_machine: true,
            convolution: Convolution::Auto,
            batch_size: None,
            max_pixels: None,
            max_bytes: None,
        }
    }
}

/// Everything that decides what a photo's features are: the second argument of the SQL functions, as its
/// text.
///
/// The text is canonical: equal specs have equal texts, and `parse` of it gives the spec back. It holds no
/// path, no name and no secret, and is all that a machine without the catalogue needs to plan, and all that
/// one with the model's file needs to compute.
///
/// ```
/// use fruitbatch_vision::{Catalogue, EmbedOptions, EmbedSpec};
///
/// let spec = EmbedSpec::resolve(&Catalogue::compiled_in(), &EmbedOptions::new("vgg16")).unwrap();
/// assert_eq!(spec.width, 512);
/// let text = spec.to_string();
/// assert!(text.starts_with("embed/2 digest=sha256:"));
/// assert_eq!(text.parse::<EmbedSpec>().unwrap(), spec);
/// assert!(format!("{text} colour=red").parse::<EmbedSpec>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EmbedSpec {
    /// The canonical model.
    pub digest: ModelDigest,
    /// Values in a feature vector.
    pub width: u32,
    /// The size photos are inferred at.
    pub image_size: ImageSize,
    /// The part of each that is taken.
    pub crop: Crop,
    /// How they are brought to that size.
    pub resize: Resize,
    /// At native size, what the longer side of larger photos is scaled down to, in pixels; none at any other.
    pub max_side: Option<u32>,
    /// How feature maps become vectors.
    pub pooling: Pooling,
    /// The arithmetic.
    pub precision: Precision,
    /// What carries it out.
    pub provider: Provider,
    /// How convolutions are computed; directly by any provider but the processor.
    pub convolution: Convolution,
    /// From bytes to the model's input.
    pub preprocessing: Preprocessing,
    /// The smallest side the model takes, in pixels.
    pub min_image_size: u32,
    /// The largest photo in pixels.
    pub max_pixels: u64,
    /// The largest photo file in bytes.
    pub max_bytes: u64,
    /// Photos inferred at once.
    pub batch_size: u32,
}

/// Why there is no spec.
#[derive(Debug, thiserror::Error)]
pub enum EmbedSpecError {
    /// The model isn't known.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The text isn't a spec of this version.
    #[error("`{text}` is neither a model's name nor a feature spec of version `{FORMAT}`")]
    NotASpec {
        /// The text, shortened.
        text: String,
    },
    /// A key that doesn't exist.
    #[error("the feature spec has the unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key that isn't there, or is there twice.
    #[error("the feature spec must have the key `{key}` exactly once")]
    KeyCount {
        /// The key.
        key: &'static str,
    },
    /// A value that can't be.
    #[error("`{key}` can't be `{value}`: expected {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// The preprocessing's numbers make no sense.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// There is no such model in integers.
    #[error(
        "there is no int8 model of `{model}` yet: make one with `fruitbatch model quantize {model} --calibrate INPUT`, with photos \
         of the kind that will be run"
    )]
    NotQuantized {
        /// The model asked for.
        model: String,
    },
    /// A model in integers has no other arithmetic.
    #[error(
        "`{model}` computes in 8-bit integers: name the model that it was made of to compute in {precision}"
    )]
    InIntegers {
        /// The model asked for.
        model: String,
        /// The precision asked for.
        precision: Precision,
    },
    /// The provider doesn't compute in this precision.
    #[error("{provider} doesn't compute in {precision}: leave `--provider` out, or take another")]
    NoSuchPrecision {
        /// The provider.
        provider: Provider,
        /// The precision.
        precision: Precision,
    },
    /// A largest side where all photos are made the same size.
    #[error(
        "`--max-side` goes with `--image-size native`: without it, all photos are resized to the same square"
    )]
    MaxSideOfSquare,
    /// Flattened features of photos of many sizes have many widths.
    #[error("`flatten` needs photos of one size: give `--image-size`, or pool with `max` or `avg`")]
    FlattenNative,
}

impl EmbedSpec {
    /// The spec for what a person asks for.
    ///
    /// # Errors
    /// The model isn't in the catalogue, or the options don't go together or with the model.
    pub fn resolve(catalogue: &Catalogue, options: &EmbedOptions) -> Result<Self, EmbedSpecError> {
        let mut entry = catalogue.get(&options.model)?;
        if options.precision == Precision::Int8 && entry.quantized.is_none() {
            let model = entry.name.clone();
            let quantized = catalogue.quantized_from(&entry.digest);
            entry = quantized.ok_or(EmbedSpecError::NotQuantized { model })?;
        }
        let precision = match (&entry.quantized, options.precision) {
            (Some(_), Precision::Bf16) => {
                return Err(EmbedSpecError::InIntegers {
                    model: entry.name.clone(),
                    precision: options.precision,
                });
            }
            (Some(_), _) => Precision::Int8,
            (None, precision) => precision,
        };
        let provider = options.provider.or_else(|| {
            if options.on_this_machine {
                Provider::best_here(precision)
            } else {
                Provider::on_processors(precision)
            }
        });
        let width = match (options.pooling, options.image_size) {
            (Pooling::Max | Pooling::Avg, _) => u64::from(entry.output_width),
            (Pooling::Flatten, ImageSize::Native) => return Err(EmbedSpecError::FlattenNative),
            (Pooling::Flatten, ImageSize::Square(size)) => {
                let side = u64::from(entry.feature_map.side(size));
                (side * side).saturating_mul(u64::from(entry.output_width))
            }
        };
        let max_side = match options.image_size {
            ImageSize::Square(_) => options.max_side,
            ImageSize::Native => Some(options.max_side.unwrap_or(DEFAULT_MAX_SIDE)),
        };
        let convolution = if provider == Provider::Cpu { options.convolution } else { Convolution::Direct };
        let spec = Self {
            digest: entry.digest,
            width: u32::try_from(width).unwrap_or(u32::MAX),
            image_size: options.image_size,
            crop: options.crop,
            resize: options.resize,
            max_side,
            pooling: options.pooling,
            precision,
            provider,
            convolution,
            preprocessing: entry.preprocessing,
            min_image_size: entry.min_image_size,
            max_pixels: options.max_pixels.unwrap_or(DecodeLimits::DEFAULT_MAX_PIXELS),
            max_bytes: options.max_bytes.unwrap_or(DecodeLimits::DEFAULT_MAX_BYTES),
            batch_size: options.batch_size.unwrap_or_else(|| default_batch_size(options.image_size)),
        };
        spec.validated()
    }

    /// The spec a literal stands for: a canonical text, or the name of a model with the defaults.
    ///
    /// # Errors
    /// It is neither.
    pub fn from_literal(catalogue: &Catalogue, text: &str) -> Result<Self, EmbedSpecError> {
        if crate::catalogue::is_model_name(text) {
            return Self::resolve(catalogue, &EmbedOptions::new(text));
        }
        text.parse()
    }

    /// The text without what doesn't change a photo's features: two specs that agree in it give the same
    /// bits, to photos that both take.
    pub fn feature_identity(&self) -> String {
        self.pairs()
            .into_iter()
            .filter(|(key, _)| !matches!(*key, "batch_size" | "max_pixels" | "max_bytes"))
            .fold(FORMAT.to_owned(), |text, (key, value)| format!("{text} {key}={value}"))
    }

    fn validated(self) -> Result<Self, EmbedSpecError> {
        let in_range = |key: &'static str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            let expected = format!("a number from {least} to {most}");
            Err(EmbedSpecError::BadValue { key, value: value.to_string(), expected })
        };
        in_range("min_image_size", self.min_image_size.into(), 1, LARGEST_IMAGE_SIZE.into())?;
        if let ImageSize::Square(size) = self.image_size {
            in_range("image_size", size.into(), self.min_image_size.into(), LARGEST_IMAGE_SIZE.into())?;
        } else if self.pooling == Pooling::Flatten {
            return Err(EmbedSpecError::FlattenNative);
        }
        match (self.image_size, self.max_side) {
            (ImageSize::Native, max_side) => {
                let max_side = max_side.unwrap_or_default();
                in_range("max_side", max_side.into(), self.min_image_size.into(), LARGEST_IMAGE_SIZE.into())?;
            }
            (ImageSize::Square(_), Some(_)) => return Err(EmbedSpecError::MaxSideOfSquare),
            (ImageSize::Square(_), None) => {}
        }
        if self.provider != Provider::Cpu && self.convolution == Convolution::Auto {
            return Err(EmbedSpecError::BadValue {
                key: "convolution",
                value: self.convolution.to_string(),
                expected: "`direct` with any provider but cpu".to_owned(),
            });
        }
        if !self.provider.has(self.precision) {
            let (provider, precision) = (self.provider, self.precision);
            return Err(EmbedSpecError::NoSuchPrecision { provider, precision });
        }
        in_range("width", self.width.into(), 1, LARGEST_WIDTH)?;
        in_range("batch_size", self.batch_size.into(), 1, LARGEST_BATCH_SIZE.into())?;
        in_range("max_pixels", self.max_pixels, 1, u64::MAX)?;
        in_range("max_bytes", self.max_bytes, 1, u64::MAX)?;
        self.preprocessing.validated()?;
        Ok(self)
    }

    /// How many photos are best given at a time: a batch, and at native size enough for several of a size to be among them.
    pub fn photos_at_a_time(&self) -> usize {
        let batch_size = self.batch_size as usize;
        match self.image_size {
            ImageSize::Square(_) => batch_size,
            ImageSize::Native => batch_size.max(LARGEST_DEFAULT_BATCH_SIZE as usize),
        }
    }

    /// The pixels that a batch has at most, unless it is of one photo, and its photos.
    pub(crate) fn batch_limits(&self) -> (u64, usize) {
        let side = match self.image_size {
            ImageSize::Square(side) => side,
            ImageSize::Native => DEFAULT_IMAGE_SIZE,
        };
        (u64::from(self.batch_size) * u64::from(side) * u64::from(side), self.photos_at_a_time())
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let numbers = |values: &[f32; 3]| values.map(|value| value.to_string()).join(",");
        let mut pairs = vec![
            ("digest", self.digest.to_string()),
            ("width", self.width.to_string()),
            ("image_size", self.image_size.to_string()),
            ("resize", self.resize.to_string()),
            ("max_side", self.max_side.map_or_else(|| NO_MAX_SIDE.to_owned(), |side| side.to_string())),
            ("pooling", self.pooling.to_string()),
            ("precision", self.precision.to_string()),
            ("provider", self.provider.to_string()),
            ("convolution", self.convolution.to_string()),
            ("channel_order", self.preprocessing.channel_order.to_string()),
            ("divisor", self.preprocessing.divisor.to_string()),
            ("mean", numbers(&self.preprocessing.mean)),
            ("std", numbers(&self.preprocessing.std)),
            ("min_image_size", self.min_image_size.to_string()),
            ("max_pixels", self.max_pixels.to_string()),
            ("max_bytes", self.max_bytes.to_string()),
            ("batch_size", self.batch_size.to_string()),
        ];
        // Whole photos are what a text without it means.
        if self.crop != Crop::None {
            pairs.insert(2, ("crop", self.crop.to_string()));
        }
        pairs
    }
}

impl fmt::Display for EmbedSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(FORMAT)?;
        self.pairs().iter().try_for_each(|(key, value)| write!(formatter, " {key}={value}"))
    }
}

impl FromStr for EmbedSpec {
    type Err = EmbedSpecError;

    fn from_str(text: &str) -> Result<Self, EmbedSpecError> {
        let mut words = text.split(' ');
        if words.next() != Some(FORMAT) {
            return Err(EmbedSpecError::NotASpec { text: text.chars().take(80).collect() });
        }
        let mut values = WrittenValues(BTreeMap::new());
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            values.0.entry(key).or_default().push(value);
        }
        let spec = Self {
            digest: values.parse("digest", "`sha256:` and 64 hexadecimal digits")?,
            width: values.parse("width", "a number")?,
            image_size: values.parse("image_size", "a number or `native`")?,
            crop: values.parse_crop()?,
            resize: values.parse("resize", "`bicubic`, `bilinear` or `nearest`")?,
            max_side: values.parse_or_none("max_side", "a number or `none`")?,
            pooling: values.parse("pooling", "`max`, `avg` or `flatten`")?,
            precision: values.parse("precision", "`fp32`, `bf16` or `int8`")?,
            provider: values.parse("provider", "a provider's name")?,
            convolution: values.parse("convolution", "`auto` or `direct`")?,
            preprocessing: Preprocessing {
                channel_order: values.parse("channel_order", "`rgb` or `bgr`")?,
                divisor: values.parse("divisor", "a number")?,
                mean: values.parse_three("mean")?,
                std: values.parse_three("std")?,
            },
            min_image_size: values.parse("min_image_size", "a number")?,
            max_pixels: values.parse("max_pixels", "a number")?,
            max_bytes: values.parse("max_bytes", "a number")?,
            batch_size: values.parse("batch_size", "a number")?,
        };
        match values.0.into_keys().next() {
            Some(key) => Err(EmbedSpecError::UnknownKey { key: key.to_owned() }),
            None => spec.validated(),
        }
    }
}

/// As many photos as keep the memory of a batch at that of the default size.
fn default_batch_size(image_size: ImageSize) -> u32 {
    match image_size {
        ImageSize::Native => DEFAULT_BATCH_SIZE,
        ImageSize::Square(size) => {
            let pixels = |size: u32| u64::from(size) * u64::from(size);
            let photos = u64::from(DEFAULT_BATCH_SIZE) * pixels(DEFAULT_IMAGE_SIZE) / pixels(size).max(1);
            u32::try_from(photos).unwrap_or(u32::MAX).clamp(1, LARGEST_DEFAULT_BATCH_SIZE)
        }
    }
}

struct WrittenValues<'text>(BTreeMap<&'text str, Vec<&'text str>>);

impl<'text> WrittenValues<'text> {
    fn take(&mut self, key: &'static str) -> Result<&'text str, EmbedSpecError> {
        match self.0.remove(key).as_deref() {
            Some(&[value]) => Ok(value),
            _ => Err(EmbedSpecError::KeyCount { key }),
        }
    }

    fn parse<T: FromStr>(&mut self, key: &'static str, expected: &str) -> Result<T, EmbedSpecError> {
        let value = self.take(key)?;
        value.parse().map_err(|_| EmbedSpecError::BadValue {
            key,
            value: value.to_owned(),
            expected: expected.to_owned(),
        })
    }

    fn parse_or_none<T: FromStr>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Result<Option<T>, EmbedSpecError> {
        if self.0.get(key).map(Vec::as_slice) == Some(&[NO_MAX_SIDE]) {
            self.take(key)?;
            return Ok(None);
        }
        self.parse(key, expected).map(Some)
    }

    /// A crop is written where there is one.
    fn parse_crop(&mut self) -> Result<Crop, EmbedSpecError> {
        if !self.0.contains_key("crop") {
            return Ok(Crop::None);
        }
        match self.parse("crop", "`center:` and a share above 0 and up to 1")? {
            Crop::None => Err(EmbedSpecError::KeyCount { key: "crop" }),
            crop @ Crop::Center(_) => Ok(crop),
        }
    }

    fn parse_three(&mut self, key: &'static str) -> Result<[f32; 3], EmbedSpecError> {
        let value = self.take(key)?;
        let numbers: Result<Vec<f32>, _> = value.split(',').map(str::parse).collect();
        numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| EmbedSpecError::BadValue {
            key,
            value: value.to_owned(),
            expected: "three numbers with commas".to_owned(),
        })
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Square(size) => write!(formatter, "{size}"),
            Self::Native => formatter.write_str("native"),
        }
    }
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "native" {
            return Ok(Self::Native);
        }
        text.parse()
            .map(Self::Square)
            .map_err(|_| format!("`{text}` is no image size: expected pixels or `native`"))
    }
}

impl From<Resize> for Filter {
    fn from(resize: Resize) -> Self {
        match resize {
            Resize::Bicubic => Self::Bicubic,
            Resize::Bilinear => Self::Bilinear,
            Resize::Nearest => Self::Nearest,
        }
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bicubic => "bicubic",
            Self::Bilinear => "bilinear",
            Self::Nearest => "nearest",
        })
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bicubic" => Ok(Self::Bicubic),
            "bilinear" => Ok(Self::Bilinear),
            "nearest" => Ok(Self::Nearest),
            _ => Err(format!("`{text}` is no way to resize: expected `bicubic`, `bilinear` or `nearest`")),
        }
    }
}

impl fmt::Display for Convolution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
        })
    }
}

impl FromStr for Convolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "direct" => Ok(Self::Direct),
            _ => Err(format!("`{text}` is no way to convolve: expected `auto` or `direct`")),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fp32 => formatter.write_str("fp32"),
            Self::Bf16 => formatter.write_str("bf16"),
            Self::Int8 => formatter.write_str("int8"),
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fp32" => Ok(Self::Fp32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("`{text}` is no precision: expected `fp32`, `bf16` or `int8`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vgg16(change: impl FnOnce(&mut EmbedOptions)) -> Result<EmbedSpec, EmbedSpecError> {
        let mut options = EmbedOptions::new("vgg16");
        change(&mut options);
        EmbedSpec::resolve(&Catalogue::compiled_in(), &options)
    }

    #[test]
    fn every_spec_is_its_text() {
        let specs = [
            vgg16(|_| {}),
            vgg16(|options| options.image_size = ImageSize::Native),
            vgg16(|options| (options.image_size, options.max_side) = (ImageSize::Native, Some(300))),
            vgg16(|options| {
                (options.precision, options.provider) = (Precision::Bf16, ProviderChoice::Auto);
                options.on_this_machine = false;
            }),
            vgg16(|options| {
                options.image_size = ImageSize::Square(100);
                options.pooling = Pooling::Flatten;
                options.resize = Resize::Nearest;
                options.convolution = Convolution::Direct;
                options.batch_size = Some(3);
                options.max_pixels = Some(7);
            }),
        ];
        for spec in specs.map(Result::unwrap) {
            let text = spec.to_string();
            assert_eq!(text.parse::<EmbedSpec>().unwrap(), spec);
            assert_eq!(text.parse::<EmbedSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn batches_have_about_the_same_pixels_at_any_size() {
        let batch = |size| vgg16(|options| options.image_size = size).unwrap().batch_size;
        let sizes = [32, 100, 150, 224, 448, 2000].map(ImageSize::Square);
        assert_eq!(sizes.map(batch), [32, 32, 17, 8, 2, 1]);
        assert_eq!(batch(ImageSize::Native), 8);
    }

    #[test]
    fn native_sizes_have_a_largest_side_and_batches_of_few_pixels() {
        let native = vgg16(|options| options.image_size = ImageSize::Native).unwrap();
        assert_eq!((native.max_side, native.photos_at_a_time()), (Some(512), 32));
        // One photo of the largest side fits.
        assert_eq!(native.batch_limits(), (8 * 224 * 224, 32));
        assert!(512 * 512 < native.batch_limits().0);
        assert!(matches!(
            vgg16(|options| options.max_side = Some(300)),
            Err(EmbedSpecError::MaxSideOfSquare)
        ));
        let too_small = |options: &mut EmbedOptions| {
            (options.image_size, options.max_side) = (ImageSize::Native, Some(31));
        };
        assert!(matches!(vgg16(too_small), Err(EmbedSpecError::BadValue { key: "max_side", .. })));
    }

    #[test]
    fn precisions_go_with_providers_that_have_them() {
        let spec = |precision, provider| {
            vgg16(|options| {
                (options.precision, options.provider) = (precision, ProviderChoice::Only(provider));
            })
        };
        let refused = spec(Precision::Bf16, Provider::Cpu);
        assert!(matches!(refused, Err(EmbedSpecError::NoSuchPrecision { .. })));
        let openvino = spec(Precision::Fp32, Provider::OpenVino).unwrap();
        assert_eq!(openvino.convolution, Convolution::Direct);
        let cpu = spec(Precision::Fp32, Provider::Cpu).unwrap();
        assert_ne!(openvino.feature_identity(), cpu.feature_identity());
    }

    #[test]
    fn flattened_features_are_as_wide_as_the_feature_map() {
        let flattened =
            |size| vgg16(|options| (options.pooling, options.image_size) = (Pooling::Flatten, size));
        assert_eq!(flattened(ImageSize::Square(224)).unwrap().width, 25_088);
        assert_eq!(flattened(ImageSize::Square(100)).unwrap().width, 3 * 3 * 512);
        assert!(matches!(flattened(ImageSize::Native), Err(EmbedSpecError::FlattenNative)));
    }

    #[test]
    fn identity_leaves_out_the_batch_size_and_the_limits() {
        let reference = vgg16(|_| {}).unwrap();
        let other_batch = vgg16(|options| {
            options.batch_size = Some(1);
            options.max_pixels = Some(1000);
            options.max_bytes = Some(1000);
        })
        .unwrap();
        let other_size = vgg16(|options| options.image_size = ImageSize::Square(100)).unwrap();
        assert_ne!(reference.to_string(), other_batch.to_string());
        assert_eq!(reference.feature_identity(), other_batch.feature_identity());
        assert_ne!(reference.feature_identity(), other_size.feature_identity());
    }

    #[test]
    fn a_crop_is_written_where_there_is_one() {
        let whole = vgg16(|_| {}).unwrap();
        assert!(!whole.to_string().contains("crop"));
        let cropped = vgg16(|options| options.crop = Crop::Center(0.8)).unwrap();
        assert!(cropped.to_string().contains(" crop=center:0.8 "), "{cropped}");
        assert_eq!(cropped.to_string().parse::<EmbedSpec>().unwrap(), cropped);
        assert_ne!(cropped.feature_identity(), whole.feature_identity());
    }

    #[test]
    fn impossible_options_and_texts_are_refused() {
        assert!(vgg16(|options| options.image_size = ImageSize::Square(31)).is_err());
        assert!(vgg16(|options| options.batch_size = Some(0)).is_err());
        assert!(vgg16(|options| options.model = "vgg61".into()).is_err());
        let text = vgg16(|_| {}).unwrap().to_string();
        for (from, to) in [
            ("embed/2", "embed/3"),
            ("max_side=none", "max_side=300"),
            ("provider=cpu", "provider=gpu"),
            ("provider=cpu", "provider=cuda"),
            ("precision=fp32", "precision=bf16"),
            ("width=512", "width=0"),
            ("width=512", "width=512 width=512"),
            ("pooling=max ", ""),
            ("pooling=max", "pooling=min"),
            ("image_size=224", "image_size=16"),
            ("image_size=224", "image_size=224 crop=none"),
            ("image_size=224", "image_size=224 crop=center:0"),
            ("image_size=224", "image_size=224 crop=center:0.5 crop=center:0.5"),
            ("divisor=1", "divisor=0"),
            ("mean=103.939,116.779", "mean=103.939"),
            ("batch_size=8", "batch_size=8 "),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(text.replacen(from, to, 1).parse::<EmbedSpec>().is_err(), "{to}");
        }
    }
}
