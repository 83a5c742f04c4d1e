//! What a run would take and cost on AWS, before anything of it is done: closed forms over a listing, a rate and a price table.
//!
//! Executors do nothing but compute (decoding and reading hide behind inference), so that
//!
//! ```text
//! seconds = STARTING + photos / (photos a second a core * cores of an instance * instances)
//! ```
//!
//! and everything that is rented by the hour is paid for so long. Requests follow from what a run does: it lists a
//! thousand photos a request, gets each photo once, and puts two files a chunk (a features part and an entry of the
//! commit log).

use std::num::NonZeroUsize;

use fruitbatch_learn::Components;

use crate::chunks::ChunkSizer;
use crate::config::RunPlan;
use crate::prices::{InstancePrice, InstanceType, Prices, RegionPrices, StorageClass};
use crate::selection::Selection;

/// Seconds from the order for an instance to its first photo: it boots, starts the program and fetches the model.
pub const STARTING: f64 = 120.0;
/// AWS bills no less of an instance.
const LEAST_BILLED: f64 = 60.0;
/// The disk of each instance, in GB: a system, the program and a model.
pub const DISK_GB: f64 = 20.0;
/// What AWS calls a GB.
const GB: f64 = (1_u64 << 30) as f64;
const SECONDS_OF_AN_HOUR: f64 = 3_600.0;
const HOURS_OF_A_MONTH: f64 = 730.0;
/// Keys on a list page.
const KEYS_PER_LIST: u64 = 1_000;
/// Puts a chunk: its part and its entry in the commit log.
const PUTS_PER_CHUNK: u64 = 2;
/// Puts a run: claim, publication and release in the log, the model, and the outputs.
const PUTS_PER_RUN: u64 = 20;
/// The driver's sign of life in OUT is put so often.
const SECONDS_PER_HEARTBEAT: f64 = 10.0;
/// Components where only the data can tell how many there are.
const UNKNOWN_COMPONENTS: usize = 50;

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The size of each photo, in bytes.
    pub lengths: Vec<u64>,
    /// The length of all their paths together, in bytes.
    pub path_bytes: u64,
    /// Features a photo.
    pub feature_width: u32,
    /// Principal components.
    pub components: usize,
    /// Photos that go through the model at once.
    pub photos_at_a_time: usize,
    /// Photos in a chunk, where that was said.
    pub chunk_size: Option<NonZeroUsize>,
}

impl Workload {
    /// What a plan has to do with the photos it selects.
    pub fn of(plan: &RunPlan, selection: &Selection) -> Self {
        Self {
            lengths: selection.photos.iter().map(|photo| photo.length).collect(),
            path_bytes: selection.photos.iter().map(|photo| photo.path.len() as u64).sum(),
            feature_width: plan.embedding.width,
            components: match plan.learning.pca.n_components {
                Components::Count(components) => components,
                Components::VarianceShare(_) => UNKNOWN_COMPONENTS,
            },
            photos_at_a_time: plan.embedding.photos_at_a_time(),
            chunk_size: plan.config.chunk_size,
        }
    }

    /// Photos.
    pub fn photos(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// Their size together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.lengths.iter().sum()
    }

    /// About how large all results together get, in bytes: the features as they are (they don't compress), each number of
    /// the results as text and in binary, and the paths in parts, results and log.
    pub fn result_bytes(&self) -> u64 {
        const OF_A_NUMBER: u64 = 19 + 8;
        const OF_A_ROW: u64 = 100;
        let numbers = self.components as u64 + 1;
        let of_a_photo = 4 * u64::from(self.feature_width) + OF_A_NUMBER * numbers + OF_A_ROW;
        self.photos() * of_a_photo + 3 * self.path_bytes
    }

    /// As what their size together is billed, where smaller objects count as `least` bytes.
    fn billed_bytes(&self, least: u64) -> u64 {
        self.lengths.iter().map(|length| (*length).max(least)).sum()
    }
}

/// What does it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetSize {
    /// Executors, an instance each.
    pub instances: u32,
    /// Photos a second a core; positive.
    pub rate: f64,
}

/// What a run takes and costs, by instance type. All amounts are in US dollars.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// One for each instance type that the region has, in the order of the price table.
    pub fleets: Vec<FleetEstimate>,
    /// What it is to keep and to read photos in each storage class, in the order of the price table.
    pub storage: Vec<StorageEstimate>,
    /// About how large the results get, in bytes.
    pub result_bytes: u64,
    /// Reading all photos once where the executors are in the bucket's region.
    pub transfer_same_region: f64,
    /// The same where they are in another one.
    pub transfer_other_region: f64,
    /// Fetching the results over the internet.
    pub results_to_internet: f64,
}

/// A run on instances of one type.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetEstimate {
    /// The instance type.
    pub instance: InstanceType,
    /// From start to end, in seconds.
    pub seconds: f64,
    /// The executors, on demand.
    pub on_demand: f64,
    /// The executors, on spot instances.
    pub spot: f64,
    /// The scheduler's instance.
    pub scheduler: f64,
    /// The driver's instance.
    pub driver: f64,
    /// The disks of them all.
    pub disks: f64,
    /// The interface endpoints of the network.
    pub endpoints: f64,
    /// The requests to S3.
    pub requests: Requests,
}

/// Requests to S3 and what they cost, for photos and results in the ordinary class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requests {
    /// LIST requests.
    pub list: u64,
    /// What they cost.
    pub list_cost: f64,
    /// GET requests.
    pub get: u64,
    /// What they cost.
    pub get_cost: f64,
    /// PUT requests.
    pub put: u64,
    /// What they cost.
    pub put_cost: f64,
}

/// Photos and results in one storage class.
#[derive(Debug, Clone, PartialEq)]
pub struct StorageEstimate {
    /// The class's name.
    pub class: String,
    /// Keeping the photos for a month.
    pub photos_month: f64,
    /// Keeping the results for a month.
    pub results_month: f64,
    /// Reading every photo once: requests and retrieval.
    pub reading: f64,
}

impl Requests {
    /// What all of them cost.
    pub fn cost(&self) -> f64 {
        self.list_cost + self.get_cost + self.put_cost
    }
}

impl FleetEstimate {
    /// Everything together, with executors on demand.
    pub fn total_on_demand(&self) -> f64 {
        self.on_demand + self.beside_executors()
    }

    /// Everything together, with executors on spot instances.
    pub fn total_spot(&self) -> f64 {
        self.spot + self.beside_executors()
    }

    fn beside_executors(&self) -> f64 {
        self.scheduler + self.driver + self.disks + self.endpoints + self.requests.cost()
    }

    fn of(
        work: &Workload,
        fleet: FleetSize,
        instance: &InstanceType,
        price: InstancePrice,
        endpoints: u32,
        region: &RegionPrices,
    ) -> Self {
        let instances = f64::from(fleet.instances);
        let photos_per_second = fleet.rate * f64::from(instance.cores) * instances;
        let seconds = STARTING + work.photos() as f64 / photos_per_second;
        let billed_hours = seconds.max(LEAST_BILLED) / SECONDS_OF_AN_HOUR;
        let disks = f64::from(disks(fleet)) * DISK_GB * region.disk_gb_month;
        Self {
            on_demand: instances * price.on_demand * billed_hours,
            spot: instances * price.spot * billed_hours,
            scheduler: region.scheduler_hour * billed_hours,
            driver: region.driver_hour * billed_hours,
            endpoints: f64::from(endpoints) * region.endpoint_hour * billed_hours,
            disks: disks * billed_hours / HOURS_OF_A_MONTH,
            requests: requests(work, fleet, instance, photos_per_second, seconds, region),
            instance: instance.clone(),
            seconds,
        }
    }
}

impl Estimate {
    /// Estimates a run by the prices of a region.
    pub fn of(work: &Workload, fleet: FleetSize, prices: &Prices, region: &RegionPrices) -> Self {
        let fleets = prices.instance_types.iter().filter_map(|instance| {
            let price = *region.instances.get(&instance.name)?;
            Some(FleetEstimate::of(work, fleet, instance, price, prices.endpoints, region))
        });
        let (photo_gb, result_gb) = (work.bytes() as f64 / GB, work.result_bytes() as f64 / GB);
        Self {
            fleets: fleets.collect(),
            storage: region.storage.iter().map(|class| StorageEstimate::of(work, class)).collect(),
            result_bytes: work.result_bytes(),
            transfer_same_region: photo_gb * region.same_region_gb,
            transfer_other_region: photo_gb * region.other_region_gb,
            results_to_internet: result_gb * region.internet_gb,
        }
    }

    /// The cheapest fleet of spot instances; the first of several that cost the same.
    pub fn cheapest(&self) -> Option<&FleetEstimate> {
        self.fleets.iter().min_by(|a, b| a.total_spot().total_cmp(&b.total_spot()))
    }
}

impl StorageEstimate {
    fn of(work: &Workload, class: &StorageClass) -> Self {
        let billed_gb = work.billed_bytes(class.least_object_kib << 10) as f64 / GB;
        let requests = work.photos() as f64 / 1000.0 * class.get_per_1000;
        Self {
            class: class.name.clone(),
            photos_month: billed_gb * class.gb_month,
            results_month: work.result_bytes() as f64 / GB * class.gb_month,
            reading: requests + work.bytes() as f64 / GB * class.retrieval_gb,
        }
    }
}

/// Those of the executors, of the scheduler and of the driver.
pub fn disks(fleet: FleetSize) -> u32 {
    fleet.instances + 2
}

fn requests(
    work: &Workload,
    fleet: FleetSize,
    instance: &InstanceType,
    photos_per_second: f64,
    seconds: f64,
    region: &RegionPrices,
) -> Requests {
    let slots = instance.vcpus as usize * fleet.instances as usize;
    let chunk = ChunkSizer::at_rate(work.chunk_size, work.photos_at_a_time, photos_per_second).next(slots);
    let chunks = work.photos().div_ceil(chunk as u64);
    let list = work.photos().div_ceil(KEYS_PER_LIST);
    // To fit, the driver reads the parts back; and each executor fetches the model.
    let get = work.photos() + chunks + u64::from(fleet.instances);
    let put = PUTS_PER_CHUNK * chunks + PUTS_PER_RUN + (seconds / SECONDS_PER_HEARTBEAT) as u64;
    let cost = |requests: u64, per_1000: f64| requests as f64 / 1000.0 * per_1000;
    // A price table has one class at least.
    let (get_per_1000, put_per_1000) =
        region.storage.first().map_or((0.0, 0.0), |class| (class.get_per_1000, class.put_per_1000));
    Requests {
        list,
        list_cost: cost(list, region.list_per_1000),
        get,
        get_cost: cost(get, get_per_1000),
        put,
        put_cost: cost(put, put_per_1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 90,000 photos of 12 KiB with paths of 30 bytes.
    fn work() -> Workload {
        Workload {
            lengths: vec![12 << 10; 90_000],
            path_bytes: 90_000 * 30,
            feature_width: 512,
            components: 10,
            photos_at_a_time: 8,
            chunk_size: None,
        }
    }

    fn instance(name: &str, vcpus: u32, cores: u32) -> InstanceType {
        InstanceType { name: name.into(), processor: String::new(), vcpus, cores, memory_gib: 16 }
    }

    fn class(name: &str, gb_month: f64, get_per_1000: f64, retrieval_gb: f64, kib: u64) -> StorageClass {
        StorageClass {
            name: name.into(),
            gb_month,
            put_per_1000: 0.005,
            get_per_1000,
            retrieval_gb,
            least_object_kib: kib,
        }
    }

    fn region() -> RegionPrices {
        let price = |on_demand, spot| InstancePrice { on_demand, spot };
        RegionPrices {
            scheduler_hour: 0.1,
            driver_hour: 0.2,
            endpoint_hour: 0.01,
            disk_gb_month: 0.073,
            list_per_1000: 0.005,
            same_region_gb: 0.0,
            other_region_gb: 0.02,
            internet_gb: 0.09,
            instances: [("half".to_owned(), price(0.36, 0.18)), ("whole".to_owned(), price(0.45, 0.20))]
                .into(),
            storage: vec![
                class("Standard", 0.023, 0.0004, 0.0, 0),
                class("Standard-IA", 0.0125, 0.001, 0.01, 128),
            ],
        }
    }

    fn prices() -> Prices {
        let mut prices = Prices::compiled_in();
        prices.endpoints = 3;
        prices.instance_types =
            vec![instance("half", 8, 4), instance("whole", 8, 8), instance("not here", 8, 8)];
        prices
    }

    fn close(left: f64, right: f64) {
        // The same sums in another order: the last bits may differ, nothing else.
        assert!((left - right).abs() <= 1e-12 * right.abs(), "{left} is not {right}");
    }

    #[test]
    fn time_and_dollars_are_those_worked_out_by_hand() {
        let estimate = Estimate::of(&work(), FleetSize { instances: 4, rate: 5.0 }, &prices(), &region());
        let [half, whole] = estimate.fleets.as_slice() else { panic!("{estimate:?}") };
        // 90,000 photos / (5 a second * 4 cores * 4 instances) = 1,125 s, and 120 s to start.
        close(half.seconds, 1_245.0);
        // 4 instances * 1,245 s of 3,600 s * 0.36
        close(half.on_demand, 0.498);
        close(half.spot, 0.249);
        // 1,245 s of 3,600 s * 0.10
        close(half.scheduler, 0.1 * 1_245.0 / 3_600.0);
        close(half.driver, 0.2 * 1_245.0 / 3_600.0);
        // 6 disks * 20 GB * 0.073 / 730 h = 0.012 an hour
        close(half.disks, 0.012 * 1_245.0 / 3_600.0);
        close(half.endpoints, 3.0 * 0.01 * 1_245.0 / 3_600.0);
        // Twice the cores: 562.5 s, and 120 s.
        close(whole.seconds, 682.5);
        close(whole.on_demand, 4.0 * 0.45 * 682.5 / 3_600.0);
        // Scheduler, driver, disks and endpoints: 0.342 an hour.
        close(whole.total_spot(), whole.spot + 0.342 * 682.5 / 3_600.0 + whole.requests.cost());
        assert_eq!(estimate.cheapest().map(|fleet| fleet.instance.name.as_str()), Some("whole"));
    }

    #[test]
    fn requests_are_counted_by_what_a_run_does() {
        let estimate = Estimate::of(&work(), FleetSize { instances: 4, rate: 5.0 }, &prices(), &region());
        let requests = estimate.fleets[0].requests;
        assert_eq!(requests.list, 90);
        // 80 photos a second: chunks of half a minute hold 2,400, so there are 38.
        assert_eq!(requests.get, 90_000 + 38 + 4);
        // Two a chunk, 20 for the run, and 124 heartbeats in 1,245 s.
        assert_eq!(requests.put, 76 + 20 + 124);
        close(requests.list_cost, 0.090 * 0.005);
        close(requests.get_cost, 90.042 * 0.0004);
        close(requests.put_cost, 0.220 * 0.005);

        let said = Workload { chunk_size: NonZeroUsize::new(1_000), ..work() };
        let estimate = Estimate::of(&said, FleetSize { instances: 4, rate: 5.0 }, &prices(), &region());
        assert_eq!(estimate.fleets[0].requests.get, 90_000 + 90 + 4);
    }

    #[test]
    fn small_photos_are_billed_as_larger_ones_in_rarely_read_classes() {
        let estimate = Estimate::of(&work(), FleetSize { instances: 1, rate: 5.0 }, &prices(), &region());
        let gb = f64::from(1 << 30);
        let photos = 90_000.0 * 12.0 * 1024.0 / gb;
        let [standard, rarely] = estimate.storage.as_slice() else { panic!("{estimate:?}") };
        close(standard.photos_month, photos * 0.023);
        close(standard.reading, 90.0 * 0.0004);
        // 128 KiB each instead of 12.
        close(rarely.photos_month, 90_000.0 * 128.0 * 1024.0 / gb * 0.0125);
        close(rarely.reading, 90.0 * 0.001 + photos * 0.01);
        // A photo: 2,048 bytes of features, 11 numbers of 27 bytes, 100 bytes, and its path three times.
        assert_eq!(estimate.result_bytes, 90_000 * (2_048 + 11 * 27 + 100 + 90));
        close(standard.results_month, estimate.result_bytes as f64 / gb * 0.023);
        close(estimate.transfer_other_region, photos * 0.02);
        close(estimate.results_to_internet, estimate.result_bytes as f64 / gb * 0.09);
        assert!(estimate.transfer_same_region.abs() < f64::EPSILON);
    }
}
