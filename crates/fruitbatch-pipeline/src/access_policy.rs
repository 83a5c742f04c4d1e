//! The smallest IAM policies with which a run can be carried out.
//!
//! The driver lists INPUT, looks again at photos that may have changed, and has OUT to itself. Executors read photos
//! and the model, nothing else: what they compute goes to the driver by way of the scheduler.
//!
//! Without the right to list, S3 says of an object that isn't there that it is forbidden, so that a photo that was deleted
//! looks like a fault; that is why executors have it too. Such a question names no prefix to hold a condition against:
//! hence `IfExists`.

use std::fmt::Write as _;

use fruitbatch_storage::Location;
use serde::Serialize;

use crate::commit_log::OWN_FOLDER;
use crate::model_store::MODELS_FOLDER;

/// The places of a run. Those that aren't in S3 need no policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places<'a> {
    /// INPUT.
    pub input: Option<&'a Location>,
    /// OUT.
    pub output: Option<&'a Location>,
    /// Where models lie, if not in OUT.
    pub model_store: Option<&'a Location>,
}

/// An IAM policy; serialised, it is what AWS takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessPolicy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: &'static str,
    action: Vec<&'static str>,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Condition {
    string_like_if_exists: Prefixes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Prefixes {
    #[serde(rename = "s3:prefix")]
    prefix: Vec<String>,
}

/// What AWS calls the language of policies.
const VERSION: &str = "2012-10-17";

impl AccessPolicy {
    /// What the driver needs; for a run without a fleet that is all. None if nothing is in S3.
    pub fn of_driver(region: &str, places: Places<'_>) -> Option<Self> {
        let partition = partition(region);
        let [input, output, models] = [places.input, places.output, places.model_store].map(in_s3);
        let objects = |place: Option<(&str, &str)>| {
            place.map(|(bucket, prefix)| resource(partition, bucket, Some(prefix)))
        };
        let mut statement = lists(partition, [input, output, models].into_iter().flatten());
        statement.extend([
            allow(&["s3:GetObject"], [input, output, models].into_iter().filter_map(objects)),
            allow(&["s3:PutObject", "s3:DeleteObject"], objects(output)),
            allow(&["s3:PutObject"], objects(models)),
        ]);
        Self::with(statement)
    }

    /// What executors need. None if nothing is in S3.
    pub fn of_executors(region: &str, places: Places<'_>) -> Option<Self> {
        let partition = partition(region);
        let in_output = places.output.map(|output| output.join(&format!("{OWN_FOLDER}/{MODELS_FOLDER}")));
        let models = places.model_store.or(in_output.as_ref());
        let readable: Vec<(&str, &str)> = [places.input, models].into_iter().filter_map(in_s3).collect();
        let mut statement = lists(partition, readable.iter().copied());
        let objects = readable.iter().map(|(bucket, prefix)| resource(partition, bucket, Some(prefix)));
        statement.push(allow(&["s3:GetObject"], objects));
        Self::with(statement)
    }

    fn with(statement: Vec<Statement>) -> Option<Self> {
        let statement: Vec<Statement> =
            statement.into_iter().filter(|statement| !statement.resource.is_empty()).collect();
        (!statement.is_empty()).then_some(Self { version: VERSION, statement })
    }
}

fn in_s3(place: Option<&Location>) -> Option<(&str, &str)> {
    place.and_then(Location::bucket_and_prefix)
}

fn allow(action: &[&'static str], resource: impl IntoIterator<Item = String>) -> Statement {
    let resource = resource.into_iter().collect();
    Statement { effect: "Allow", action: action.to_vec(), resource, condition: None }
}

/// Listing each bucket as far as its prefixes; without a condition where one of them is the whole bucket.
fn lists<'a>(partition: &str, places: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Statement> {
    let mut buckets: Vec<(&str, Vec<&str>)> = Vec::new();
    for (bucket, prefix) in places {
        match buckets.iter_mut().find(|(known, _)| *known == bucket) {
            Some((_, prefixes)) => prefixes.push(prefix),
            None => buckets.push((bucket, vec![prefix])),
        }
    }
    buckets
        .into_iter()
        .map(|(bucket, prefixes)| {
            let whole_bucket = prefixes.contains(&"");
            let prefix = prefixes.iter().map(|prefix| format!("{}*", literally(prefix))).collect();
            Statement {
                condition: (!whole_bucket)
                    .then_some(Condition { string_like_if_exists: Prefixes { prefix } }),
                ..allow(&["s3:ListBucket"], [resource(partition, bucket, None)])
            }
        })
        .collect()
}

/// The name of a bucket, or of all objects below a prefix of it.
pub(crate) fn resource(partition: &str, bucket: &str, prefix: Option<&str>) -> String {
    let mut name = format!("arn:{partition}:s3:::{bucket}");
    if let Some(prefix) = prefix {
        let _ = write!(name, "/{}*", literally(prefix));
    }
    name
}

/// A text in which nothing is a wildcard or a variable of the policy language.
fn literally(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '*' | '?' | '$' => {
                let _ = write!(literal, "${{{character}}}");
            }
            other => literal.push(other),
        }
    }
    literal
}

/// The part of AWS that a region belongs to.
fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Location {
        text.parse().unwrap()
    }

    fn json(policy: Option<AccessPolicy>) -> serde_json::Value {
        serde_json::to_value(policy.unwrap()).unwrap()
    }

    #[test]
    fn the_driver_lists_and_reads_both_places_and_writes_one() {
        let (input, output) = (place("s3://fruits/photos/"), place("s3://fruits/out/"));
        let places = Places { input: Some(&input), output: Some(&output), model_store: None };
        let expected = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": ["s3:ListBucket"],
                    "Resource": ["arn:aws:s3:::fruits"],
                    "Condition": { "StringLikeIfExists": { "s3:prefix": ["photos/*", "out/*"] } },
                },
                {
                    "Effect": "Allow",
                    "Action": ["s3:GetObject"],
                    "Resource": ["arn:aws:s3:::fruits/photos/*", "arn:aws:s3:::fruits/out/*"],
                },
                {
                    "Effect": "Allow",
                    "Action": ["s3:PutObject", "s3:DeleteObject"],
                    "Resource": ["arn:aws:s3:::fruits/out/*"],
                },
            ],
        });
        assert_eq!(json(AccessPolicy::of_driver("eu-west-1", places)), expected);
    }

    #[test]
    fn executors_read_photos_and_models_and_nothing_else() {
        let (input, output) = (place("s3://photos"), place("s3://results/2026/"));
        let places = Places { input: Some(&input), output: Some(&output), model_store: None };
        let policy = json(AccessPolicy::of_executors("cn-north-1", places));
        let readable = ["arn:aws-cn:s3:::photos/*", "arn:aws-cn:s3:::results/2026/_fruitbatch/models/*"];
        let expected = serde_json::json!([
            // All of a bucket: no prefix to go by.
            { "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws-cn:s3:::photos"] },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws-cn:s3:::results"],
                "Condition": { "StringLikeIfExists": { "s3:prefix": ["2026/_fruitbatch/models/*"] } },
            },
            { "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": readable },
        ]);
        assert_eq!(policy["Statement"], expected);
    }

    #[test]
    fn models_that_lie_elsewhere_are_put_there_and_read_from_there() {
        let (input, output, models) =
            (place("s3://fruits/photos/"), place("s3://fruits/out/"), place("s3://models/"));
        let places = Places { input: Some(&input), output: Some(&output), model_store: Some(&models) };
        let executors = json(AccessPolicy::of_executors("us-east-1", places));
        let readable = serde_json::json!(["arn:aws:s3:::fruits/photos/*", "arn:aws:s3:::models/*"]);
        assert_eq!(executors["Statement"][2]["Resource"], readable);
        let driver = json(AccessPolicy::of_driver("us-east-1", places));
        let expected = serde_json::json!({
            "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::models/*"],
        });
        assert_eq!(driver["Statement"].as_array().unwrap().last(), Some(&expected));
    }

    #[test]
    fn a_prefix_is_taken_literally() {
        let input = place("s3://fruits/a*b?c$d/");
        let places = Places { input: Some(&input), ..Places::default() };
        let policy = json(AccessPolicy::of_executors("us-east-1", places));
        let readable = serde_json::json!(["arn:aws:s3:::fruits/a${*}b${?}c${$}d/*"]);
        assert_eq!(policy["Statement"][1]["Resource"], readable);
    }

    #[test]
    fn local_folders_need_no_policy() {
        let here = place("/data");
        let places = Places { input: Some(&here), output: Some(&here), model_store: None };
        assert_eq!(AccessPolicy::of_driver("us-east-1", places), None);
        assert_eq!(AccessPolicy::of_executors("us-east-1", Places::default()), None);
    }
}
