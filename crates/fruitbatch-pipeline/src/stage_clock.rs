//! The time that each stage of a run takes.

use std::time::{Duration, Instant};

use crate::events::{Event, Observer, Stage};
use crate::outputs::StageSeconds;

/// Takes the time of the stages.
pub(crate) struct StageClock<'a> {
    observer: &'a dyn Observer,
    began: Instant,
    current: Option<(Stage, Instant)>,
    finished: Vec<StageSeconds>,
}

impl<'a> StageClock<'a> {
    pub(crate) fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, began: Instant::now(), current: None, finished: Vec::new() }
    }

    pub(crate) fn enter(&mut self, stage: Stage) {
        self.leave();
        self.current = Some((stage, Instant::now()));
        self.observer.observe(Event::StageStarted { stage });
    }

    fn leave(&mut self) {
        if let Some((stage, began)) = self.current.take() {
            let took = began.elapsed();
            self.finished.push(StageSeconds { stage: stage.name().to_owned(), seconds: took.as_secs_f64() });
            self.observer.observe(Event::StageFinished { stage, took });
        }
    }

    pub(crate) fn current_took(&self) -> Duration {
        self.current.map_or(Duration::ZERO, |(_, began)| began.elapsed())
    }

    pub(crate) fn finish(&mut self) -> Vec<StageSeconds> {
        self.leave();
        self.finished.clone()
    }

    pub(crate) fn total(&self) -> Duration {
        self.began.elapsed()
    }
}
