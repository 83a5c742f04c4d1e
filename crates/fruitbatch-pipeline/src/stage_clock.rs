//! The time that each stage of a run takes.

use std::time::{Duration, Instant};

use crate::events::{Event, Observer, Stage};
use crate::lineage::now;
use crate::outputs::StageSeconds;

/// Takes the time of the stages.
pub(crate) struct StageClock<'a> {
    observer: &'a dyn Observer,
    began: Instant,
    /// UTC, RFC 3339.
    began_at: String,
    current: Option<CurrentStage>,
    finished: Vec<StageSeconds>,
}

struct CurrentStage {
    stage: Stage,
    began: Instant,
    /// Ends with it.
    _span: tracing::Span,
}

impl<'a> StageClock<'a> {
    pub(crate) fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, began: Instant::now(), began_at: now(), current: None, finished: Vec::new() }
    }

    /// When it began (UTC, RFC 3339).
    pub(crate) fn began_at(&self) -> &str {
        &self.began_at
    }

    /// Begins a stage, unless that is the one which goes on.
    pub(crate) fn enter(&mut self, stage: Stage) {
        if self.current.as_ref().is_some_and(|current| current.stage == stage) {
            return;
        }
        self.leave();
        self.current = Some(CurrentStage {
            stage,
            began: Instant::now(),
            _span: tracing::info_span!("stage", otel.name = stage.name()),
        });
        self.observer.observe(Event::StageStarted { stage });
    }

    fn leave(&mut self) {
        if let Some(CurrentStage { stage, began, .. }) = self.current.take() {
            let took = began.elapsed();
            self.finished.push(StageSeconds { stage: stage.name().to_owned(), seconds: took.as_secs_f64() });
            self.observer.observe(Event::StageFinished { stage, took });
        }
    }

    /// The stages that are done.
    pub(crate) fn so_far(&self) -> Vec<StageSeconds> {
        self.finished.clone()
    }

    pub(crate) fn current_took(&self) -> Duration {
        self.current.as_ref().map_or(Duration::ZERO, |current| current.began.elapsed())
    }

    pub(crate) fn finish(&mut self) -> Vec<StageSeconds> {
        self.leave();
        self.finished.clone()
    }

    pub(crate) fn total(&self) -> Duration {
        self.began.elapsed()
    }
}
