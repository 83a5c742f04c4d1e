//! A scheduler and executors as processes on loopback ports, and a word over HTTP with them.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr};
use std::time::Duration;

use super::Place;

/// What announces a page.
const PAGE: &str = "watch it at http://";

/// A process, ended when it is dropped.
pub(crate) struct Role {
    process: Child,
    /// `ADDRESS:PORT` where it listens.
    pub(crate) address: String,
    /// `ADDRESS:PORT` of its page, if it has one.
    pub(crate) page: Option<String>,
    /// What it said until it was up.
    pub(crate) said: Vec<String>,
}

impl Role {
    /// Starts `fruitbatch ARGUMENTS` and returns once it has said where it listens.
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::of(place.spawn(&place.fruitbatch(arguments)), arguments.contains(&"--ui"))
    }

    /// The role that `process` is, once it has said where it listens.
    pub(crate) fn of(mut process: Child, wants_page: bool) -> Self {
        let mut lines = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        let (mut said, mut page) = (Vec::new(), None);
        let mut address = None;
        while address.is_none() || (wants_page && page.is_none()) {
            let line = match lines.next() {
                Some(line) => line.expect("is text"),
                None => panic!("it ended: {}", said.join("\n")),
            };
            if let Some((_, url)) = line.split_once(PAGE) {
                page = Some(url.trim_end_matches('/').to_owned());
            } else if let Some(rest) = line.strip_prefix("scheduler at df://") {
                address = Some(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("executor at ") {
                address = rest.split(',').next().map(str::to_owned);
            }
            said.push(line);
        }
        // Nobody reads the rest; a full pipe must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.expect("it was waited for"), page, said }
    }

    pub(crate) fn scheduler(place: &Place, more: &[&str]) -> Self {
        Self::start(place, &[&["scheduler", "--bind", "127.0.0.1:0"], more].concat())
    }

    pub(crate) fn executor(place: &Place, scheduler: &Self, more: &[&str]) -> Self {
        let flags = ["executor", "--scheduler", &scheduler.address, "--bind", "127.0.0.1:0", "--slots", "2"];
        Self::start(place, &[&flags, more].concat())
    }

    /// The address as `run --scheduler` takes it.
    pub(crate) fn url(&self) -> String {
        format!("df://{}", self.address)
    }

    pub(crate) fn process(&mut self) -> &mut Child {
        &mut self.process
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status and the body of `GET PATH`.
pub(crate) fn http_get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("is a duration");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers with text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("there is a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("there is a status");
    (status, body.to_owned())
}

/// Looks again until `look` finds something, for a minute at most.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}: never");
}

/// What a process says, line by line.
pub(crate) struct Said(Lines<BufReader<ChildStderr>>);

impl Said {
    /// By a process whose stderr is piped and not yet read.
    pub(crate) fn by(process: &mut Child) -> Self {
        Self(BufReader::new(process.stderr.take().expect("stderr is piped")).lines())
    }

    /// Reads on to the line that holds `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let found = self.0.find_map(|line| Some(line.expect("is text")).filter(|line| line.contains(text)));
        found.unwrap_or_else(|| panic!("`{text}` never came"))
    }

    /// `ADDRESS:PORT` of the page that is announced.
    pub(crate) fn wait_for_page(&mut self) -> String {
        let line = self.wait_for(PAGE);
        line.trim_start_matches(PAGE).trim_end_matches('/').to_owned()
    }
}
