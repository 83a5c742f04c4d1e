//! Writes the small classifier that `growth.py` runs, so that all else of a run shows beside it.

use std::process::ExitCode;

use fruitbatch_testkit::tiny_models::TinyNet;

const USAGE: &str = "growth_model write FILE WIDTH writes a small ONNX model: benches/growth/run calls it";

fn main() -> ExitCode {
    // Cargo adds the flag where it starts a benchmark itself.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["write", file, width] = arguments[..] else {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    };
    let written = match width.parse::<usize>() {
        Ok(width) => std::fs::write(file, TinyNet::new(7, width).nchw_classifier())
            .map_err(|error| format!("{file}: {error}")),
        Err(error) => Err(format!("`{width}`: {error}")),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}
