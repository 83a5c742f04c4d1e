//! Writes the report over a drawn data set: `cargo run --release -p fruitbatch-report --example orchard -- DIR [131]`.

use std::error::Error;
use std::path::PathBuf;

#[path = "../tests/orchard/mod.rs"]
mod orchard;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("give a folder to write to")?);
    let size = if arguments.next().as_deref() == Some("131") { orchard::LARGE } else { orchard::FOUR };
    let report = fruitbatch_report::render(&orchard::report_data(size))?;
    std::fs::create_dir_all(folder.join("plots"))?;
    std::fs::write(folder.join("report.html"), &report.html)?;
    for (name, png) in &report.plots {
        std::fs::write(folder.join("plots").join(name), png)?;
    }
    println!(
        "{}: {} bytes, {} plots",
        folder.join("report.html").display(),
        report.html.len(),
        report.plots.len()
    );
    Ok(())
}
