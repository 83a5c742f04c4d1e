//! `fruitbatch run --dry-run`: what would run, and what it would take and cost.

use std::io;

use fruitbatch_pipeline::estimate::{Estimate, FleetSize, Workload};
use fruitbatch_pipeline::selection::Selection;
use fruitbatch_pipeline::{MeasuredRate, Prices, RunError, RunPlan};
use fruitbatch_storage::Storage;
use fruitbatch_vision::cache::cache_dir;

use crate::cli::EstimateArgs;
use crate::estimate_table::ToldEstimate;
use crate::exit::{CommandError, Done};
use crate::summary;

/// Where nothing says which region is meant.
const DEFAULT_REGION: &str = "us-east-1";

/// Lists the photos and tells.
pub(super) async fn dry_run(plan: &RunPlan, args: &EstimateArgs) -> Result<Done, CommandError> {
    // Before what takes long.
    let prices = match &args.prices {
        Some(file) => Prices::read(file)?,
        None => Prices::compiled_in(),
    };
    let storage = Storage::new(plan.storage_options.clone());
    let selection = Selection::list(plan, &storage).await?;
    let estimate = match rate(plan, args) {
        Some((rate, measured)) => {
            let meant = region(plan, &storage).await?;
            told(plan, args, &selection, &prices, meant, rate, measured)
        }
        None => None,
    };
    summary::print_dry_run(&mut io::stdout().lock(), plan, &selection, estimate.as_ref())
        .map_err(CommandError::Stdout)?;
    Ok(Done::Fine)
}

/// Photos a second a core, and where that was measured.
fn rate(plan: &RunPlan, args: &EstimateArgs) -> Option<(f64, Option<MeasuredRate>)> {
    if let Some(rate) = args.rate {
        return Some((rate, None));
    }
    let measured = MeasuredRate::find(&cache_dir().ok()?, &plan.embedding)?;
    Some((measured.photos_per_second_per_core, Some(measured)))
}

async fn region(plan: &RunPlan, storage: &Storage) -> Result<String, CommandError> {
    if let Some(region) = &plan.config.region {
        return Ok(region.clone());
    }
    if plan.input.is_s3() || plan.output.is_s3() {
        return Ok(storage.region().await.map_err(RunError::from)?);
    }
    // Nothing of this run is on AWS, so that no service there is asked which region this might be.
    let of_environment =
        ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| std::env::var(name).ok());
    Ok(of_environment.unwrap_or_else(|| DEFAULT_REGION.to_owned()))
}

fn told(
    plan: &RunPlan,
    args: &EstimateArgs,
    selection: &Selection,
    prices: &Prices,
    meant: String,
    rate: f64,
    measured: Option<MeasuredRate>,
) -> Option<ToldEstimate> {
    let (region, region_without_prices) = if prices.region(&meant).is_some() {
        (meant, None)
    } else {
        let mut known = [DEFAULT_REGION].into_iter().chain(prices.regions());
        (known.find(|name| prices.region(name).is_some())?.to_owned(), Some(meant))
    };
    let work = Workload::of(plan, selection);
    let fleet = FleetSize { instances: args.instances, rate };
    let estimate = Estimate::of(&work, fleet, prices, prices.region(&region)?);
    Some(ToldEstimate {
        work,
        fleet,
        measured,
        region,
        region_without_prices,
        prices_as_of: prices.as_of.clone(),
        scheduler: prices.scheduler.clone(),
        driver: prices.driver.clone(),
        endpoints: prices.endpoints,
        estimate,
    })
}
