//! A choice of rows, such as those to fit on, put together block by block and never copied as a whole.

use std::ops::Range;

use ndarray::{Array2, CowArray, Ix2};

use crate::LearnError;
use crate::blocks::{ROWS_PER_BLOCK, block_count, rows_of_block};
use crate::row_blocks::{RowBlocks, read_blocks};

/// The rows that are chosen. Blocks count the chosen rows only, so what comes of them doesn't depend on the others.
#[derive(Debug)]
pub(crate) struct ChosenRows<'c, B> {
    rows: B,
    /// `None` for all rows.
    choice: Option<Choice<'c>>,
}

#[derive(Debug)]
struct Choice<'c> {
    is_chosen: &'c [bool],
    count: usize,
    /// The number among all rows of the first row of each block.
    first_rows: Vec<usize>,
}

impl<'c, B: RowBlocks> ChosenRows<'c, B> {
    /// The rows where `is_chosen` is true; all without it.
    ///
    /// # Errors
    /// [`LearnError::LengthMismatch`] unless there is one entry for each row.
    pub(crate) fn new(rows: B, is_chosen: Option<&'c [bool]>) -> Result<Self, LearnError> {
        let Some(is_chosen) = is_chosen else { return Ok(Self { rows, choice: None }) };
        if is_chosen.len() != rows.row_count() {
            return Err(LearnError::LengthMismatch {
                what: "fit_on",
                got: is_chosen.len(),
                expected: rows.row_count(),
            });
        }
        let mut chosen = (0..is_chosen.len()).filter(|&row| is_chosen[row]);
        let (mut count, mut first_rows) = (0, Vec::new());
        while let Some(first_row) = chosen.next() {
            first_rows.push(first_row);
            count += 1 + chosen.by_ref().take(ROWS_PER_BLOCK - 1).count();
        }
        let choice = Choice { is_chosen, count, first_rows };
        Ok(Self { rows, choice: (count < is_chosen.len()).then_some(choice) })
    }
}

impl Choice<'_> {
    /// The number among all rows of a chosen row.
    fn number_of(&self, row: usize) -> usize {
        let first = self.first_rows[row / ROWS_PER_BLOCK];
        (first..self.is_chosen.len())
            .filter(|&number| self.is_chosen[number])
            .nth(row % ROWS_PER_BLOCK)
            .expect("the block has as many chosen rows")
    }

    /// The chosen rows of these blocks, out of the blocks of `rows` that they lie in.
    fn gather<'r, B: RowBlocks>(
        &'r self,
        rows: &'r B,
        blocks: Range<usize>,
    ) -> impl Iterator<Item = Result<CowArray<'r, B::Value, Ix2>, LearnError>> {
        let (row_count, width) = (rows.row_count(), rows.width());
        let first = self.first_rows.get(blocks.start).copied().unwrap_or(row_count);
        let behind = self.first_rows.get(blocks.end).copied().unwrap_or(row_count);
        let last = self.is_chosen[first..behind].iter().rposition(|&is_chosen| is_chosen);
        let end = last.map_or(first, |last| first + last + 1);
        let mut source = read_blocks(rows, first / ROWS_PER_BLOCK..block_count(end));
        let mut source_block: Option<CowArray<'_, B::Value, Ix2>> = None;
        let mut row = first;
        blocks.map(move |block| {
            let wanted = rows_of_block(block, self.count).len();
            let mut values = Vec::with_capacity(wanted * width);
            let mut gathered = 0;
            while gathered < wanted {
                let read = match source_block.take() {
                    Some(read) => read,
                    None => source.next().expect("the chosen rows lie in the blocks that are read")?,
                };
                let mut is_at_end = true;
                for values_of_row in read.rows().into_iter().skip(row % ROWS_PER_BLOCK) {
                    if gathered == wanted {
                        is_at_end = false;
                        break;
                    }
                    if self.is_chosen[row] {
                        values.extend(&values_of_row);
                        gathered += 1;
                    }
                    row += 1;
                }
                if !is_at_end {
                    source_block = Some(read);
                }
            }
            let gathered = Array2::from_shape_vec((wanted, width), values);
            Ok(gathered.expect("each row was gathered whole").into())
        })
    }
}

impl<B: RowBlocks> RowBlocks for ChosenRows<'_, B> {
    type Value = B::Value;

    fn row_count(&self) -> usize {
        self.choice.as_ref().map_or(self.rows.row_count(), |choice| choice.count)
    }

    fn width(&self) -> usize {
        self.rows.width()
    }

    fn read(
        &self,
        blocks: Range<usize>,
    ) -> impl Iterator<Item = Result<CowArray<'_, B::Value, Ix2>, LearnError>> {
        let read: Box<dyn Iterator<Item = _>> = match &self.choice {
            None => Box::new(self.rows.read(blocks)),
            Some(choice) => Box::new(choice.gather(&self.rows, blocks)),
        };
        read
    }

    fn select(&self, rows: &[usize]) -> Result<Array2<B::Value>, LearnError> {
        match &self.choice {
            None => self.rows.select(rows),
            Some(choice) => {
                let numbers: Vec<usize> = rows.iter().map(|&row| choice.number_of(row)).collect();
                self.rows.select(&numbers)
            }
        }
    }

    fn to_matrix(&self) -> Result<CowArray<'_, B::Value, Ix2>, LearnError> {
        match &self.choice {
            None => self.rows.to_matrix(),
            Some(choice) => {
                let mut values = Vec::with_capacity(choice.count * self.width());
                for block in self.read(0..block_count(choice.count)) {
                    values.extend(&block?);
                }
                let matrix = Array2::from_shape_vec((choice.count, self.width()), values);
                Ok(matrix.expect("each row was gathered whole").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::*;

    #[test]
    fn chosen_rows_are_blocked_anew_wherever_they_lie() {
        let rows =
            Array2::from_shape_fn((5 * ROWS_PER_BLOCK + 77, 2), |(row, column)| (2 * row + column) as f64);
        let choices: [fn(usize) -> bool; 7] = [
            |row| row % 3 != 1,
            |row| row % 1_000 == 999,
            |row| (1_024..2_048).contains(&row),
            |row| !(1_025..=5_000).contains(&row),
            |row| row == 5_196,
            |row| row > 0,
            |_| false,
        ];
        for is_chosen in choices {
            let is_chosen: Vec<bool> = (0..rows.nrows()).map(is_chosen).collect();
            let numbers: Vec<usize> = (0..rows.nrows()).filter(|&row| is_chosen[row]).collect();
            let expected = rows.select(Axis(0), &numbers);
            let chosen = ChosenRows::new(&rows, Some(&is_chosen)).unwrap();
            assert_eq!(chosen.to_matrix().unwrap(), expected);
            let blocks = block_count(numbers.len());
            // Every range of blocks that a thread may get.
            for start in 0..=blocks {
                for end in start..=blocks {
                    let mut found = Array2::zeros((0, 2));
                    for (block, read) in (start..end).zip(read_blocks(&chosen, start..end)) {
                        let read = read.unwrap();
                        assert_eq!(read.nrows(), rows_of_block(block, numbers.len()).len());
                        found.append(Axis(0), read.view()).unwrap();
                    }
                    let rows =
                        rows_of_block(start, numbers.len()).start..numbers.len().min(end * ROWS_PER_BLOCK);
                    let rows: Vec<usize> = rows.collect();
                    assert_eq!(found, expected.select(Axis(0), &rows));
                }
            }
            let some: Vec<usize> = (0..numbers.len()).rev().step_by(700).collect();
            assert_eq!(chosen.select(&some).unwrap(), expected.select(Axis(0), &some));
        }
    }

    #[test]
    fn a_choice_of_another_length_is_refused() {
        let rows = Array2::<f64>::zeros((3, 1));
        let refused = ChosenRows::new(&rows, Some(&[true; 2])).unwrap_err();
        assert_eq!(refused, LearnError::LengthMismatch { what: "fit_on", got: 2, expected: 3 });
    }
}
