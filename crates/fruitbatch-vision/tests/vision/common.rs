//! What the tests of this crate share: models in a cache of their own, photos, and a reference convolution.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fruitbatch_testkit::tiny_models::TinyNet;
use fruitbatch_vision::{
    CachedModelFiles, Catalogue, CatalogueEntry, ImportOptions, ModelDigest, ModelSessions, cache,
    import_model,
};
use tempfile::TempDir;

/// Says, in the form that continuous integration looks for, why a test does nothing.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
}

/// Whether ONNX Runtime is there; says so if it isn't.
pub(crate) fn has_onnx_runtime(test: &str) -> bool {
    let found = fruitbatch_vision::find_onnx_runtime();
    if let Err(error) = &found {
        skip(test, &error.to_string());
    }
    found.is_ok()
}

/// The folder of shared data.
pub(crate) fn shared_folder() -> PathBuf {
    std::env::var_os("FRUITBATCH_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from)
}

/// Sessions over a cache folder that holds tiny nets by name.
pub(crate) struct TinyModels {
    pub(crate) sessions: Arc<ModelSessions>,
    pub(crate) cache: TempDir,
}

pub(crate) fn tiny_models(nets: &[(&str, TinyNet)], threads: usize) -> TinyModels {
    let cache = tempfile::tempdir().unwrap();
    let mut catalogue = Catalogue::compiled_in();
    for (name, net) in nets {
        let imported = import_model(net.nchw_classifier().into(), &ImportOptions::new(name)).unwrap();
        cache::store_model(cache.path(), &imported.digest, &imported.canonical_bytes).unwrap();
        catalogue.add(imported.entry);
    }
    let files = Arc::new(CachedModelFiles::new(cache.path()));
    let sessions = Arc::new(ModelSessions::new(files, catalogue, NonZeroUsize::new(threads).unwrap()));
    TinyModels { sessions, cache }
}

impl TinyModels {
    /// A model's file.
    pub(crate) fn read(&self, digest: &ModelDigest) -> Bytes {
        std::fs::read(cache::model_path(self.cache.path(), digest)).unwrap().into()
    }

    /// Adds a model to cache and catalogue.
    pub(crate) fn add(&mut self, file: &[u8], entry: CatalogueEntry) {
        cache::store_model(self.cache.path(), &entry.digest, file).unwrap();
        let mut catalogue = self.sessions.catalogue().clone();
        catalogue.add(entry);
        let files = Arc::new(CachedModelFiles::new(self.cache.path()));
        self.sessions = Arc::new(ModelSessions::new(files, catalogue, NonZeroUsize::MIN));
    }
}

/// A photo as a BMP file: 24 bits a pixel, every pixel another colour, different for each seed.
pub(crate) fn bmp_photo(width: usize, height: usize, seed: usize) -> Vec<u8> {
    let row_bytes = (width * 3).next_multiple_of(4);
    let mut file = b"BM".to_vec();
    for number in [54 + row_bytes * height, 0, 54, 40, width, height] {
        file.extend((number as u32).to_le_bytes());
    }
    file.extend([1, 0, 24, 0]);
    for number in [0, row_bytes * height, 2835, 2835, 0, 0] {
        file.extend((number as u32).to_le_bytes());
    }
    for row in (0..height).rev() {
        let pixels = (0..width).flat_map(|column| pixel(row, column, seed).into_iter().rev());
        file.extend(pixels.chain(std::iter::repeat(0)).take(row_bytes.max(width * 3)));
    }
    file
}

/// The colour of a pixel of [`bmp_photo`]: red, green, blue.
pub(crate) fn pixel(row: usize, column: usize, seed: usize) -> [u8; 3] {
    [7, 11, 13]
        .map(|factor| ((row * factor + column * (factor + seed) + row * column + seed * 37) % 256) as u8)
}

/// `[channels, height, width]` in float64.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<f64>,
}

impl Planes {
    /// The planes of a [`bmp_photo`], each byte divided by `divisor`.
    pub(crate) fn of_photo(width: usize, height: usize, seed: usize, divisor: f64) -> Self {
        let mut values = Vec::new();
        for channel in 0..3 {
            for row in 0..height {
                values
                    .extend((0..width).map(|column| f64::from(pixel(row, column, seed)[channel]) / divisor));
            }
        }
        Self { channels: 3, height, width, values }
    }

    fn at(&self, channel: usize, row: usize, column: usize) -> f64 {
        self.values[(channel * self.height + row) * self.width + column]
    }

    /// The feature map of a tiny net by the definition of its layers, in float64.
    pub(crate) fn feature_map(&self, net: &TinyNet) -> Self {
        net.layers.iter().fold(self.clone(), |input, layer| {
            let mut convolved = Self { channels: layer.output_channels, values: Vec::new(), ..input };
            for output in 0..layer.output_channels {
                for row in 0..input.height {
                    for column in 0..input.width {
                        let mut sum = f64::from(layer.bias[output]);
                        for channel in 0..layer.input_channels {
                            for (tap_row, tap_column) in (0..9).map(|tap| (tap / 3, tap % 3)) {
                                let (row, column) = (row + tap_row, column + tap_column);
                                // One pixel of zeros around the photo.
                                if (1..=input.height).contains(&row) && (1..=input.width).contains(&column) {
                                    let tap = ((output * layer.input_channels + channel) * 3 + tap_row) * 3
                                        + tap_column;
                                    sum +=
                                        input.at(channel, row - 1, column - 1) * f64::from(layer.kernel[tap]);
                                }
                            }
                        }
                        convolved.values.push(sum.max(0.0));
                    }
                }
            }
            let (height, width) = (input.height / 2, input.width / 2);
            let mut pooled = Self { channels: layer.output_channels, height, width, values: Vec::new() };
            for channel in 0..layer.output_channels {
                for (row, column) in (0..height * width).map(|index| (index / width, index % width)) {
                    let window =
                        (0..4).map(|tap| convolved.at(channel, 2 * row + tap / 2, 2 * column + tap % 2));
                    pooled.values.push(window.fold(f64::NEG_INFINITY, f64::max));
                }
            }
            pooled
        })
    }

    pub(crate) fn channel(&self, channel: usize) -> &[f64] {
        &self.values[channel * self.height * self.width..][..self.height * self.width]
    }

    pub(crate) fn max_pooled(&self) -> Vec<f64> {
        (0..self.channels)
            .map(|channel| self.channel(channel).iter().copied().fold(f64::NEG_INFINITY, f64::max))
            .collect()
    }

    pub(crate) fn mean_pooled(&self) -> Vec<f64> {
        (0..self.channels)
            .map(|channel| self.channel(channel).iter().sum::<f64>() / (self.height * self.width) as f64)
            .collect()
    }

    /// In the order row, column, channel.
    pub(crate) fn flattened(&self) -> Vec<f64> {
        let pixels = self.height * self.width;
        (0..pixels * self.channels)
            .map(|index| self.values[index % self.channels * pixels + index / self.channels])
            .collect()
    }
}

/// `|found - expected| / |expected|`, Euclidean.
pub(crate) fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let squares = found.iter().zip(expected).map(|(&found, &expected)| (f64::from(found) - expected).powi(2));
    (squares.sum::<f64>() / expected.iter().map(|value| value * value).sum::<f64>()).sqrt()
}
