//! `--config` of scheduler and executor: a file's values as the defaults of flags.
//!
//! One file serves both roles: the keys outside of any table are for both, those in `[scheduler]` and `[executor]` for one.
//! They are named as the flags are, and clap checks them as it checks the flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};

use crate::config_layers::{LayerError, closest};

/// The subcommands that take such a file.
const ROLES: [&str; 2] = ["scheduler", "executor"];
/// Flags that a file can't set.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];

/// The command with the values of the file that `arguments` or the environment name, if they name one.
pub(crate) fn with_file(command: Command, arguments: &[OsString]) -> Result<Command, LayerError> {
    // What is wrong with the arguments is told when they are read in earnest.
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(arguments) else {
        return Ok(command);
    };
    let Some((role, matches)) = matches.subcommand().filter(|(name, _)| ROLES.contains(name)) else {
        return Ok(command);
    };
    let Some(file) = file_of(matches) else { return Ok(command) };
    let values = read(&command, role, &file)?;
    Ok(command.mut_subcommand(role, |mut role| {
        for (key, value) in values {
            role = role.mut_arg(key.replace('-', "_"), |flag| flag.required(false).default_value(value));
        }
        role
    }))
}

fn file_of(matches: &ArgMatches) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
}

/// The file's values for a role, by key.
fn read(command: &Command, role: &str, file: &Path) -> Result<BTreeMap<String, String>, LayerError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| LayerError::Read { file: file.to_owned(), source })?;
    let invalid = |detail: String| LayerError::Invalid { file: file.to_owned(), detail };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| invalid(error.to_string()))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(own) if ROLES.contains(&key.as_str()) => {
                for (own_key, value) in own {
                    check(command, &[&key], &own_key).map_err(&invalid)?;
                    if key == role {
                        values.insert(own_key.clone(), text_of(&own_key, value).map_err(&invalid)?);
                    }
                }
            }
            value => {
                check(command, &ROLES, &key).map_err(&invalid)?;
                if flags(command, role).contains(&key) {
                    let text = text_of(&key, value).map_err(&invalid)?;
                    // What is said to one role alone counts more.
                    values.entry(key).or_insert(text);
                }
            }
        }
    }
    Ok(values)
}

/// Whether one of the roles has such a flag.
fn check(command: &Command, roles: &[&str], key: &str) -> Result<(), String> {
    let known: Vec<String> = roles.iter().flat_map(|role| flags(command, role)).collect();
    if known.iter().any(|name| name == key) {
        return Ok(());
    }
    let hint = closest(key, known.iter()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    Err(format!("`{key}` is not a key{hint}"))
}

fn flags(command: &Command, role: &str) -> Vec<String> {
    let Some(role) = command.find_subcommand(role) else { return Vec::new() };
    let names = role.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned);
    names.filter(|name| !NOT_IN_FILES.contains(&name.as_str())).collect()
}

fn text_of(key: &str, value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        other => Err(format!("`{key}` is a text, a number, true or false, not {}", other.type_str())),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::{Cli, Command as Subcommand};

    fn parse(file_text: &str, arguments: &[&str]) -> Result<Subcommand, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.toml");
        std::fs::write(&file, file_text).unwrap();
        let mut all: Vec<OsString> = ["fruitbatch"].iter().chain(arguments).map(OsString::from).collect();
        all.extend(["--config".into(), file.into_os_string()]);
        let command = with_file(Cli::command(), &all).map_err(|error| error.to_string())?;
        let matches = command.try_get_matches_from(&all).map_err(|error| error.to_string())?;
        Ok(Cli::from_arg_matches(&matches).unwrap().command)
    }

    const FILE: &str = "
        executor-timeout = 20
        [scheduler]
        bind = \"127.0.0.1:7000\"
        [executor]
        scheduler = \"scheduler.internal:7000\"
        slots = 3
        executor-timeout = 21
        ec2-notices = true
    ";

    #[test]
    fn each_role_takes_what_is_its_own() {
        let Subcommand::Scheduler(scheduler) = parse(FILE, &["scheduler"]).unwrap() else {
            panic!("not a scheduler")
        };
        assert_eq!((scheduler.bind.port(), scheduler.executor_timeout), (7000, 20));
        let Subcommand::Executor(executor) = parse(FILE, &["executor", "--slots", "5"]).unwrap() else {
            panic!("not an executor")
        };
        assert_eq!(executor.scheduler, "scheduler.internal:7000");
        assert_eq!(executor.slots.map(std::num::NonZeroUsize::get), Some(5), "a flag stands above the file");
        assert_eq!((executor.executor_timeout, executor.ec2_notices), (21, true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("slot = 3", "did you mean `slots`?"),
            ("[executor]\nbind = 1.5", "not float"),
            ("[scheduler]\nslots = 3", "`slots` is not a key"),
            ("[executor]\nslots = 0", "--slots"),
            ("slots =", "cluster.toml"),
        ] {
            let error = parse(text, &["executor", "--scheduler", "a:1"]).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
