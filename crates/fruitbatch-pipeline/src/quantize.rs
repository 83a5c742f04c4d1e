//! A model in integers, made with photos of the user's own, and how true it is to the one it was made of.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fruitbatch_learn::{ClusterCount, Components, LearnSpec, fit};
use fruitbatch_storage::{
    ListOptions, ListedPhoto, Location, LocationError, ReadError, Storage, StorageError,
};
use fruitbatch_vision::cache::store_model;
use fruitbatch_vision::{
    CachedModelFiles, Catalogue, CatalogueEntry, CatalogueError, Convolution, EmbedError, EmbedOptions,
    EmbedSpec, EmbedSpecError, ImageSize, ModelDigest, ModelFileError, ModelSessions, PhotoOutcome,
    Precision, QuantizeError, Quantized, WeightBits, calibrate, quantized_model, read_checked,
};
use ndarray::ArrayView2;

/// A photo larger than this is left out of the sample.
const MAX_PHOTO_BYTES: u64 = 256 << 20;
/// Clusters in which photos without labels are compared.
const CLUSTERS_WITHOUT_LABELS: usize = 8;
/// Components before clustering, as in a run.
const N_COMPONENTS: usize = 10;

/// What is to be quantised, and with what.
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// The model's name in the catalogue.
    pub model: String,
    /// What the result will be called.
    pub name: String,
    /// Where photos lie that are like those it will be run on.
    pub input: String,
    /// So many are calibrated with, and as many others held back to see what was lost.
    pub samples: NonZeroUsize,
    /// The size that photos are inferred at.
    pub image_size: ImageSize,
    /// How fine weights are.
    pub bits: WeightBits,
}

/// Why there is no quantised model.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeRunError {
    /// The model isn't known, or the result can't be called that.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The options don't go with the model.
    #[error(transparent)]
    EmbedSpec(#[from] EmbedSpecError),
    /// Its file isn't here.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// INPUT is no place.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// INPUT can't be listed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A photo can't be read, for a reason that isn't the photo's.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It can't be quantised.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// One of the two models fails.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The result can't be stored.
    #[error("the model can't be stored in {}: {source}", folder.display())]
    Store {
        /// The cache folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Too few photos to calibrate with some and look at others.
    #[error(
        "{found} photos under `{input}` can be read, and calibrating takes 2 at least, better 256: name another --calibrate"
    )]
    TooFewPhotos {
        /// Where.
        input: String,
        /// How many.
        found: usize,
    },
}

impl QuantizeRunError {
    /// Whether the command itself is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Catalogue(_) | Self::EmbedSpec(_) | Self::Location(_))
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct QuantizedModel {
    /// Its entry, for the catalogue.
    pub entry: CatalogueEntry,
    /// Its file.
    pub stored: PathBuf,
    /// Photos that were calibrated with.
    pub calibrated_with: usize,
    /// What was lost.
    pub fidelity: Fidelity,
}

/// The features of a quantised model beside those of the model it was made of, over photos that it wasn't calibrated with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fidelity {
    /// Photos that were looked at.
    pub photos: usize,
    /// The mean cosine of the two vectors of a photo: 1 is the same direction.
    pub mean_cosine: f64,
    /// The least.
    pub worst_cosine: f64,
    /// The share of photos in the same cluster, with scaler, PCA and centres fitted to the features in single precision; none if
    /// there are too few photos to cluster.
    pub same_cluster: Option<f64>,
}

/// Calibrates, quantises, stores and compares.
///
/// # Errors
/// See [`QuantizeRunError`].
pub async fn quantize(
    storage: &Storage,
    catalogue: &Catalogue,
    cache: &Path,
    options: &QuantizeOptions,
    threads: NonZeroUsize,
) -> Result<QuantizedModel, QuantizeRunError> {
    let parent = catalogue.get(&options.model)?;
    let embed_options = EmbedOptions { image_size: options.image_size, ..EmbedOptions::new(&options.model) };
    // As exactly as there is a way: what is compared with.
    let spec =
        EmbedSpec { convolution: Convolution::Direct, ..EmbedSpec::resolve(catalogue, &embed_options)? };
    let files = Arc::new(CachedModelFiles::new(cache));
    let canonical = read_checked(&*files, &parent.digest)?;
    let (calibrating, held_back) = sample(storage, options).await?;
    let photos: Vec<Bytes> = calibrating.into_iter().map(|(_, photo)| photo).collect();
    let calibration = calibrate(canonical.clone(), &spec, &photos, threads.get())?;
    let quantized = quantized_model(canonical, &calibration, options.bits)?;
    let digest = ModelDigest::of(&quantized);
    let stored = store_model(cache, &digest, &quantized)
        .map_err(|source| QuantizeRunError::Store { folder: cache.to_owned(), source })?;
    let entry = CatalogueEntry {
        name: options.name.clone(),
        description: format!("{} in 8-bit integers", parent.name),
        digest,
        quantized: Some(Quantized { from: parent.digest, weight_bits: options.bits }),
        sources: Vec::new(),
        ..parent.clone()
    };
    let mut with_it = catalogue.clone();
    with_it.add(entry.clone());
    let in_integers =
        EmbedOptions { precision: Precision::Int8, model: options.name.clone(), ..embed_options };
    let int8 = EmbedSpec::resolve(&with_it, &in_integers)?;
    let sessions = ModelSessions::new(files, with_it, threads);
    let fidelity = compare(&sessions, &spec, &int8, &held_back, threads)?;
    Ok(QuantizedModel { entry, stored, calibrated_with: calibration.photos, fidelity })
}

type Photos = Vec<(String, Bytes)>;

/// Photos from all over INPUT, by turns to calibrate with and to be held back.
async fn sample(storage: &Storage, options: &QuantizeOptions) -> Result<(Photos, Photos), QuantizeRunError> {
    let input: Location = options.input.parse()?;
    let listing = storage.list(&input, &ListOptions::default()).await?;
    let reader = storage.reader(&listing.root).await?;
    let wanted = options.samples.get().saturating_mul(2).min(listing.photos.len());
    let chosen: Vec<&ListedPhoto> =
        (0..wanted).map(|index| &listing.photos[index * listing.photos.len() / wanted]).collect();
    let mut read = Vec::with_capacity(wanted);
    for photo in chosen {
        match reader.read(&photo.path, Some(&photo.etag), MAX_PHOTO_BYTES).await {
            Ok(content) => read.push((photo.path.clone(), content)),
            Err(error) if error.kind().concerns_only_this_photo() => {
                tracing::warn!(path = photo.path, %error, "left out of the sample");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if read.len() < 2 {
        let input = options.input.clone();
        return Err(QuantizeRunError::TooFewPhotos { input, found: read.len() });
    }
    let (mut calibrating, mut held_back) = (Vec::new(), Vec::new());
    for (index, photo) in read.into_iter().enumerate() {
        if index % 2 == 0 { calibrating.push(photo) } else { held_back.push(photo) }
    }
    Ok((calibrating, held_back))
}

fn compare(
    sessions: &ModelSessions,
    single: &EmbedSpec,
    int8: &EmbedSpec,
    photos: &[(String, Bytes)],
    threads: NonZeroUsize,
) -> Result<Fidelity, EmbedError> {
    let embed = |spec: &EmbedSpec| {
        sessions.embed_photos(spec, photos.iter().map(|(_, content)| Some(content.as_ref())))
    };
    let (expected, found) = (embed(single)?, embed(int8)?);
    let width = single.width as usize;
    let usable: Vec<usize> =
        (0..photos.len()).filter(|&row| expected.outcomes[row] == PhotoOutcome::Embedded).collect();
    let rows = |features: &[f32]| -> Vec<f32> {
        usable.iter().flat_map(|row| features[row * width..][..width].iter().copied()).collect()
    };
    let (expected, found) = (rows(&expected.features), rows(&found.features));
    let cosines: Vec<f64> = expected
        .chunks_exact(width)
        .zip(found.chunks_exact(width))
        .map(|(expected, found)| cosine(expected, found))
        .collect();
    let labels: BTreeSet<&str> =
        usable.iter().filter_map(|&row| Some(photos[row].0.rsplit_once('/')?.0)).collect();
    let clusters = if labels.len() > 1 { labels.len() } else { CLUSTERS_WITHOUT_LABELS };
    Ok(Fidelity {
        photos: usable.len(),
        mean_cosine: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
        worst_cosine: cosines.iter().copied().fold(1.0, f64::min),
        same_cluster: same_cluster(&expected, &found, width, clusters, threads),
    })
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { f64::from(u8::from(a == b)) }
}

/// None where there are too few photos, or features that can't be clustered.
fn same_cluster(
    expected: &[f32],
    found: &[f32],
    width: usize,
    clusters: usize,
    threads: NonZeroUsize,
) -> Option<f64> {
    let photos = expected.len() / width;
    let view = |features| ArrayView2::from_shape((photos, width), features).ok();
    let (expected, found) = (view(expected)?, view(found)?);
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(N_COMPONENTS.min(photos.saturating_sub(1)).min(width));
    spec.kmeans.n_clusters = ClusterCount::Count(clusters);
    let fitted = fit(expected, None, None, &spec, threads).ok()?;
    let placed = fitted.model.predict_rows(found, threads).ok()?;
    let same = fitted.clusters.iter().zip(&placed.clusters).filter(|(a, b)| a == b).count();
    Some(same as f64 / photos as f64)
}
