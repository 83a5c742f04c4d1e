//! Sessions: what driver, scheduler and executors agree on.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ballista::prelude::SessionContextExt;
use ballista_core::config::{BALLISTA_JOB_NAME, BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK};
use ballista_core::extension::{EndpointOverrideFn, SessionConfigExt};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint, default_session_builder};
use datafusion::common::Result;
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use fruitbatch_net::{ConnectError, Connector};
use tonic::transport::Endpoint;

use crate::codecs::{LogicalCodec, PhysicalCodec};
use crate::error::ClusterError;
use crate::executor_host::executor_host;
use crate::job_client::JobClient;
use crate::job_planner::JobPlanner;

/// The largest gRPC message that driver, scheduler and executors send or accept, in bytes: 1 GiB. A task or a plan over
/// the limit of 16 MiB that Ballista sets by default doesn't fail its job: the scheduler takes the executor for lost, one
/// after the other, and the job hangs.
pub const MESSAGE_LIMIT: usize = 1 << 30;

/// The configuration that every session of a fruitbatch cluster starts from, on all sides.
///
/// One partition is one task: Ballista would otherwise pack as many into a task as an executor has free slots, and its
/// tasks would differ in size from run to run.
pub(crate) fn session_config(connector: &Connector) -> SessionConfig {
    let config = SessionConfig::new_with_ballista()
        .with_ballista_logical_extension_codec(Arc::new(LogicalCodec::default()))
        .with_ballista_physical_extension_codec(Arc::new(PhysicalCodec::default()))
        .with_ballista_grpc_client_max_message_size(MESSAGE_LIMIT)
        .set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1);
    match endpoint_override(connector) {
        Some(secure) => {
            config.with_ballista_use_tls(true).with_ballista_override_create_grpc_client_endpoint(secure)
        }
        None => config,
    }
}

/// By what Ballista's own clients get TLS. It writes `http` into the addresses of some, and TLS is only spoken over
/// `https`: the endpoint is made anew, with Ballista's settings.
pub(crate) fn endpoint_override(connector: &Connector) -> Option<EndpointOverrideFn> {
    if !connector.uses_tls() {
        return None;
    }
    let connector = connector.clone();
    Some(Arc::new(move |endpoint| {
        let authority = endpoint.uri().authority().map(ToString::to_string).unwrap_or_default();
        let settings = GrpcClientConfig::default();
        let endpoint = create_grpc_client_endpoint(format!("https://{authority}"), Some(&settings))?;
        Ok(connector.secure(endpoint)?)
    }))
}

/// A session state with Ballista's functions and `functions`, as the scheduler plans with and executors look functions up
/// in.
///
/// Ballista's scheduler makes a session anew for every query and gives its tasks that session's name, not the driver's, by which
/// executors are to count. The driver's travels as the name of its jobs.
pub(crate) fn session_state(config: SessionConfig, functions: &[Arc<ScalarUDF>]) -> Result<SessionState> {
    let session = config.ballista_config().settings().get(BALLISTA_JOB_NAME).cloned();
    let mut state = default_session_builder(config)?;
    if let Some(session) = session {
        state = SessionStateBuilder::new_from_existing(state).with_session_id(session).build();
    }
    state.register_udf(executor_host())?;
    for function in functions {
        state.register_udf(Arc::clone(function))?;
    }
    Ok(state)
}

/// Where a scheduler listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SchedulerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for SchedulerAddress {
    type Err = ClusterError;

    fn from_str(address: &str) -> Result<Self, ClusterError> {
        let wrong = || ClusterError::SchedulerAddress { address: address.to_owned() };
        let host_and_port = address.strip_prefix("df://").unwrap_or(address);
        let host_and_port = host_and_port.strip_suffix('/').unwrap_or(host_and_port);
        let (host, port) = host_and_port.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(['/', '@', '?', '#']) || (host.contains(':') && !bracketed) {
            return Err(wrong());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// How long a request to a scheduler that has nothing to plan or to fetch may take.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

impl SchedulerAddress {
    /// The way there for short requests.
    pub(crate) fn endpoint(&self, connector: &Connector) -> Result<Endpoint, ClusterError> {
        let endpoint = connector.endpoint(&self.to_string()).map_err(|error| self.unreachable(error))?;
        Ok(endpoint.connect_timeout(REQUEST_PATIENCE).timeout(REQUEST_PATIENCE).tcp_nodelay(true))
    }

    pub(crate) fn unreachable(&self, error: ConnectError) -> ClusterError {
        let address = self.to_string();
        match error {
            ConnectError::Address { .. } => ClusterError::SchedulerAddress { address },
            ConnectError::Tls(error) => error.into(),
            ConnectError::Unreachable { problem, .. } => {
                ClusterError::SchedulerUnreachable { address, problem }
            }
        }
    }
}

impl fmt::Display for SchedulerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A session whose queries run as jobs of the cluster behind `scheduler` (`df://HOST:PORT`), reached by `connector`.
///
/// `functions` are what queries may call beside DataFusion's own; the cluster's scheduler and executors must have
/// functions of the same names.
///
/// A query's stream yields record batches as they come from the executors, in no particular order: sort by `path` where
/// an order matters. Dropping the stream cancels the job. An error is a [`ClusterError`] inside DataFusion's
/// ([`ClusterError::from`] takes it out).
///
/// # Errors
/// If the address isn't one, or nobody answers there.
pub async fn connect(
    scheduler: &str,
    connector: &Connector,
    functions: &[Arc<ScalarUDF>],
) -> Result<SessionContext, ClusterError> {
    let address: SchedulerAddress = scheduler.parse()?;
    let config = session_config(connector);
    let client = JobClient::new(address.clone(), connector.clone(), &config);
    client.check_scheduler().await?;
    let config = config.with_ballista_query_planner(Arc::new(JobPlanner::new(client)));
    let state = session_state(config, &[])?;
    let session = SessionContext::remote_with_state(&format!("df://{address}"), state).await?;
    // Only now: making the session a remote one sets its functions back to the defaults.
    session.register_udf(ScalarUDF::clone(&executor_host()));
    for function in functions {
        session.register_udf(ScalarUDF::clone(function));
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for (text, host, port) in [
            ("df://127.0.0.1:50050", "127.0.0.1", 50050),
            ("scheduler.example:1/", "scheduler.example", 1),
            ("df://[::1]:50050", "[::1]", 50050),
        ] {
            assert_eq!(text.parse(), Ok(SchedulerAddress { host: host.to_owned(), port }), "{text}");
        }
        for text in [
            "",
            "df://",
            "host",
            "host:",
            ":50050",
            "host:0",
            "host:65536",
            "http://host:1",
            "::1:5",
            "a@b:1",
        ] {
            let wrong = ClusterError::SchedulerAddress { address: text.to_owned() };
            assert_eq!(text.parse::<SchedulerAddress>(), Err(wrong), "{text}");
        }
    }
}
