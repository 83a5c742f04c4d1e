//! `fruitbatch model list | fetch | import | inspect`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use fruitbatch_pipeline::{Fidelity, QuantizeOptions, RunConfig, RunError, available_cores};
use fruitbatch_storage::Storage;
use fruitbatch_vision::cache::{cache_dir, model_path, store_model};
use fruitbatch_vision::fetch::{Fetched, fetch};
use fruitbatch_vision::{
    Catalogue, CatalogueError, ImportOptions, ModelSource, ModelSummary, TensorSummary, WeightBits,
    import_model, inspect, is_model_name, record_entry, user_catalogue_path,
};
use indicatif::{HumanBytes, HumanCount};
use sha2::{Digest, Sha256};

use crate::cli::{ImportArgs, ModelCommand, QuantizeArgs};
use crate::commands::block_on;
use crate::exit::{CommandError, Done};

/// Carries out one of the model commands.
pub(crate) fn model(command: &ModelCommand) -> Result<Done, CommandError> {
    let catalogue = Catalogue::load()?;
    let cache = cache_dir().map_err(CommandError::Cache)?;
    let out = &mut io::stdout().lock();
    match command {
        ModelCommand::List => list(out, &catalogue, &cache).map_err(CommandError::Stdout)?,
        ModelCommand::Fetch { name } => {
            let told = match fetch(catalogue.get(name)?, &cache)? {
                Fetched::AlreadyThere(path) => format!("{name} is there already: {}", path.display()),
                Fetched::Imported(path) => format!("{name} fetched, checked and stored: {}", path.display()),
            };
            writeln!(out, "{told}").map_err(CommandError::Stdout)?;
        }
        ModelCommand::Import(args) => import(out, args, &cache)?,
        ModelCommand::Quantize(args) => quantize(out, args, &catalogue, &cache)?,
        ModelCommand::Inspect { model } => {
            let summary = inspect(model, &catalogue, &cache)?;
            print_summary(out, &summary).map_err(CommandError::Stdout)?;
        }
    }
    Ok(Done::Fine)
}

fn list(out: &mut impl Write, catalogue: &Catalogue, cache: &Path) -> io::Result<()> {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["model", "features", "here", "licence", "what it is"]);
    for entry in catalogue.list() {
        let here = if model_path(cache, &entry.digest).is_file() {
            "yes".to_owned()
        } else {
            format!("no: fruitbatch model fetch {}", entry.name)
        };
        table.add_row([
            &entry.name,
            &entry.output_width.to_string(),
            &here,
            &entry.licence,
            &entry.description,
        ]);
    }
    writeln!(out, "{table}")
}

fn import(out: &mut impl Write, args: &ImportArgs, cache: &Path) -> Result<(), CommandError> {
    let read = |source| CommandError::ReadFile { file: args.file.display().to_string(), source };
    let bytes = std::fs::read(&args.file).map_err(read)?;
    let source = ModelSource::File {
        file: std::path::absolute(&args.file).map_err(read)?.display().to_string(),
        file_sha256: hex::encode(Sha256::digest(&bytes)),
        cut: args.cut.clone().unwrap_or_default(),
    };
    let mut options = ImportOptions::new(&args.name);
    options.cut.clone_from(&args.cut);
    options.input_layout = args.input_layout;
    options.preprocessing = args.preprocessing;
    options.sources = vec![source];
    for (option, given) in [
        (&mut options.description, &args.description),
        (&mut options.licence, &args.licence),
        (&mut options.attribution, &args.attribution),
    ] {
        if let Some(given) = given {
            option.clone_from(given);
        }
    }
    let mut imported = import_model(bytes.into(), &options)?;
    if let Some(ModelSource::File { cut, .. }) = imported.entry.sources.first_mut() {
        cut.clone_from(&imported.report.cut);
    }
    let stored: PathBuf = store_model(cache, &imported.digest, &imported.canonical_bytes)
        .map_err(|source| CommandError::WriteFile { file: cache.display().to_string(), source })?;
    let user_catalogue = user_catalogue_path()?;
    record_entry(&user_catalogue, &imported.entry)?;

    let report = &imported.report;
    let how = if report.cut_was_found {
        "found: name another with --cut if that isn't the one"
    } else {
        "as asked"
    };
    let lines = [
        format!(
            "{} imported: {} features a photo, photos of {} pixels and more",
            args.name, imported.entry.output_width, imported.entry.min_image_size
        ),
        format!("  cut behind   {} ({how})", report.cut),
        format!("  nodes        {} of {} kept", report.nodes_after, report.nodes_before),
        format!("  digest       {}", imported.digest),
        format!("  weights      {}", imported.entry.weights_digest),
        format!("  stored       {}", stored.display()),
        format!("  catalogue    {}", user_catalogue.display()),
        format!("use it with: fruitbatch run INPUT --output OUT --model {}", args.name),
    ];
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(CommandError::Stdout)
}

fn quantize(
    out: &mut impl Write,
    args: &QuantizeArgs,
    catalogue: &Catalogue,
    cache: &Path,
) -> Result<(), CommandError> {
    let name = args.name.clone().unwrap_or_else(|| format!("{}-int8", args.model));
    if !is_model_name(&name) || name == args.model {
        return Err(CatalogueError::BadName { name }.into());
    }
    let options = QuantizeOptions {
        model: args.model.clone(),
        name: name.clone(),
        input: args.calibrate.clone(),
        samples: args.samples,
        image_size: args.image_size,
        bits: args.weight_bits.unwrap_or_else(WeightBits::for_this_processor),
    };
    eprintln!("calibrating {} with {} photos of {}", args.model, args.samples, args.calibrate);
    let storage = Storage::new(RunConfig::default().storage_options().map_err(RunError::from)?);
    let made = block_on(async {
        fruitbatch_pipeline::quantize(&storage, catalogue, cache, &options, available_cores())
            .await
            .map_err(CommandError::from)
    })?;
    let user_catalogue = user_catalogue_path()?;
    record_entry(&user_catalogue, &made.entry)?;

    let Fidelity { photos, mean_cosine, worst_cosine, same_cluster } = made.fidelity;
    let clusters = same_cluster
        .map_or_else(|| "too few photos to say".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    let lines = [
        format!("{name} made of {}, calibrated with {} photos", args.model, made.calibrated_with),
        format!("  weights        {} bits, activations 8", options.bits),
        format!(
            "  cosine         {mean_cosine:.4} on average, {worst_cosine:.4} at worst, over {photos} other photos"
        ),
        format!("  same cluster   {clusters}"),
        format!("  digest         {}", made.entry.digest),
        format!("  stored         {}", made.stored.display()),
        format!("  catalogue      {}", user_catalogue.display()),
        format!("use it with: fruitbatch run INPUT --output OUT --model {} --precision int8", args.model),
    ];
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(CommandError::Stdout)
}

fn print_summary(out: &mut impl Write, summary: &ModelSummary) -> io::Result<()> {
    writeln!(out, "{}", summary.path.display())?;
    writeln!(out, "  digest      {}", summary.digest)?;
    writeln!(out, "  size        {}", HumanBytes(summary.bytes))?;
    writeln!(out, "  parameters  {}", HumanCount(summary.parameters))?;
    if let Some(multiply_accumulates) = summary.multiply_accumulates_at_224 {
        writeln!(
            out,
            "  arithmetic  {:.2} GFLOP a photo at 224 pixels",
            2.0 * multiply_accumulates as f64 / 1e9
        )?;
    }
    for (what, tensors) in [("input ", &summary.inputs), ("output", &summary.outputs)] {
        for tensor in tensors {
            writeln!(out, "  {what}      {}", shown(tensor))?;
        }
    }
    let operators: Vec<String> =
        summary.operators.iter().map(|(operator, nodes)| format!("{operator} {nodes}")).collect();
    writeln!(out, "  operators   {}", operators.join(", "))?;
    if let Some(opset) = summary.opset {
        writeln!(out, "  opset       {opset}")?;
    }
    if let Some(entry) = &summary.entry {
        writeln!(out, "in the catalogue as {}", entry.name)?;
        writeln!(out, "  features       {}", entry.output_width)?;
        writeln!(out, "  preprocessing  {}", entry.preprocessing.preset_name().unwrap_or("its own numbers"))?;
        writeln!(out, "  least size     {} pixels", entry.min_image_size)?;
        writeln!(out, "  weights        {}", entry.weights_digest)?;
        writeln!(out, "  licence        {} {}", entry.licence, entry.attribution)?;
    }
    Ok(())
}

fn shown(tensor: &TensorSummary) -> String {
    format!("{} {} [{}]", tensor.name, tensor.element_type, tensor.dimensions.join(", "))
}
