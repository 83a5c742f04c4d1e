//! `fruitbatch doctor --input INPUT --output OUT`: whether a run may do there what it has to, and the policies that let it.

use std::io::{self, Write};

use fruitbatch_pipeline::access::{Probe, ProbeOutcome, probe_input, probe_output};
use fruitbatch_pipeline::{AccessPolicy, ConfigError, Places, RunConfig, RunError};
use fruitbatch_storage::{Location, Storage};

use crate::cli::DoctorArgs;
use crate::exit::{CommandError, Done};

/// Tries everything, tells what came of it, and prints the policies; exit code 1 if something is missing.
pub(crate) async fn probe(args: &DoctorArgs) -> Result<Done, CommandError> {
    let place = |key, text: &Option<String>| {
        let parsed = text.as_deref().map(str::parse::<Location>).transpose();
        parsed.map_err(|source| CommandError::Run(ConfigError::Location { key, source }.into()))
    };
    let (input, output) = (place("input", &args.input)?, place("output", &args.output)?);
    let model_store = place("model-store", &args.model_store)?;
    let access = RunConfig::from(&args.aws);
    let storage = Storage::new(access.storage_options().map_err(RunError::from)?);

    let mut fine = true;
    let mut root = None;
    if let Some(input) = &input {
        let (probes, found) = probe_input(&storage, input, output.as_ref()).await;
        fine &= tell(&mut io::stdout().lock(), "INPUT", input, &probes).map_err(CommandError::Stdout)?;
        // Of one photo or a glob, the folder that holds them.
        root = Some(found.unwrap_or_else(|| input.clone()));
    }
    if let Some(output) = &output {
        let probes = probe_output(&storage, output).await;
        fine &= tell(&mut io::stdout().lock(), "OUT", output, &probes).map_err(CommandError::Stdout)?;
    }
    if [&root, &output].into_iter().flatten().any(Location::is_s3) {
        let region = storage.region().await.map_err(RunError::from)?;
        let places =
            Places { input: root.as_ref(), output: output.as_ref(), model_store: model_store.as_ref() };
        print_policies(&mut io::stdout().lock(), &region, places).map_err(CommandError::Stdout)?;
    }
    Ok(if fine { Done::Fine } else { Done::SomethingMissing })
}

/// Tells what came of the trials; returns whether all is well.
fn tell(out: &mut impl Write, name: &str, place: &Location, probes: &[Probe]) -> io::Result<bool> {
    writeln!(out, "{name}  {place}")?;
    for Probe { what, outcome } in probes {
        let (word, text, mend) = match outcome {
            ProbeOutcome::Works(seen) => ("ok", seen, None),
            ProbeOutcome::Denied { problem, mend } => ("DENIED", problem, Some(mend)),
            ProbeOutcome::Fails(problem) => ("FAILED", problem, None),
            ProbeOutcome::NotTried(why) => ("-", why, None),
        };
        writeln!(out, "{}", format!("  {word:6}  {what:13}  {text}").trim_end())?;
        if let Some(mend) = mend {
            writeln!(out, "  {:23}{mend}", "")?;
        }
    }
    Ok(probes.iter().all(|probe| matches!(probe.outcome, ProbeOutcome::Works(_) | ProbeOutcome::NotTried(_))))
}

fn print_policies(out: &mut impl Write, region: &str, places: Places<'_>) -> io::Result<()> {
    let policies = [
        (
            "the smallest policy for the driver, and for a run without a fleet:",
            AccessPolicy::of_driver(region, places),
        ),
        ("the smallest policy for executors:", AccessPolicy::of_executors(region, places)),
    ];
    for (title, policy) in policies {
        let Some(policy) = policy else { continue };
        writeln!(out, "\n{title}")?;
        writeln!(out, "{}", serde_json::to_string_pretty(&policy)?)?;
    }
    writeln!(
        out,
        "\nif a bucket is encrypted with a KMS key of its own, add on that key's ARN kms:Decrypt for both, and for the driver \
         kms:GenerateDataKey"
    )
}
