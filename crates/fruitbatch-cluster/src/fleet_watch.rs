//! The fleet as a driver sees it, and the driver's sign of life.

use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use fruitbatch_net::Connector;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::ClusterError;
use crate::fleet_protocol::{FleetClient, FleetExecutor, VERSION, WatchRequest};
use crate::session::SchedulerAddress;

/// How often the scheduler is asked.
const INTERVAL: Duration = Duration::from_millis(500);

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
    pub fn start(
        scheduler: &str,
        connector: &Connector,
        session: &SessionContext,
    ) -> Result<Self, ClusterError> {
        let address: SchedulerAddress = scheduler.parse()?;
        let connector = connector.clone();
        let new_client =
            move || address.endpoint(&connector).map(|endpoint| FleetClient::new(endpoint.connect_lazy()));
        let mut fleet = new_client()?;
        let request = WatchRequest { version: VERSION.to_owned(), session_id: Some(session.session_id()) };
        let (publish, state) = watch::channel(FleetState::default());
        let mut asking = JoinSet::new();
        asking.spawn(async move {
            let mut ticker = tokio::time::interval(INTERVAL);
            loop {
                ticker.tick().await;
                let answer = fleet.watch(request.clone()).await;
                // A new connection takes new certificates.
                if answer.is_err()
                    && let Ok(client) = new_client()
                {
                    fleet = client;
                }
                publish.send_modify(|state| match answer {
                    Ok(view) => {
                        let view = view.into_inner();
                        state.photos = view.photos;
                        state.bytes = view.bytes;
                        state.executors = view.executors;
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
