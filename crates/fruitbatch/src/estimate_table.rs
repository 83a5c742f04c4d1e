//! What a run would take and cost, for people: the estimate of `run --dry-run`.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use fruitbatch_pipeline::MeasuredRate;
use fruitbatch_pipeline::estimate::{DISK_GB, Estimate, FleetEstimate, FleetSize, STARTING, Workload, disks};
use indicatif::{HumanBytes, HumanCount};

/// An estimate, and what it was made of.
pub(crate) struct ToldEstimate {
    pub(crate) work: Workload,
    pub(crate) fleet: FleetSize,
    /// Where the rate was measured; none if it was given.
    pub(crate) measured: Option<MeasuredRate>,
    /// The region whose prices these are, and the one that was meant, if there are none of it.
    pub(crate) region: String,
    pub(crate) region_without_prices: Option<String>,
    pub(crate) prices_as_of: String,
    /// The instance types of scheduler and driver.
    pub(crate) scheduler: String,
    pub(crate) driver: String,
    /// Interface endpoints.
    pub(crate) endpoints: u32,
    pub(crate) estimate: Estimate,
}

/// Tells it: one line for those who only want to know how much, then what it consists of.
pub(crate) fn print(out: &mut impl Write, told: &ToldEstimate) -> io::Result<()> {
    let Some(cheapest) = told.estimate.cheapest() else {
        return writeln!(out, "the price table has no instance type for {}", told.region);
    };
    writeln!(
        out,
        "\n{} photos, {}: {}: {}, {} USD on demand, {} USD spot; S3 requests: {} USD",
        HumanCount(told.work.photos()),
        HumanBytes(told.work.bytes()),
        fleet_name(told, cheapest),
        duration(cheapest.seconds),
        dollars(cheapest.total_on_demand()),
        dollars(cheapest.total_spot()),
        dollars(cheapest.requests.cost())
    )?;
    print_assumptions(out, told)?;
    writeln!(out, "\n{}", fleets(told))?;
    writeln!(out, "\n{}", items(told, cheapest))?;
    writeln!(out, "\n{}", storage(&told.estimate))
}

fn print_assumptions(out: &mut impl Write, told: &ToldEstimate) -> io::Result<()> {
    let source = match &told.measured {
        Some(rate) => {
            let day = rate.measured_at.split('T').next().unwrap_or_default();
            format!("measured on {day} on {}", rate.processor)
        }
        None => "as given".to_owned(),
    };
    writeln!(
        out,
        "  at {} photos a second a core ({source}); other processors differ",
        number(told.fleet.rate)
    )?;
    if let Some(meant) = &told.region_without_prices {
        writeln!(out, "  there are no prices of {meant}: those of {} stand in (--prices FILE)", told.region)?;
    }
    writeln!(
        out,
        "  by prices of {} as of {}, without tax; spot prices move; {} are for instances to start",
        told.region,
        told.prices_as_of,
        duration(STARTING)
    )
}

fn fleets(told: &ToldEstimate) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "fleet",
        "processor",
        "vCPUs",
        "cores",
        "GiB",
        "time",
        "on demand",
        "spot",
    ]);
    for fleet in &told.estimate.fleets {
        table.add_row([
            fleet_name(told, fleet),
            fleet.instance.processor.clone(),
            fleet.instance.vcpus.to_string(),
            fleet.instance.cores.to_string(),
            fleet.instance.memory_gib.to_string(),
            duration(fleet.seconds),
            dollars(fleet.total_on_demand()),
            dollars(fleet.total_spot()),
        ]);
    }
    right_aligned(table, 2)
}

fn items(told: &ToldEstimate, fleet: &FleetEstimate) -> Table {
    let estimate = &told.estimate;
    let (instances, time) = (told.fleet.instances, duration(fleet.seconds));
    let count = |requests: u64| HumanCount(requests).to_string();
    let (photos, results) =
        (HumanBytes(told.work.bytes()).to_string(), HumanBytes(estimate.result_bytes).to_string());
    let rows = [
        ("executors, on demand".to_owned(), format!("{instances} x {time}"), fleet.on_demand),
        ("  or spot".to_owned(), format!("{instances} x {time}"), fleet.spot),
        (format!("scheduler, {}", told.scheduler), time.clone(), fleet.scheduler),
        (format!("driver, {}", told.driver), time.clone(), fleet.driver),
        ("disks, gp3".to_owned(), format!("{} x {DISK_GB} GB", disks(told.fleet)), fleet.disks),
        ("endpoints of the network".to_owned(), format!("{} x {time}", told.endpoints), fleet.endpoints),
        ("S3 LIST".to_owned(), count(fleet.requests.list), fleet.requests.list_cost),
        ("S3 GET".to_owned(), count(fleet.requests.get), fleet.requests.get_cost),
        ("S3 PUT".to_owned(), count(fleet.requests.put), fleet.requests.put_cost),
        ("photos, from the same region".to_owned(), photos.clone(), estimate.transfer_same_region),
        ("  or from another one".to_owned(), photos, estimate.transfer_other_region),
        ("results, if fetched over the internet".to_owned(), results, estimate.results_to_internet),
    ];
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([fleet_name(told, fleet).as_str(), "", "USD"]);
    for (what, how_much, cost) in rows {
        table.add_row([what, how_much, dollars(cost)]);
    }
    right_aligned(table, 1)
}

fn storage(estimate: &Estimate) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "S3 storage class",
        "photos, a month",
        "results, a month",
        "reading all photos",
    ]);
    for class in &estimate.storage {
        table.add_row([
            class.class.clone(),
            dollars(class.photos_month),
            dollars(class.results_month),
            dollars(class.reading),
        ]);
    }
    right_aligned(table, 1)
}

fn right_aligned(mut table: Table, from_column: usize) -> Table {
    for column in table.column_iter_mut().skip(from_column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn fleet_name(told: &ToldEstimate, fleet: &FleetEstimate) -> String {
    format!("{} x {}", fleet.instance.name, told.fleet.instances)
}

/// To the cent; what costs something never reads as nothing.
fn dollars(amount: f64) -> String {
    if amount > 0.0 && amount < 0.005 { "< 0.01".to_owned() } else { format!("{amount:.2}") }
}

/// As exactly as an estimate is worth.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0 => "1 min".to_owned(),
        1..90 => format!("{minutes} min"),
        minutes => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}

/// Three digits, as far as they say something.
fn number(rate: f64) -> String {
    let digits = if rate < 10.0 { 2 } else { usize::from(rate < 100.0) };
    let text = format!("{rate:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_to_the_cent_and_times_to_the_minute() {
        let told: Vec<String> = [0.0, 0.004, 0.005, 0.1 + 0.2, 1_234.5].map(dollars).into();
        assert_eq!(told, ["0.00", "< 0.01", "0.01", "0.30", "1234.50"]);
        let told: Vec<String> = [20.0, 61.0, 5_340.0, 5_400.0, 90_061.0].map(duration).into();
        assert_eq!(told, ["1 min", "1 min", "89 min", "1 h 30 min", "25 h 01 min"]);
        let told: Vec<String> = [5.432, 5.0, 54.32, 50.0, 543.2, 500.0].map(number).into();
        assert_eq!(told, ["5.43", "5", "54.3", "50", "543", "500"]);
    }
}
