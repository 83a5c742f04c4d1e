//! Running again: what came, changed or went, who else is at work, and what had failed.

use std::process::Command;

use support::{Place, rest_of_stderr, send, wait_for};

mod support;

fn computed(place: &Place) -> u64 {
    place.json("out/metrics.json")["timings"]["photos_computed"].as_u64().expect("is a count")
}

#[test]
fn photos_that_came_changed_or_went_are_noticed() {
    let Some(place) = Place::with_photos("photos_that_came_changed_or_went_are_noticed", 4) else { return };
    place.run("out", &[]).assert().success();
    let photos = place.path("photos");
    let first = |label: &str| {
        let mut names: Vec<_> = std::fs::read_dir(photos.join(label))
            .expect("is a folder")
            .map(|entry| entry.expect("is readable").path())
            .collect();
        names.sort();
        names.remove(0)
    };
    std::fs::copy(first("Strawberry"), photos.join("Strawberry/new.jpg")).expect("copies");
    std::fs::remove_file(first("Orange")).expect("removes");
    // Renamed over: another file of the same name.
    std::fs::copy(first("Strawberry"), photos.join("other")).expect("copies");
    std::fs::rename(photos.join("other"), first("Apple Pink Lady")).expect("renames");

    let again = place.run("out", &[]).assert().success();
    let summary = String::from_utf8_lossy(&again.get_output().stdout).into_owned();
    assert!(
        summary.contains("since the run before: 1 new, 1 changed, 1 not there or not selected any more"),
        "{summary}"
    );
    assert_eq!(computed(&place), 2);
    place.assert_nothing_lost("out", 16);

    let unchanged = place.run("out", &[]).assert().success();
    let summary = String::from_utf8_lossy(&unchanged.get_output().stdout).into_owned();
    assert!(summary.contains("the same photos as in the run before"), "{summary}");
    assert_eq!(computed(&place), 0);

    // As if there never had been other photos.
    place.run("fresh", &[]).assert().success();
    assert_eq!(place.read("out/results.csv"), place.read("fresh/results.csv"));
}

#[test]
fn a_second_driver_is_refused_while_the_first_one_lives() {
    let Some(place) = Place::with_photos("a_second_driver_is_refused_while_the_first_one_lives", 30) else {
        return;
    };
    let command = place.run("out", &["--progress", "json", "--chunk-size", "1", "--slots", "1"]);
    let mut first = place.spawn(&command);
    wait_for(&mut first, "chunk-committed");
    send(&first, "-STOP");
    let second = place.run("out", &[]).assert().code(1);
    let message = String::from_utf8_lossy(&second.get_output().stderr).into_owned();
    assert!(message.contains("is still at it"), "{message}");
    send(&first, "-CONT");
    let rest = rest_of_stderr(&mut first);
    assert!(first.wait().expect("ends").success(), "{rest}");
    place.assert_nothing_lost("out", 120);
    place.assert_success_holds("out");
}

#[test]
fn a_dead_driver_is_succeeded_at_once() {
    let Some(place) = Place::with_photos("a_dead_driver_is_succeeded_at_once", 10) else { return };
    let command = place.run("out", &["--progress", "json", "--chunk-size", "1", "--slots", "1"]);
    let mut first = place.spawn(&command);
    wait_for(&mut first, "chunk-committed");
    send(&first, "-KILL");
    first.wait().expect("ends");
    let second = place.run("out", &[]).assert().success();
    let messages = String::from_utf8_lossy(&second.get_output().stderr).into_owned();
    assert!(messages.contains("done by an earlier run"), "{messages}");
    let claims = place.log_entries("out").iter().filter(|entry| entry["kind"] == "claim").count();
    assert_eq!(claims, 2);
}

/// In a container of its own a driver's process can't be seen from outside, so that only its heartbeat tells of it; and it
/// has none while it sleeps.
#[test]
fn a_driver_that_sleeps_is_succeeded_and_stops_when_it_wakes_up() {
    const NAME: &str = "a_driver_that_sleeps_is_succeeded_and_stops_when_it_wakes_up";
    let namespaces = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let possible = Command::new("unshare").args(namespaces).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {NAME}: `unshare` can't make process namespaces here");
        return;
    }
    let Some(place) = Place::with_photos(NAME, 30) else { return };
    place.run("undisturbed", &[]).assert().success();
    let command = place.run("out", &["--progress", "json", "--chunk-size", "1", "--slots", "1"]);
    let mut contained = assert_cmd::Command::new("unshare");
    contained.args(namespaces).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => contained.env(name, value),
            None => contained.env_remove(name),
        };
    }
    let mut first = place.spawn(&contained);
    wait_for(&mut first, "chunk-committed");
    let driver =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", first.id())).expect("it runs");
    let signal = |signal: &str| {
        assert!(
            Command::new("kill").args([signal, driver.trim()]).status().expect("kill is there").success()
        );
    };
    signal("-STOP");
    let second = place.run("out", &[]).assert().success();
    let messages = String::from_utf8_lossy(&second.get_output().stderr).into_owned();
    assert!(messages.contains("whether it still runs"), "{messages}");
    signal("-CONT");
    let rest = rest_of_stderr(&mut first);
    assert_eq!(first.wait().expect("ends").code(), Some(1), "{rest}");
    assert!(rest.contains("was taken over by a run on"), "{rest}");
    place.assert_nothing_lost("out", 120);
    place.assert_success_holds("out");
    assert_eq!(place.read("out/results.csv"), place.read("undisturbed/results.csv"));
}

#[test]
fn retry_takes_the_failed_photos_again() {
    let Some(place) = Place::with_photos("retry_takes_the_failed_photos_again", 4) else { return };
    std::fs::write(place.path("photos/Orange/broken.jpg"), b"no photo").expect("writes");
    place.run("out", &["--n-clusters", "3"]).assert().success();
    assert_eq!(computed(&place), 17);
    // From somewhere else, with none of the flags, and without the photo's having changed.
    let mut retry = place.fruitbatch(&["retry", &place.path("out").display().to_string()]);
    let retried = retry.current_dir("/").assert().success();
    let summary = String::from_utf8_lossy(&retried.get_output().stdout).into_owned();
    assert!(summary.contains("1 tried again"), "{summary}");
    assert_eq!(computed(&place), 1);
    place.assert_nothing_lost("out", 17);
    assert_eq!(place.json("out/run.json")["config"]["n-clusters"], "3");

    let nowhere = place.fruitbatch(&["retry", "nowhere"]).assert().code(2);
    let message = String::from_utf8_lossy(&nowhere.get_output().stderr).into_owned();
    assert!(message.contains("no run was started"), "{message}");
}

#[test]
fn too_many_failures_stop_the_run_and_a_higher_limit_goes_on() {
    let Some(place) = Place::with_photos("too_many_failures_stop_the_run_and_a_higher_limit_goes_on", 4)
    else {
        return;
    };
    for number in 0..4 {
        std::fs::write(place.path(&format!("photos/Orange/broken-{number}.jpg")), b"no photo")
            .expect("writes");
    }
    for (limit, code) in [("3", 1), ("10%", 1), ("4", 0)] {
        let assert = place.run("out", &["--max-failures", limit, "--chunk-size", "2"]).assert().code(code);
        let message = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert_eq!(
            message.contains(&format!("more than --max-failures {limit} allows")),
            code == 1,
            "{message}"
        );
        assert_eq!(place.path("out/_SUCCESS").exists(), code == 0);
    }
    assert!(computed(&place) < 20, "what was committed before the limit was reached stays");
    place.assert_nothing_lost("out", 20);
    place.run("out", &["--max-failures", "many"]).assert().code(2);
}
