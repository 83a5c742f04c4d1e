//! The processor of this machine, as far as its speed goes.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;

use crate::config::available_cores;

/// A processor, or the part of it that this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// Its model, as the system calls it.
    pub name: String,
    /// Cores that this process may use: two hardware threads of one core count once.
    pub cores: NonZeroUsize,
}

impl Processor {
    /// That of this machine.
    pub fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let threads = available_cores();
        let cores = allowed_threads(&status)
            .and_then(|allowed| {
                let siblings = |thread: &u32| {
                    fs::read_to_string(format!(
                        "/sys/devices/system/cpu/cpu{thread}/topology/thread_siblings_list"
                    ))
                };
                // Threads that name the same siblings are those of one core.
                let cores: BTreeSet<String> = allowed.iter().map(siblings).collect::<Result<_, _>>().ok()?;
                NonZeroUsize::new(cores.len())
            })
            // A container's share of the time (cgroup) is counted in threads alone.
            .map_or(threads, |cores| cores.min(threads));
        Self { name: name_in(&cpuinfo), cores }
    }
}

/// The model's name; where the system gives none (aarch64), the numbers it has for it.
fn name_in(cpuinfo: &str) -> String {
    let value = |key: &str| {
        let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).next()
    };
    match (value("model name"), value("CPU implementer"), value("CPU part")) {
        (Some(name), _, _) => name.to_owned(),
        (None, Some(implementer), Some(part)) => {
            format!("{} {implementer}/{part}", std::env::consts::ARCH)
        }
        _ => format!("unknown {}", std::env::consts::ARCH),
    }
}

/// The numbers in the line `Cpus_allowed_list: 0-3,8`.
fn allowed_threads(status: &str) -> Option<Vec<u32>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
    let mut threads = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        threads.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_a_name_on_every_architecture() {
        let x86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9R14\nprocessor\t: 1\n";
        assert_eq!(name_in(x86), "AMD EPYC 9R14");
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd4f\n";
        assert!(name_in(arm).ends_with("0x41/0xd4f"));
        assert!(name_in("").starts_with("unknown"));
    }

    #[test]
    fn allowed_threads_are_single_ones_and_ranges() {
        assert_eq!(allowed_threads("Name:\tx\nCpus_allowed_list:\t0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(allowed_threads("Cpus_allowed_list:\t5\n"), Some(vec![5]));
        assert_eq!(allowed_threads("Name:\tx\n"), None);
    }

    #[test]
    fn this_processor_has_at_most_the_cores_that_there_are() {
        let this = Processor::this();
        assert!(this.cores <= available_cores() && !this.name.is_empty());
    }
}
