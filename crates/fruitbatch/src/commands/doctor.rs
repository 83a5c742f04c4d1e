//! `fruitbatch doctor`: what is found, what is missing, and the command that mends it.

use std::io::{self, Write};
use std::process::Command;

use fruitbatch_vision::cache::{cache_dir, model_path};
use fruitbatch_vision::{Catalogue, RuntimeBuild, onnx_runtime};
use indicatif::HumanBytes;

use crate::cli::DoctorArgs;
use crate::commands::{block_on, doctor_bench, doctor_probes};
use crate::exit::{CommandError, Done};

/// A run of VGG16 at batch 8 and 224 pixels takes about 0.6 GB; below this much free memory it may be killed.
const LEAST_MEMORY: u64 = 1 << 30;
/// Room for ONNX Runtime, the models and the packages they come from.
const LEAST_DISK: u64 = 1 << 29;

/// One line of the report.
struct Finding {
    fine: bool,
    what: &'static str,
    found: String,
    mend: Option<String>,
}

/// Measures or tries what it is asked to; otherwise looks at everything that a run needs.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<Done, CommandError> {
    let is_about_access = args.input.is_some() || args.output.is_some();
    if args.bench {
        doctor_bench::bench(args)?;
    }
    if is_about_access {
        block_on(doctor_probes::probe(args))
    } else if args.bench {
        Ok(Done::Fine)
    } else {
        look_around()
    }
}

/// Looks at everything that a run needs and tells it; exit code 1 if something is missing.
fn look_around() -> Result<Done, CommandError> {
    let mut findings = vec![version(), cores()];
    findings.extend(memory());
    findings.extend(cache());
    findings.push(runtime());
    findings.push(providers());
    findings.extend(models()?);
    findings.push(pip());
    print(&mut io::stdout().lock(), &findings).map_err(CommandError::Stdout)?;
    Ok(if findings.iter().all(|finding| finding.fine) { Done::Fine } else { Done::SomethingMissing })
}

fn print(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        writeln!(
            out,
            "{}  {:14} {}",
            if finding.fine { "ok     " } else { "MISSING" },
            finding.what,
            finding.found
        )?;
        if let Some(mend) = &finding.mend {
            writeln!(out, "           {:14} {mend}", "")?;
        }
    }
    let missing = findings.iter().filter(|finding| !finding.fine).count();
    match missing {
        0 => writeln!(
            out,
            "all there: try `fruitbatch samples photos`, then `fruitbatch run photos --output out`"
        ),
        missing => writeln!(out, "{missing} missing: the line below each says how to mend it"),
    }
}

fn fine(what: &'static str, found: String) -> Finding {
    Finding { fine: true, what, found, mend: None }
}

fn version() -> Finding {
    let commit = fruitbatch_pipeline::GIT_COMMIT.map(|commit| format!(" ({commit})")).unwrap_or_default();
    fine("fruitbatch", format!("{}{commit}", env!("CARGO_PKG_VERSION")))
}

fn cores() -> Finding {
    fine(
        "cores",
        format!("{} of an {} processor", fruitbatch_pipeline::available_cores(), std::env::consts::ARCH),
    )
}

fn memory() -> Option<Finding> {
    let available = fruitbatch_pipeline::available_memory_bytes()?;
    Some(Finding {
        fine: available >= LEAST_MEMORY,
        what: "memory",
        found: format!("{} free", HumanBytes(available)),
        mend: (available < LEAST_MEMORY).then(|| {
            "close other programs, or run with --batch-size 1 (VGG16 then takes about 0.25 GB)".to_owned()
        }),
    })
}

fn cache() -> Option<Finding> {
    let folder = cache_dir().ok()?;
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let free = rustix::fs::statvfs(existing).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))?;
    Some(Finding {
        fine: free >= LEAST_DISK,
        what: "cache",
        found: format!("{}, {} free on its disk", folder.display(), HumanBytes(free)),
        mend: (free < LEAST_DISK)
            .then(|| "free some space, or name another folder in FRUITBATCH_CACHE_DIR".to_owned()),
    })
}

fn runtime() -> Finding {
    match onnx_runtime() {
        Ok(runtime) => fine("ONNX Runtime", format!("{} in {}", runtime.version, runtime.library.display())),
        Err(error) => Finding {
            fine: false,
            what: "ONNX Runtime",
            found: error.to_string(),
            mend: Some("make setup".to_owned()),
        },
    }
}

/// Others than the processor are for those who want them: none of them is ever missing.
fn providers() -> Finding {
    let builds = [(RuntimeBuild::OpenVino, "openvino"), (RuntimeBuild::Cuda, "cuda, tensorrt")];
    let others = builds.map(|(build, providers)| {
        if build.is_installed() {
            return providers.to_owned();
        }
        format!("{providers} not installed (`{}`)", build.set_up())
    });
    fine("providers", format!("cpu; {}", others.join("; ")))
}

fn models() -> Result<Vec<Finding>, CommandError> {
    let cache = cache_dir().map_err(CommandError::Cache)?;
    let catalogue = Catalogue::load()?;
    Ok(catalogue
        .list()
        .map(|entry| {
            let path = model_path(&cache, &entry.digest);
            if path.is_file() {
                fine("model", format!("{}: {}", entry.name, path.display()))
            } else {
                Finding {
                    fine: false,
                    what: "model",
                    found: format!("{} isn't in {}", entry.name, cache.display()),
                    mend: Some(format!("fruitbatch model fetch {}", entry.name)),
                }
            }
        })
        .collect())
}

/// Python's pip is only needed to fetch models, so a machine that has them does without.
fn pip() -> Finding {
    let version = Command::new("python3").args(["-m", "pip", "--version"]).output();
    match version {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version: Vec<&str> = text.split_whitespace().take(2).collect();
            fine("pip", version.join(" "))
        }
        _ => Finding {
            fine: true,
            what: "pip",
            found: "not found; needed only for `fruitbatch model fetch`".to_owned(),
            mend: Some("apt-get install python3-pip".to_owned()),
        },
    }
}
