//! What a run tells while it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use fruitbatch_cluster::FleetExecutor;

/// A stage of a run, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// INPUT is listed.
    List,
    /// The engine starts and the model is loaded.
    Start,
    /// Photos become features.
    Extract,
    /// Scaler, PCA and `KMeans` are fitted.
    Fit,
    /// The photos are mapped, and the report is drawn.
    Report,
    /// The outputs are written.
    Write,
}

impl Stage {
    /// The stage's name in metrics.json and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Start => "start",
            Self::Extract => "extract",
            Self::Fit => "fit",
            Self::Report => "report",
            Self::Write => "write",
        }
    }
}

/// Something that happened in a run, for whoever shows it to a person.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A stage begins.
    StageStarted {
        /// Which one.
        stage: Stage,
    },
    /// A stage is done.
    StageFinished {
        /// Which one.
        stage: Stage,
        /// How long it took.
        #[serde(serialize_with = "as_seconds", rename = "seconds")]
        took: Duration,
    },
    /// INPUT has been listed.
    Listed {
        /// Photos listed.
        photos: usize,
        /// Their size together.
        bytes: u64,
        /// How many of them are committed already, by an earlier run.
        committed: usize,
    },
    /// How far the photos are.
    Progress {
        /// Photos done, committed or not, those of earlier runs included.
        done: usize,
        /// Photos listed.
        total: usize,
        /// Photos booked as failed so far.
        failed: usize,
        /// How fast, over the last minute; none before there is anything to go by.
        photos_per_second: Option<f64>,
    },
    /// How far a stage is that takes long and isn't counted in photos.
    StageProgress {
        /// Which one.
        stage: Stage,
        /// Steps done.
        done: usize,
        /// Steps there are.
        total: usize,
    },
    /// Who does the work; told when one comes or goes, and every two seconds how busy they are.
    Fleet {
        /// The executors, by host name.
        executors: Vec<FleetExecutor>,
    },
    /// A chunk has been committed.
    ChunkCommitted {
        /// Photos in it.
        photos: usize,
        /// How many of them failed.
        failed: usize,
        /// Why, by reason.
        reasons: BTreeMap<String, usize>,
        /// How long it took.
        #[serde(serialize_with = "as_seconds", rename = "seconds")]
        took: Duration,
    },
    /// Something a person should know but that stops nothing.
    Warning {
        /// In words.
        message: String,
    },
}

impl Event {
    /// How long it takes to do the photos that are left, as progress tells; none where it doesn't.
    pub fn time_left(&self) -> Option<Duration> {
        let Self::Progress { done, total, photos_per_second: Some(rate), .. } = self else { return None };
        Duration::try_from_secs_f64(total.saturating_sub(*done) as f64 / rate).ok()
    }
}

fn as_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Receives the events of a run. Called from the driver's own task: it must not block.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn observe(&self, event: Event);
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _event: Event) {}
}
