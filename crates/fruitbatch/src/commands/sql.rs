//! `fruitbatch sql`: questions about photos, features and results.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fruitbatch_net::{ClientTls, Connector};
use fruitbatch_pipeline::{RunConfig, RunError, available_cores};
use fruitbatch_sql::{Answer, Format, Query, SqlError, SqlOptions, SqlSession, print_table, write_answer};
use fruitbatch_storage::Location;
use fruitbatch_vision::cache::cache_dir;
use fruitbatch_vision::{CachedModelFiles, Catalogue, ModelSessions};

use crate::cli::{AnswerFormat, SqlArgs};
use crate::commands::block_on;
use crate::exit::{CommandError, Done};
use crate::signals::Signals;

/// What stands for standard input in the place of the query.
const STANDARD_INPUT: &str = "-";

/// Where an answer goes.
enum Destination {
    Screen { most_rows: usize },
    Stdout(Format),
    File(PathBuf, Format),
}

/// Answers one query.
pub(crate) fn sql(args: &SqlArgs) -> Result<Done, CommandError> {
    // Before anything is started.
    let query: Query = text(args)?.parse()?;
    let destination = destination(args)?;
    let slots = args.slots.unwrap_or_else(available_cores);
    let options = SqlOptions {
        scheduler: args.scheduler.clone(),
        connector: Connector::new(ClientTls::new(&args.tls.files())?),
        cluster_timeout: Duration::from_secs(args.cluster_timeout),
        slots,
        storage: RunConfig::from(&args.aws).storage_options().map_err(RunError::from)?,
        model_store: args.model_store.as_deref().map(location).transpose()?,
    };
    let files = Arc::new(CachedModelFiles::new(cache_dir().map_err(CommandError::Cache)?));
    let models = ModelSessions::new(files.clone(), Catalogue::load()?, slots.min(available_cores()));
    block_on(async {
        let mut signals = Signals::new().map_err(CommandError::Runtime)?;
        tokio::select! {
            answered = answer(&query, options, Arc::new(models), files, &destination) => answered,
            () = signals.next() => Err(CommandError::QueryInterrupted),
        }
    })
}

fn text(args: &SqlArgs) -> Result<String, CommandError> {
    if args.query != STANDARD_INPUT {
        return Ok(args.query.clone());
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|source| CommandError::ReadFile { file: "standard input".to_owned(), source })?;
    Ok(text)
}

fn location(place: &str) -> Result<Location, SqlError> {
    place.parse().map_err(|source| SqlError::Location { place: place.to_owned(), source })
}

fn destination(args: &SqlArgs) -> Result<Destination, CommandError> {
    let format = args.format.map(|format| match format {
        AnswerFormat::Table => None,
        AnswerFormat::Csv => Some(Format::Csv),
        AnswerFormat::Json => Some(Format::Json),
        AnswerFormat::Jsonl => Some(Format::JsonLines),
        AnswerFormat::Parquet => Some(Format::Parquet),
    });
    match (&args.output, format) {
        (None, None | Some(None)) => Ok(Destination::Screen { most_rows: args.max_rows }),
        (None, Some(Some(Format::Parquet))) => {
            Err(CommandError::AnswerPlace("Parquet goes to a file: name one with --output FILE.parquet".to_owned()))
        }
        (None, Some(Some(format))) => Ok(Destination::Stdout(format)),
        (Some(file), _) if file.to_str().is_some_and(|file| file.contains("://")) => {
            Err(CommandError::AnswerPlace(format!(
                "`{}` is no local file: write one, and copy it there",
                file.display()
            )))
        }
        (Some(_), Some(None)) => Err(CommandError::AnswerPlace(
            "a table is for the screen: leave --format out, or choose csv, json, jsonl or parquet for the file".to_owned(),
        )),
        (Some(file), format) => match format.flatten().or_else(|| Format::of_file(file)) {
            Some(format) => Ok(Destination::File(file.clone(), format)),
            None => Err(CommandError::AnswerPlace(format!(
                "`{}` doesn't say its format: end it in .csv, .json, .jsonl or .parquet, or give --format",
                file.display()
            ))),
        },
    }
}

async fn answer(
    query: &Query,
    options: SqlOptions,
    models: Arc<ModelSessions>,
    files: Arc<CachedModelFiles>,
    destination: &Destination,
) -> Result<Done, CommandError> {
    let session = SqlSession::start(options, models, files).await?;
    // One row more than is shown tells that there are more.
    let most_rows = match destination {
        Destination::Screen { most_rows } => Some(most_rows.saturating_add(1)),
        Destination::Stdout(_) | Destination::File(..) => None,
    };
    let mut answer = session.query(query, most_rows).await?;
    let written = write(&mut answer, destination).await;
    answer.close().await;
    session.shutdown().await;
    written.map(|()| Done::Fine)
}

async fn write(answer: &mut Answer<'_>, destination: &Destination) -> Result<(), CommandError> {
    match destination {
        Destination::Screen { most_rows } => {
            let mut out = BufWriter::new(std::io::stdout());
            print_table(answer, *most_rows, &mut out).await.map_err(to_stdout)
        }
        Destination::Stdout(format) => {
            let mut out = BufWriter::new(std::io::stdout());
            write_answer(answer, *format, &mut out).await.map(drop).map_err(to_stdout)
        }
        Destination::File(file, format) => {
            let rows = write_file(answer, file, *format).await?;
            eprintln!("{rows} rows written to {}", file.display());
            Ok(())
        }
    }
}

/// The file is there whole, or as it was before.
async fn write_file(answer: &mut Answer<'_>, file: &Path, format: Format) -> Result<u64, CommandError> {
    let not_written = |source| CommandError::WriteFile { file: file.display().to_string(), source };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new();
    beside.prefix(".fruitbatch-sql-");
    // What a file is made with that isn't temporary; the umask takes from it.
    #[cfg(unix)]
    beside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let written = beside.tempfile_in(folder).map_err(not_written)?;
    let mut out: BufWriter<&File> = BufWriter::new(written.as_file());
    let rows = write_answer(answer, format, &mut out).await.map_err(|error| match error {
        SqlError::Write(source) => not_written(source),
        error => error.into(),
    })?;
    out.flush().map_err(not_written)?;
    drop(out);
    written.as_file().sync_all().map_err(not_written)?;
    written.persist(file).map_err(|error| not_written(error.error))?;
    Ok(rows)
}

fn to_stdout(error: SqlError) -> CommandError {
    match error {
        SqlError::Write(source) => CommandError::Stdout(source),
        error => error.into(),
    }
}
