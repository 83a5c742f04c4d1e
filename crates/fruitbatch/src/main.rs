//! The command line of fruitbatch: see `fruitbatch --help`.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};

mod cli;
mod commands;
mod config_layers;
mod estimate_table;
mod exit;
mod logging;
mod page;
mod progress;
mod role_config;
mod signals;
mod summary;

const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ExitCode {
    // ONNX Runtime's own builds come with telemetry that starts, and writes files below ~/.cache, before it can be told not to
    // by its interface. Only this keeps it from that; whoever set the variable is asked first.
    if std::env::var_os(NO_TELEMETRY).is_none() {
        // SAFETY: nothing else has been started yet, so no other thread reads the environment.
        unsafe { std::env::set_var(NO_TELEMETRY, "1") };
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    let command = match role_config::with_file(Cli::command(), &arguments) {
        Ok(command) => command,
        Err(error) => return exit::code_of(Err(error.into())),
    };
    let matches = command.get_matches_from(arguments);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let _traces = logging::start(cli.log_format, matches.subcommand_name().unwrap_or_default());
    let outcome = match &cli.command {
        Command::Run(args) => {
            let matches = matches.subcommand_matches("run").expect("clap parsed the subcommand `run`");
            commands::run::run(args, matches)
        }
        Command::Extract(args) => {
            let matches =
                matches.subcommand_matches("extract").expect("clap parsed the subcommand `extract`");
            commands::run::extract(args, matches)
        }
        Command::Fit(args) => commands::run::fit(args, false),
        Command::Train(args) => commands::run::fit(&args.fit, true),
        Command::Predict(args) => commands::predict::predict(args),
        Command::Retry(args) => commands::run::retry(args),
        Command::Scheduler(args) => commands::fleet::scheduler(args),
        Command::Executor(args) => commands::fleet::executor(args),
        Command::Export(args) => commands::export::export(args),
        Command::Links(args) => commands::links::links(args),
        Command::Sql(args) => commands::sql::sql(args),
        Command::Status(args) => commands::status::status(args),
        Command::Health(args) => commands::health::health(args),
        Command::Samples(args) => commands::samples::samples(args),
        Command::Model(command) => commands::model::model(command),
        Command::Doctor(args) => commands::doctor::doctor(args),
    };
    exit::code_of(outcome)
}
