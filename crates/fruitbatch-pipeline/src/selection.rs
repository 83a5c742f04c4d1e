//! From INPUT's listing to the photos of this run.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use fruitbatch_storage::{Location, SkippedCounts, Storage};
use sha2::{Digest, Sha256};

use crate::config::{RunPlan, STANDARD_INPUT, SplitFrom};
use crate::error::{ConfigError, RunError};
use crate::labels::split_of;

/// A photo that this run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Path relative to INPUT.
    pub path: String,
    /// Size in bytes.
    pub length: u64,
    /// Last modification, microseconds since 1970 (UTC).
    pub modification_time: i64,
    /// The version of the photo that was listed.
    pub etag: String,
    /// Its label, if any.
    pub label: Option<String>,
    /// Its split (Training, Test or Validation), if any.
    pub split: Option<&'static str>,
}

/// The photos of a run, sorted by path.
#[derive(Debug, Clone)]
pub struct Selection {
    /// What the photos' paths are relative to: INPUT, or the last fixed folder of a glob.
    pub root: Location,
    /// Sorted by path, every path once.
    pub photos: Vec<Photo>,
    /// What the listing left out, by kind.
    pub skipped: SkippedCounts,
}

impl Selection {
    /// Lists INPUT and applies `--files-from`, `--limit`, the labels and the split.
    ///
    /// # Errors
    /// Storage errors; a `--files-from` that can't be read or names photos that aren't listed; [`RunError::NoPhotos`].
    pub async fn list(plan: &RunPlan, storage: &Storage) -> Result<Self, RunError> {
        let listing = storage.list(&plan.input, &plan.list_options).await?;
        let wanted = plan.config.files_from.as_deref().map(read_files_from).transpose()?;
        let mut photos: Vec<Photo> = listing
            .photos
            .into_iter()
            .filter(|photo| wanted.as_ref().is_none_or(|wanted| wanted.contains(&photo.path)))
            .map(|photo| Photo {
                label: plan.label_source.label_of(&photo.path),
                split: match plan.config.split_from {
                    SplitFrom::None => None,
                    SplitFrom::Path => split_of(&photo.path),
                },
                path: photo.path,
                length: photo.length,
                modification_time: photo.modification_time,
                etag: photo.etag,
            })
            .collect();
        if let Some(mut missing) = wanted {
            for photo in &photos {
                missing.remove(&photo.path);
            }
            if let Some(first) = missing.iter().min() {
                return Err(ConfigError::invalid(
                    "files-from",
                    format!(
                        "{} of its paths are not among the photos under `{}`, the first: `{first}`",
                        missing.len(),
                        plan.input
                    ),
                )
                .into());
            }
        }
        if let Some(limit) = plan.config.limit {
            photos.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        if photos.is_empty() {
            let hint = if plan.config.glob.is_some()
                || plan.config.modified_after.is_some()
                || plan.config.modified_before.is_some()
            {
                ": the filters (--glob, --modified-before, --modified-after) leave none"
            } else {
                ": is it the right folder or prefix?"
            };
            return Err(RunError::NoPhotos { input: plan.input.to_string(), hint: hint.to_owned() });
        }
        Ok(Self { root: listing.root, photos, skipped: listing.skipped })
    }

    /// Takes photos over in the version in which they were read in the end, by path.
    pub(crate) fn adopt(&mut self, mut newer: HashMap<String, Photo>) {
        if newer.is_empty() {
            return;
        }
        for photo in &mut self.photos {
            if let Some(newer) = newer.remove(&photo.path) {
                *photo = newer;
            }
        }
    }

    /// The photos' size together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.photos.iter().map(|photo| photo.length).sum()
    }

    /// SHA-256 over path, etag and length of all photos, in path order: the same photos give the same digest.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for photo in &self.photos {
            for field in [photo.path.as_bytes(), photo.etag.as_bytes(), &photo.length.to_le_bytes()] {
                hasher.update((field.len() as u64).to_le_bytes());
                hasher.update(field);
            }
        }
        format!("sha256:{}", hex::encode(hasher.finalize()))
    }
}

fn read_files_from(file: &str) -> Result<HashSet<String>, ConfigError> {
    let text = if file == STANDARD_INPUT {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text =
        text.map_err(|error| ConfigError::invalid("files-from", format!("`{file}` can't be read: {error}")))?;
    Ok(text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
