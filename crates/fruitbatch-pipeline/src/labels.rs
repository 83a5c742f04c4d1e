//! Where a photo's label and its split come from.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use regex::Regex;

use crate::error::ConfigError;

/// Where labels come from: the value of `--label`.
#[derive(Debug, Clone)]
pub enum LabelSource {
    /// The folder that holds the photo; none for a photo directly in INPUT.
    Parent,
    /// No labels.
    None,
    /// The first capture group of a regular expression over the photo's path (the whole match if it has no group); none
    /// where it doesn't match.
    Regex(Box<Regex>),
    /// A CSV file with the columns `path` and `label`; none for photos it doesn't name.
    Table(HashMap<String, String>),
}

impl FromStr for LabelSource {
    type Err = ConfigError;

    /// Reads `parent`, `none`, `regex:RE` or the name of a CSV file, which is read here.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "parent" => Ok(Self::Parent),
            "none" => Ok(Self::None),
            _ => match text.strip_prefix("regex:") {
                Some(expression) => {
                    Regex::new(expression).map(|regex| Self::Regex(Box::new(regex))).map_err(|error| {
                        ConfigError::invalid(
                            "label",
                            format!("`{expression}` is no regular expression: {error}"),
                        )
                    })
                }
                None if Path::new(text)
                    .extension()
                    .is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) =>
                {
                    read_label_table(text).map(Self::Table)
                }
                None => Err(ConfigError::invalid(
                    "label",
                    format!(
                        "`{text}` is none of: parent, none, regex:RE, or a .csv file with the columns path and label"
                    ),
                )),
            },
        }
    }
}

impl LabelSource {
    /// The label of the photo at `path` (relative to INPUT, `/` between folders).
    pub fn label_of(&self, path: &str) -> Option<String> {
        match self {
            Self::Parent => {
                let (folders, _) = path.rsplit_once('/')?;
                let parent = folders.rsplit('/').next().unwrap_or(folders);
                (!parent.is_empty()).then(|| parent.to_owned())
            }
            Self::None => None,
            Self::Regex(regex) => {
                let captures = regex.captures(path)?;
                let label = captures.get(1).or_else(|| captures.get(0))?.as_str();
                (!label.is_empty()).then(|| label.to_owned())
            }
            Self::Table(labels) => labels.get(path).cloned(),
        }
    }
}

#[derive(serde::Deserialize)]
struct LabelRow {
    path: String,
    label: String,
}

fn read_label_table(file: &str) -> Result<HashMap<String, String>, ConfigError> {
    let invalid = |error: csv::Error| ConfigError::invalid("label", format!("`{file}`: {error}"));
    let mut reader = csv::Reader::from_path(file).map_err(invalid)?;
    let mut labels = HashMap::new();
    for row in reader.deserialize() {
        let row: LabelRow = row.map_err(invalid)?;
        if !row.label.is_empty() {
            labels.insert(row.path, row.label);
        }
    }
    Ok(labels)
}

/// The names of the folders that divide a data set.
const SPLIT_FOLDERS: [&str; 3] = ["Training", "Test", "Validation"];
/// The split that learning is fitted on.
pub const TRAINING_SPLIT: &str = SPLIT_FOLDERS[0];
/// The split that a classifier is tested on.
pub(crate) const TEST_SPLIT: &str = SPLIT_FOLDERS[1];

/// The split of a photo by its path: the first folder called Training, Test or Validation (in any case), in this spelling.
pub fn split_of(path: &str) -> Option<&'static str> {
    let (folders, _) = path.rsplit_once('/')?;
    folders
        .split('/')
        .find_map(|folder| SPLIT_FOLDERS.into_iter().find(|split| split.eq_ignore_ascii_case(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_the_folder_that_holds_the_photo() {
        let parent = LabelSource::Parent;
        assert_eq!(parent.label_of("Apple Braeburn/0_100.jpg").as_deref(), Some("Apple Braeburn"));
        assert_eq!(parent.label_of("a/b/c.jpg").as_deref(), Some("b"));
        assert_eq!(parent.label_of("c.jpg"), None);
        assert_eq!(parent.label_of("a//c.jpg"), None, "a folder without a name is no label");
    }

    #[test]
    fn regex_takes_its_group_or_the_whole_match() {
        let group: LabelSource = "regex:^([a-z]+)_".parse().expect("valid");
        assert_eq!(group.label_of("apple_12.jpg").as_deref(), Some("apple"));
        assert_eq!(group.label_of("12.jpg"), None);
        let whole: LabelSource = "regex:apple|pear".parse().expect("valid");
        assert_eq!(whole.label_of("x/pear.jpg").as_deref(), Some("pear"));
        assert!("regex:(".parse::<LabelSource>().is_err());
        assert!("folder".parse::<LabelSource>().is_err());
    }

    #[test]
    fn a_table_names_labels_by_path() {
        let folder = tempfile::tempdir().expect("a temp dir");
        let file = folder.path().join("labels.csv");
        std::fs::write(&file, "path,label\n\"a,b.jpg\",apple\nc.jpg,\n").expect("writes");
        let table: LabelSource = file.to_str().expect("UTF-8").parse().expect("valid");
        assert_eq!(table.label_of("a,b.jpg").as_deref(), Some("apple"));
        assert_eq!(table.label_of("c.jpg"), None);
    }

    #[test]
    fn splits_are_folders() {
        assert_eq!(split_of("Training/Apple/1.jpg"), Some("Training"));
        assert_eq!(split_of("set/TEST/Apple/1.jpg"), Some("Test"));
        assert_eq!(split_of("Apple/Training.jpg"), None);
    }
}
