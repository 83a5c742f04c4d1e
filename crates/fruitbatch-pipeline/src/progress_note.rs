//! How far a run is, kept for those who ask from outside.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::events::{Event, Observer, Stage};

/// How far a run was when its driver last wrote it down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProgressNote {
    /// The stage it is in.
    pub stage: Stage,
    /// Photos listed; none before they are.
    pub total: Option<usize>,
    /// Photos done, committed or not, those of earlier runs included.
    pub done: usize,
    /// Photos booked as failed.
    pub failed: usize,
    /// How fast, over the last minute; none before there is anything to go by.
    pub photos_per_second: Option<f64>,
    /// Executors at work on it.
    pub executors: usize,
    /// Tasks that they can run at a time.
    pub slots: usize,
}

impl ProgressNote {
    /// How long it will take to do the photos that are left, at the present rate.
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.total?.saturating_sub(self.done);
        Some(left as f64 / self.photos_per_second?)
    }
}

/// Passes events on, and takes note of how far the run is.
pub(crate) struct NotingObserver<'a> {
    observer: &'a dyn Observer,
    note: SharedNote,
}

/// The note, for whoever writes it down.
#[derive(Debug, Clone)]
pub(crate) struct SharedNote(Arc<Mutex<ProgressNote>>);

impl SharedNote {
    pub(crate) fn get(&self) -> ProgressNote {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<'a> NotingObserver<'a> {
    pub(crate) fn new(observer: &'a dyn Observer) -> Self {
        let note = ProgressNote {
            stage: Stage::List,
            total: None,
            done: 0,
            failed: 0,
            photos_per_second: None,
            executors: 0,
            slots: 0,
        };
        Self { observer, note: SharedNote(Arc::new(Mutex::new(note))) }
    }

    pub(crate) fn shared_note(&self) -> SharedNote {
        self.note.clone()
    }
}

impl Observer for NotingObserver<'_> {
    fn observe(&self, event: Event) {
        {
            let mut note = self.note.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &event {
                Event::StageStarted { stage } => note.stage = *stage,
                Event::Listed { photos, committed, .. } => {
                    note.total = Some(*photos);
                    note.done = *committed;
                }
                Event::Progress { done, failed, photos_per_second, .. } => {
                    note.done = *done;
                    note.failed = *failed;
                    note.photos_per_second = *photos_per_second;
                }
                Event::Fleet { executors } => {
                    note.executors = executors.len();
                    note.slots = executors.iter().map(|executor| executor.slots as usize).sum();
                }
                Event::StageFinished { .. }
                | Event::StageProgress { .. }
                | Event::ChunkCommitted { .. }
                | Event::Warning { .. } => {}
            }
        }
        self.observer.observe(event);
    }
}
