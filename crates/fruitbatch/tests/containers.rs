//! The real image, on a base made of Debian's packages, and the composed fleet on it: a container that is killed changes nothing.
//!
//! `FRUITBATCH_TEST_BASE_IMAGE` names a base that is there already, which saves making one.

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fruitbatch_storage::{Storage, StorageOptions};
use support::{IMAGE_SIZE, MODEL, Place};

mod support;

/// In seconds, each with much to spare: making the base (of 80 MB of packages), building the image, anything else.
const BASE_BOUND: u32 = 900;
const IMAGE_BOUND: u32 = 600;
const BOUND: u32 = 300;

/// In bytes. It has 216 MB, 106 of which are the program, 29 ONNX Runtime and 81 the base.
const LARGEST_IMAGE: u64 = 220_000_000;
const EXECUTORS: usize = 3;

#[test]
fn a_fleet_of_containers_gives_the_results_of_a_local_run() {
    let Some(mut fleet) = Fleet::built("a_fleet_of_containers_gives_the_results_of_a_local_run") else {
        return;
    };
    fleet.assert_image_is_small_and_says_what_it_is();
    fleet.assert_image_is_nobody_and_writes_only_where_it_should();

    fleet.place.fruitbatch(&["samples", "photos"]).assert().success();
    fleet.place.run("local", &[]).assert().success();

    fleet.compose(&["up", "--detach"]);
    for service in ["scheduler", "executor", "s3"] {
        fleet.wait_until_healthy(service);
        fleet.assert_confined(service);
    }
    fleet.assert_a_driver_reaches_the_scheduler_and_the_s3_server_alone();

    let mut driver = fleet.start_demo();
    driver.wait_for_chunks(3);
    let executors = fleet.containers_of("executor");
    assert_eq!(executors.len(), EXECUTORS);
    docker(&["kill", &executors[0]]);
    let heard = driver.succeed();
    assert!(heard.contains("s3://fruits/out/results.csv"), "it lists the results:\n{heard}");
    assert_eq!(fleet.results(), fleet.place.read("local/results.csv"));
}

/// An image and what is composed of it. All of it is gone when this is dropped.
struct Fleet {
    place: Place,
    /// Of the image, and what every other name begins with.
    name: String,
    compose_program: Vec<&'static str>,
    s3_program: PathBuf,
    /// Access key and secret key.
    keys: [String; 2],
}

impl Fleet {
    /// The image of the program just built; none, and a word about it, where it can't be made.
    fn built(test: &str) -> Option<Self> {
        let place = Place::empty(test)?;
        let base = std::env::var("FRUITBATCH_TEST_BASE_IMAGE").ok();
        let (compose_program, s3_program) = match what_it_takes(base.is_none()) {
            Ok(found) => found,
            Err(missing) => {
                eprintln!("SKIPPED: {test}: {missing}");
                return None;
            }
        };
        let keys = output_of(bounded(BOUND, &s3_program.display().to_string()).arg("--keys"));
        let keys = ["S3_ACCESS_KEY=", "S3_SECRET_KEY="].map(|name| {
            keys.lines().find_map(|line| line.strip_prefix(name)).expect("a line for each key").to_owned()
        });
        let name = format!("fruitbatch-test-{}", std::process::id());
        let fleet = Self { place, name, compose_program, s3_program, keys };

        let base = base.unwrap_or_else(|| {
            output_of(bounded(BASE_BOUND, &script("docker-base.sh")).arg(fleet.base_name()));
            fleet.base_name()
        });
        let onnx_runtime = fleet.place.fruitbatch(&[]);
        let onnx_runtime = onnx_runtime
            .get_envs()
            .find(|(name, _)| *name == "ORT_DYLIB_PATH")
            .and_then(|(_, value)| value)
            .expect("the tests' program is told where ONNX Runtime is");
        output_of(
            bounded(IMAGE_BOUND, &script("docker-image.sh"))
                .args(["--base", &base, "--binary", env!("CARGO_BIN_EXE_fruitbatch"), "--onnxruntime"])
                .arg(onnx_runtime)
                .arg(&fleet.name),
        );
        Some(fleet)
    }

    fn base_name(&self) -> String {
        format!("{}-base", self.name)
    }

    fn driver_name(&self) -> String {
        format!("{}-driver", self.name)
    }

    fn assert_image_is_small_and_says_what_it_is(&self) {
        let inspected = docker(&["image", "inspect", &self.name]);
        let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("docker prints JSON");
        let size = inspected[0]["Size"].as_u64().expect("an image has a size");
        eprintln!("the image has {} MB", size / 1_000_000);
        assert!(size < LARGEST_IMAGE, "{size} bytes");
        let labels = &inspected[0]["Config"]["Labels"];
        assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
        assert_eq!(inspected[0]["Config"]["User"], "10001:10001");
        assert_eq!(
            inspected[0]["Config"]["Healthcheck"]["Test"],
            serde_json::json!(["CMD", "fruitbatch", "health"])
        );
    }

    fn assert_image_is_nobody_and_writes_only_where_it_should(&self) {
        let run = |arguments: &[&str]| {
            let mut all = vec!["run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none"];
            all.extend(arguments);
            docker(&all)
        };
        let tries = "id -u; touch /cache/new \"${FRUITBATCH_WORK_DIR:?}/new\"; touch /data/new /opt/fruitbatch/bin/new /new; true";
        let said = run(&["--entrypoint", "bash", &self.name, "-c", &format!("exec 2>&1; {tries}")]);
        assert_eq!(said.lines().next(), Some("10001"), "{said}");
        for (folder, refused) in
            [("/cache", false), ("/work", false), ("/data", true), ("/opt", true), ("/new", true)]
        {
            assert_eq!(said.contains(&format!("'{folder}")), refused, "{folder}: {said}");
        }
        // It ends in an error for want of a model; what counts is the library that it finds.
        let doctor = run(&["--entrypoint", "bash", &self.name, "-c", "fruitbatch doctor || true"]);
        assert!(doctor.contains("/opt/fruitbatch/bin/../lib/libonnxruntime.so"), "{doctor}");
    }

    fn compose(&self, arguments: &[&str]) -> String {
        output_of(self.compose_command(BOUND).args(arguments))
    }

    fn compose_command(&self, bound: u32) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compose");
        let mut command = bounded(bound, self.compose_program[0]);
        command.args(&self.compose_program[1..]).args(["--project-name", &self.name]);
        for file in ["compose.yaml", "compose.test-server.yaml"] {
            command.arg("--file").arg(folder.join(file));
        }
        command
            .env("FRUITBATCH_IMAGE", &self.name)
            .env("S3_SERVER", &self.s3_program)
            .env("S3_ACCESS_KEY", &self.keys[0])
            .env("S3_SECRET_KEY", &self.keys[1])
            .env("MODELS_FOLDER", self.place.path("cache/models"));
        command
    }

    fn containers_of(&self, service: &str) -> Vec<String> {
        self.compose(&["ps", "--quiet", service]).lines().map(str::to_owned).collect()
    }

    fn wait_until_healthy(&self, service: &str) {
        let began = Instant::now();
        for container in self.containers_of(service) {
            let health = || docker(&["inspect", "--format", "{{.State.Health.Status}}", &container]);
            while health().trim() != "healthy" {
                assert!(
                    began.elapsed() < Duration::from_secs(BOUND.into()),
                    "{service} is {}:\n{}",
                    health(),
                    self.compose(&["logs", service])
                );
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    fn assert_confined(&self, service: &str) {
        for container in self.containers_of(service) {
            let inspected = docker(&["inspect", &container]);
            let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("docker prints JSON");
            let host = &inspected[0]["HostConfig"];
            assert_eq!(host["ReadonlyRootfs"], true, "{service}");
            assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{service}");
            assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges:true"]), "{service}");
            assert_eq!(host["PortBindings"], serde_json::json!({}), "{service}");
            assert_eq!(docker(&["exec", &container, "id", "-u"]).trim(), "10001", "{service}");
        }
    }

    fn assert_a_driver_reaches_the_scheduler_and_the_s3_server_alone(&self) {
        let executor = address_of(&self.containers_of("executor")[0]);
        let try_it = |host: &str, port: u16| {
            format!("timeout 3 bash -c '</dev/tcp/{host}/{port}' 2>/dev/null && echo {host}")
        };
        let tries =
            [try_it("scheduler", 50050), try_it("s3", 7070), try_it(&executor, 50051), "true".to_owned()]
                .join("; ");
        let reached = self.compose(&["run", "--rm", "-T", "--entrypoint", "bash", "demo", "-c", &tries]);
        assert_eq!(reached.lines().collect::<Vec<_>>(), ["scheduler", "s3"]);
        // It is there for the scheduler.
        let scheduler = &self.containers_of("scheduler")[0];
        assert_eq!(docker(&["exec", scheduler, "bash", "-c", &try_it(&executor, 50051)]).trim(), executor);
    }

    /// Starts the demo with the tests' own small model.
    fn start_demo(&mut self) -> Driver {
        let mut command = self.compose_command(BOUND);
        command.args(["run", "--rm", "-T", "--name", &self.driver_name(), "--volume"]);
        command.arg(format!("{}:/etc/fruitbatch/models.toml:ro", self.place.path("models.toml").display()));
        for (name, value) in [
            ("MODEL", MODEL),
            ("IMAGE_SIZE", IMAGE_SIZE),
            ("N_COMPONENTS", "4"),
            ("CHUNK_SIZE", "8"),
            ("PROGRESS", "json"),
        ] {
            command.arg("-e").arg(format!("FRUITBATCH_{name}={value}"));
        }
        let (said, out) = std::io::pipe().expect("a pipe can be made");
        command.arg("demo").stdout(out.try_clone().expect("a pipe has two ends")).stderr(out);
        let process = command.spawn().expect("the program starts");
        Driver { process, said: BufReader::new(said), heard: String::new() }
    }

    fn results(&self) -> String {
        let options = StorageOptions {
            endpoint_url: Some(format!("http://{}:7070", address_of(&self.containers_of("s3")[0]))),
            region: Some("us-east-1".to_owned()),
            ..StorageOptions::default()
        };
        let storage = Storage::with_static_keys(options, &self.keys[0], &self.keys[1]);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        let content = runtime.block_on(async {
            let output = storage.output(&"s3://fruits/out/".parse().expect("is a location")).await?;
            output.get("results.csv").await
        });
        let content = content.expect("the S3 server answers").expect("there are results");
        String::from_utf8(content.to_vec()).expect("is text")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.compose_command(BOUND).args(["logs", "--no-color", "--tail", "50"]).output();
            eprintln!(
                "{}",
                logs.map(|logs| String::from_utf8_lossy(&logs.stdout).into_owned()).unwrap_or_default()
            );
        }
        // What fails here was never made.
        let quietly = |command: &mut Command| drop(command.output());
        quietly(bounded(BOUND, "docker").args(["rm", "--force", "--volumes", &self.driver_name()]));
        quietly(self.compose_command(BOUND).args([
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout",
            "0",
        ]));
        quietly(bounded(BOUND, "docker").args(["image", "rm", "--force", &self.name, &self.base_name()]));
    }
}

/// A driver at work, in a container.
struct Driver {
    process: Child,
    said: BufReader<PipeReader>,
    heard: String,
}

impl Driver {
    /// Waits until so many more chunks are committed.
    fn wait_for_chunks(&mut self, chunks: usize) {
        for _ in 0..chunks {
            while !self.next_line().contains("\"event\":\"chunk-committed\"") {}
        }
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        let length = self.said.read_line(&mut line).expect("is text");
        assert!(length > 0, "it ended before it should:\n{}", self.heard);
        self.heard.push_str(&line);
        line
    }

    /// Waits for the end, and returns all it said.
    fn succeed(mut self) -> String {
        self.said.read_to_string(&mut self.heard).expect("is text");
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}:\n{}", self.heard);
        self.heard
    }
}

/// The Compose tool and the S3 server's program; or what is missing for this test.
fn what_it_takes(to_make_a_base: bool) -> Result<(Vec<&'static str>, PathBuf), String> {
    let works = |program: &str, arguments: &[&str]| {
        bounded(60, program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !works("docker", &["info"]) {
        return Err("no Docker engine runs here".to_owned());
    }
    let compose_program = [vec!["docker", "compose"], vec!["docker-compose"]]
        .into_iter()
        .find(|program| works(program[0], &[&program[1..], &["version"]].concat()))
        .ok_or("Docker Compose isn't installed")?;
    if to_make_a_base && !works("debootstrap", &["--version"]) {
        return Err("debootstrap isn't installed".to_owned());
    }
    if to_make_a_base && output_of(bounded(60, "id").arg("-u")).trim() != "0" {
        return Err("debootstrap needs root".to_owned());
    }
    // Of another package: cargo tells no test where it is.
    let s3_program = Path::new(env!("CARGO_BIN_EXE_fruitbatch")).with_file_name("fruitbatch-s3");
    if !s3_program.is_file() {
        return Err("the program fruitbatch-s3 isn't built: run `make build`".to_owned());
    }
    Ok((compose_program, s3_program))
}

fn script(name: &str) -> String {
    format!("{}/../../scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn docker(arguments: &[&str]) -> String {
    output_of(bounded(BOUND, "docker").args(arguments))
}

fn address_of(container: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let addresses = docker(&["inspect", "--format", format, container]);
    addresses.split_whitespace().next().expect("a running container has an address").to_owned()
}

/// A program that is ended after so many seconds, with all it started.
fn bounded(seconds: u32, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after", "10", &seconds.to_string(), program]);
    command
}

/// What a program prints on stdout; it must succeed.
fn output_of(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complained}", output.status);
    said.into_owned()
}
