//! A fleet of real processes on hosts of their own: whatever happens to them, the results are a local run's, byte for byte.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use fruitbatch_testkit::faults::{Fault, FaultPlan, Rule};
use fruitbatch_testkit::hosts::{Host, Networks};
use fruitbatch_testkit::s3_server::S3Server;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use support::{Place, send, upload};

mod support;

const BUCKET: &str = "fruits";
const SCHEDULER_PORT: u16 = 50050;
const EXECUTOR_PORT: u16 = 50051;

/// No scenario may take longer. An undisturbed one takes seconds; a lost executor costs some 13, a cut network the same.
const BOUND: Duration = Duration::from_mins(4);

/// Photos of each of the four labels, and photos in a chunk: enough chunks for something to happen between them.
const PER_LABEL: usize = 60;
const CHUNK: &str = "8";

/// One scheduler, executors and an S3 server on one network, and a place for a driver on another, from which only the
/// scheduler and the S3 server can be reached.
struct Fleet {
    place: Place,
    server: S3Server,
    /// What a local run makes of the same photos.
    expected: String,
    scheduler_host: Host,
    scheduler: Child,
    driver_host: Host,
    executor_hosts: Vec<Host>,
    executors: Vec<Child>,
    /// Last, so that nobody is on them any more when they go.
    _networks: Networks,
}

impl Fleet {
    /// A fleet with so many executors; none, and a word about it, where it can't be made.
    fn with(test: &str, executors: usize) -> Option<Self> {
        let place = Place::with_photos(test, PER_LABEL)?;
        let mut networks = match Networks::make() {
            Ok(networks) => networks,
            Err(problem) => {
                eprintln!("SKIPPED: {test}: there can be no hosts of its own: {problem}");
                return None;
            }
        };
        place.run("local", &[]).assert().success();
        let expected = place.read("local/results.csv");
        let server = S3Server::start_at((networks.here(), 0).into()).expect("a free port on these hosts");
        server.create_bucket(BUCKET);
        upload(&place, &server, BUCKET, str::to_owned);

        let scheduler_host = networks.host_on_both();
        let driver_host = networks.outer_host();
        // More hosts than executors, for those that join later.
        let executor_hosts: Vec<Host> = (0..4).map(|_| networks.inner_host()).collect();
        let scheduler = start_scheduler(&place, &scheduler_host);
        let mut fleet = Self {
            place,
            server,
            expected,
            scheduler_host,
            scheduler,
            driver_host,
            executor_hosts,
            executors: Vec::new(),
            _networks: networks,
        };
        for _ in 0..executors {
            fleet.add_executor();
        }
        Some(fleet)
    }

    /// Starts an executor on the next host.
    fn add_executor(&mut self) {
        let executor = self.start_executor(self.executors.len());
        self.executors.push(executor);
    }

    fn start_executor(&self, index: usize) -> Child {
        self.start_executor_with(index, self.server.access_key(), self.server.secret_key())
    }

    fn start_executor_with(&self, index: usize, access: &str, secret: &str) -> Child {
        let host = &self.executor_hosts[index];
        let (bind, scheduler) = (
            format!("{}:{EXECUTOR_PORT}", host.inner_address()),
            format!("{}:{SCHEDULER_PORT}", self.scheduler_host.inner_address()),
        );
        let flags = ["executor", "--scheduler", &scheduler, "--bind", &bind, "--slots", "1"];
        let mut command = self.place.fruitbatch(&flags);
        // A machine of its own has a cache of its own: the model can only come from the store.
        command.env("FRUITBATCH_CACHE_DIR", self.place.path(&format!("cache-of-{index}")));
        self.with_keys(&mut command, access, secret);
        on_host(host, &command, &self.place, Stdio::null())
    }

    fn with_keys(&self, command: &mut assert_cmd::Command, access: &str, secret: &str) {
        command
            .env("AWS_ENDPOINT_URL_S3", self.server.endpoint_url())
            .env("AWS_ACCESS_KEY_ID", access)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", "eu-west-3");
    }

    /// Starts a driver, and returns it with the events it tells.
    fn start_driver(&self, more: &[&str]) -> Driver {
        let scheduler = format!("df://{}:{SCHEDULER_PORT}", self.scheduler_host.outer_address());
        let mut flags = vec!["--scheduler", &scheduler, "--chunk-size", CHUNK, "--progress", "json"];
        flags.extend(more);
        let mut command = self.place.run_on("s3://fruits/photos/", "s3://fruits/out/", &flags);
        self.with_keys(&mut command, self.server.access_key(), self.server.secret_key());
        let mut process = on_host(&self.driver_host, &command, &self.place, Stdio::piped());
        let events = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        Driver { process, events, began: Instant::now(), heard: Vec::new() }
    }

    fn results(&self) -> String {
        let content = self.server.object(BUCKET, "out/results.csv").expect("there are results");
        String::from_utf8(content.to_vec()).expect("is text")
    }

    fn assert_as_if_nothing_had_happened(&self) {
        assert_eq!(self.results(), self.expected);
        assert!(self.server.object(BUCKET, "out/_SUCCESS").is_some());
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in self.executors.iter_mut().chain([&mut self.scheduler]) {
            // It may have been stopped, or have ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn start_scheduler(place: &Place, host: &Host) -> Child {
    let bind = format!("0.0.0.0:{SCHEDULER_PORT}");
    on_host(
        host,
        &place.fruitbatch(&["scheduler", "--bind", &bind, "--driver-timeout", "5"]),
        place,
        Stdio::null(),
    )
}

fn on_host(host: &Host, command: &assert_cmd::Command, place: &Place, stderr: Stdio) -> Child {
    let mut process = host.command(command.get_program().to_str().expect("is UTF-8"));
    process.args(command.get_args()).current_dir(place.path(""));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => process.env(name, value),
            None => process.env_remove(name),
        };
    }
    process.stdout(Stdio::null()).stderr(stderr).spawn().expect("the program starts")
}

/// A driver at work.
struct Driver {
    process: Child,
    events: Lines<BufReader<ChildStderr>>,
    began: Instant,
    heard: Vec<String>,
}

impl Driver {
    /// Waits until so many more chunks are committed.
    fn wait_for_chunks(&mut self, chunks: usize) {
        for _ in 0..chunks {
            self.wait_for("\"event\":\"chunk-committed\"");
        }
    }

    fn wait_for(&mut self, text: &str) {
        for line in self.events.by_ref() {
            let line = line.expect("is text");
            let found = line.contains(text);
            self.heard.push(line);
            if found {
                return;
            }
        }
        panic!("`{text}` never came:\n{}", self.heard.join("\n"));
    }

    /// Waits for the end, and returns all it told.
    fn finish(mut self) -> (Option<i32>, String) {
        // A driver that hangs is ended, and found out by its exit code.
        let (pid, done) = (self.process.id(), std::sync::mpsc::channel::<()>());
        let left = BOUND.saturating_sub(self.began.elapsed());
        let (ended, waiting) = done;
        let watchdog = std::thread::spawn(move || {
            if waiting.recv_timeout(left).is_err() {
                let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        });
        self.heard.extend(self.events.by_ref().map(|line| line.expect("is text")));
        let status = self.process.wait().expect("it ends");
        let _ = ended.send(());
        watchdog.join().expect("it only waits");
        (status.code(), self.heard.join("\n"))
    }

    fn succeed(self) -> String {
        let (code, heard) = self.finish();
        assert_eq!(code, Some(0), "{heard}");
        heard
    }
}

#[test]
fn a_fleet_gives_the_results_of_a_local_run() {
    let Some(fleet) = Fleet::with("a_fleet_gives_the_results_of_a_local_run", 3) else { return };
    fleet.start_driver(&[]).succeed();
    fleet.assert_as_if_nothing_had_happened();
    // The model came by way of the store, and the same command again has nothing to do.
    assert!(fleet.server.keys(BUCKET).iter().any(|key| key.starts_with("out/_fruitbatch/models/")));
    let again = fleet.start_driver(&[]).succeed();
    assert!(!again.contains("chunk-committed"), "{again}");
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn executors_may_be_killed() {
    let Some(mut fleet) = Fleet::with("executors_may_be_killed", 3) else { return };
    let mut driver = fleet.start_driver(&[]);
    driver.wait_for_chunks(3);
    fleet.executors[0].kill().expect("it runs");
    driver.wait_for_chunks(2);
    fleet.executors[1].kill().expect("it runs");
    driver.succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn an_executor_that_is_asked_to_leave_leaves_nothing_undone() {
    let Some(mut fleet) = Fleet::with("an_executor_that_is_asked_to_leave_leaves_nothing_undone", 2) else {
        return;
    };
    let mut driver = fleet.start_driver(&[]);
    driver.wait_for_chunks(3);
    send(&fleet.executors[0], "-TERM");
    let left = fleet.executors[0].wait().expect("it ends");
    assert_eq!(left.code(), Some(0));
    // And one joins instead, in the middle of the run.
    fleet.add_executor();
    let heard = driver.succeed();
    assert!(!heard.contains("\"warning\""), "nothing was lost, so nothing is done again:\n{heard}");
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn a_cut_network_heals() {
    let Some(fleet) = Fleet::with("a_cut_network_heals", 2) else { return };
    let mut driver = fleet.start_driver(&[]);
    driver.wait_for_chunks(3);
    fleet.executor_hosts[0].cut();
    // Its work is given to the other one.
    driver.wait_for_chunks(4);
    fleet.executor_hosts[0].heal();
    driver.succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn a_stopped_executor_comes_back_as_a_new_one() {
    let Some(fleet) = Fleet::with("a_stopped_executor_comes_back_as_a_new_one", 2) else { return };
    let mut driver = fleet.start_driver(&[]);
    driver.wait_for_chunks(3);
    send(&fleet.executors[0], "-STOP");
    driver.wait_for_chunks(4);
    send(&fleet.executors[0], "-CONT");
    driver.succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn a_scheduler_may_be_killed_and_come_back() {
    let Some(mut fleet) = Fleet::with("a_scheduler_may_be_killed_and_come_back", 2) else { return };
    let mut driver = fleet.start_driver(&[]);
    driver.wait_for_chunks(3);
    fleet.scheduler.kill().expect("it runs");
    fleet.scheduler.wait().expect("it ends");
    driver.wait_for("done again");
    fleet.scheduler = start_scheduler(&fleet.place, &fleet.scheduler_host);
    driver.succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn a_killed_driver_is_gone_on_with() {
    let Some(fleet) = Fleet::with("a_killed_driver_is_gone_on_with", 2) else { return };
    let mut driver = fleet.start_driver(&[]);
    driver.wait_for_chunks(3);
    driver.process.kill().expect("it runs");
    driver.process.wait().expect("it ends");
    fleet.start_driver(&[]).succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn an_interrupted_driver_stops_resumable() {
    let Some(fleet) = Fleet::with("an_interrupted_driver_stops_resumable", 2) else { return };
    let mut driver = fleet.start_driver(&[]);
    driver.wait_for_chunks(3);
    send(&driver.process, "-TERM");
    let (code, heard) = driver.finish();
    assert_eq!(code, Some(130), "{heard}");
    fleet.start_driver(&[]).succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn a_slow_executor_only_takes_its_time() {
    let Some(mut fleet) = Fleet::with("a_slow_executor_only_takes_its_time", 1) else { return };
    let (access, secret) = fleet.server.second_keys();
    let slow = Rule::new(Fault::SlowBody).operation("GetObject").access_key(access);
    fleet.server.set_faults(FaultPlan::new(0).rule(slow));
    let executor = fleet.start_executor_with(fleet.executors.len(), access, secret);
    fleet.executors.push(executor);
    fleet.start_driver(&[]).succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn without_executors_a_run_waits_and_then_stops_resumable() {
    let Some(mut fleet) = Fleet::with("without_executors_a_run_waits_and_then_stops_resumable", 0) else {
        return;
    };
    let (code, heard) = fleet.start_driver(&["--cluster-timeout", "1"]).finish();
    assert_eq!(code, Some(1), "{heard}");
    assert!(heard.contains("fruitbatch executor --scheduler"), "{heard}");

    let mut driver = fleet.start_driver(&[]);
    driver.wait_for("has no executor yet");
    fleet.add_executor();
    driver.wait_for_chunks(2);
    // All of them gone for a while.
    fleet.executors[0].kill().expect("it runs");
    fleet.executors[0].wait().expect("it ends");
    fleet.executors[0] = fleet.start_executor(0);
    driver.succeed();
    fleet.assert_as_if_nothing_had_happened();
}

#[test]
fn ten_kills_at_random_times_change_nothing() {
    let Some(mut fleet) = Fleet::with("ten_kills_at_random_times_change_nothing", 3) else { return };
    let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
    let mut driver = fleet.start_driver(&[]);
    for _ in 0..10 {
        driver.wait_for_chunks(1);
        std::thread::sleep(Duration::from_millis(random.gen_range(0..300)));
        let victim = random.gen_range(0..fleet.executors.len());
        fleet.executors[victim].kill().expect("it can be killed, also if it has ended");
        fleet.executors[victim].wait().expect("it ends");
        fleet.executors[victim] = fleet.start_executor(victim);
    }
    driver.succeed();
    fleet.assert_as_if_nothing_had_happened();
}
