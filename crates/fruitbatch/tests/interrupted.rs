//! Stopping a run: Ctrl-C ends it cleanly, and the same command goes on.

use support::{Place, rest_of_stderr, send, wait_for};

mod support;

#[test]
fn ctrl_c_stops_cleanly_and_the_same_command_goes_on() {
    let Some(place) = Place::with_photos("ctrl_c_stops_cleanly_and_the_same_command_goes_on", 30) else {
        return;
    };
    place.run("undisturbed", &[]).assert().success();
    for signal in ["-INT", "-TERM"] {
        let command = place.run("out", &["--progress", "json", "--chunk-size", "1", "--slots", "1"]);
        let mut child = place.spawn(&command);
        wait_for(&mut child, "chunk-committed");
        send(&child, signal);
        let rest = rest_of_stderr(&mut child);
        assert_eq!(child.wait().expect("ends").code(), Some(130), "{rest}");
        assert!(rest.contains("the same command goes on"), "{rest}");
        assert!(!place.path("out/_SUCCESS").exists());
        let last = place.log_entries("out").pop().expect("there are entries");
        assert_eq!((&last["kind"], &last["complete"]), (&"release".into(), &false.into()));
    }
    place.run("out", &[]).assert().success();
    let computed = place.json("out/metrics.json")["timings"]["photos_computed"].as_u64().expect("is a count");
    assert!(computed < 120, "what was committed isn't computed again, yet {computed} were");
    assert_eq!(place.read("out/results.csv"), place.read("undisturbed/results.csv"));
}
