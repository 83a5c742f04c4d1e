//! Which rows lie where: `features/` holds exactly the current rows, rows once computed but not selected at present are kept
//! below `_fruitbatch/parts/`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fruitbatch_storage::OutputStore;

use crate::commit_log::{CommitLog, LogEntry, PartName, PartRecord};
use crate::error::RunError;
use crate::features::{FEATURES_FOLDER, FeatureRow, KEPT_FOLDER, WrittenParts, read_part};
use crate::selection::Photo;

/// Deletes parts that no entry of the log names: a driver that died left them between writing and committing.
///
/// Only those written for a claim before the latest this driver knows, which is its own. A driver that slept through
/// its successor's claim finds that one's parts here without knowing the entries that name them; and no entry to come can
/// name a part of an earlier claim, since its driver can't commit any more.
pub(crate) async fn remove_orphans(store: &OutputStore, log: &CommitLog) -> Result<(), RunError> {
    let own_claim = log.next_part().claim;
    for folder in [FEATURES_FOLDER, KEPT_FOLDER] {
        for file in store.list(folder).await?.into_iter().map(|file| file.path) {
            let name = file.strip_prefix(folder).and_then(|name| PartName::parse(name.strip_prefix('/')?));
            if name.is_some_and(|name| name.claim < own_claim) && !log.state().parts.contains_key(&file) {
                store.delete(&file).await?;
            }
        }
    }
    Ok(())
}

/// Reads all parts, moves rows so that `features/` holds exactly the current ones, and returns these sorted by path.
///
/// A row is current if its photo is selected with the same etag. Parts whose rows all are where they belong, with the
/// labels of today, aren't touched.
pub(crate) async fn arrange(
    store: &OutputStore,
    log: &mut CommitLog,
    photos: &[Photo],
    width: usize,
) -> Result<Vec<FeatureRow>, RunError> {
    let selected: HashMap<&str, &Photo> = photos.iter().map(|photo| (photo.path.as_str(), photo)).collect();
    let mut current: BTreeMap<String, FeatureRow> = BTreeMap::new();
    let mut moved_in: Vec<FeatureRow> = Vec::new();
    let mut moved_out: Vec<FeatureRow> = Vec::new();
    let mut removed: Vec<String> = Vec::new();
    // Of all that are moved: which of them made which row isn't kept.
    let mut kernel_paths: BTreeSet<String> = BTreeSet::new();

    let parts: Vec<PartRecord> = log.state().parts.values().cloned().collect();
    for part in parts {
        let is_current_file = part.file.starts_with(FEATURES_FOLDER);
        let rows = read_part(store, &part, width).await?;
        let in_place = rows.iter().all(|row| match selected.get(row.path.as_str()) {
            Some(photo) if photo.etag == row.etag => is_current_file && photo.label == row.label,
            Some(_) => false,
            None => !is_current_file,
        });
        for mut row in rows {
            match selected.get(row.path.as_str()) {
                Some(photo) if photo.etag == row.etag => {
                    row.label.clone_from(&photo.label);
                    if !in_place {
                        moved_in.push(row.clone());
                    }
                    if let Some(twice) = current.insert(row.path.clone(), row) {
                        return Err(RunError::CorruptPart {
                            file: part.file,
                            detail: format!("`{}` lies in another part too", twice.path),
                        });
                    }
                }
                None if !in_place => moved_out.push(row),
                // Where it belongs already, or an older version of a photo that has been read anew: of no use any more.
                None | Some(_) => {}
            }
        }
        if !in_place {
            removed.push(part.file);
            kernel_paths.extend(part.kernel_paths);
        }
    }

    if !removed.is_empty() {
        let mut written = WrittenParts::default();
        written.write(store, log, FEATURES_FOLDER, &moved_in, kernel_paths.clone(), width).await?;
        written.write(store, log, KEPT_FOLDER, &moved_out, kernel_paths, width).await?;
        let entry = |added| LogEntry::Rewrite { removed: removed.clone(), added };
        written.commit(store, log, entry).await?;
        for file in removed {
            store.delete(&file).await?;
        }
    }
    Ok(current.into_values().collect())
}
