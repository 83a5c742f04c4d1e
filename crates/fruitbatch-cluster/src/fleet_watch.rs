//! The fleet as a driver sees it, and the driver's sign of life.

use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::error::ClusterError;
use crate::fleet_protocol::{FleetClient, VERSION, WatchRequest};
use crate::session::SchedulerAddress;

/// How often the scheduler is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The fleet at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetState {
    /// Photos that the executors have done for this session, those of tasks that were tried again each time.
    pub photos: u64,
    /// Their files' bytes.
    pub bytes: u64,
    /// The executors, by host name.
    pub executors: Vec<FleetExecutor>,
    /// Since when the scheduler doesn't answer.
    pub silent_since: Option<Instant>,
    /// Since when there is no executor, as far as is known.
    pub no_executor_since: Option<Instant>,
}

/// One executor of the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetExecutor {
    /// Its identity since it joined.
    pub id: String,
    /// The name of its machine.
    pub host_name: String,
    /// Tasks that it can run at a time.
    pub slots: u32,
    /// Tasks that it runs.
    pub running_tasks: u32,
    /// Whether it is about to leave.
    pub draining: bool,
    /// Resident memory of its process.
    pub memory_bytes: u64,
    /// Cores that its process keeps busy.
    pub busy_cores: f32,
    /// Photos it has done for anybody since it joined.
    pub photos: u64,
}

/// Asks the scheduler twice a second how the fleet is, for as long as it isn't dropped. The scheduler takes that for the
/// driver's sign of life: without it, the session's jobs are cancelled after a while.
#[derive(Debug)]
pub struct FleetWatch {
    state: watch::Receiver<FleetState>,
    _asking: JoinSet<()>,
}

impl FleetWatch {
    /// Begins to watch the fleet behind `scheduler` for a session of it.
    ///
    /// # Errors
    /// [`ClusterError::SchedulerAddress`] if the address isn't one.
    pub fn start(scheduler: &str, session: &SessionContext) -> Result<Self, ClusterError> {
        let address: SchedulerAddress = scheduler.parse()?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| ClusterError::SchedulerAddress { address: scheduler.to_owned() })?
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .tcp_nodelay(true);
        let mut fleet = FleetClient::new(endpoint.connect_lazy());
        let request = WatchRequest { version: VERSION.to_owned(), session_id: Some(session.session_id()) };
        let (publish, state) = watch::channel(FleetState::default());
        let mut asking = JoinSet::new();
        asking.spawn(async move {
            let mut ticker = tokio::time::interval(INTERVAL);
            loop {
                ticker.tick().await;
                let answer = fleet.watch(request.clone()).await;
                publish.send_modify(|state| match answer {
                    Ok(view) => {
                        let view = view.into_inner();
                        state.photos = view.photos;
                        state.bytes = view.bytes;
                        state.executors = view.executors.into_iter().map(fleet_executor).collect();
                        state.silent_since = None;
                        if state.executors.is_empty() {
                            state.no_executor_since.get_or_insert_with(Instant::now);
                        } else {
                            state.no_executor_since = None;
                        }
                    }
                    Err(_) => {
                        state.silent_since.get_or_insert_with(Instant::now);
                    }
                });
            }
        });
        Ok(Self { state, _asking: asking })
    }

    /// The fleet, now and whenever it has been asked again.
    pub fn state(&self) -> watch::Receiver<FleetState> {
        self.state.clone()
    }
}

fn fleet_executor(view: crate::fleet_protocol::ExecutorView) -> FleetExecutor {
    FleetExecutor {
        id: view.executor_id,
        host_name: view.host_name,
        slots: view.slots,
        running_tasks: view.running_tasks,
        draining: view.draining,
        memory_bytes: view.memory_bytes,
        busy_cores: view.busy_cores,
        photos: view.photos,
    }
}
