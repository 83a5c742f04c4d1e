//! The hosts of a fleet, and how long each was there for this run: what it is billed by.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::lineage::FleetHost;

/// Hosts by name, as the driver sees them from look to look.
#[derive(Debug, Default)]
pub(crate) struct FleetHours {
    hosts: BTreeMap<String, SeenHost>,
    last_look: Option<Instant>,
}

#[derive(Debug, Default)]
struct SeenHost {
    slots: u32,
    time: Duration,
    /// Whether it was there at the last look.
    is_there: bool,
}

impl FleetHours {
    /// Takes note of the hosts that are there now, and of the slots of their executors. Those of the look before have
    /// been there until now.
    pub(crate) fn look<'a>(&mut self, now: Instant, there: impl IntoIterator<Item = (&'a str, u32)>) {
        let passed = self.last_look.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last_look = Some(now);
        for host in self.hosts.values_mut() {
            if std::mem::take(&mut host.is_there) {
                host.time += passed;
            }
        }
        for (name, slots) in there {
            let host = self.hosts.entry(name.to_owned()).or_default();
            host.slots = host.slots.max(slots);
            host.is_there = true;
        }
    }

    /// All hosts that were ever there, by name.
    pub(crate) fn hosts(&self) -> Vec<FleetHost> {
        let hosts = self.hosts.iter();
        hosts
            .map(|(name, host)| FleetHost {
                name: name.clone(),
                slots: host.slots,
                seconds: host.time.as_secs_f64().round() as u64,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_billed_while_it_is_there_and_no_longer() {
        let mut hours = FleetHours::default();
        let start = Instant::now();
        let mut look = |second, there: &[(&str, u32)]| {
            hours.look(start + Duration::from_secs(second), there.iter().copied());
        };
        look(10, &[("a", 2)]);
        look(20, &[("a", 2), ("b", 4)]);
        // Two executors on one host are one host.
        look(50, &[("b", 4), ("b", 8)]);
        look(60, &[]);
        look(100, &[("a", 2)]);
        look(101, &[("a", 2)]);
        let host = |name: &str, slots, seconds| FleetHost { name: name.to_owned(), slots, seconds };
        // a: from 10 to 50 and from 100 to 101; b: from 20 to 60.
        assert_eq!(hours.hosts(), [host("a", 2, 41), host("b", 8, 40)]);
    }
}
