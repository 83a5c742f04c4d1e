//! Whether INPUT and OUT can be used as a run uses them: tried, one request of each kind, and cleaned up after.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fruitbatch_storage::{
    Conditional, ListOptions, Location, OutputStore, PutOutcome, ReadErrorKind, Storage, StorageError,
    StorageErrorKind,
};

use crate::access_policy::resource;
use crate::commit_log::OWN_FOLDER;

/// Photos that are tried are not larger; the largest a run takes unless told.
const MAX_PHOTO_BYTES: u64 = 256 << 20;
/// What is written on trial, in a folder of its own.
const PROBE: &str = "probe";
const SECOND_PROBE: &str = "second-probe";
/// In this order; each needs those before it.
const TRIALS_OF_OUT: [&str; 8] =
    ["list", "missing", "put", "get", "if-none-match", "if-match", "rename", "delete"];

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What: `list`, `get`, `put`, `if-none-match`, `if-match`, `rename` or `delete`, and `missing`: asking for what isn't there.
    pub what: &'static str,
    /// What came of it.
    pub outcome: ProbeOutcome,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It works; with a word about what was seen.
    Works(String),
    /// It may not be done.
    Denied {
        /// What was answered.
        problem: String,
        /// What would allow it.
        mend: String,
    },
    /// It can't be done for another reason; the text says what to do.
    Fails(String),
    /// Why it was not tried.
    NotTried(String),
}

/// Finds a photo and reads it. Returns what came of it and the root that photos' paths are relative to, where it is known.
pub async fn probe_input(
    storage: &Storage,
    input: &Location,
    output: Option<&Location>,
) -> (Vec<Probe>, Option<Location>) {
    let options = ListOptions { exclude: output.cloned(), ..ListOptions::default() };
    let listing = match storage.list_first(input, &options).await {
        Ok(listing) => listing,
        Err(error) => {
            let not_tried = ProbeOutcome::NotTried("no photo is known".to_owned());
            let list = failed(&error, "s3:ListBucket", input);
            return (vec![probe("list", list), probe("get", not_tried)], None);
        }
    };
    let root = listing.root;
    let Some(photo) = listing.photos.first() else {
        let list = ProbeOutcome::Works(format!("no photo lies under {input}"));
        let get = ProbeOutcome::NotTried("put a photo there first".to_owned());
        return (vec![probe("list", list), probe("get", get)], Some(root));
    };
    let list = ProbeOutcome::Works(format!("`{}`", photo.path));
    let read = match storage.reader(&root).await {
        Ok(reader) => match reader.read(&photo.path, Some(&photo.etag), MAX_PHOTO_BYTES).await {
            Ok(content) => ProbeOutcome::Works(format!("{} bytes", content.len())),
            Err(error) if error.kind() == ReadErrorKind::AccessDenied => {
                denied(error.to_string(), "s3:GetObject", &root)
            }
            Err(error) => ProbeOutcome::Fails(error.to_string()),
        },
        Err(error) => failed(&error, "s3:GetObject", &root),
    };
    (vec![probe("list", list), probe("get", read)], Some(root))
}

/// Lists, writes, reads, writes on conditions and deletes in a folder of its own below OUT, and leaves nothing behind.
pub async fn probe_output(storage: &Storage, output: &Location) -> Vec<Probe> {
    let folder = output.join(&format!("{OWN_FOLDER}/doctor-{}", uuid::Uuid::new_v4()));
    let made = folder.local_path().map(missing_folders).unwrap_or_default();
    let probes = match storage.output(&folder).await {
        Ok(store) => probe_store(&store, output).await,
        Err(error) => {
            let mut probes = vec![probe("list", failed(&error, "s3:ListBucket", output))];
            not_tried(&mut probes, &TRIALS_OF_OUT[1..], "OUT can't be opened");
            probes
        }
    };
    if let Some(folder) = folder.local_path() {
        // What a local store keeps for itself; nobody else knows this folder.
        let _ = fs::remove_dir_all(folder);
    }
    for folder in made {
        // Somebody else's files in it keep it.
        let _ = fs::remove_dir(folder);
    }
    probes
}

async fn probe_store(store: &OutputStore, output: &Location) -> Vec<Probe> {
    let mut probes = Vec::new();
    let list = store.list("").await;
    let go_on = list.as_ref().err().is_none_or(|error| error.kind() == StorageErrorKind::AccessDenied);
    probes.push(probe("list", told(list.map(|_| String::new()), "s3:ListBucket", output)));
    if !go_on {
        not_tried(&mut probes, &TRIALS_OF_OUT[1..], "OUT can't be reached");
        return probes;
    }
    probes.push(probe("missing", missing(store, output).await));
    let put = store.put(PROBE, Bytes::from_static(b"one")).await;
    let is_there = put.is_ok();
    probes.push(probe("put", told(put.map(|()| String::new()), "s3:PutObject", output)));
    if !is_there {
        not_tried(&mut probes, &TRIALS_OF_OUT[3..], "nothing could be written");
        return probes;
    }
    let get = store.get(PROBE).await.map(|content| match content.as_deref() {
        Some(b"one") => ProbeOutcome::Works(String::new()),
        _ => ProbeOutcome::Fails("what was written just now isn't there, or came back otherwise".to_owned()),
    });
    probes.push(probe("get", get.unwrap_or_else(|error| failed(&error, "s3:GetObject", output))));
    let none_match = if_none_match(store).await;
    probes.push(probe(
        "if-none-match",
        none_match.unwrap_or_else(|error| failed(&error, "s3:PutObject", output)),
    ));
    let matches = if_match(store).await;
    probes.push(probe(
        "if-match",
        matches.unwrap_or_else(|error| failed(&error, "s3:PutObject and s3:GetObject", output)),
    ));
    let renamed = rename(store).await;
    probes.push(probe(
        "rename",
        renamed
            .unwrap_or_else(|error| failed(&error, "s3:GetObject, s3:PutObject and s3:DeleteObject", output)),
    ));
    let delete = match delete(store).await {
        Ok(outcome) => outcome,
        Err(error) => match failed(&error, "s3:DeleteObject", output) {
            ProbeOutcome::Denied { problem, mend } => ProbeOutcome::Denied {
                problem,
                mend: format!("{mend}; and delete {} by hand", store.uri("")),
            },
            other => other,
        },
    };
    probes.push(probe("delete", delete));
    probes
}

/// A run asks whether files are there before it writes them. Of one that isn't, S3 says so only to those who may list.
async fn missing(store: &OutputStore, output: &Location) -> ProbeOutcome {
    match store.exists(PROBE).await {
        Ok(false) => ProbeOutcome::Works(String::new()),
        Ok(true) => ProbeOutcome::Fails("a file is there that nobody has written".to_owned()),
        Err(error) => match failed(&error, "s3:ListBucket", output) {
            ProbeOutcome::Denied { problem, mend } => {
                let mend = format!("{mend} with StringLikeIfExists, and s3:GetObject");
                ProbeOutcome::Denied { problem, mend }
            }
            other => other,
        },
    }
}

async fn if_none_match(store: &OutputStore) -> Result<ProbeOutcome, StorageError> {
    // Repeated after a lost answer, it finds its own file: both answers to the first call are right.
    store.put_if_absent(SECOND_PROBE, Bytes::from_static(b"one")).await?;
    Ok(match store.put_if_absent(SECOND_PROBE, Bytes::from_static(b"two")).await? {
        PutOutcome::AlreadyExists => ProbeOutcome::Works(String::new()),
        PutOutcome::Created => ignored("If-None-Match"),
    })
}

async fn if_match(store: &OutputStore) -> Result<ProbeOutcome, StorageError> {
    let Some(version) = store.version(PROBE).await? else {
        return Ok(ProbeOutcome::Fails("what was written just now isn't there".to_owned()));
    };
    let first = store.put_if_match(PROBE, Some(&version), Bytes::from_static(b"two")).await?;
    let second = store.put_if_match(PROBE, Some(&version), Bytes::from_static(b"three")).await?;
    Ok(match (first, second) {
        (Conditional::Done, Conditional::ConditionFailed) => ProbeOutcome::Works(String::new()),
        (_, Conditional::Done) => ignored("If-Match"),
        (Conditional::ConditionFailed, _) => {
            ProbeOutcome::Fails("the server knows no file by the version it gave it".to_owned())
        }
    })
}

/// In S3 a copy, by which `_SUCCESS` gets its name.
async fn rename(store: &OutputStore) -> Result<ProbeOutcome, StorageError> {
    let content = store.get(SECOND_PROBE).await?;
    Ok(match store.rename(SECOND_PROBE, PROBE).await? {
        Conditional::Done if store.get(PROBE).await? == content => ProbeOutcome::Works(String::new()),
        _ => ProbeOutcome::Fails("a file that was copied isn't there, or has another content".to_owned()),
    })
}

async fn delete(store: &OutputStore) -> Result<ProbeOutcome, StorageError> {
    store.delete(PROBE).await?;
    store.delete(SECOND_PROBE).await?;
    Ok(if store.list("").await.is_ok_and(|left| !left.is_empty()) {
        ProbeOutcome::Fails(format!("what was deleted is still there: {}", store.uri("")))
    } else {
        ProbeOutcome::Works(String::new())
    })
}

fn ignored(header: &str) -> ProbeOutcome {
    ProbeOutcome::Fails(format!(
        "this S3-compatible server ignores `{header}`, so two runs could overwrite each other's results: name an OUT on a \
         server that has conditional writes, or a local folder"
    ))
}

fn probe(what: &'static str, outcome: ProbeOutcome) -> Probe {
    Probe { what, outcome }
}

fn not_tried(probes: &mut Vec<Probe>, what: &[&'static str], why: &str) {
    probes.extend(what.iter().map(|what| probe(what, ProbeOutcome::NotTried(why.to_owned()))));
}

fn told(result: Result<String, StorageError>, action: &str, place: &Location) -> ProbeOutcome {
    result.map_or_else(|error| failed(&error, action, place), ProbeOutcome::Works)
}

fn failed(error: &StorageError, action: &str, place: &Location) -> ProbeOutcome {
    if error.kind() == StorageErrorKind::AccessDenied && place.is_s3() {
        denied(error.to_string(), action, place)
    } else {
        ProbeOutcome::Fails(error.to_string())
    }
}

fn denied(problem: String, action: &str, place: &Location) -> ProbeOutcome {
    let Some((bucket, prefix)) = place.bucket_and_prefix() else { return ProbeOutcome::Fails(problem) };
    let mend = if action == "s3:ListBucket" {
        format!("allow {action} on {} for the prefix `{prefix}*`", resource("aws", bucket, None))
    } else {
        let object = resource("aws", bucket, Some(prefix));
        format!(
            "allow {action} on {object}, and kms:Decrypt and kms:GenerateDataKey if the bucket has a key of its own"
        )
    };
    ProbeOutcome::Denied { problem, mend }
}

/// The folders that aren't there, from the deepest up.
fn missing_folders(folder: &Path) -> Vec<PathBuf> {
    folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_path_buf).collect()
}

#[cfg(test)]
mod tests {
    use fruitbatch_storage::StorageOptions;

    use super::*;

    fn works(probes: &[Probe]) -> Vec<(&'static str, bool)> {
        probes.iter().map(|probe| (probe.what, matches!(probe.outcome, ProbeOutcome::Works(_)))).collect()
    }

    #[tokio::test]
    async fn a_local_folder_is_left_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::new(StorageOptions::default());
        let expected = TRIALS_OF_OUT.map(|what| (what, true));

        // One that isn't there, and isn't afterwards.
        let new = Location::from_path(&place.path().join("new/out")).unwrap();
        assert_eq!(works(&probe_output(&storage, &new).await), expected);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);

        // One that holds something.
        let used = place.path().join("used");
        fs::create_dir_all(used.join("_fruitbatch/log")).unwrap();
        fs::write(used.join("_fruitbatch/log/1.json"), "{}").unwrap();
        let used = Location::from_path(&used).unwrap();
        assert_eq!(works(&probe_output(&storage, &used).await), expected);
        let left: Vec<_> = walk(place.path());
        assert_eq!(left, ["used", "used/_fruitbatch", "used/_fruitbatch/log", "used/_fruitbatch/log/1.json"]);
    }

    #[tokio::test]
    async fn an_input_is_listed_and_one_photo_read() {
        let place = tempfile::tempdir().unwrap();
        let storage = Storage::new(StorageOptions::default());
        let input = Location::from_path(place.path()).unwrap();
        let (probes, _) = probe_input(&storage, &input, None).await;
        assert_eq!(works(&probes), [("list", true), ("get", false)]);
        fs::write(place.path().join("a.jpg"), "photo").unwrap();
        let (probes, root) = probe_input(&storage, &input, None).await;
        assert_eq!(probes[1].outcome, ProbeOutcome::Works("5 bytes".to_owned()));
        assert_eq!(root, Some(input));
        let gone = Location::from_path(&place.path().join("gone")).unwrap();
        let (probes, root) = probe_input(&storage, &gone, None).await;
        assert!(matches!(probes[0].outcome, ProbeOutcome::Fails(_)), "{probes:?}");
        assert_eq!(root, None);
    }

    fn walk(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }
}
