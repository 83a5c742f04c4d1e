//! `fruitbatch health`: for the health checks of containers, in which there is no other client.

use std::time::Duration;

use fruitbatch_net::{ClientTls, Connector, check_health};

use crate::cli::HealthArgs;
use crate::commands::block_on;
use crate::exit::{CommandError, Done};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a role whether it is healthy.
pub(crate) fn health(args: &HealthArgs) -> Result<Done, CommandError> {
    let connector = Connector::new(ClientTls::new(&args.tls.files())?);
    let path = if args.ready { "/readyz" } else { "/healthz" };
    block_on(async {
        let Ok(healthy) = tokio::time::timeout(PATIENCE, check_health(&connector, &args.address, path)).await
        else {
            let (address, seconds) = (args.address.clone(), PATIENCE.as_secs());
            return Err(CommandError::NoAnswer { address, seconds });
        };
        healthy?;
        Ok(Done::Fine)
    })
}
