//! How many photos a second a machine does: measured with the real model, and kept in the cache folder.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fruitbatch_vision::cache::write_atomically;
use fruitbatch_vision::{EmbedError, EmbedSpec, ModelDigest, ModelSessions, PhotoOutcome};
use serde::{Deserialize, Serialize};

use crate::lineage::now;
use crate::processor::Processor;

/// The file in the cache folder.
const RATES: &str = "rates.json";
/// The version of its format.
const FORMAT_VERSION: u32 = 1;

/// What a processor was seen to do with a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRate {
    /// The model.
    pub model: ModelDigest,
    /// The size that photos were inferred at: the side of a square in pixels, or `native`.
    pub image_size: String,
    /// The processor.
    pub processor: String,
    /// Cores of it that were used.
    pub cores: usize,
    /// Photos a second, by all of them.
    pub photos_per_second: f64,
    /// The same, a core.
    pub photos_per_second_per_core: f64,
    /// When (UTC, RFC 3339).
    pub measured_at: String,
    /// By which version of fruitbatch.
    pub fruitbatch: String,
}

#[derive(Serialize, Deserialize)]
struct RatesFile {
    version: u32,
    rates: Vec<MeasuredRate>,
}

impl MeasuredRate {
    /// Runs the model on `photos`, over and over, for about `time`, as the tasks of a run do: in `slots` threads that
    /// decode on their own and share the model. Loading the model and the first batch don't count.
    ///
    /// # Errors
    /// The model is missing, damaged, or fails.
    pub fn measure(
        sessions: &ModelSessions,
        spec: &EmbedSpec,
        photos: &[Vec<u8>],
        slots: NonZeroUsize,
        time: Duration,
    ) -> Result<Self, EmbedError> {
        let batch_size = spec.photos_at_a_time();
        let embed = |first: usize| {
            let batch = photos.iter().cycle().skip(first % photos.len().max(1)).take(batch_size);
            let embedded = sessions.embed_photos(spec, batch.map(|photo| Some(photo.as_slice())))?;
            let usable = |outcome: &&PhotoOutcome| **outcome == PhotoOutcome::Embedded;
            Ok::<_, EmbedError>(embedded.outcomes.iter().filter(usable).count() as u64)
        };
        embed(0)?;
        let done = AtomicU64::new(0);
        let began = Instant::now();
        std::thread::scope(|scope| {
            let work = |slot: usize| {
                let mut first = slot * batch_size;
                while began.elapsed() < time {
                    done.fetch_add(embed(first)?, Ordering::Relaxed);
                    first += batch_size;
                }
                Ok(())
            };
            let slots: Vec<_> = (0..slots.get()).map(|slot| scope.spawn(move || work(slot))).collect();
            slots
                .into_iter()
                .map(|slot| slot.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Result<Vec<()>, EmbedError>>()
        })?;
        let processor = Processor::this();
        let cores = processor.cores.min(slots).get();
        let photos_per_second = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        Ok(Self {
            model: spec.digest,
            image_size: spec.image_size.to_string(),
            processor: processor.name,
            cores,
            photos_per_second: rounded(photos_per_second),
            photos_per_second_per_core: rounded(photos_per_second / cores as f64),
            measured_at: now(),
            fruitbatch: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Keeps it in the cache folder `cache`, in place of an earlier one of the same model, size and processor. Returns
    /// the file.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(self, cache: &Path) -> io::Result<PathBuf> {
        let mut rates = read(cache);
        rates.retain(|kept| !(kept.is_of(&self.model, &self.image_size) && kept.processor == self.processor));
        rates.push(self);
        let mut text = serde_json::to_vec_pretty(&RatesFile { version: FORMAT_VERSION, rates })?;
        text.push(b'\n');
        let file = cache.join(RATES);
        write_atomically(&file, &text)?;
        Ok(file)
    }

    /// What was kept for a model at a size: measured on this processor, else on the one that was measured last.
    pub fn find(cache: &Path, spec: &EmbedSpec) -> Option<Self> {
        let here = Processor::this().name;
        let image_size = spec.image_size.to_string();
        read(cache)
            .into_iter()
            .filter(|rate| rate.is_of(&spec.digest, &image_size))
            .max_by_key(|rate| (rate.processor == here, rate.measured_at.clone()))
    }

    fn is_of(&self, model: &ModelDigest, image_size: &str) -> bool {
        self.model == *model && self.image_size == image_size
    }
}

/// The rates in the cache folder. A file that can't be understood is as good as none: it is measured anew in seconds.
fn read(cache: &Path) -> Vec<MeasuredRate> {
    let Ok(text) = std::fs::read(cache.join(RATES)) else { return Vec::new() };
    match serde_json::from_slice::<RatesFile>(&text) {
        Ok(file) if file.version == FORMAT_VERSION => file.rates,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "the measured rates in the cache folder can't be read");
            Vec::new()
        }
    }
}

/// To three decimals: more isn't measured.
fn rounded(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use fruitbatch_vision::{Catalogue, EmbedOptions};

    use super::*;

    fn rate(processor: &str, image_size: &str, photos_per_second: f64, day: u32) -> MeasuredRate {
        MeasuredRate {
            model: spec().digest,
            image_size: image_size.to_owned(),
            processor: processor.to_owned(),
            cores: 1,
            photos_per_second,
            photos_per_second_per_core: photos_per_second,
            measured_at: format!("2026-01-{day:02}T00:00:00Z"),
            fruitbatch: String::new(),
        }
    }

    fn spec() -> EmbedSpec {
        EmbedSpec::resolve(&Catalogue::compiled_in(), &EmbedOptions::new("vgg16")).unwrap()
    }

    #[test]
    fn the_rate_of_this_processor_comes_before_a_newer_one_of_another() {
        let cache = tempfile::tempdir().unwrap();
        let found = || MeasuredRate::find(cache.path(), &spec()).map(|rate| rate.photos_per_second);
        assert_eq!(found(), None);
        rate("other", "100", 9.0, 9).save(cache.path()).unwrap();
        assert_eq!(found(), None, "another size is another rate");
        rate("other", "224", 1.0, 1).save(cache.path()).unwrap();
        rate("another", "224", 2.0, 2).save(cache.path()).unwrap();
        assert_eq!(found(), Some(2.0));
        let here = Processor::this().name;
        rate(&here, "224", 3.0, 1).save(cache.path()).unwrap();
        assert_eq!(found(), Some(3.0));
        rate(&here, "224", 4.0, 1).save(cache.path()).unwrap();
        assert_eq!(found(), Some(4.0), "measured again, the old one goes");
        assert_eq!(read(cache.path()).len(), 4);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let cache = tempfile::tempdir().unwrap();
        std::fs::write(cache.path().join(RATES), "not JSON").unwrap();
        assert_eq!(MeasuredRate::find(cache.path(), &spec()), None);
        rate("any", "224", 1.0, 1).save(cache.path()).unwrap();
        assert!(MeasuredRate::find(cache.path(), &spec()).is_some());
    }
}
