//! Counts of rows by columns as cells of more or less colour: labels by clusters, and a classifier's confusion.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::drawing::{Canvas, Drawn, FONT, Plot, PlotName, fitted, text_style, units};
use crate::numbers::count;
use crate::palette::{ACCENT, CARD, DIM, LINE, TEXT};

/// Rows and columns that are drawn; the rest is left out, and the page says so.
pub(crate) const MOST_LINES: usize = 200;

/// Counts with the names of their rows and columns.
pub(crate) struct HeatMap {
    pub(crate) name: PlotName<'static>,
    pub(crate) row_title: &'static str,
    pub(crate) column_title: &'static str,
    pub(crate) row_names: Vec<String>,
    pub(crate) column_names: Vec<String>,
    pub(crate) counts: Vec<Vec<u64>>,
}

/// Where the cells are, in points: the page's script finds them by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells {
    pub(crate) left: i32,
    pub(crate) top: i32,
    /// Width and height of one.
    pub(crate) side: i32,
}

/// What one of them shows.
struct Cell {
    column: i32,
    row: i32,
    count: u64,
    /// Of its row's counts.
    share: f64,
}

/// What all cells have in width, if there are enough of them, in points.
const ROOM: i32 = 840;
/// Side of a cell, in points: at least as high as letters that can just be read.
const LEAST_SIDE: i32 = 7;
const MOST_SIDE: i32 = 64;
/// From here on a cell has room for its count.
const SIDE_WITH_COUNT: i32 = 30;
/// Room for names, at most.
const LONGEST_NAME: i32 = 170;
const LEVEL_NAMES: i32 = 24;
/// Width of a letter as a share of the font's size, about.
const LETTER: f64 = 0.62;
const TITLE: i32 = 22;
/// Room for the scale of colours below.
const SCALE: i32 = 46;
/// Steps of colour: so many paths in the page at most.
const SHADES: u64 = 24;

impl HeatMap {
    /// Sorts the columns so that those whose largest count is in the first row come first: what agrees lies on a diagonal.
    pub(crate) fn with_diagonal(mut self) -> Self {
        let main_row = |column: usize| {
            let counts = || self.counts.iter().map(|row| row[column]);
            let largest = counts().max().unwrap_or(0);
            (counts().position(|count| count == largest), std::cmp::Reverse(largest), column)
        };
        let mut order: Vec<usize> = (0..self.column_names.len()).collect();
        order.sort_by_key(|&column| main_row(column));
        self.column_names = order.iter().map(|&column| self.column_names[column].clone()).collect();
        for row in &mut self.counts {
            *row = order.iter().map(|&column| row[column]).collect();
        }
        self
    }

    /// Leaves out what can't be drawn; says what that was.
    pub(crate) fn cut(&mut self) -> Option<String> {
        let (rows, columns) = (self.row_names.len(), self.column_names.len());
        if rows.max(columns) <= MOST_LINES {
            return None;
        }
        self.row_names.truncate(MOST_LINES);
        self.counts.truncate(MOST_LINES);
        self.column_names.truncate(MOST_LINES);
        for row in &mut self.counts {
            row.truncate(MOST_LINES);
        }
        Some(format!(
            "Shown are {} of {} {}s and {} of {} {}s.",
            self.row_names.len(),
            count(rows as u64),
            self.row_title,
            self.column_names.len(),
            count(columns as u64),
            self.column_title
        ))
    }

    pub(crate) fn cells(&self) -> Cells {
        let columns = self.column_names.len().max(1) as i32;
        let side = (ROOM / columns).clamp(LEAST_SIDE, MOST_SIDE);
        let width = names_width(&self.column_names, side);
        let names = if width > side { width.min(LONGEST_NAME) } else { LEVEL_NAMES };
        // The title of the rows stands there too.
        let left = names_width(&self.row_names, side).clamp(80, LONGEST_NAME);
        Cells { left, top: TITLE + names, side }
    }

    /// Row by row.
    fn each_cell(&self) -> impl Iterator<Item = Cell> {
        self.counts.iter().zip(0..).flat_map(|(counts, row)| {
            let total = counts.iter().sum::<u64>().max(1);
            counts.iter().zip(0..).map(move |(&count, column)| {
                let share = count as f64 / total as f64;
                Cell { column, row, count, share }
            })
        })
    }
}

/// Size of the names beside cells of that side.
fn name_size(side: i32) -> f64 {
    FONT.min(f64::from(side) * 0.95)
}

/// Room that the longest of the names takes, about, in points.
fn names_width(names: &[String], side: i32) -> i32 {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    (longest as f64 * LETTER * name_size(side)).ceil() as i32 + 12
}

impl Plot for HeatMap {
    fn name(&self) -> PlotName<'_> {
        self.name
    }

    fn description(&self) -> String {
        format!(
            "Heat map of {} {}s by {} {}s; the same counts are in the table below it.",
            self.row_names.len(),
            self.row_title,
            self.column_names.len(),
            self.column_title
        )
    }

    fn size(&self) -> (u32, u32) {
        let Cells { left, top, side } = self.cells();
        let (columns, rows) = (self.column_names.len() as i32, self.row_names.len() as i32);
        // Room for the scale of colours where there are few columns.
        ((left + (columns * side).max(340) + 10) as u32, (top + rows * side + SCALE) as u32)
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let Cells { left, top, side } = self.cells();
        let (columns, rows) = (self.column_names.len() as i32, self.row_names.len() as i32);
        let upright = names_width(&self.column_names, side) > side;
        let (title, name) = (text_style(FONT, &DIM), text_style(name_size(side), &TEXT));
        let middle = |start: i32, at: i32| units(start + at * side) + units(side) / 2;

        let row_name = name.pos(Pos::new(HPos::Right, VPos::Center));
        for (text, row) in self.row_names.iter().zip(0..) {
            let text = fitted(canvas, text, &row_name, units(left - 14) as u32)?;
            canvas.draw_text(&text, &row_name, (units(left - 6), middle(top, row)))?;
        }
        let above = (units(left) + units(columns * side) / 2, units(2));
        canvas.draw_text(self.column_title, &title.pos(Pos::new(HPos::Center, VPos::Top)), above)?;
        let corner = (units(left - 6), units(top - 4));
        canvas.draw_text(self.row_title, &title.pos(Pos::new(HPos::Right, VPos::Bottom)), corner)?;
        for (text, column) in self.column_names.iter().zip(0..) {
            let x = middle(left, column);
            if upright {
                // Turned by plotters before it is placed: what is right in the text is up.
                let style = name.transform(FontTransform::Rotate270).pos(Pos::new(HPos::Left, VPos::Center));
                let text = fitted(canvas, text, &name, units(top - TITLE - 8) as u32)?;
                canvas.draw_text(&text, &style, (x, units(top - 6)))?;
            } else {
                let style = name.pos(Pos::new(HPos::Center, VPos::Bottom));
                canvas.draw_text(text, &style, (x, units(top - 4)))?;
            }
        }

        // Shade by shade, so that the page has one path for each.
        let mut by_shade: Vec<Vec<(i32, i32)>> = vec![Vec::new(); SHADES as usize + 1];
        for Cell { column, row, share, .. } in self.each_cell().filter(|cell| cell.count > 0) {
            by_shade[((share * SHADES as f64).ceil() as usize).min(SHADES as usize)].push((column, row));
        }
        let gap = i32::from(side > 12);
        for (cells, shade) in by_shade.iter().zip(0_u32..) {
            let style = ACCENT.light.mix(opacity(f64::from(shade) / SHADES as f64)).filled();
            for &(column, row) in cells {
                let (x, y) = (units(left + column * side), units(top + row * side));
                let end = (x + units(side) - gap, y + units(side) - gap);
                canvas.draw(&Rectangle::new([(x + gap, y + gap), end], style))?;
            }
        }
        let frame = [(units(left), units(top)), (units(left + columns * side), units(top + rows * side))];
        canvas.draw(&Rectangle::new(frame, LINE.light.stroke_width(2)))?;

        if side >= SIDE_WITH_COUNT {
            for Cell { column, row, count: value, share } in self.each_cell() {
                let tone = match share {
                    0.0 => DIM,
                    share if share > 0.6 => CARD,
                    _ => TEXT,
                };
                let style = text_style(FONT, &tone).pos(Pos::new(HPos::Center, VPos::Center));
                canvas.draw_text(&count(value), &style, (middle(left, column), middle(top, row)))?;
            }
        }
        self.draw_scale(canvas, top + rows * side + 16)
    }
}

/// How much of the accent colour stands for a share: even small shares are seen.
fn opacity(share: f64) -> f64 {
    0.08 + 0.92 * share
}

impl HeatMap {
    /// Which colour stands for which share.
    fn draw_scale<B: DrawingBackend>(&self, canvas: &Canvas<B>, y: i32) -> Drawn<B> {
        let style = text_style(FONT - 1.0, &DIM).pos(Pos::new(HPos::Left, VPos::Center));
        let (left, step, height) = (units(self.cells().left), units(6), units(12));
        for shade in 1..=SHADES as i32 {
            let x = left + (shade - 1) * step;
            let color = ACCENT.light.mix(opacity(f64::from(shade) / SHADES as f64));
            canvas.draw(&Rectangle::new([(x, units(y)), (x + step, units(y) + height)], color.filled()))?;
        }
        let middle = units(y) + height / 2;
        canvas.draw_text(
            "0 %",
            &style.pos(Pos::new(HPos::Right, VPos::Center)),
            (left - units(6), middle),
        )?;
        let text = format!("100 % of the {}", self.row_title);
        canvas.draw_text(&text, &style, (left + SHADES as i32 * step + units(6), middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat_map(counts: Vec<Vec<u64>>) -> HeatMap {
        HeatMap {
            name: PlotName { file: "contingency", title: "" },
            row_title: "label",
            column_title: "cluster",
            row_names: (0..counts.len()).map(|row| format!("label {row}")).collect(),
            column_names: (0..counts[0].len()).map(|column| column.to_string()).collect(),
            counts,
        }
    }

    #[test]
    fn agreement_lies_on_a_diagonal() {
        let sorted = heat_map(vec![vec![0, 1, 9], vec![7, 0, 0], vec![1, 8, 0]]).with_diagonal();
        assert_eq!(sorted.column_names, ["2", "0", "1"]);
        assert_eq!(sorted.counts, [[9, 0, 1], [0, 7, 0], [0, 1, 8]]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let mut large = heat_map(vec![vec![1; 250]; 3]);
        assert_eq!(large.cut().unwrap(), "Shown are 3 of 3 labels and 200 of 250 clusters.");
        assert!(large.counts.iter().all(|row| row.len() == MOST_LINES));
        assert_eq!(heat_map(vec![vec![1; 3]; 3]).cut(), None);
    }
}
