//! `--ui`: what the page shows of a run and of a fleet, and serving it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fruitbatch_cluster::{ClusterError, FleetExecutor, FleetSnapshot};
use fruitbatch_pipeline::{Event, Observer, RunPlan, Stage};
use fruitbatch_ui::{ChunkView, ExecutorView, RunView, SchedulerView, View, page_routes};

use crate::exit::CommandError;

/// The samples of the rate: ten minutes of them.
const RATE_INTERVAL: Duration = Duration::from_secs(2);
const MOST_RATES: usize = 300;
/// The chunks and warnings that stay on the page.
const MOST_CHUNKS: usize = 20;
const MOST_WARNINGS: usize = 20;

/// Serves the page that shows what `view` gives, for as long as the runtime it is called on lives.
pub(crate) fn serve(
    address: SocketAddr,
    view: impl Fn() -> View + Clone + Send + Sync + 'static,
) -> Result<(), CommandError> {
    let (listener, address) = fruitbatch_net::listen(address)
        .map_err(|error| ClusterError::Bind { address: address.to_string(), problem: error.to_string() })?;
    if !address.ip().is_loopback() {
        eprintln!(
            "warning: whoever reaches {address} sees the page: keep the port inside a network you trust"
        );
    }
    fruitbatch_net::serve(&tokio::runtime::Handle::current(), listener, page_routes(view), None);
    eprintln!("watch it at http://{address}/");
    Ok(())
}

/// A scheduler's page.
pub(crate) fn fleet_view(address: SocketAddr, fleet: FleetSnapshot) -> View {
    let FleetSnapshot { executors, open_jobs, pending_tasks, photos, bytes } = fleet;
    View {
        executors: executors.into_iter().map(executor_view).collect(),
        scheduler: Some(SchedulerView { open_jobs, pending_tasks, photos, bytes }),
        ..View::new(&format!("Scheduler at df://{address}"))
    }
}

fn executor_view(executor: FleetExecutor) -> ExecutorView {
    ExecutorView {
        host: executor.host_name,
        id: executor.id,
        slots: executor.slots,
        running_tasks: executor.running_tasks,
        busy_cores: executor.busy_cores,
        memory_bytes: executor.memory_bytes,
        photos: executor.photos,
        draining: executor.draining,
    }
}

/// A run's page: passes events on, and keeps what is to be seen of them.
pub(crate) struct RunPage {
    observer: Box<dyn Observer>,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    view: View,
    run: RunView,
    started: Instant,
    rates: VecDeque<f64>,
    rate_taken: Option<Instant>,
    chunks: VecDeque<ChunkView>,
    warnings: VecDeque<String>,
}

impl RunPage {
    /// Serves the page of a run and returns the observer that fills it.
    pub(crate) fn serve(
        address: SocketAddr,
        plan: &RunPlan,
        observer: Box<dyn Observer>,
    ) -> Result<Self, CommandError> {
        let run = RunView {
            input: plan.input.to_string(),
            output: plan.output.to_string(),
            stage: Stage::List.name().to_owned(),
            rate_interval_seconds: RATE_INTERVAL.as_secs(),
            ..RunView::default()
        };
        let seen = Arc::new(Mutex::new(Seen {
            view: View::new(&format!("A run of {}", plan.config.model)),
            run,
            started: Instant::now(),
            rates: VecDeque::new(),
            rate_taken: None,
            chunks: VecDeque::new(),
            warnings: VecDeque::new(),
        }));
        let shown = Arc::clone(&seen);
        serve(address, move || shown.lock().unwrap_or_else(PoisonError::into_inner).view())?;
        Ok(Self { observer, seen })
    }
}

impl Observer for RunPage {
    fn observe(&self, event: Event) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take(&event);
        self.observer.observe(event);
    }
}

impl Seen {
    fn view(&self) -> View {
        View {
            run: Some(RunView {
                seconds: self.started.elapsed().as_secs_f64(),
                rates: self.rates.iter().copied().collect(),
                chunks: self.chunks.iter().cloned().collect(),
                ..self.run.clone()
            }),
            warnings: self.warnings.iter().cloned().collect(),
            ..self.view.clone()
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::StageStarted { stage } => stage.name().clone_into(&mut self.run.stage),
            Event::StageFinished { .. } | Event::StageProgress { .. } => {}
            Event::Listed { photos, committed, .. } => {
                self.run.total = Some(*photos);
                self.run.done = *committed;
            }
            Event::Progress { done, total, failed, photos_per_second } => {
                self.run.done = *done;
                self.run.failed = *failed;
                self.run.photos_per_second = *photos_per_second;
                self.run.seconds_left = event.time_left().map(|left| left.as_secs_f64());
                self.run.total = Some(*total);
                let is_under_way = photos_per_second.is_some() || !self.rates.is_empty();
                if is_under_way && self.rate_taken.is_none_or(|at| at.elapsed() >= RATE_INTERVAL) {
                    self.rate_taken = Some(Instant::now());
                    push(&mut self.rates, photos_per_second.unwrap_or_default(), MOST_RATES);
                }
            }
            Event::Fleet { executors } => {
                self.view.executors = executors.iter().cloned().map(executor_view).collect();
            }
            Event::ChunkCommitted { photos, failed, reasons, took } => {
                self.run.chunks_committed += 1;
                for (reason, photos) in reasons {
                    *self.run.failures.entry(reason.clone()).or_default() += photos;
                }
                let chunk = ChunkView { photos: *photos, failed: *failed, seconds: took.as_secs_f64() };
                push(&mut self.chunks, chunk, MOST_CHUNKS);
            }
            Event::Warning { message } => push(&mut self.warnings, message.clone(), MOST_WARNINGS),
        }
    }
}

fn push<T>(list: &mut VecDeque<T>, value: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(value);
}
