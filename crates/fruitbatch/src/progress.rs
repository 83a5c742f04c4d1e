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
    /// How many photos were done before this run: they count for the bar, not for the rate.
    resumed: Mutex<Option<u64>>,
}

impl Bar {
    fn new() -> Self {
        Self { bar: ProgressBar::hidden(), resumed: Mutex::new(None) }
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
                    BarStyle::with_template(
                        "{bar:32} {human_pos} of {human_len} photos, {per_sec:.1}, {eta} left{msg}",
                    )
                    .expect("the template is fixed")
                    .with_key(
                        "per_sec",
                        |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                            let _ = write!(out, "{:.1} a second", state.per_sec());
                        },
                    ),
                );
                self.bar.set_message("");
                self.bar.reset_elapsed();
                self.bar.reset_eta();
            }
            Event::Progress { done, failed, .. } => {
                let mut resumed = self.resumed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if resumed.is_none() {
                    *resumed = Some(done as u64);
                    self.bar.set_position(done as u64);
                    self.bar.reset_eta();
                }
                self.bar.set_position(done as u64);
                if failed > 0 {
                    self.bar.set_message(format!(", {failed} failed"));
                }
            }
            Event::StageFinished { stage: Stage::Extract, .. } => self.bar.finish_and_clear(),
            Event::Warning { message } => self.bar.suspend(|| eprintln!("warning: {message}")),
            Event::StageStarted { .. } | Event::StageFinished { .. } | Event::ChunkCommitted { .. } => {}
        }
    }
}

#[derive(Default)]
struct PlainLines {
    state: Mutex<PlainState>,
}

#[derive(Default)]
struct PlainState {
    began: Option<(Instant, usize)>,
    told: Option<Instant>,
}

impl Observer for PlainLines {
    fn observe(&self, event: Event) {
        match event {
            Event::Listed { photos, bytes, committed } => {
                eprintln!("{}", listed_line(photos, bytes, committed));
            }
            Event::Progress { done, total, failed } => {
                let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let now = Instant::now();
                let (began, done_before) = *state.began.get_or_insert((now, done));
                let last_told = state.told.get_or_insert(now);
                if done < total && now.duration_since(*last_told) >= PLAIN_INTERVAL {
                    *last_told = now;
                    let rate = (done - done_before) as f64 / now.duration_since(began).as_secs_f64();
                    let left = if rate > 0.0 {
                        format!(
                            ", {} left",
                            HumanDuration(Duration::from_secs_f64((total - done) as f64 / rate))
                        )
                    } else {
                        String::new()
                    };
                    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
                    eprintln!(
                        "{} of {} photos, {rate:.1} a second{left}{failed}",
                        HumanCount(done as u64),
                        HumanCount(total as u64)
                    );
                }
            }
            Event::Warning { message } => eprintln!("warning: {message}"),
            Event::StageStarted { .. } | Event::StageFinished { .. } | Event::ChunkCommitted { .. } => {}
        }
    }
}

fn listed_line(photos: usize, bytes: u64, committed: usize) -> String {
    let before = match committed {
        0 => String::new(),
        committed if committed == photos => ", all done by an earlier run".to_owned(),
        committed => format!(", {} of them done by an earlier run", HumanCount(committed as u64)),
    };
    format!("{} photos, {}{before}", HumanCount(photos as u64), HumanBytes(bytes))
}
