//! What this process has done so far, for progress, for the report and for Prometheus.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fruitbatch_image::DecodeError;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::prepared_photo::TOO_SMALL;

type Labels = [(&'static str, &'static str); 1];

const EMBEDDED: Labels = [("outcome", "embedded")];
const FAILED: Labels = [("outcome", "failed")];

/// Running totals, added to by every slot of the process.
#[derive(Debug)]
pub(crate) struct Counters {
    photos: Family<Labels, Counter>,
    /// By reason, beside the same in `failures`, which can be read back.
    failures_by_reason: Family<Labels, Counter>,
    failures: Mutex<BTreeMap<&'static str, u64>>,
    decode: Times,
    inference: Times,
}

/// A histogram and its sum, which the histogram itself doesn't tell.
#[derive(Debug)]
struct Times {
    seconds: Histogram,
    nanoseconds: AtomicU64,
}

impl Times {
    /// Buckets of `first` seconds, twice as much, and so on.
    fn new(first: f64) -> Self {
        Self { seconds: Histogram::new(exponential_buckets(first, 2.0, 14)), nanoseconds: AtomicU64::new(0) }
    }

    fn add(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            photos: Family::default(),
            failures_by_reason: Family::default(),
            failures: Mutex::default(),
            // From a thumbnail of half a millisecond to a panorama of four seconds.
            decode: Times::new(0.0005),
            // From a small model on many cores to the largest batch of photos in their own size.
            inference: Times::new(0.01),
        }
    }
}

/// The totals at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CounterSnapshot {
    /// Photos that have features.
    pub photos_embedded: u64,
    /// Photos that have none, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Seconds spent decoding, resizing and preprocessing, summed over slots.
    pub decode_seconds: f64,
    /// Seconds spent in the model.
    pub inference_seconds: f64,
}

impl CounterSnapshot {
    /// Photos dealt with, with features or without.
    pub fn photos_done(&self) -> u64 {
        self.photos_embedded + self.failures.values().sum::<u64>()
    }
}

impl Counters {
    pub(crate) fn register(&self, registry: &mut Registry) {
        // All are there from the start: a rate over a series that begins with its first event misses that event.
        for labels in [EMBEDDED, FAILED] {
            drop(self.photos.get_or_create(&labels));
        }
        for reason in DecodeError::REASONS.into_iter().chain([TOO_SMALL]) {
            drop(self.failures_by_reason.get_or_create(&[("reason", reason)]));
        }
        registry.register("fruitbatch_photos", "Photos by what became of them", self.photos.clone());
        registry.register(
            "fruitbatch_failures",
            "Photos that could not be used, by reason",
            self.failures_by_reason.clone(),
        );
        registry.register_with_unit(
            "fruitbatch_decode",
            "Decoding, resizing and preprocessing of a photo",
            Unit::Seconds,
            self.decode.seconds.clone(),
        );
        registry.register_with_unit(
            "fruitbatch_inference",
            "One run of the model over a mini-batch",
            Unit::Seconds,
            self.inference.seconds.clone(),
        );
    }

    pub(crate) fn add_embedded(&self, photos: usize) {
        self.photos.get_or_create(&EMBEDDED).inc_by(photos as u64);
    }

    pub(crate) fn add_failure(&self, reason: &'static str) {
        self.photos.get_or_create(&FAILED).inc();
        self.failures_by_reason.get_or_create(&[("reason", reason)]).inc();
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(crate) fn add_decode_time(&self, time: Duration) {
        self.decode.add(time);
    }

    pub(crate) fn add_inference_time(&self, time: Duration) {
        self.inference.add(time);
    }

    pub(crate) fn snapshot(&self) -> CounterSnapshot {
        CounterSnapshot {
            photos_embedded: self.photos.get_or_create(&EMBEDDED).get(),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            decode_seconds: self.decode.sum_seconds(),
            inference_seconds: self.inference.sum_seconds(),
        }
    }
}
