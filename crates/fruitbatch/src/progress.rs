//! Progress on stderr: a bar for people at a terminal, plain lines where there is none, JSON lines for programs.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fruitbatch_pipeline::{Event, Observer, Stage};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle as BarStyle};

use crate::cli::ProgressStyle;

/// Without a terminal, a line this often at most.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The observer for a progress style.
pub(crate) fn observer(style: ProgressStyle) -> Box<dyn Observer> {
    match style {
        ProgressStyle::None => Box::new(WarningsOnly),
        ProgressStyle::Json => Box::new(JsonLines),
        ProgressStyle::Bar if std::io::stderr().is_terminal() => Box::new(Bar::new()),
        ProgressStyle::Bar => Box::new(PlainLines::default()),
    }
}

struct WarningsOnly;

impl Observer for WarningsOnly {
    fn observe(&self, event: Event) {
        if let Event::Warning { message } = event {
            eprintln!("warning: {message}");
        }
    }
}

struct JsonLines;

impl Observer for JsonLines {
    fn observe(&self, event: Event) {
        eprintln!("{}", serde_json::to_string(&event).expect("events hold nothing that JSON can't say"));
    }
}

struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    fn stage(&self, text: &'static str) {
        self.bar.set_message(text);
    }
}

impl Observer for Bar {
    fn observe(&self, event: Event) {
        match event {
            Event::Listed { photos, bytes, committed } => {
                eprintln!("{}", listed_line(photos, bytes, committed));
                if committed < photos {
                    self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                    self.bar.set_length(photos as u64);
                    self.bar.set_style(
                        BarStyle::with_template("{bar:32} {human_pos} of {human_len} photos, {msg}")
                            .expect("the template is fixed"),
                    );
                    self.stage("starting");
                }
            }
            Event::StageStarted { stage: Stage::Extract } => {
                self.bar.set_style(
                    BarStyle::with_template("{bar:32} {human_pos} of {human_len} photos{msg}")
                        .expect("the template is fixed"),
                );
                self.bar.set_message("");
            }
            Event::Progress { done, failed, photos_per_second, .. } => {
                self.bar.set_position(done as u64);
                self.bar.set_message(pace(photos_per_second, event.time_left(), failed));
            }
            Event::StageStarted { stage: Stage::Report } => {
                self.bar.reset();
                self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                self.bar.set_style(
                    BarStyle::with_template("{bar:32} {msg}, {eta} left").expect("the template is fixed"),
                );
                self.stage("mapping the photos");
            }
            Event::StageProgress { done, total, .. } => {
                self.bar.set_length(total as u64);
                self.bar.set_position(done as u64);
            }
            Event::StageFinished { stage: Stage::Extract | Stage::Report, .. } => self.bar.finish_and_clear(),
            Event::Warning { message } => self.bar.suspend(|| eprintln!("warning: {message}")),
            Event::StageStarted { .. }
            | Event::StageFinished { .. }
            | Event::ChunkCommitted { .. }
            | Event::Fleet { .. } => {}
        }
    }
}

#[derive(Default)]
struct PlainLines {
    told: Mutex<Option<Instant>>,
}

impl Observer for PlainLines {
    fn observe(&self, event: Event) {
        match event {
            Event::Listed { photos, bytes, committed } => {
                eprintln!("{}", listed_line(photos, bytes, committed));
            }
            Event::Progress { done, total, failed, photos_per_second } => {
                let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let now = Instant::now();
                let last_told = told.get_or_insert(now);
                if done < total && now.duration_since(*last_told) >= PLAIN_INTERVAL {
                    *last_told = now;
                    eprintln!(
                        "{} of {} photos{}",
                        HumanCount(done as u64),
                        HumanCount(total as u64),
                        pace(photos_per_second, event.time_left(), failed)
                    );
                }
            }
            Event::Warning { message } => eprintln!("warning: {message}"),
            Event::StageStarted { .. }
            | Event::StageFinished { .. }
            | Event::StageProgress { .. }
            | Event::ChunkCommitted { .. }
            | Event::Fleet { .. } => {}
        }
    }
}

/// How fast it goes, how long it will take, and how much of it failed.
fn pace(photos_per_second: Option<f64>, left: Option<Duration>, failed: usize) -> String {
    let rate = photos_per_second.map(|rate| format!(", {rate:.1} a second")).unwrap_or_default();
    let left = left.map(|left| format!(", {} left", HumanDuration(left))).unwrap_or_default();
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    format!("{rate}{left}{failed}")
}

fn listed_line(photos: usize, bytes: u64, committed: usize) -> String {
    let before = match committed {
        0 => String::new(),
        committed if committed == photos => ", all done by an earlier run".to_owned(),
        committed => format!(", {} of them done by an earlier run", HumanCount(committed as u64)),
    };
    format!("{} photos, {}{before}", HumanCount(photos as u64), HumanBytes(bytes))
}
