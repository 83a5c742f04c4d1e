//! `fruitbatch doctor --bench`: how many photos a second this machine does.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use fruitbatch_pipeline::{MeasuredRate, Processor, RunError, available_cores};
use fruitbatch_samples::{SampleOptions, draw_in_memory};
use fruitbatch_vision::cache::cache_dir;
use fruitbatch_vision::{CachedModelFiles, Catalogue, EmbedOptions, EmbedSpec, ModelSessions};

use crate::cli::DoctorArgs;
use crate::exit::{CommandError, Done};

/// Enough that the processor's caches don't hold them all.
const PHOTOS_PER_LABEL: usize = 16;

/// Measures, tells and keeps the rate.
pub(crate) fn bench(args: &DoctorArgs) -> Result<Done, CommandError> {
    let cache = cache_dir().map_err(CommandError::Cache)?;
    let catalogue = Catalogue::load()?;
    let options = EmbedOptions { image_size: args.image_size, ..EmbedOptions::new(&args.model) };
    let spec = EmbedSpec::resolve(&catalogue, &options).map_err(RunError::from)?;
    // As a run takes them.
    let slots = args.slots.unwrap_or_else(available_cores);
    let threads = slots.min(available_cores());
    let sessions = ModelSessions::new(Arc::new(CachedModelFiles::new(&cache)), catalogue, threads);
    sessions.load(&spec).map_err(RunError::from)?;
    let samples = draw_in_memory(&SampleOptions { per_label: PHOTOS_PER_LABEL, ..SampleOptions::default() })?;
    let photos: Vec<Vec<u8>> = samples.into_iter().map(|photo| photo.jpeg).collect();

    let processor = Processor::this();
    eprintln!(
        "measuring {} at {} pixels for {} s, {slots} slots on {} cores of {}",
        args.model, spec.image_size, args.seconds, processor.cores, processor.name
    );
    let time = Duration::from_secs(args.seconds.into());
    let rate = MeasuredRate::measure(&sessions, &spec, &photos, slots, time).map_err(RunError::from)?;
    let told = format!(
        "{:.1} photos a second, {:.2} a core",
        rate.photos_per_second, rate.photos_per_second_per_core
    );
    let write = |source| CommandError::WriteFile { file: cache.display().to_string(), source };
    let file = rate.save(&cache).map_err(write)?;
    let tell = |out: &mut dyn Write| -> io::Result<()> {
        writeln!(out, "{told}")?;
        writeln!(out, "kept in {}: `fruitbatch run ... --dry-run` estimates with it", file.display())
    };
    tell(&mut io::stdout().lock()).map_err(CommandError::Stdout)?;
    Ok(Done::Fine)
}
