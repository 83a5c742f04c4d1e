//! A prefix with a million keys: listing it stays within the driver's memory.

use fruitbatch_testkit::s3_server::{GeneratedObjects, S3Server};
use support::{Place, with_credentials};

mod support;

const KEYS: u64 = 1_000_000;
const MEMORY_BOUND: u64 = 500_000_000;

#[test]
fn a_million_keys_are_listed_in_less_than_500_megabytes() {
    let Some(place) = Place::empty("a_million_keys_are_listed_in_less_than_500_megabytes") else { return };
    let server = S3Server::start();
    let objects = GeneratedObjects { prefix: "photos/".to_owned(), count: KEYS, content: "no photo".into() };
    server.generate_objects("fruits", objects);
    // What they hold is no photo, so the few that are taken all fail, and metrics.json tells all the same.
    let command = place.run_on("s3://fruits/photos/", "out", &["--limit", "3"]);
    with_credentials(command, &server).assert().code(3);
    let metrics = place.json("out/metrics.json");
    assert_eq!((&metrics["listed"], &metrics["failures"]), (&3.into(), &3.into()));
    let pages =
        server.requests().iter().filter(|request| request.operation == "ListObjectsV2").count() as u64;
    assert!(pages >= KEYS / 1000, "only {pages} pages were asked for");
    let peak = metrics["timings"]["peak_memory_bytes"].as_u64().expect("Linux tells");
    eprintln!("{KEYS} keys, peak {} MB", peak / 1_000_000);
    assert!(peak < MEMORY_BOUND, "{peak} bytes");
}
