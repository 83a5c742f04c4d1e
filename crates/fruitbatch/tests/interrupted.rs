//! Stopping a run: Ctrl-C ends it cleanly, and the same command goes on.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use support::Place;

mod support;

/// `place.run(...)` as a process that can be sent signals.
fn spawn(place: &Place, flags: &[&str]) -> std::process::Child {
    let command = place.run("out", flags);
    let mut process = Command::new(command.get_program());
    process.args(command.get_args()).current_dir(place.path("."));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => process.env(name, value),
            None => process.env_remove(name),
        };
    }
    process.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Reads the events of `--progress json` until one of them is `event`.
fn wait_for(child: &mut std::process::Child, event: &str) {
    let stderr = child.stderr.as_mut().expect("stderr is piped");
    let mut lines = BufReader::new(stderr).lines();
    let wanted = format!("\"event\":\"{event}\"");
    assert!(lines.any(|line| line.expect("is text").contains(&wanted)), "{event} never came");
}

fn send(child: &std::process::Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

#[test]
fn ctrl_c_stops_cleanly_and_the_same_command_goes_on() {
    let Some(place) = Place::with_photos("ctrl_c_stops_cleanly_and_the_same_command_goes_on", 30) else {
        return;
    };
    place.run("undisturbed", &[]).assert().success();
    for signal in ["-INT", "-TERM"] {
        let mut child = spawn(&place, &["--progress", "json", "--chunk-size", "1", "--slots", "1"]);
        wait_for(&mut child, "chunk-committed");
        send(&child, signal);
        let mut rest = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().expect("stderr is piped"), &mut rest)
            .expect("is text");
        assert_eq!(child.wait().expect("ends").code(), Some(130), "{rest}");
        assert!(rest.contains("the same command goes on"), "{rest}");
        assert!(!place.path("out/_SUCCESS").exists());
    }
    place.run("out", &[]).assert().success();
    let computed = place.json("out/metrics.json")["timings"]["photos_computed"].as_u64().expect("is a count");
    assert!(computed < 120, "what was committed isn't computed again, yet {computed} were");
    assert_eq!(place.read("out/results.csv"), place.read("undisturbed/results.csv"));
}

#[test]
fn a_killed_run_goes_on() {
    let Some(place) = Place::with_photos("a_killed_run_goes_on", 30) else { return };
    place.run("undisturbed", &[]).assert().success();
    let mut child = spawn(&place, &["--progress", "json", "--chunk-size", "1", "--slots", "1"]);
    wait_for(&mut child, "chunk-committed");
    send(&child, "-KILL");
    child.wait().expect("ends");
    place.run("out", &[]).assert().success();
    assert_eq!(place.read("out/results.csv"), place.read("undisturbed/results.csv"));
}
