//! Flags over environment over file over defaults, with the origin of each value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use fruitbatch_pipeline::RunConfig;
use serde_json::{Map, Value};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => write!(formatter, "flag"),
            Self::Environment(variable) => write!(formatter, "environment ({variable})"),
            Self::File(file) => write!(formatter, "file ({})", file.display()),
            Self::Default => write!(formatter, "default"),
        }
    }
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayerError {
    #[error("`{}` can't be read: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("`{}`: {detail}", file.display())]
    Invalid { file: PathBuf, detail: String },
}

/// A configuration, and where each of its values came from.
#[derive(Debug)]
pub(crate) struct LayeredConfig {
    pub(crate) config: RunConfig,
    /// Key, value and origin, in the order of the keys' names.
    pub(crate) origins: BTreeMap<String, (Value, Origin)>,
}

impl LayeredConfig {
    /// Puts the layers on top of each other: `args`, the environment in them, over `file`. `matches` are those of the subcommand that
    /// `args` were parsed from.
    pub(crate) fn resolve(
        args: &impl serde::Serialize,
        file: Option<&Path>,
        matches: &ArgMatches,
    ) -> Result<Self, LayerError> {
        let mut origins: BTreeMap<String, (Value, Origin)> = as_map(&RunConfig::default())
            .into_iter()
            .map(|(key, value)| (key, (value, Origin::Default)))
            .collect();
        if let Some(file) = file {
            for (key, value) in read_file(file, &origins)? {
                origins.insert(key, (value, Origin::File(file.to_owned())));
            }
        }
        for (key, value) in as_map(args) {
            let origin = match matches.value_source(&key.replace('-', "_")) {
                Some(ValueSource::EnvVariable) => {
                    Origin::Environment(format!("FRUITBATCH_{}", key.replace('-', "_").to_uppercase()))
                }
                _ => Origin::Flag,
            };
            origins.insert(key, (value, origin));
        }
        let merged: Map<String, Value> =
            origins.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect();
        let config = serde_json::from_value(Value::Object(merged)).map_err(|error| LayerError::Invalid {
            file: file.map(Path::to_owned).unwrap_or_default(),
            detail: error.to_string(),
        })?;
        Ok(Self { config, origins })
    }
}

/// A configuration with the flags that were given in place of its own values.
pub(crate) fn with_flags(config: &RunConfig, flags: &impl serde::Serialize) -> RunConfig {
    let mut merged = as_map(config);
    merged.extend(as_map(flags));
    serde_json::from_value(Value::Object(merged))
        .expect("flags are named as the keys, and have the same types")
}

fn as_map(value: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("configurations are structs of plain values"),
    }
}

/// Reads a TOML file and checks each key by itself, so that an error names the key.
fn read_file(
    file: &Path,
    known: &BTreeMap<String, (Value, Origin)>,
) -> Result<Map<String, Value>, LayerError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| LayerError::Read { file: file.to_owned(), source })?;
    let invalid = |detail: String| LayerError::Invalid { file: file.to_owned(), detail };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| invalid(error.to_string()))?;
    let mut values = Map::new();
    for (key, value) in table {
        if !known.contains_key(&key) {
            let hint = closest(&key, known.keys())
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            return Err(invalid(format!("`{key}` is not a key{hint}")));
        }
        let value = serde_json::to_value(&value).map_err(|error| invalid(format!("`{key}`: {error}")))?;
        let value = match value {
            // `n-components = 10` is as good as `n-components = "10"`.
            Value::Number(number) if takes_text(&key) => Value::String(number.to_string()),
            other => other,
        };
        let alone: Map<String, Value> = [(key.clone(), value.clone())].into_iter().collect();
        serde_json::from_value::<RunConfig>(Value::Object(alone))
            .map_err(|error| invalid(format!("`{key}`: {error}")))?;
        values.insert(key, value);
    }
    Ok(values)
}

/// Whether a key's value is text that may look like a number.
fn takes_text(key: &str) -> bool {
    matches!(key, "n-components" | "n-clusters" | "image-size" | "max-failures")
}

pub(crate) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(word, name), name.as_str()))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
