//! The command line of fruitbatch: see `fruitbatch --help`.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};

mod cli;
mod commands;
mod config_layers;
mod exit;
mod logging;
mod progress;
mod signals;
mod summary;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let is_role = matches!(cli.command, Command::Scheduler(_) | Command::Executor(_));
    logging::start(cli.log_format, is_role);
    let outcome = match &cli.command {
        Command::Run(args) => {
            let matches = matches.subcommand_matches("run").expect("clap parsed the subcommand `run`");
            commands::run::run(args, matches)
        }
        Command::Retry(args) => commands::run::retry(args),
        Command::Scheduler(args) => commands::fleet::scheduler(args),
        Command::Executor(args) => commands::fleet::executor(args),
        Command::Samples(args) => commands::samples::samples(args),
        Command::Model(command) => commands::model::model(command),
        Command::Doctor => commands::doctor::doctor(),
    };
    exit::code_of(outcome)
}
