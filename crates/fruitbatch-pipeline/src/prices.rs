//! What AWS charges: `configs/prices.toml`, compiled in, or a file of the user's in its place.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

const COMPILED_IN: &str = include_str!("../../../configs/prices.toml");
/// The version of the file's format.
const FORMAT_VERSION: u32 = 1;

/// Prices by region, in US dollars.
///
/// ```
/// use fruitbatch_pipeline::Prices;
///
/// let prices = Prices::compiled_in();
/// assert!(prices.region("eu-west-1").is_some());
/// assert!(prices.region("mars-north-1").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Prices {
    version: u32,
    /// Of when the prices are, for people.
    pub as_of: String,
    /// The instance that the scheduler runs on.
    pub scheduler: String,
    /// The instance that the driver runs on.
    pub driver: String,
    /// Interface endpoints of the network.
    pub endpoints: u32,
    /// The instances that executors may run on, in the order of the file.
    pub instance_types: Vec<InstanceType>,
    regions: BTreeMap<String, RegionPrices>,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstanceType {
    /// Its name, such as `c7i.2xlarge`.
    pub name: String,
    /// Its processor, for people.
    pub processor: String,
    /// The processors that its system sees.
    pub vcpus: u32,
    /// Its cores: half as many where a vCPU is a hardware thread.
    pub cores: u32,
    /// Memory, in GiB.
    pub memory_gib: u32,
}

/// The prices of a region. A GB is 2^30 bytes and a month 730 hours, as AWS bills them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegionPrices {
    /// An hour of the scheduler's instance.
    pub scheduler_hour: f64,
    /// An hour of the driver's instance.
    pub driver_hour: f64,
    /// An hour of an interface endpoint.
    pub endpoint_hour: f64,
    /// A month of a GB of disk.
    pub disk_gb_month: f64,
    /// A thousand LIST requests, in any class.
    pub list_per_1000: f64,
    /// A GB from S3 to instances of the same region.
    pub same_region_gb: f64,
    /// A GB from S3 to another region.
    pub other_region_gb: f64,
    /// A GB from S3 to the internet.
    pub internet_gb: f64,
    /// An hour of each instance type that there is in the region.
    pub instances: BTreeMap<String, InstancePrice>,
    /// The storage classes, the ordinary one first.
    pub storage: Vec<StorageClass>,
}

/// An hour of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstancePrice {
    /// For as long as one likes.
    pub on_demand: f64,
    /// For as long as nobody pays more: a typical price.
    pub spot: f64,
}

/// A storage class of S3.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StorageClass {
    /// Its name.
    #[serde(rename = "class")]
    pub name: String,
    /// A month of a GB.
    pub gb_month: f64,
    /// A thousand PUT requests.
    pub put_per_1000: f64,
    /// A thousand GET requests.
    pub get_per_1000: f64,
    /// A GB that is read.
    pub retrieval_gb: f64,
    /// A smaller object is billed as if it had so many KiB.
    pub least_object_kib: u64,
}

/// Why there are no prices.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// The file can't be read.
    #[error("the prices in `{file}` can't be read: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It doesn't hold prices.
    #[error("the prices in `{file}` can't be used: {problem}; configs/prices.toml shows what they look like")]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Prices {
    /// The prices this program came with.
    pub fn compiled_in() -> Self {
        Self::parse(COMPILED_IN).expect("a test holds the file that is compiled in to the rules")
    }

    /// The prices in a file.
    ///
    /// # Errors
    /// It can't be read, or holds something else.
    pub fn read(file: &Path) -> Result<Self, PricesError> {
        let name = || file.display().to_string();
        let text = fs::read_to_string(file).map_err(|source| PricesError::Read { file: name(), source })?;
        Self::parse(&text).map_err(|problem| PricesError::Invalid { file: name(), problem })
    }

    /// The prices of a region, if the file has them.
    pub fn region(&self, name: &str) -> Option<&RegionPrices> {
        self.regions.get(name)
    }

    /// The regions there are prices of.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.keys().map(String::as_str)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let prices: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if prices.version != FORMAT_VERSION {
            return Err(format!("its version is {}, not {FORMAT_VERSION}", prices.version));
        }
        if let Some(instance) =
            prices.instance_types.iter().find(|instance| instance.cores == 0 || instance.vcpus == 0)
        {
            return Err(format!("`{}` has no core", instance.name));
        }
        if prices.regions.is_empty() {
            return Err("it names no region".to_owned());
        }
        for (name, region) in &prices.regions {
            region.check().map_err(|problem| format!("{name}: {problem}"))?;
        }
        Ok(prices)
    }
}

impl RegionPrices {
    fn check(&self) -> Result<(), String> {
        if self.storage.is_empty() {
            return Err("it has no storage class".to_owned());
        }
        let own = [
            ("scheduler-hour", self.scheduler_hour),
            ("driver-hour", self.driver_hour),
            ("endpoint-hour", self.endpoint_hour),
            ("disk-gb-month", self.disk_gb_month),
            ("list-per-1000", self.list_per_1000),
            ("same-region-gb", self.same_region_gb),
            ("other-region-gb", self.other_region_gb),
            ("internet-gb", self.internet_gb),
        ];
        let of_instances =
            self.instances.iter().flat_map(|(name, price)| [(name, price.on_demand), (name, price.spot)]);
        let of_classes = self.storage.iter().flat_map(|class| {
            [class.gb_month, class.put_per_1000, class.get_per_1000, class.retrieval_gb]
                .map(|price| (class.name.as_str(), price))
        });
        let all =
            own.into_iter().chain(of_instances.map(|(name, price)| (name.as_str(), price))).chain(of_classes);
        for (what, price) in all {
            if !price.is_finite() || price < 0.0 {
                return Err(format!("`{what}` can't cost {price}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_prices_are_complete() {
        let prices = Prices::compiled_in();
        for name in ["us-east-1", "eu-west-1", "eu-central-1"] {
            let region = prices.region(name).unwrap();
            for instance in &prices.instance_types {
                let price = region.instances[&instance.name];
                assert!(0.0 < price.spot && price.spot < price.on_demand, "{name} {}", instance.name);
                // Within a family prices go by size: a slip of the pen shows.
                let of_a_vcpu = price.on_demand / f64::from(instance.vcpus);
                assert!((0.03..0.07).contains(&of_a_vcpu), "{name} {}: {of_a_vcpu}", instance.name);
            }
            assert_eq!(region.instances.len(), prices.instance_types.len(), "{name}");
            assert_eq!(region.storage[0].name, "Standard");
            assert!(
                region.same_region_gb <= region.other_region_gb
                    && region.other_region_gb < region.internet_gb
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let problem = |from: &str, to: &str| {
            assert!(COMPILED_IN.contains(from), "{from}");
            Prices::parse(&COMPILED_IN.replacen(from, to, 1)).unwrap_err()
        };
        assert!(problem("version = 1", "version = 2").contains("version"));
        assert!(problem("cores = 8", "cores = 0").contains("c7g.2xlarge"));
        assert!(problem("disk-gb-month = 0.08", "disk-gb-month = -1.0").contains("disk-gb-month"));
        assert!(problem("disk-gb-month = 0.08", "disc-gb-month = 0.08").contains("disc-gb-month"));
        assert!(problem("spot = 0.161", "spot = inf").contains("us-east-1: `c7i.2xlarge`"));
        let missing = Prices::read(Path::new("/nowhere/prices.toml")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/prices.toml"), "{missing}");
    }
}
