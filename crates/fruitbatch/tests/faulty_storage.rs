//! S3 at its worst: whatever the server and the network do, no photo is lost, and no fault is booked as a bad photo.

use fruitbatch_testkit::faults::{Fault, FaultPlan, Rule};
use fruitbatch_testkit::s3_server::S3Server;
use support::{Place, upload, with_credentials};

mod support;

const BUCKET: &str = "fruits";

/// The program on the server, its photos and its output there.
fn run(place: &Place, server: &S3Server, flags: &[&str]) -> assert_cmd::Command {
    let command = place.run_on("s3://fruits/photos/", "s3://fruits/out/", flags);
    with_credentials(command, server)
}

fn text(server: &S3Server, key: &str) -> String {
    let content = server.object(BUCKET, key).unwrap_or_else(|| panic!("there is no {key}"));
    String::from_utf8(content.to_vec()).expect("is text")
}

fn photo_keys(server: &S3Server) -> Vec<String> {
    server.keys(BUCKET).into_iter().filter(|key| key.starts_with("photos/")).collect()
}

fn place_and_server(test: &str) -> Option<(Place, S3Server, String)> {
    let place = Place::with_photos(test, 5)?;
    place.run("undisturbed", &[]).assert().success();
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    upload(&place, &server, BUCKET, str::to_owned);
    let expected = place.read("undisturbed/results.csv");
    Some((place, server, expected))
}

#[test]
fn a_troubled_server_changes_nothing_of_the_results() {
    let Some((place, server, expected)) =
        place_and_server("a_troubled_server_changes_nothing_of_the_results")
    else {
        return;
    };
    let mut injected = 0;
    for seed in 0..4 {
        for key in server.keys(BUCKET).iter().filter(|key| key.starts_with("out/")) {
            server.remove_object(BUCKET, key);
        }
        server.set_faults(
            FaultPlan::new(seed)
                .odds(0.02, Fault::SlowDown)
                .odds(0.02, Fault::InternalError)
                .odds(0.01, Fault::StatusWithoutBody(503))
                .odds(0.01, Fault::ResetBefore)
                .odds(0.02, Fault::ResetAfter)
                .odds_of("GetObject", 0.05, Fault::TruncatedBody)
                .odds_of("GetObject", 0.05, Fault::ShortenedBody)
                .odds_of("ListObjectsV2", 0.2, Fault::ListOutOfOrder)
                .odds_of("ListObjectsV2", 0.2, Fault::ListPageRepeated),
        );
        // Trouble that outlasts the repetitions stops a run, and the same command goes on.
        let mut runs = 0;
        loop {
            runs += 1;
            let outcome = run(&place, &server, &["--chunk-size", "4"]).output().expect("runs");
            if outcome.status.success() {
                break;
            }
            let message = String::from_utf8_lossy(&outcome.stderr).into_owned();
            assert_eq!(outcome.status.code(), Some(1), "{message}");
            assert!(runs < 10, "seed {seed} never gets through: {message}");
        }
        injected += server.injected_faults().len();
        server.set_faults(FaultPlan::none());
        assert_eq!(text(&server, "out/results.csv"), expected, "seed {seed}");
        assert_eq!(text(&server, "out/failures.csv").lines().count(), 1, "seed {seed}: only the header");
    }
    assert!(injected > 20, "only {injected} faults were met");
}

#[test]
fn one_photo_that_may_not_be_read_is_booked_and_taken_again_on_request() {
    let Some((place, server, expected)) =
        place_and_server("one_photo_that_may_not_be_read_is_booked_and_taken_again_on_request")
    else {
        return;
    };
    let photos = photo_keys(&server);
    let forbidden = format!("{BUCKET}/{}", photos[3]);
    let archived = format!("{BUCKET}/{}", photos[7]);
    let read = |fault, key: &str| Rule::new(fault).operation("GetObject").key(key);
    server.set_faults(
        FaultPlan::new(0).rule(read(Fault::AccessDenied, &forbidden)).rule(read(Fault::Archived, &archived)),
    );
    run(&place, &server, &[]).assert().success();
    let failures = text(&server, "out/failures.csv");
    assert_eq!(failures.lines().count(), 3, "{failures}");
    assert!(failures.contains("read,access-denied,") && failures.contains("read,archived,"), "{failures}");
    assert_eq!(text(&server, "out/results.csv").lines().count(), 1 + 18);

    // Still forbidden: tried again alone, and booked again.
    let retry = || with_credentials(place.fruitbatch(&["retry", "s3://fruits/out/"]), &server);
    retry().assert().success();
    assert_eq!(text(&server, "out/failures.csv").lines().count(), 3);

    server.set_faults(FaultPlan::none());
    run(&place, &server, &[]).assert().success();
    assert_eq!(text(&server, "out/failures.csv").lines().count(), 3, "unchanged photos aren't tried again");
    retry().assert().success();
    assert_eq!(text(&server, "out/failures.csv").lines().count(), 1);
    assert_eq!(text(&server, "out/results.csv"), expected);
}

#[test]
fn a_photo_tried_again_and_denied_just_once_more_is_not_left_booked() {
    let Some((place, server, expected)) =
        place_and_server("a_photo_tried_again_and_denied_just_once_more_is_not_left_booked")
    else {
        return;
    };
    let photos = photo_keys(&server);
    let denied =
        || Rule::new(Fault::AccessDenied).operation("GetObject").key(&format!("{BUCKET}/{}", photos[3]));
    server.set_faults(FaultPlan::new(0).rule(denied()));
    run(&place, &server, &[]).assert().success();
    assert_eq!(text(&server, "out/failures.csv").lines().count(), 2);

    server.set_faults(FaultPlan::new(0).rule(denied().times(1)));
    with_credentials(place.fruitbatch(&["retry", "s3://fruits/out/"]), &server).assert().success();
    assert_eq!(server.injected_faults().len(), 1);
    assert_eq!(text(&server, "out/failures.csv").lines().count(), 1);
    assert_eq!(text(&server, "out/results.csv"), expected);
}

#[test]
fn when_nothing_may_be_read_any_more_the_run_stops_and_books_nothing() {
    let Some((place, server, expected)) =
        place_and_server("when_nothing_may_be_read_any_more_the_run_stops_and_books_nothing")
    else {
        return;
    };
    // After the first chunks have been read: as when a policy is changed, or a session's rights end.
    let reads = || Rule::new(Fault::AccessDenied).operation("GetObject").key_prefix("fruits/photos/");
    server.set_faults(FaultPlan::new(0).rule(reads().after(9)));
    let stopped = run(&place, &server, &["--chunk-size", "4", "--slots", "1"]).assert().code(1);
    let message = String::from_utf8_lossy(&stopped.get_output().stderr).into_owned();
    assert!(message.contains("not booked as their failure"), "{message}");
    assert!(!message.contains(server.secret_key()) && !message.contains(server.access_key()), "{message}");

    // Not even the first photos.
    server.set_faults(FaultPlan::new(0).rule(reads()));
    let refused = run(&place, &server, &[]).assert().code(1);
    let message = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(message.contains("can't read photos of"), "{message}");

    server.set_faults(FaultPlan::none());
    run(&place, &server, &[]).assert().success();
    assert_eq!(text(&server, "out/results.csv"), expected);
    assert_eq!(text(&server, "out/failures.csv").lines().count(), 1);
}

#[test]
fn expired_credentials_stop_the_run_and_it_goes_on_once_they_are_renewed() {
    let Some((place, server, expected)) =
        place_and_server("expired_credentials_stop_the_run_and_it_goes_on_once_they_are_renewed")
    else {
        return;
    };
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::ExpiredToken).after(30)));
    let stopped = run(&place, &server, &["--chunk-size", "4"]).assert().code(1);
    let message = String::from_utf8_lossy(&stopped.get_output().stderr).into_owned();
    assert!(message.contains("xpired"), "{message}");
    server.set_faults(FaultPlan::none());
    run(&place, &server, &[]).assert().success();
    assert_eq!(text(&server, "out/results.csv"), expected);
    assert_eq!(text(&server, "out/failures.csv").lines().count(), 1);
}

#[test]
fn a_server_that_ignores_conditions_is_refused() {
    let Some((place, server, _)) = place_and_server("a_server_that_ignores_conditions_is_refused") else {
        return;
    };
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::ConditionsIgnored)));
    let refused = run(&place, &server, &[]).assert().code(1);
    let message = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(message.contains("ignores `If-None-Match`"), "{message}");
}
