//! What a run says at its end, on stdout.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use fruitbatch_pipeline::commit_log::FailureRecord;
use fruitbatch_pipeline::features::FEATURES_FOLDER;
use fruitbatch_pipeline::outputs::{
    FAILURES_CSV, METRICS, MODEL_FOLDER, Metrics, RESULTS_CSV, RESULTS_PARQUET,
};
use fruitbatch_pipeline::selection::Selection;
use fruitbatch_pipeline::{Changes, REPORT, RunConfig, RunPlan, RunSummary};
use indicatif::{HumanBytes, HumanCount};

use crate::estimate_table::{self, ToldEstimate};

/// The label-by-cluster table gets hard to read beyond this many labels; the rest is in results.csv.
const MOST_LABELS: usize = 40;
/// The photos that failed are named up to this many; all are in failures.csv.
const MOST_FAILURES: usize = 5;

/// Tells what was found, how long it took, and how to open the results.
pub(crate) fn print(out: &mut impl Write, plan: &RunPlan, summary: &RunSummary) -> io::Result<()> {
    let metrics = &summary.metrics;
    writeln!(out)?;
    print_counts(out, plan, summary)?;
    if metrics.learning.is_some() {
        print_clusters(out, metrics)?;
    }
    print_timings(out, summary)?;
    print_places(out, plan, summary)
}

/// Tells that the command goes on.
pub(crate) fn print_watching(out: &mut impl Write, plan: &RunPlan, interval: Duration) -> io::Result<()> {
    writeln!(out, "watching {}: listed again every {}", plan.input, humantime::format_duration(interval))
}

/// Tells of a round of watching, in a line.
pub(crate) fn print_round(out: &mut impl Write, summary: &RunSummary) -> io::Result<()> {
    let metrics = &summary.metrics;
    let changes = summary.changes.as_ref().map(told_changes).filter(|told| !told.is_empty());
    writeln!(
        out,
        "{} {}: {} in the results, {} failed",
        humantime::format_rfc3339_seconds(SystemTime::now()),
        changes.unwrap_or_else(|| "done again".to_owned()),
        count(metrics.rows),
        count(metrics.failures)
    )
}

fn print_counts(out: &mut impl Write, plan: &RunPlan, summary: &RunSummary) -> io::Result<()> {
    let metrics = &summary.metrics;
    let resumed = match summary.resumed {
        0 => String::new(),
        resumed => format!(", {} of them by an earlier run", count(resumed as u64)),
    };
    writeln!(
        out,
        "{} photos listed = {} in the results + {} failed{resumed}",
        count(metrics.listed),
        count(metrics.rows),
        count(metrics.failures)
    )?;
    if let Some(changes) = &summary.changes {
        print_changes(out, changes)?;
    }
    if metrics.failures > 0 {
        let reasons: Vec<String> = metrics
            .failures_by_reason
            .iter()
            .map(|(reason, photos)| format!("{} {reason}", count(*photos)))
            .collect();
        writeln!(out, "  {}: see {}", reasons.join(", "), output_file(plan, FAILURES_CSV))?;
        for failure in summary.failures.iter().take(MOST_FAILURES) {
            print_failure(out, failure)?;
        }
        if summary.failures.len() > MOST_FAILURES {
            writeln!(out, "    ...")?;
        }
        let output = plan.config.output.as_deref().unwrap_or_default();
        writeln!(out, "  once they are mended: fruitbatch retry {output}")?;
    }
    if summary.kept_aside > 0 {
        writeln!(
            out,
            "  the features of {} photos that aren't selected now are kept for later",
            count(summary.kept_aside)
        )?;
    }
    writeln!(out)
}

fn print_failure(out: &mut impl Write, failure: &FailureRecord) -> io::Result<()> {
    writeln!(out, "    {}: {}: {}", failure.path, failure.reason, failure.detail)
}

/// Names every photo that failed, where no file does.
pub(crate) fn print_failures(out: &mut impl Write, summary: &RunSummary) -> io::Result<()> {
    if summary.failures.is_empty() {
        return Ok(());
    }
    writeln!(out, "{} of {} photos could not be used", summary.failures.len(), summary.metrics.listed)?;
    summary.failures.iter().try_for_each(|failure| print_failure(out, failure))
}

fn print_clusters(out: &mut impl Write, metrics: &Metrics) -> io::Result<()> {
    let Some(report) = &metrics.learning else { return Ok(()) };
    let kept: f64 = report.explained_variance_ratio.iter().take(report.n_components).sum();
    writeln!(out, "{} components keep {:.1} % of the variance", report.n_components, 100.0 * kept)?;
    let mut figures = vec![format!("{} clusters", report.n_clusters)];
    if report.noise_rows > 0 {
        figures.push(format!("{} photos in none", report.noise_rows));
    }
    if let Some(inertia) = report.inertia {
        figures.push(format!("inertia {inertia:.0}"));
    }
    for (name, figure) in [("silhouette", report.silhouette), ("ARI", report.ari), ("NMI", report.nmi)] {
        if let Some(figure) = figure {
            figures.push(format!("{name} {figure:.3}"));
        }
    }
    writeln!(out, "{}", figures.join(", "))?;
    if let Some(test) = metrics.classifier.as_ref().and_then(|classifier| classifier.test.as_ref()) {
        writeln!(
            out,
            "classifier: {:.1} % of {} test photos get their own label, macro F1 {:.3}",
            100.0 * test.accuracy,
            count(test.rows),
            test.macro_f1
        )?;
    }
    if let Some(contingency) = &report.contingency {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        let mut header = vec!["label".to_owned(), "photos".to_owned()];
        header.extend(contingency.clusters.iter().map(|cluster| format!("cluster {cluster}")));
        table.set_header(header);
        for (&label, counts) in contingency.labels.iter().zip(&contingency.counts).take(MOST_LABELS) {
            let Some(label) = metrics.labels.get(label as usize) else { continue };
            let mut row = vec![label.label.clone(), count(label.photos)];
            row.extend(
                counts.iter().map(|photos| if *photos == 0 { ".".to_owned() } else { count(*photos) }),
            );
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(out, "{table}")?;
        if contingency.labels.len() > MOST_LABELS {
            writeln!(out, "and {} labels more", contingency.labels.len() - MOST_LABELS)?;
        }
    }
    writeln!(out)
}

/// What is different from the run before.
fn print_changes(out: &mut impl Write, changes: &Changes) -> io::Result<()> {
    match told_changes(changes) {
        same if same.is_empty() => writeln!(out, "  the same photos as in the run before"),
        different => writeln!(out, "  since the run before: {different}"),
    }
}

/// Empty if nothing is different.
fn told_changes(changes: &Changes) -> String {
    let parts = [
        (changes.added, "new"),
        (changes.changed, "changed"),
        (changes.removed, "not there or not selected any more"),
        (changes.retried, "tried again"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(photos, _)| *photos > 0)
        .map(|(photos, what)| format!("{} {what}", count(photos as u64)))
        .collect();
    parts.join(", ")
}

fn print_timings(out: &mut impl Write, summary: &RunSummary) -> io::Result<()> {
    let timings = &summary.metrics.timings;
    let stages: Vec<String> =
        timings.stages.iter().map(|stage| format!("{} {:.1} s", stage.stage, stage.seconds)).collect();
    writeln!(out, "{:.1} s: {}", timings.total_seconds, stages.join(", "))?;
    if timings.photos_computed > 0 {
        write!(out, "{:.1} photos a second", timings.photos_per_second)?;
        match (timings.inference_seconds, timings.decode_seconds) {
            (Some(inference), Some(decode)) => {
                writeln!(out, " ({inference:.1} s in the model, {decode:.1} s decoding)")?;
            }
            _ => writeln!(out)?,
        }
    }
    writeln!(out)
}

fn print_places(out: &mut impl Write, plan: &RunPlan, summary: &RunSummary) -> io::Result<()> {
    let at = |file: &str| output_file(plan, file);
    if summary.every_photo_failed() {
        return writeln!(out, "not one photo could be used: {} says why", at(FAILURES_CSV));
    }
    if let Some(predict) = &plan.config.predict {
        return writeln!(out, "predictions {}", at(predict.format.file_name()));
    }
    if summary.metrics.learning.is_none() {
        writeln!(out, "features {}", at(FEATURES_FOLDER))?;
        writeln!(out, "metrics  {}", at(METRICS))?;
        let output = plan.config.output.as_deref().unwrap_or_default();
        return writeln!(out, "learn from them with\n  fruitbatch fit {output}");
    }
    let parquet = at(RESULTS_PARQUET);
    if plan.config.report {
        writeln!(out, "report   {}", at(REPORT))?;
    }
    writeln!(out, "results  {}", at(RESULTS_CSV))?;
    writeln!(out, "metrics  {}", at(METRICS))?;
    writeln!(out, "model    {}", at(MODEL_FOLDER))?;
    writeln!(out, "open with")?;
    writeln!(out, "  pandas  pandas.read_parquet(\"{parquet}\")")?;
    writeln!(out, "  DuckDB  SELECT cluster, label, count(*) FROM '{parquet}' GROUP BY ALL ORDER BY ALL")?;
    writeln!(out, "  Spark   spark.read.parquet(\"{parquet}\")")
}

/// Tells what a run would do.
pub(crate) fn print_dry_run(
    out: &mut impl Write,
    plan: &RunPlan,
    selection: &Selection,
    estimate: Option<&ToldEstimate>,
) -> io::Result<()> {
    writeln!(
        out,
        "{} photos, {} under {}",
        count(selection.photos.len() as u64),
        HumanBytes(selection.bytes()),
        selection.root
    )?;
    let mut labels: BTreeMap<&str, u64> = BTreeMap::new();
    for photo in &selection.photos {
        *labels.entry(photo.label.as_deref().unwrap_or("(no label)")).or_default() += 1;
    }
    for (label, photos) in labels.iter().take(MOST_LABELS) {
        writeln!(out, "  {:>8}  {label}", count(*photos))?;
    }
    if labels.len() > MOST_LABELS {
        writeln!(out, "  and {} labels more", labels.len() - MOST_LABELS)?;
    }
    writeln!(out, "features  {}", plan.embedding)?;
    writeln!(out, "slots     {}", plan.slots)?;
    writeln!(out, "output    {}", plan.output)?;
    match estimate {
        Some(estimate) => estimate_table::print(out, estimate)?,
        None => writeln!(
            out,
            "to estimate time and dollars on AWS, measure the rate with `fruitbatch doctor --bench{}`, or give photos a second \
             a core with --rate",
            bench_flags(plan)
        )?,
    }
    writeln!(out, "this was a dry run: nothing was read but the listing, nothing was written")
}

/// What makes `doctor` measure what this plan would run.
fn bench_flags(plan: &RunPlan) -> String {
    let default = RunConfig::default();
    [
        ("model", &plan.config.model, &default.model),
        ("image-size", &plan.config.image_size, &default.image_size),
    ]
    .into_iter()
    .filter(|(_, value, default)| value != default)
    .fold(String::new(), |flags, (flag, value, _)| flags + " --" + flag + " " + value)
}

/// An output as a person would name it: below OUT as it was given.
fn output_file(plan: &RunPlan, file: &str) -> String {
    let given = plan.config.output.as_deref().unwrap_or_default();
    format!("{}/{file}", given.trim_end_matches('/'))
}

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}
