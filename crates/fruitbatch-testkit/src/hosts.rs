//! Hosts of a test's own: network namespaces with addresses of their own, whose cables can be pulled.
//!
//! There are two networks. All hosts but drivers are on the inner one; drivers are on the outer one; a scheduler is on
//! both. Nothing is routed between them, so a driver reaches the scheduler and nobody else. The test's own process is on
//! both too, for an S3 server that everybody reaches.
//!
//! It takes root and the program `ip` (Debian's iproute2). The networks' switches are in a namespace too, so that no rule of
//! this machine's own firewall applies to them. Everything is gone when the [`Networks`] are dropped.

use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};

/// Networks made by this process so far, so that tests beside each other get different ones.
static MADE: AtomicU16 = AtomicU16::new(0);

/// The inner and the outer network, and the hosts on them.
#[derive(Debug)]
pub struct Networks {
    /// The beginning of all names: at most 10 characters, since interfaces have at most 15.
    prefix: String,
    inner: [u8; 3],
    outer: [u8; 3],
    hosts: Vec<String>,
}

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    switches: String,
    inner_cable: Option<String>,
    inner: Option<Ipv4Addr>,
    outer: Option<Ipv4Addr>,
}

/// The last byte of the addresses of the test's own process.
const HERE: u8 = 254;

impl Networks {
    /// Makes both networks, without hosts.
    ///
    /// # Errors
    /// Why there can be none here, in words.
    pub fn make() -> Result<Self, String> {
        let process = std::process::id();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("fb{:x}-{number:x}", process & 0xf_ffff);
        // Of 10.0.0.0/8, by process and number.
        let second = 64 + (process % 128) as u8;
        let third = (process / 128 % 8) as u8 * 32 + (number % 16) as u8 * 2;
        let networks =
            Self { prefix, inner: [10, second, third], outer: [10, second, third + 1], hosts: Vec::new() };
        let switches = networks.switches();
        ip(&["netns", "add", &switches])?;
        for (name, network) in [("i", networks.inner), ("o", networks.outer)] {
            ip(&["-n", &switches, "link", "add", name, "type", "bridge"])?;
            ip(&["-n", &switches, "link", "set", name, "up"])?;
            let (here, cable) = (networks.name(name), format!("{name}here"));
            ip(&["link", "add", &here, "type", "veth", "peer", "name", &cable, "netns", &switches])?;
            ip(&["-n", &switches, "link", "set", &cable, "master", name, "up"])?;
            ip(&["addr", "add", &format!("{}/24", address(network, HERE)), "dev", &here])?;
            ip(&["link", "set", &here, "up"])?;
        }
        Ok(networks)
    }

    /// The namespace of the switches.
    fn switches(&self) -> String {
        self.name("s")
    }

    fn name(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }

    /// The address at which every host reaches this process.
    pub fn here(&self) -> Ipv4Addr {
        address(self.inner, HERE)
    }

    /// A host on the inner network.
    ///
    /// # Panics
    /// If it can't be made, although the networks could.
    pub fn inner_host(&mut self) -> Host {
        self.host(true, false)
    }

    /// A host on the outer network.
    ///
    /// # Panics
    /// If it can't be made, although the networks could.
    pub fn outer_host(&mut self) -> Host {
        self.host(false, true)
    }

    /// A host on both.
    ///
    /// # Panics
    /// If it can't be made, although the networks could.
    pub fn host_on_both(&mut self) -> Host {
        self.host(true, true)
    }

    fn host(&mut self, inner: bool, outer: bool) -> Host {
        self.try_host(inner, outer).unwrap_or_else(|problem| panic!("no host of the test's own: {problem}"))
    }

    fn try_host(&mut self, inner: bool, outer: bool) -> Result<Host, String> {
        let number = u8::try_from(self.hosts.len() + 1).map_err(|_| "too many hosts".to_owned())?;
        let namespace = self.name(&format!("h{number}"));
        ip(&["netns", "add", &namespace])?;
        self.hosts.push(namespace.clone());
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        let mut host = Host {
            namespace: namespace.clone(),
            switches: self.switches(),
            inner_cable: None,
            inner: None,
            outer: None,
        };
        if inner {
            let (cable, address) = self.plug(&namespace, "i", self.inner, number)?;
            (host.inner_cable, host.inner) = (Some(cable), Some(address));
        }
        if outer {
            let (_, address) = self.plug(&namespace, "o", self.outer, number)?;
            host.outer = Some(address);
            if !inner {
                let gateway = self::address(self.outer, HERE).to_string();
                let here = self.here().to_string();
                ip(&["-n", &namespace, "route", "add", &here, "via", &gateway])?;
            }
        }
        Ok(host)
    }

    /// Plugs a host into one of the networks.
    fn plug(
        &self,
        namespace: &str,
        network: &str,
        bytes: [u8; 3],
        number: u8,
    ) -> Result<(String, Ipv4Addr), String> {
        let (switches, cable, inside) =
            (self.switches(), format!("{network}{number}"), format!("{network}0"));
        ip(&[
            "-n", &switches, "link", "add", &cable, "type", "veth", "peer", "name", &inside, "netns",
            namespace,
        ])?;
        ip(&["-n", &switches, "link", "set", &cable, "master", network, "up"])?;
        let address = address(bytes, number);
        ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", &inside])?;
        ip(&["-n", namespace, "link", "set", &inside, "up"])?;
        Ok((cable, address))
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        // What fails here was never made, or goes with its namespace.
        for namespace in &self.hosts {
            let _ = ip(&["netns", "del", namespace]);
        }
        let _ = ip(&["netns", "del", &self.switches()]);
    }
}

impl Host {
    /// A program on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    /// Its address on the inner network.
    ///
    /// # Panics
    /// If it isn't on that.
    pub fn inner_address(&self) -> Ipv4Addr {
        self.inner.expect("the host is on the inner network")
    }

    /// Its address on the outer network.
    ///
    /// # Panics
    /// If it isn't on that.
    pub fn outer_address(&self) -> Ipv4Addr {
        self.outer.expect("the host is on the outer network")
    }

    /// Pulls its cable to the inner network: packets are lost, connections stay open on both sides.
    ///
    /// # Panics
    /// If that can't be done.
    pub fn cut(&self) {
        self.cable("down");
    }

    /// Plugs the cable in again.
    ///
    /// # Panics
    /// If that can't be done.
    pub fn heal(&self) {
        self.cable("up");
    }

    fn cable(&self, state: &str) {
        let cable = self.inner_cable.as_deref().expect("the host is on the inner network");
        ip(&["-n", &self.switches, "link", "set", cable, state])
            .unwrap_or_else(|problem| panic!("{cable} {state}: {problem}"));
    }
}

fn address([a, b, c]: [u8; 3], d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let asked = || format!("`ip {}`", arguments.join(" "));
    match Command::new("ip").args(arguments).output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => Err(format!("{}: {}", asked(), String::from_utf8_lossy(&stderr).trim())),
        Err(error) => Err(format!("{}: {error}", asked())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_reaches_the_scheduler_and_nobody_else() {
        let mut networks = match Networks::make() {
            Ok(networks) => networks,
            Err(problem) => {
                eprintln!("SKIPPED: a_driver_reaches_the_scheduler_and_nobody_else: {problem}");
                return;
            }
        };
        let (scheduler, executor, driver) =
            (networks.host_on_both(), networks.inner_host(), networks.outer_host());
        let way_to = |host: &Host, address: Ipv4Addr| {
            host.command("ip")
                .args(["route", "get", &address.to_string()])
                .output()
                .expect("ip runs")
                .status
                .success()
        };
        assert!(way_to(&driver, scheduler.outer_address()) && way_to(&driver, networks.here()));
        assert!(!way_to(&driver, executor.inner_address()) && !way_to(&driver, scheduler.inner_address()));
        assert!(way_to(&executor, scheduler.inner_address()) && way_to(&executor, networks.here()));
        assert!(!way_to(&executor, driver.outer_address()));
        executor.cut();
        executor.heal();
    }
}
