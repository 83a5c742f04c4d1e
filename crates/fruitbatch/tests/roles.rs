//! Scheduler, executors and drivers as people start and watch them, on loopback.

#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fruitbatch_testkit::browser::in_browser;
use fruitbatch_testkit::certificates::Authority;
use fruitbatch_testkit::ec2_metadata::Ec2Metadata;
use fruitbatch_testkit::trace_collector::{Span, TraceCollector};
use support::roles::{Role, Said, eventually, http_get};
use support::{Place, rest_of_stderr, send, wait_for};

mod support;

const PHOTOS: usize = 4 * 15;

/// A run's flags on this fleet: some chunks, so that there is something to see between them.
fn on(scheduler: &Role) -> Vec<String> {
    ["--scheduler", &scheduler.url(), "--chunk-size", "10"].map(str::to_owned).to_vec()
}

fn flags(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[test]
fn everything_goes_over_mutual_tls() {
    let Some(place) = Place::with_photos("everything_goes_over_mutual_tls", 15) else { return };
    place.run("local", &[]).assert().success();

    let (ours, others) = (Authority::new(&place.path(""), "ours"), Authority::new(&place.path(""), "others"));
    let tls = |authority: &Authority, name: &str, client_ca: bool| {
        let text = |file: &Path| file.to_str().expect("is UTF-8").to_owned();
        let own = authority.issue(name, &["127.0.0.1"]);
        let mut flags =
            vec!["--tls-cert".to_owned(), text(&own.cert), "--tls-key".to_owned(), text(&own.key)];
        flags.extend(["--tls-ca".to_owned(), text(ours.file())]);
        if client_ca {
            flags.extend(["--tls-client-ca".to_owned(), text(ours.file())]);
        }
        flags
    };
    let scheduler = Role::scheduler(&place, &flags(&tls(&ours, "scheduler", true)));
    let executor = Role::executor(&place, &scheduler, &flags(&tls(&ours, "executor", true)));
    let driver = [on(&scheduler), tls(&ours, "driver", false)].concat();
    place.run("over-tls", &flags(&driver)).assert().success();
    assert_eq!(place.read("over-tls/results.csv"), place.read("local/results.csv"));

    // An executor that is killed is noticed, and its work taken over by the other, over TLS as without.
    let mut killed = Role::executor(&place, &scheduler, &flags(&tls(&ours, "killed", true)));
    let with_events = [driver.clone(), ["--progress", "json"].map(str::to_owned).to_vec()].concat();
    let mut disturbed = place.spawn(&place.run("disturbed", &flags(&with_events)));
    wait_for(&mut disturbed, "chunk-committed");
    send(killed.process(), "-KILL");
    let (said, code) = (rest_of_stderr(&mut disturbed), disturbed.wait().expect("it ends").code());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(place.read("disturbed/results.csv"), place.read("local/results.csv"));

    // The driver's lineage names the files, and holds nothing of them.
    let run_json = place.read("over-tls/run.json");
    assert!(run_json.contains("driver.key.pem") && !run_json.contains("BEGIN"), "{run_json}");

    // Whether they live is told to everybody, over TLS; the rest to nobody without a certificate of ours.
    let ca = ours.file().to_str().expect("is UTF-8");
    for role in [&scheduler, &executor] {
        let health = ["health", "--address", &role.address, "--ready", "--tls-ca", ca];
        place.fruitbatch(&health).assert().success();
        place.fruitbatch(&["health", "--address", &role.address]).assert().code(1);
    }
    let stranger = [on(&scheduler), vec!["--tls-ca".to_owned(), ca.to_owned()]].concat();
    let impostor = [on(&scheduler), tls(&others, "impostor", false)].concat();
    for refused in [stranger, impostor, on(&scheduler)] {
        let refused = place.run("refused", &flags(&refused)).assert().code(1);
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(said.contains("error: ") && !place.path("refused/results.csv").exists(), "{said}");
    }

    // Half of it is none.
    let half = place.fruitbatch(&["scheduler", "--tls-ca", ca]).assert().code(2);
    let said = String::from_utf8_lossy(&half.get_output().stderr).into_owned();
    assert!(said.contains("TLS needs a certificate and its key"), "{said}");
}

/// The value of a metric without labels, or with these.
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no `{name}` in\n{text}")).parse().expect("is a number")
}

fn names(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect()
}

#[test]
fn prometheus_is_told_what_was_done() {
    let Some(place) = Place::with_photos("prometheus_is_told_what_was_done", 15) else { return };
    std::fs::write(place.path("photos/Orange/bad.jpg"), "no photo").expect("can be written");
    let scheduler = Role::scheduler(&place, &[]);
    let (status, not_ready) = http_get(&scheduler.address, "/readyz");
    assert_eq!((status, not_ready.trim()), (503, "no executor has joined"));
    let executor = Role::executor(&place, &scheduler, &[]);
    place.run("out", &flags(&on(&scheduler))).assert().success();

    let (status, of_executor) = http_get(&executor.address, "/metrics");
    assert_eq!(status, 200);
    assert_eq!(metric(&of_executor, "fruitbatch_photos_total{outcome=\"embedded\"}"), PHOTOS as f64);
    assert_eq!(metric(&of_executor, "fruitbatch_photos_total{outcome=\"failed\"}"), 1.0);
    assert_eq!(metric(&of_executor, "fruitbatch_failures_total{reason=\"not-an-image\"}"), 1.0);
    assert_eq!(metric(&of_executor, "fruitbatch_failures_total{reason=\"too-small\"}"), 0.0);
    assert_eq!(metric(&of_executor, "fruitbatch_unreadable_photos_total{reason=\"vanished\"}"), 0.0);
    assert_eq!(metric(&of_executor, "fruitbatch_decode_seconds_count"), PHOTOS as f64 + 1.0);
    assert!(metric(&of_executor, "fruitbatch_inference_seconds_sum") > 0.0);
    assert!(metric(&of_executor, "fruitbatch_read_bytes_total") > PHOTOS as f64);
    assert!(metric(&of_executor, "process_resident_memory_bytes") > 1e6);
    assert!(metric(&of_executor, "process_cpu_seconds_total") > 0.0);
    assert_eq!(metric(&of_executor, "fruitbatch_slots"), 2.0);
    assert_eq!(metric(&of_executor, "fruitbatch_joined"), 1.0);
    assert!(metric(&of_executor, "fruitbatch_tasks_total{outcome=\"succeeded\"}") >= 7.0);

    // The executor tells the scheduler once a second.
    let of_scheduler = eventually("the scheduler hears of all photos", || {
        let (_, text) = http_get(&scheduler.address, "/metrics");
        // Those that were read beforehand to see whether they can be come on top.
        (metric(&text, "fruitbatch_fleet_photos_total") >= PHOTOS as f64 + 1.0).then_some(text)
    });
    assert_eq!(metric(&of_scheduler, "fruitbatch_executors{state=\"active\"}"), 1.0);
    assert_eq!(metric(&of_scheduler, "fruitbatch_executors_joined_total"), 1.0);
    assert_eq!(metric(&of_scheduler, "fruitbatch_executors_lost_total"), 0.0);
    assert_eq!(metric(&of_scheduler, "fruitbatch_slots"), 2.0);
    assert!(metric(&of_scheduler, "fruitbatch_jobs_total{outcome=\"completed\"}") >= 7.0);
    assert_eq!(metric(&of_scheduler, "fruitbatch_jobs_total{outcome=\"failed\"}"), 0.0);

    // Dashboard and alerts are written over these names.
    let told: BTreeSet<String> = names(&of_executor).union(&names(&of_scheduler)).cloned().collect();
    let listed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/monitoring/metrics.txt"))
            .expect("the list is there");
    let listed: BTreeSet<String> = listed
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| line.split(' ').next())
        .map(|name| name.strip_suffix("_total").or(name.strip_suffix("_info")).unwrap_or(name).to_owned())
        .collect();
    assert_eq!(told, listed);
}

#[test]
fn a_run_and_its_fleet_can_be_watched() {
    let Some(place) = Place::with_photos("a_run_and_its_fleet_can_be_watched", 15) else { return };
    std::fs::write(place.path("photos/Orange/bad.jpg"), "no photo").expect("can be written");
    let none = place.fruitbatch(&["status", "out"]).assert().code(2);
    assert!(String::from_utf8_lossy(&none.get_output().stderr).contains("no run was started"));

    // Without an executor: the run can be looked at for as long as it takes.
    let mut scheduler = Role::scheduler(&place, &["--ui", "127.0.0.1:0"]);
    let more =
        [on(&scheduler), ["--ui", "127.0.0.1:0", "--progress", "json"].map(str::to_owned).to_vec()].concat();
    let mut driver = place.spawn(&place.run("out", &flags(&more)));
    let mut events = Said::by(&mut driver);
    let page = events.wait_for_page();
    events.wait_for("has no executor yet");
    let state = |address: &str| -> serde_json::Value {
        let (status, text) = http_get(address, "/api/state");
        assert_eq!(status, 200);
        serde_json::from_str(&text).expect("is JSON")
    };
    let waiting = state(&page);
    assert_eq!(waiting["run"]["total"], PHOTOS + 1);
    assert_eq!(waiting["run"]["stage"], "start");
    assert!(
        waiting["warnings"][0].as_str().is_some_and(|text| text.contains("no executor yet")),
        "{waiting}"
    );
    assert_eq!(state(scheduler.page.as_ref().expect("it has a page"))["executors"], serde_json::json!([]));
    let status = || -> serde_json::Value {
        let told = place.fruitbatch(&["status", "out", "--json"]).assert().success();
        serde_json::from_slice(&told.get_output().stdout).expect("is JSON")
    };
    assert_eq!(status()["state"], "running");

    let _executor = Role::executor(&place, &scheduler, &[]);
    events.wait_for("\"slots\":2");
    let joined = state(&page);
    assert_eq!(joined["executors"][0]["slots"], 2, "{joined}");
    events.wait_for("chunk-committed");
    let at_work = state(&page);
    assert_eq!(at_work["run"]["stage"], "extract");
    assert!(at_work["run"]["chunks-committed"].as_u64() >= Some(1), "{at_work}");
    let of_scheduler = state(scheduler.page.as_ref().expect("it has a page"));
    assert_eq!(of_scheduler["executors"][0]["slots"], 2, "{of_scheduler}");
    // What people see is one file, and nothing from elsewhere.
    let (code, html) = http_get(&page, "/");
    assert!(code == 200 && html.contains("<title>fruitbatch</title>"));
    assert!(!html.contains("src=\"") && !html.contains("https://"), "nothing is loaded from elsewhere");

    // A scheduler that is gone, for a driver that then stops: resumable, and told so.
    send(scheduler.process(), "-KILL");
    send(&driver, "-TERM");
    assert_eq!(driver.wait().expect("it ends").code(), Some(130));
    let stopped = status();
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    place.run("out", &[]).assert().success();
    let complete = status();
    assert_eq!(complete["state"], "complete", "{complete}");
    assert_eq!(complete["committed-rows"], PHOTOS);
    assert_eq!(complete["failures"], serde_json::json!({"not-an-image": 1}));
    let told = place.fruitbatch(&["status", "out"]).assert().success();
    let told = String::from_utf8_lossy(&told.get_output().stdout).into_owned();
    assert!(told.starts_with("complete: ") && told.contains("committed 61 photos"), "{told}");
}

/// What a page's document holds in a browser once its script has run; nothing where there is no browser.
fn page_in_browser(test: &str, address: &str) -> Option<String> {
    // Time for the page to ask for its figures more than once, over before it is if nothing else goes on.
    in_browser(test, &format!("http://{address}/"), &["--virtual-time-budget=5000"])
}

#[test]
fn the_page_works_in_a_browser() {
    let test = "the_page_works_in_a_browser";
    let Some(place) = Place::with_photos(test, 15) else { return };
    // Of the first chunk, by its name.
    std::fs::create_dir(place.path("photos/0")).expect("can be made");
    std::fs::write(place.path("photos/0/bad.jpg"), "no photo").expect("can be written");
    let scheduler = Role::scheduler(&place, &["--ui", "127.0.0.1:0"]);
    let mut executor = Role::executor(&place, &scheduler, &[]);
    let page = scheduler.page.as_ref().expect("it has a page");
    let Some(idle) = page_in_browser(test, page) else { return };
    let state: serde_json::Value =
        serde_json::from_str(&http_get(page, "/api/state").1).expect("the state is JSON");
    let host = format!("<td>{}</td>", state["executors"][0]["host"].as_str().expect("it has a name"));
    assert!(idle.contains(&host), "{idle}");

    // A run in the middle, for as long as it takes to look at it: its only executor stands still.
    let watched = [on(&scheduler), ["--ui", "127.0.0.1:0", "--progress", "json"].map(str::to_owned).to_vec()];
    let mut driver = place.spawn(&place.run("out", &flags(&watched.concat())));
    let mut events = Said::by(&mut driver);
    let page = events.wait_for_page();
    events.wait_for("\"failed\":1");
    send(executor.process(), "-STOP");
    let running = page_in_browser(test, &page).expect("it was there before");
    for part in [&host, "photos of 61", "<td>not-an-image</td>"] {
        assert!(running.contains(part), "no {part} in {running}");
    }
    assert!(running.contains("id=\"lost\" role=\"alert\" hidden"), "it gets its answers: {running}");
    driver.kill().expect("it can be killed");
    driver.wait().expect("it ends");
}

#[test]
fn traces_go_to_a_collector() {
    let Some(place) = Place::with_photos("traces_go_to_a_collector", 15) else { return };
    let collector = TraceCollector::start();
    let traced = |arguments: &[&str]| {
        let mut command = place.fruitbatch(arguments);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint_url());
        command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
        command
    };
    let scheduler = Role::scheduler(&place, &[]);
    let executor =
        traced(&["executor", "--scheduler", &scheduler.address, "--bind", "127.0.0.1:0", "--slots", "2"]);
    let _executor = Role::of(place.spawn(&executor), false);
    let mut run = place.run("out", &flags(&on(&scheduler)));
    run.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint_url()).assert().success();

    // The driver sent its last ones before it ended; all of them are one trace.
    let of = |service: &str| -> Vec<Span> {
        collector.spans().into_iter().filter(|span| span.service == service).collect()
    };
    let of_run = of("fruitbatch-run");
    let named = |name: &str| of_run.iter().filter(|span| span.name == name).count();
    assert_eq!((named("run"), named("chunk"), named("extract"), named("fit")), (1, 6, 1, 1), "{of_run:?}");
    let root = of_run.iter().find(|span| span.name == "run").expect("it was counted");
    assert!(root.parent_span_id.is_empty());
    assert!(of_run.iter().all(|span| span.trace_id == root.trace_id), "{of_run:?}");
    eventually("the executor tells of its tasks", || {
        let tasks = of("fruitbatch-executor").into_iter().filter(|span| span.name == "task").count();
        (tasks >= 6).then_some(())
    });
}

#[test]
fn roles_take_their_settings_from_a_file() {
    let Some(place) = Place::with_photos("roles_take_their_settings_from_a_file", 1) else { return };
    std::fs::write(
        place.path("cluster.toml"),
        "driver-timeout = 7\n[scheduler]\nbind = \"127.0.0.1:0\"\n[executor]\nslots = 3\nbind = \"127.0.0.1:0\"\n",
    )
    .expect("can be written");
    let scheduler = Role::start(&place, &["scheduler", "--config", "cluster.toml"]);
    let flags = ["executor", "--scheduler", &scheduler.address, "--config", "cluster.toml"];
    let executor = Role::start(&place, &flags);
    assert!(executor.said.iter().any(|line| line.contains("3 slots")), "{:?}", executor.said);
    std::fs::write(place.path("cluster.toml"), "[executor]\nslot = 3\n").expect("can be written");
    let wrong = place.fruitbatch(&flags).assert().code(2);
    let said = String::from_utf8_lossy(&wrong.get_output().stderr).into_owned();
    assert!(said.contains("`slot` is not a key; did you mean `slots`?"), "{said}");
}

#[test]
fn an_executor_leaves_when_ec2_says_that_its_instance_goes() {
    let test = "an_executor_leaves_when_ec2_says_that_its_instance_goes";
    let Some(place) = Place::with_photos(test, 1) else { return };
    let scheduler = Role::scheduler(&place, &[]);
    for (path, text, reason) in [
        (
            "/latest/meta-data/spot/instance-action",
            r#"{"action": "terminate", "time": "2026-11-21T08:22:00Z"}"#,
            "EC2 takes this spot instance back in two minutes",
        ),
        (
            "/latest/meta-data/autoscaling/target-lifecycle-state",
            "Terminated",
            "the Auto Scaling group terminates this instance",
        ),
    ] {
        let metadata = Ec2Metadata::start();
        metadata.set("/latest/meta-data/autoscaling/target-lifecycle-state", "InService");
        let mut command = place.fruitbatch(&[
            "executor",
            "--ec2-notices",
            "--scheduler",
            &scheduler.address,
            "--bind",
            "127.0.0.1:0",
        ]);
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint_url());
        let mut executor = place.spawn(&command);
        let mut said = Said::by(&mut executor);
        said.wait_for("joined");
        metadata.set(path, text);
        said.wait_for(reason);
        said.wait_for("executor has left");
        assert_eq!(executor.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn an_executor_with_a_full_disk_leaves_the_work_to_others() {
    let test = "an_executor_with_a_full_disk_leaves_the_work_to_others";
    let Some(place) = Place::with_photos(test, 15) else { return };
    place.run("local", &[]).assert().success();
    std::fs::create_dir(place.path("disk")).expect("can be made");
    let disk = place.path("disk").display().to_string();
    let in_namespace = |script: &str, more: &Command| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh", &disk]);
        command.arg(more.get_program()).args(more.get_args());
        command
    };
    let mount = "mount -t tmpfs -o size=16k,nr_inodes=3 small-disk \"$1\"; shift; exec \"$@\"";
    match in_namespace(mount, &Command::new("true")).output() {
        Ok(output) if output.status.success() => {}
        failed => {
            eprintln!("SKIPPED: {test}: no file system can be mounted in a namespace of its own: {failed:?}");
            return;
        }
    }

    let scheduler = Role::scheduler(&place, &[]);
    let flags_of_small =
        ["executor", "--scheduler", &scheduler.address, "--bind", "127.0.0.1:0", "--work-dir", &disk];
    let alone = place.fruitbatch(&flags_of_small);
    let mut plain = Command::new(alone.get_program());
    plain.args(alone.get_args());
    let mut small = assert_cmd::Command::from_std(in_namespace(mount, &plain));
    for (name, value) in alone.get_envs() {
        match value {
            Some(value) => small.env(name, value),
            None => small.env_remove(name),
        };
    }
    let mut small = Role::of(place.spawn(&small), false);
    let mut driver = place.spawn(&place.run("out", &flags(&on(&scheduler))));
    // At first it is the only one; it finds out that it is of no use, and says so by its exit code.
    assert_eq!(small.process().wait().expect("it ends").code(), Some(1));
    let _other = Role::executor(&place, &scheduler, &[]);
    let (said, code) = (rest_of_stderr(&mut driver), driver.wait().expect("it ends").code());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(place.read("out/results.csv"), place.read("local/results.csv"));
}
