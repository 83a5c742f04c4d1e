//! Ten thousand bad files of `fruitbatch_testkit`, decoded and resized: always an answer out of the closed set, never a panic,
//! bounded memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "common/counting_allocator.rs"]
mod counting_allocator;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use fruitbatch_image::{DecodeLimits, Filter, Resizer, decode};
use fruitbatch_testkit::hostile_files::{HOSTILE_FILE_COUNT, HostileFile, crafted_files, hostile_files};

use crate::counting_allocator::peak_while;

const REASONS: [&str; 6] = ["empty", "not-an-image", "truncated", "unsupported", "too-large", "decode-error"];

/// Small enough that a decoder that ignores it is found out.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 20, max_bytes: 8 << 20 };

/// What one photo may take at most, resizing included. [`DecodeLimits`] promises 64 MiB more, most of which is libjpeg's own
/// and isn't counted here.
fn most_memory(limits: &DecodeLimits) -> usize {
    25 * limits.max_pixels as usize + (4 << 20)
}

/// A number from the environment, for longer runs.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

const THREADS: usize = 2;

/// One decode after the other is measured: no test of this program runs beside another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Decodes and resizes, as for a network; what came of it in one word.
fn outcome(file: &HostileFile, limits: &DecodeLimits, resizer: &mut Resizer) -> &'static str {
    match decode(&file.bytes, limits) {
        Ok(image) => {
            let pixels = u64::from(image.width()) * u64::from(image.height());
            assert!(pixels <= limits.max_pixels, "{}: {image:?}", file.name);
            assert_eq!(image.pixels().len() as u64, pixels * 3, "{}", file.name);
            let resized = resizer.resize(&image, 224, 224, Filter::Bicubic);
            assert_eq!(resized.pixels().len(), 224 * 224 * 3, "{}", file.name);
            "decoded"
        }
        Err(error) => {
            assert!(REASONS.contains(&error.reason()), "{}: {}", file.name, error.reason());
            assert!(error.to_string().len() < 500, "{}: {error}", file.name);
            error.reason()
        }
    }
}

#[test]
fn ten_thousand_bad_files_get_ten_thousand_answers() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // A longer run with another seed: `FRUITBATCH_HOSTILE_SEED=2 FRUITBATCH_HOSTILE_FILES=1000000`.
    let count = number("FRUITBATCH_HOSTILE_FILES", HOSTILE_FILE_COUNT as u64) as usize;
    let files = Mutex::new(hostile_files(number("FRUITBATCH_HOSTILE_SEED", 1)).take(count));
    let outcomes: Mutex<BTreeMap<&str, usize>> = Mutex::default();
    let work = || {
        let mut resizer = Resizer::new();
        loop {
            let Some(file) = files.lock().unwrap().next() else { break };
            let outcome = outcome(&file, &LIMITS, &mut resizer);
            *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
        }
    };
    let ((), peak) = peak_while(|| {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(work);
            }
        });
    });
    let outcomes = outcomes.into_inner().unwrap();
    println!("{outcomes:?}, {peak} bytes at the peak");
    assert_eq!(outcomes.values().sum::<usize>(), count);
    // Every kind of answer is given, and some files are still photos.
    assert_eq!(outcomes.len(), REASONS.len() + 1, "{outcomes:?}");
    assert!(peak <= THREADS * most_memory(&LIMITS), "{peak} bytes at the peak");
}

#[test]
fn each_crafted_file_takes_what_the_limits_allow() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The default limits of a run: `FRUITBATCH_HOSTILE_PIXELS=178956970`, which takes a minute and a gigabyte.
    let limits =
        DecodeLimits { max_pixels: number("FRUITBATCH_HOSTILE_PIXELS", LIMITS.max_pixels), ..LIMITS };
    for file in crafted_files() {
        let start = Instant::now();
        let (outcome, peak) = peak_while(|| outcome(&file, &limits, &mut Resizer::new()));
        println!("{}: {outcome}, {} KiB, {} ms", file.name, peak >> 10, start.elapsed().as_millis());
        assert!(peak <= most_memory(&limits), "{}: {peak} bytes at the peak", file.name);
    }
}
