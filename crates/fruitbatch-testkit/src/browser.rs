//! What a page becomes in a real browser.

use std::io::ErrorKind;
use std::process::Command;

/// The names that the browser goes by.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The document at `url` as it is once its scripts have run, with more `flags` for the browser; `None` where there is no
/// browser, which is said of the test of that name.
///
/// # Panics
/// If there is a browser and it fails.
pub fn in_browser(test: &str, url: &str, flags: &[&str]) -> Option<String> {
    let home = tempfile::tempdir().expect("a temp dir can be made");
    for browser in BROWSERS {
        let mut command = Command::new(browser);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.arg(format!("--user-data-dir={}", home.path().display()));
        match command.args(flags).arg("--dump-dom").arg(url).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{said}");
                return Some(String::from_utf8(output.stdout).expect("a document is text"));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => panic!("{browser}: {error}"),
        }
    }
    eprintln!("SKIPPED: {test}: there is none of {}", BROWSERS.join(", "));
    None
}
