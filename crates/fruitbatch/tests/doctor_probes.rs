//! `doctor --input --output`: what it says of places that may be used, and of those that may not; and that the policies it
//! prints are enough.

use std::io::{BufRead, BufReader};
use std::process::Child;

use fruitbatch_testkit::faults::{Fault, FaultPlan, Rule};
use fruitbatch_testkit::s3_server::S3Server;
use support::{Place, upload, with_credentials};

mod support;

const BUCKET: &str = "fruits";
const INPUT: &str = "s3://fruits/photos/";
const OUT: &str = "s3://fruits/out/";
const TRIALS: [&str; 10] =
    ["list", "get", "list", "missing", "put", "get", "if-none-match", "if-match", "rename", "delete"];

fn place_and_server(test: &str) -> Option<(Place, S3Server)> {
    let place = Place::with_photos(test, 3)?;
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    upload(&place, &server, BUCKET, str::to_owned);
    Some((place, server))
}

/// What the doctor says of the two places, and how it ends.
fn doctor(place: &Place, server: &S3Server) -> (String, Option<i32>) {
    let command = place.fruitbatch(&["doctor", "--input", INPUT, "--output", OUT]);
    let told = with_credentials(command, server).output().expect("runs");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    for secret in [server.secret_key(), server.access_key()] {
        assert!(!text.contains(secret) && !String::from_utf8_lossy(&told.stderr).contains(secret), "{text}");
    }
    (text, told.status.code())
}

/// What was said of each trial, in order.
fn outcomes(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("  ")?.split_whitespace();
        let (outcome, what) = (words.next()?, words.next()?);
        TRIALS.contains(&what).then(|| (what.to_owned(), outcome.to_owned()))
    });
    lines.collect()
}

/// The JSON blocks that stand in a text.
fn policies(text: &str) -> Vec<serde_json::Value> {
    text.split("\n{\n")
        .skip(1)
        .map(|block| {
            let end = block.find("\n}").expect("a block ends");
            serde_json::from_str(&format!("{{{}}}", &block[..end])).expect("is JSON")
        })
        .collect()
}

#[test]
fn places_that_may_be_used_are_told_so_and_left_as_they_were() {
    let Some((place, server)) = place_and_server("places_that_may_be_used_are_told_so_and_left_as_they_were")
    else {
        return;
    };
    let before = server.keys(BUCKET);
    let (text, code) = doctor(&place, &server);
    assert_eq!(code, Some(0), "{text}");
    let expected = TRIALS.map(|what| (what.to_owned(), "ok".to_owned()));
    assert_eq!(outcomes(&text), expected, "{text}");
    assert_eq!(server.keys(BUCKET), before);
    let [driver, executors] = policies(&text).try_into().expect("two policies");
    assert_eq!(driver["Statement"][0]["Condition"]["StringLikeIfExists"]["s3:prefix"][0], "photos/*");
    assert_eq!(executors["Statement"][1]["Action"], serde_json::json!(["s3:GetObject"]));
}

#[test]
fn what_is_denied_is_told_with_what_would_allow_it() {
    let Some((place, server)) = place_and_server("what_is_denied_is_told_with_what_would_allow_it") else {
        return;
    };
    let before = server.keys(BUCKET);
    let denied = |operation: &str, prefix: &str| {
        Rule::new(Fault::AccessDenied).operation(operation).key_prefix(&format!("{BUCKET}/{prefix}"))
    };
    // What is denied; which trials say so, by their number; and the permission that is named.
    for (rule, trials, permission) in [
        (
            denied("ListObjectsV2", "photos/"),
            &[0][..],
            "s3:ListBucket on arn:aws:s3:::fruits for the prefix `photos/*`",
        ),
        (denied("GetObject", "photos/"), &[1], "s3:GetObject on arn:aws:s3:::fruits/photos/*"),
        (
            denied("ListObjectsV2", "out/"),
            &[2],
            "s3:ListBucket on arn:aws:s3:::fruits for the prefix `out/*`",
        ),
        (denied("PutObject", "out/"), &[4], "s3:PutObject on arn:aws:s3:::fruits/out/*"),
        (denied("GetObject", "out/"), &[5, 8], "s3:GetObject on arn:aws:s3:::fruits/out/*"),
        (denied("HeadObject", "out/"), &[3, 7], "s3:PutObject and s3:GetObject on arn:aws:s3:::fruits/out/*"),
        (denied("DeleteObject", "out/"), &[8, 9], "s3:DeleteObject on arn:aws:s3:::fruits/out/*"),
    ] {
        server.set_faults(FaultPlan::new(0).rule(rule));
        let (text, code) = doctor(&place, &server);
        assert_eq!(code, Some(1), "{text}");
        let outcomes = outcomes(&text);
        let found: Vec<usize> =
            (0..outcomes.len()).filter(|number| outcomes[*number].1 == "DENIED").collect();
        assert_eq!(found, trials, "{text}");
        assert!(text.contains(&format!("allow {permission}")), "{permission}: {text}");
        assert_eq!(
            policies(&text).len(),
            2,
            "the policies are needed most where something is denied: {text}"
        );
    }
    // What may be written and not deleted stays, and that is told.
    let left: Vec<String> = server.keys(BUCKET).into_iter().filter(|key| !before.contains(key)).collect();
    assert!(
        !left.is_empty() && left.iter().all(|key| key.starts_with("out/_fruitbatch/doctor-")),
        "{left:?}"
    );
}

#[test]
fn a_server_that_ignores_conditions_is_found_out() {
    let Some((place, server)) = place_and_server("a_server_that_ignores_conditions_is_found_out") else {
        return;
    };
    let before = server.keys(BUCKET);
    server.set_faults(FaultPlan::new(0).rule(Rule::new(Fault::ConditionsIgnored)));
    let (text, code) = doctor(&place, &server);
    assert_eq!(code, Some(1), "{text}");
    let failed: Vec<String> = outcomes(&text)
        .into_iter()
        .filter(|(_, outcome)| outcome == "FAILED")
        .map(|(what, _)| what)
        .collect();
    assert_eq!(failed, ["if-none-match", "if-match"], "{text}");
    assert_eq!(server.keys(BUCKET), before);
}

#[test]
fn wrong_credentials_and_missing_buckets_are_told_once() {
    let Some((place, server)) = place_and_server("wrong_credentials_and_missing_buckets_are_told_once")
    else {
        return;
    };
    let secret = "wrong-secret-that-must-not-show";
    let command = place.fruitbatch(&["doctor", "--output", OUT]);
    let told = with_credentials(command, &server).env("AWS_SECRET_ACCESS_KEY", secret).assert().code(1);
    let text = String::from_utf8_lossy(&told.get_output().stdout).into_owned();
    assert!(text.contains("FAILED  list") && !text.contains(secret), "{text}");
    assert_eq!(outcomes(&text).iter().filter(|(_, outcome)| outcome == "-").count(), 7, "{text}");

    let command = place.fruitbatch(&["doctor", "--input", "s3://nothing/photos/"]);
    let told = with_credentials(command, &server).assert().code(1);
    let text = String::from_utf8_lossy(&told.get_output().stdout).into_owned();
    assert!(text.contains("NoSuchBucket"), "{text}");
}

#[test]
fn local_folders_are_tried_without_a_word_of_policies() {
    let Some(place) = Place::with_photos("local_folders_are_tried_without_a_word_of_policies", 2) else {
        return;
    };
    let told = place.fruitbatch(&["doctor", "--input", "photos", "--output", "new/out"]).assert().success();
    let text = String::from_utf8_lossy(&told.get_output().stdout).into_owned();
    assert_eq!(outcomes(&text).len(), TRIALS.len(), "{text}");
    assert!(!text.contains("Statement"), "{text}");
    assert!(!place.path("new").exists());
    place.fruitbatch(&["doctor", "--input", "nowhere"]).assert().code(1);
    place.fruitbatch(&["doctor", "--input", "ftp://host/photos"]).assert().code(2);
}

/// Denies what the printed policies don't allow, and more: to the executors all but reading photos and models, to the
/// driver writing anywhere but in OUT, and asking for the bucket as a whole.
fn beyond_the_policies(executors_key: &str) -> FaultPlan {
    let denied = |operation: &str| Rule::new(Fault::AccessDenied).operation(operation);
    let mut plan = FaultPlan::new(0);
    for operation in ["ListObjectsV2", "PutObject", "DeleteObject"] {
        plan = plan.rule(denied(operation).access_key(executors_key));
    }
    for results in ["features/", "model/", "results", "_fruitbatch/log/", "_fruitbatch/parts/"] {
        for operation in ["GetObject", "HeadObject"] {
            plan = plan.rule(
                denied(operation).access_key(executors_key).key_prefix(&format!("fruits/out/{results}")),
            );
        }
    }
    plan.rule(denied("PutObject").key_prefix("fruits/photos/"))
        .rule(denied("DeleteObject").key_prefix("fruits/photos/"))
        .rule(denied("ListObjectsV2").key("fruits/"))
        .rule(denied("HeadBucket"))
}

/// A process that is ended with the test.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a role and returns it with the rest of its line on stderr that has `sign` in it.
fn start(place: &Place, command: &assert_cmd::Command, sign: &str) -> (Role, String) {
    let mut role = Role(place.spawn(command));
    let stderr = role.0.stderr.take().expect("stderr is piped");
    let mut lines = BufReader::new(stderr).lines();
    let line = lines
        .by_ref()
        .map(|line| line.expect("is text"))
        .find_map(|line| line.split_once(sign).map(|(_, rest)| rest.to_owned()))
        .unwrap_or_else(|| panic!("`{sign}` never came"));
    // Somebody must go on reading, or the role stops when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    (role, line)
}

#[test]
fn the_printed_policies_are_enough_for_a_fleet() {
    let Some((place, server)) = place_and_server("the_printed_policies_are_enough_for_a_fleet") else {
        return;
    };
    place.run("local", &[]).assert().success();
    let (access_key, secret_key) = server.second_keys();
    server.set_faults(beyond_the_policies(access_key));

    let scheduler = place.fruitbatch(&["scheduler", "--bind", "127.0.0.1:0"]);
    let (_scheduler, address) = start(&place, &scheduler, "scheduler at df://");
    let flags = ["executor", "--scheduler", &address, "--bind", "127.0.0.1:0", "--slots", "1"];
    let mut executor = with_credentials(place.fruitbatch(&flags), &server);
    executor
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", secret_key)
        // As on a machine of its own: the model can only come from OUT.
        .env("FRUITBATCH_CACHE_DIR", place.path("cache-of-executor"));
    let (_executor, _) = start(&place, &executor, "executor at ");

    let address = format!("df://{address}");
    let began = std::time::Instant::now();
    let run = place.run_on(INPUT, OUT, &["--scheduler", &address, "--chunk-size", "4"]);
    with_credentials(run, &server).assert().success();
    let results = server.object(BUCKET, "out/results.csv").expect("there are results");
    assert_eq!(String::from_utf8_lossy(&results), place.read("local/results.csv"));

    // What the fleet is billed by.
    let lineage = server.object(BUCKET, "out/run.json").expect("there is a lineage");
    let lineage: serde_json::Value = serde_json::from_slice(&lineage).expect("is JSON");
    let [host] = lineage["executors"].as_array().expect("hosts").as_slice() else { panic!("{lineage}") };
    let seconds = host["seconds"].as_u64().expect("a whole number of seconds");
    assert!(seconds <= began.elapsed().as_secs() + 1, "{lineage}");
}
