//! How fast photos are done at present.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over which time the rate is taken: long enough for the chunks' ups and downs, short enough to follow executors that come
/// and go.
const WINDOW: Duration = Duration::from_mins(1);
/// Samples are at least so far apart, so that there are never many.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// The rate over the last minute, or since the first photo.
#[derive(Debug, Default)]
pub(crate) struct RecentRate {
    samples: VecDeque<(Instant, usize)>,
}

impl RecentRate {
    /// Photos a second, now that `done` photos are done. None before there is anything to go by.
    pub(crate) fn update(&mut self, now: Instant, done: usize) -> Option<f64> {
        if self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE_INTERVAL) {
            self.samples.push_back((now, done));
        }
        // The oldest of them is the last one that is older than the window.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
        let (began, before) = *self.samples.front()?;
        let seconds = now.duration_since(began).as_secs_f64();
        let photos = done.saturating_sub(before);
        (photos > 0 && seconds > 0.0).then(|| photos as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_last_minutes() {
        let mut rate = RecentRate::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(rate.update(at(0), 1000), None, "what an earlier run did doesn't count");
        assert_eq!(rate.update(at(10), 1050), Some(5.0));
        // Ten times as fast from the tenth second on.
        for second in 11..=200 {
            rate.update(at(second), 1050 + 50 * (second as usize - 10));
        }
        assert_eq!(rate.update(at(201), 1050 + 50 * 191), Some(50.0));
        // And then nothing any more.
        assert_eq!(rate.update(at(1000), 1050 + 50 * 191), None);
        assert!(rate.samples.len() <= 62, "{} samples", rate.samples.len());
    }
}
