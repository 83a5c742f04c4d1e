//! The scores of all rows: a matrix in memory, or beyond a budget a file that is gone when nobody reads it any more.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, CowArray, Ix2, s};

use crate::blocks::{ROWS_PER_BLOCK, block_count, rows_of_block};
use crate::error::Cause;
use crate::row_blocks::{RowBlocks, reduce_rows_with};
use crate::{FitOptions, LearnError};

/// Bytes of a score.
const SCORE_BYTES: usize = size_of::<f64>();

/// The scores of rows on components, n x k: in memory, or in a scratch file of 8 n k bytes (f64, little endian, row by row), from
/// which they come back with the same bits. The file has no name any more, so nothing of it stays, however the process ends.
///
/// Read them by blocks or by number as any [`RowBlocks`], or as one matrix by [`RowBlocks::to_matrix`].
#[derive(Debug, Clone)]
pub struct Scores {
    row_count: usize,
    width: usize,
    kept: Kept,
}

#[derive(Debug, Clone)]
enum Kept {
    InMemory(Array2<f64>),
    InFile(ScratchFile),
}

impl Scores {
    /// What `score` makes of each block of `rows`: as many rows of `width` scores.
    ///
    /// # Errors
    /// Those of the rows, and [`LearnError::Scratch`].
    pub(crate) fn of_rows<B: RowBlocks>(
        rows: &B,
        width: usize,
        options: &FitOptions,
        score: impl Fn(ArrayView2<'_, B::Value>) -> Array2<f64> + Sync,
    ) -> Result<Self, LearnError> {
        let row_count = rows.row_count();
        let bytes = (row_count as u64).saturating_mul(width as u64).saturating_mul(SCORE_BYTES as u64);
        let kept = if bytes <= options.memory_budget_bytes {
            let mut scores = Array2::zeros((row_count, width));
            let blocks = scores.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK).collect();
            reduce_rows_with(
                options.threads,
                rows,
                blocks,
                |_, rows, mut scores: ArrayViewMut2<'_, f64>| {
                    scores.assign(&score(rows));
                    Ok(())
                },
            )?;
            Kept::InMemory(scores)
        } else {
            let file = ScratchFile::create(options)?;
            let blocks = vec![(); block_count(row_count)];
            reduce_rows_with(options.threads, rows, blocks, |block, rows, ()| {
                file.write(block * ROWS_PER_BLOCK, &score(rows))
            })?;
            Kept::InFile(file)
        };
        Ok(Self { row_count, width, kept })
    }

    /// Whether they are a matrix in memory, so that no reading of them fails.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.kept, Kept::InMemory(_))
    }

    /// All scores as a matrix, n x k, without a copy if they are one already.
    ///
    /// # Errors
    /// [`LearnError::Scratch`] if they can't be read.
    pub fn into_matrix(self) -> Result<Array2<f64>, LearnError> {
        match self.kept {
            Kept::InMemory(scores) => Ok(scores),
            Kept::InFile(_) => Ok(self.to_matrix()?.into_owned()),
        }
    }
}

impl RowBlocks for Scores {
    type Value = f64;

    fn row_count(&self) -> usize {
        self.row_count
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read(&self, blocks: Range<usize>) -> impl Iterator<Item = Result<CowArray<'_, f64, Ix2>, LearnError>> {
        let mut bytes = Vec::new();
        blocks.map(move |block| {
            let rows = rows_of_block(block, self.row_count);
            match &self.kept {
                Kept::InMemory(scores) => Ok(scores.slice(s![rows, ..]).into()),
                Kept::InFile(file) => Ok(file.read(rows, self.width, &mut bytes)?.into()),
            }
        })
    }

    fn select(&self, rows: &[usize]) -> Result<Array2<f64>, LearnError> {
        match &self.kept {
            Kept::InMemory(scores) => Ok(scores.select(Axis(0), rows)),
            Kept::InFile(file) => {
                assert!(rows.iter().all(|&row| row < self.row_count), "there are {} rows", self.row_count);
                let mut selected = Array2::zeros((rows.len(), self.width));
                let mut bytes = Vec::new();
                for (mut place, &row) in selected.axis_chunks_iter_mut(Axis(0), 1).zip(rows) {
                    place.assign(&file.read(row..row + 1, self.width, &mut bytes)?);
                }
                Ok(selected)
            }
        }
    }

    fn to_matrix(&self) -> Result<CowArray<'_, f64, Ix2>, LearnError> {
        match &self.kept {
            Kept::InMemory(scores) => Ok(scores.view().into()),
            Kept::InFile(file) => {
                let mut matrix = Array2::zeros((self.row_count, self.width));
                let mut bytes = Vec::new();
                for (block, mut rows) in matrix.axis_chunks_iter_mut(Axis(0), ROWS_PER_BLOCK).enumerate() {
                    let numbers = rows_of_block(block, self.row_count);
                    rows.assign(&file.read(numbers, self.width, &mut bytes)?);
                }
                Ok(matrix.into())
            }
        }
    }
}

/// A file that lies in a folder without a name.
#[derive(Debug, Clone)]
struct ScratchFile {
    file: Arc<File>,
    folder: PathBuf,
}

impl ScratchFile {
    fn create(options: &FitOptions) -> Result<Self, LearnError> {
        let folder = options.scratch_folder.clone().unwrap_or_else(std::env::temp_dir);
        match tempfile::tempfile_in(&folder) {
            Ok(file) => Ok(Self { file: Arc::new(file), folder }),
            Err(error) => Err(LearnError::Scratch { folder, source: Cause::new(error) }),
        }
    }

    fn failed(&self, error: io::Error) -> LearnError {
        LearnError::Scratch { folder: self.folder.clone(), source: Cause::new(error) }
    }

    /// Writes rows from this one on.
    fn write(&self, first_row: usize, scores: &Array2<f64>) -> Result<(), LearnError> {
        let bytes: Vec<u8> = scores.iter().flat_map(|score| score.to_le_bytes()).collect();
        let row_bytes = scores.ncols() * SCORE_BYTES;
        self.file
            .write_all_at(&bytes, first_row as u64 * row_bytes as u64)
            .map_err(|error| self.failed(error))
    }

    /// Reads rows of this width; `bytes` is room that is used again.
    fn read(&self, rows: Range<usize>, width: usize, bytes: &mut Vec<u8>) -> Result<Array2<f64>, LearnError> {
        let row_bytes = width * SCORE_BYTES;
        bytes.resize(rows.len() * row_bytes, 0);
        self.file
            .read_exact_at(bytes, rows.start as u64 * row_bytes as u64)
            .map_err(|error| self.failed(error))?;
        let scores = bytes.as_chunks().0.iter().map(|&score| f64::from_le_bytes(score)).collect();
        Ok(Array2::from_shape_vec((rows.len(), width), scores)
            .expect("as many scores as bytes were read for"))
    }
}
