//! Notes the git commit that is being built, for the lineage of runs. Without git, or outside a checkout, there is none.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Changes with every commit and checkout. A file that isn't there would make every build start anew.
    let history = "../../.git/logs/HEAD";
    if Path::new(history).exists() {
        println!("cargo:rerun-if-changed={history}");
    }
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output();
    if let Ok(output) = commit
        && output.status.success()
        && Path::new("../../.git").exists()
    {
        println!("cargo:rustc-env=FRUITBATCH_GIT_COMMIT={}", String::from_utf8_lossy(&output.stdout).trim());
    }
}
