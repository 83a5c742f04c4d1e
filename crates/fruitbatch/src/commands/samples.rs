//! `fruitbatch samples`.

use fruitbatch_samples::{SampleOptions, draw_samples};

use crate::cli::SamplesArgs;
use crate::exit::{CommandError, Done};

/// Draws the photos and says what to do with them.
pub(crate) fn samples(args: &SamplesArgs) -> Result<Done, CommandError> {
    let options = SampleOptions {
        per_label: args.per_label,
        size: args.size,
        seed: args.seed,
        ..SampleOptions::default()
    };
    let photos = draw_samples(&args.dir, &options)?;
    let folder = args.dir.display();
    println!("{} photos drawn in {folder}", photos.len());
    println!("next: fruitbatch run {folder} --output {folder}-out");
    Ok(Done::Fine)
}
