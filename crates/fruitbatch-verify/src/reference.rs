//! The reference: what Pillow, Keras and scikit-learn make of the same photos.

use std::path::Path;

use serde::Deserialize;

use crate::features::Features;
use crate::runs::VerifyError;

/// The reference for one image size.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) features: Features,
    pub(crate) figures: Figures,
}

/// What scikit-learn makes of the reference features.
#[derive(Debug, Deserialize)]
pub(crate) struct Figures {
    pub(crate) n: u64,
    pub(crate) size: u32,
    pub(crate) explained_variance_ratio_first10: Vec<f64>,
    pub(crate) kmeans_inertia_best_of_20: f64,
    pub(crate) ari: f64,
    pub(crate) nmi: f64,
}

impl Reference {
    /// Reads the reference for photos of `size` pixels a side.
    pub(crate) fn read(shared: &Path, size: u32) -> Result<Self, VerifyError> {
        let folder = shared.join("reference");
        let file = folder.join(format!("fruits-928_{size}.json"));
        let text = std::fs::read(&file).map_err(|source| VerifyError::Read { file: file.clone(), source })?;
        let figures = serde_json::from_slice(&text)
            .map_err(|error| VerifyError::Unexpected(format!("`{}`: {error}", file.display())))?;
        let features = Features::read([folder.join(format!("fruits-928_features_{size}.parquet"))])?;
        Ok(Self { features, figures })
    }
}
