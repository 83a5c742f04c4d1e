//! The page on which a run or a fleet is watched: one HTML file without anything from elsewhere, and the JSON it shows.
//!
//! [`page_routes`] takes whatever gives the [`View`] of this moment and knows nothing of where it comes from. `GET /` is
//! the page, `GET /api/state` the view as JSON; the page asks for it every second. Nothing can be changed from here, and
//! nothing is authenticated: keep the port on loopback, or behind something that authenticates.
//!
//! # Example
//! ```
//! use fruitbatch_ui::{View, page_routes};
//!
//! let router = page_routes(|| View::new("scheduler at df://127.0.0.1:50050"));
//! # let _: axum::Router = router;
//! ```

use std::collections::BTreeMap;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

/// All that the page shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct View {
    /// What is watched, in words.
    pub title: String,
    /// The version of the program.
    pub version: &'static str,
    /// The run; none where a scheduler is watched.
    pub run: Option<RunView>,
    /// Who does the work.
    pub executors: Vec<ExecutorView>,
    /// The scheduler's own counts; none where a run is watched.
    pub scheduler: Option<SchedulerView>,
    /// What people should know, the latest last.
    pub warnings: Vec<String>,
}

impl View {
    /// Nothing but a title yet.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            run: None,
            executors: Vec::new(),
            scheduler: None,
            warnings: Vec::new(),
        }
    }
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunView {
    /// INPUT.
    pub input: String,
    /// OUT.
    pub output: String,
    /// The stage it is in: list, start, extract, fit, write.
    pub stage: String,
    /// Seconds since it was started.
    pub seconds: f64,
    /// Photos listed; none before they are.
    pub total: Option<usize>,
    /// Photos done, those of earlier runs included.
    pub done: usize,
    /// Photos booked as failed.
    pub failed: usize,
    /// Those that failed in this run, by reason.
    pub failures: BTreeMap<String, usize>,
    /// How fast, over the last minute.
    pub photos_per_second: Option<f64>,
    /// How long the photos that are left take at that rate.
    pub seconds_left: Option<f64>,
    /// The rate over time, the latest last.
    pub rates: Vec<f64>,
    /// How far those are apart.
    pub rate_interval_seconds: u64,
    /// The latest committed chunks, the latest last.
    pub chunks: Vec<ChunkView>,
    /// Chunks committed in this run.
    pub chunks_committed: usize,
}

/// A committed chunk.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChunkView {
    /// Photos in it.
    pub photos: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How long it took.
    pub seconds: f64,
}

/// An executor.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExecutorView {
    /// Its machine.
    pub host: String,
    /// Its identity since it joined.
    pub id: String,
    /// Tasks that it can run at a time.
    pub slots: u32,
    /// Tasks that it runs.
    pub running_tasks: u32,
    /// Cores that it keeps busy.
    pub busy_cores: f32,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Photos it has done since it joined.
    pub photos: u64,
    /// Whether it is about to leave.
    pub draining: bool,
}

/// What only a scheduler knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SchedulerView {
    /// Jobs that somebody still wants something of.
    pub open_jobs: usize,
    /// Tasks that wait for a free slot.
    pub pending_tasks: u64,
    /// Photos done since it started.
    pub photos: u64,
    /// Their files' bytes.
    pub bytes: u64,
}

const PAGE: &str = include_str!("page.html");

/// The page and its JSON, showing what `view` gives.
pub fn page_routes(view: impl Fn() -> View + Clone + Send + Sync + 'static) -> Router {
    let page = || async {
        let headers = [
            // Nothing is loaded from elsewhere, and nobody may show the page inside another one.
            (
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:",
            ),
            (X_FRAME_OPTIONS, "DENY"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (headers, Html(PAGE))
    };
    let state = move || async move { ([(CACHE_CONTROL, "no-store")], Json(view())) };
    Router::new().route("/", get(page)).route("/api/state", get(state))
}
