//! What EC2 tells an instance about its own end, by its metadata service (IMDSv2).

use std::fmt;
use std::time::Duration;

use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;

use crate::s3_connection::http_client;

/// How often the metadata service is asked, as AWS recommends for interruption notices.
const INTERVAL: Duration = Duration::from_secs(5);
/// Exists once the spot instance is to be taken away, two minutes before it is.
const SPOT_ACTION: &str = "/latest/meta-data/spot/instance-action";
/// What the Auto Scaling group means to make of the instance.
const TARGET_STATE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";

/// Why this instance is about to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ec2Notice {
    /// EC2 wants the spot instance back, in two minutes.
    SpotInterruption,
    /// Its Auto Scaling group terminates it; a lifecycle hook says how long it waits.
    ScaledIn,
}

impl fmt::Display for Ec2Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpotInterruption => write!(f, "EC2 takes this spot instance back in two minutes"),
            Self::ScaledIn => write!(f, "the Auto Scaling group terminates this instance"),
        }
    }
}

/// Waits until EC2 says that this instance is about to go. The metadata service is found as the AWS SDK finds it
/// (`AWS_EC2_METADATA_SERVICE_ENDPOINT` names another one).
///
/// Where it doesn't answer, that is logged, and it is asked again.
pub async fn ec2_notice() -> Ec2Notice {
    let provider = ProviderConfig::without_region().with_http_client(http_client());
    let metadata = aws_config::imds::Client::builder().configure(&provider).build();
    let mut told = false;
    let mut ticker = tokio::time::interval(INTERVAL);
    ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticker.tick().await;
        let answers = async {
            if item(&metadata, SPOT_ACTION).await?.is_some() {
                return Ok(Some(Ec2Notice::SpotInterruption));
            }
            let target = item(&metadata, TARGET_STATE).await?;
            let is_terminated = target.is_some_and(|state| state.trim() == "Terminated");
            Ok::<_, ImdsError>(is_terminated.then_some(Ec2Notice::ScaledIn))
        };
        match answers.await {
            Ok(Some(notice)) => return notice,
            Ok(None) => told = false,
            Err(error) if !told => {
                told = true;
                tracing::warn!(%error, "EC2's metadata service doesn't answer: notices can't be heard; asking on");
            }
            Err(_) => {}
        }
    }
}

/// An item of the metadata; none if there is no such item at present.
async fn item(metadata: &aws_config::imds::Client, path: &str) -> Result<Option<String>, ImdsError> {
    match metadata.get(path).await {
        Ok(text) => Ok(Some(text.as_ref().to_owned())),
        Err(ImdsError::ErrorResponse(answer)) if answer.response().status().as_u16() == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
