//! `fruitbatch status`: how far a run is, read from OUT.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, Utc};
use fruitbatch_pipeline::{RunConfig, RunState, RunStatus};
use indicatif::{HumanCount, HumanDuration};

use crate::cli::StatusArgs;
use crate::commands::block_on;
use crate::exit::{CommandError, Done};

/// Tells how the last run on OUT stands.
pub(crate) fn status(args: &StatusArgs) -> Result<Done, CommandError> {
    block_on(async {
        let access = RunConfig::from(&args.run.aws);
        let status = fruitbatch_pipeline::status(&args.run.output, &access).await?;
        let mut out = std::io::stdout().lock();
        let told = if args.json {
            let text = serde_json::to_string(&status).expect("a status holds nothing that JSON can't say");
            writeln!(out, "{text}")
        } else {
            tell(&mut out, &status)
        };
        told.map_err(CommandError::Stdout)?;
        Ok(Done::Fine)
    })
}

fn tell(out: &mut impl Write, status: &RunStatus) -> std::io::Result<()> {
    let RunStatus { input, output, host, started_at, .. } = status;
    match status.state {
        RunState::Running => write!(out, "running")?,
        RunState::Silent => write!(out, "no sign of life")?,
        RunState::Stopped => write!(out, "stopped before its end")?,
        RunState::Complete => write!(out, "complete")?,
    }
    writeln!(out, ": {input} to {output}")?;
    write!(out, "started on {host}, {started_at}")?;
    if status.state != RunState::Complete
        && let Some(ago) = status.last_sign_of_life.as_deref().and_then(time_since)
    {
        write!(out, "; last heard of {} ago", HumanDuration(ago))?;
    }
    writeln!(out)?;
    if let (RunState::Running, Some(progress)) = (status.state, &status.progress) {
        write!(out, "stage {}", progress.stage.name())?;
        if let Some(total) = progress.total {
            let percent = 100.0 * progress.done as f64 / total.max(1) as f64;
            write!(
                out,
                ": {} of {} photos ({percent:.1} %)",
                HumanCount(progress.done as u64),
                HumanCount(total as u64)
            )?;
        }
        if let Some(rate) = progress.photos_per_second {
            write!(out, ", {rate:.1} a second")?;
        }
        if let Some(left) = progress.seconds_left() {
            write!(out, ", {} left", HumanDuration(Duration::from_secs_f64(left)))?;
        }
        writeln!(out)?;
        if progress.executors > 0 {
            writeln!(out, "executors {}, {} slots", progress.executors, progress.slots)?;
        }
    }
    writeln!(
        out,
        "committed {} photos in {} parts",
        HumanCount(status.committed() as u64),
        HumanCount(status.parts as u64)
    )?;
    if !status.failures.is_empty() {
        let failed: usize = status.failures.values().sum();
        let reasons: Vec<String> =
            status.failures.iter().map(|(reason, photos)| format!("{reason} {photos}")).collect();
        writeln!(out, "failed {}: {}", HumanCount(failed as u64), reasons.join(", "))?;
    }
    if matches!(status.state, RunState::Silent | RunState::Stopped) {
        writeln!(out, "the same command goes on; so does `fruitbatch retry {output}`")?;
    }
    Ok(())
}

fn time_since(at: &str) -> Option<Duration> {
    let at = DateTime::parse_from_rfc3339(at).ok()?;
    Utc::now().signed_duration_since(at).to_std().ok().map(|ago| Duration::from_secs(ago.as_secs()))
}
