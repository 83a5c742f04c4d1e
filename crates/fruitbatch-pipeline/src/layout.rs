//! Which rows lie where: `features/` holds exactly the current rows, rows once computed but not selected at present are kept
//! below `_fruitbatch/parts/`.

use std::collections::{BTreeMap, HashMap};

use fruitbatch_storage::OutputStore;

use crate::commit_log::{CommitLog, LogEntry, OWN_FOLDER, PartRecord};
use crate::error::RunError;
use crate::features::{
    FEATURES_FOLDER, FeatureRow, current_part_file, kept_part_file, read_part, write_part,
};
use crate::selection::Photo;

/// Deletes parts that no entry of the log names: a driver that died left them between writing and committing.
pub(crate) async fn remove_orphans(store: &OutputStore, log: &CommitLog) -> Result<(), RunError> {
    for folder in [FEATURES_FOLDER.to_owned(), format!("{OWN_FOLDER}/parts")] {
        for file in store.list(&folder).await?.into_iter().map(|file| file.path) {
            let is_part = file
                .strip_prefix(&folder)
                .is_some_and(|name| name.starts_with("/part-") && name.ends_with(".parquet"));
            if is_part && !log.state().parts.contains_key(&file) {
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
        }
    }

    if !removed.is_empty() {
        let number = log.next_number();
        let mut added = Vec::new();
        if !moved_in.is_empty() {
            added.push(write_part(store, current_part_file(number), &moved_in, width).await?);
        }
        if !moved_out.is_empty() {
            added.push(write_part(store, kept_part_file(number), &moved_out, width).await?);
        }
        log.append(LogEntry::Rewrite { removed: removed.clone(), added }).await?;
        for file in removed {
            store.delete(&file).await?;
        }
    }
    Ok(current.into_values().collect())
}
