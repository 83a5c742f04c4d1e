//! What this process has done so far, for progress and for the report.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Running totals, added to by every slot of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    photos_embedded: AtomicU64,
    decode_nanoseconds: AtomicU64,
    inference_nanoseconds: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
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
    pub(crate) fn add_embedded(&self, photos: usize) {
        self.photos_embedded.fetch_add(photos as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_failure(&self, reason: &'static str) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(crate) fn add_decode_time(&self, time: Duration) {
        self.decode_nanoseconds.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    pub(crate) fn add_inference_time(&self, time: Duration) {
        self.inference_nanoseconds.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> CounterSnapshot {
        let seconds =
            |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed)).as_secs_f64();
        CounterSnapshot {
            photos_embedded: self.photos_embedded.load(Ordering::Relaxed),
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            decode_seconds: seconds(&self.decode_nanoseconds),
            inference_seconds: seconds(&self.inference_nanoseconds),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
