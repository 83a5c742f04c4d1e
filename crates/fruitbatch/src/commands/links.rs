//! `fruitbatch links`: URLs by which the photos of a run are seen for a while.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::{SecondsFormat, Utc};
use fruitbatch_pipeline::{CompleteOutput, RunConfig, RunError};
use fruitbatch_storage::{Location, Storage};
use indicatif::HumanCount;

use crate::cli::LinksArgs;
use crate::commands::block_on;
use crate::exit::{CommandError, Done};

/// Writes a link for each photo in the results into a file that only its owner reads.
pub(crate) fn links(args: &LinksArgs) -> Result<Done, CommandError> {
    block_on(async {
        let access = RunConfig::from(&args.run.aws);
        let output = CompleteOutput::open(&args.run.output, &access).await?;
        refuse_inside_output(&args.to, output.place())?;
        let (input, paths) = (output.input().await?, output.paths().await?);
        let storage = Storage::new(access.storage_options().map_err(RunError::from)?);
        let expires_at = Utc::now() + args.expires;
        let links = storage.presigned_links(&input, &paths, args.expires).await.map_err(RunError::from)?;
        let write_error = |source| CommandError::WriteFile { file: args.to.display().to_string(), source };
        let mut table = csv::Writer::from_writer(new_private_file(&args.to).map_err(write_error)?);
        let mut write = || -> csv::Result<()> {
            table.write_record(["path", "url"])?;
            for (path, link) in paths.iter().zip(&links) {
                table.write_record([path, link.reveal()])?;
            }
            Ok(table.flush()?)
        };
        write().map_err(|error| write_error(error.into()))?;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{} links in {}, good until {}: whoever has that file sees the photos",
            HumanCount(links.len() as u64),
            args.to.display(),
            expires_at.to_rfc3339_opts(SecondsFormat::Secs, true)
        )
        .map_err(CommandError::Stdout)?;
        Ok(Done::Fine)
    })
}

/// OUT is shared with others; a link is a credential.
fn refuse_inside_output(file: &Path, output: &Location) -> Result<(), CommandError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside =
        folder.canonicalize().ok().zip(output.local_path().and_then(|path| path.canonicalize().ok()));
    match inside {
        Some((folder, output)) if folder.starts_with(&output) => {
            Err(CommandError::LinksInOutput { file: file.display().to_string() })
        }
        _ => Ok(()),
    }
}

/// A file that wasn't there before, and that nobody else can read from its first moment.
fn new_private_file(file: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}
