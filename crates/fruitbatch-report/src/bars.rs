//! Bars with names: labels, reasons, stages.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::drawing::{Canvas, Drawn, FONT, Plot, PlotName, fitted, text_style, units};
use crate::palette::{ACCENT, DIM, LINE, TEXT};

/// One bar.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// Its length, from 0.
    pub(crate) value: f64,
    /// The value as it is written beside the bar.
    pub(crate) text: String,
}

/// Bars below each other, from the left.
pub(crate) struct Bars<'a> {
    pub(crate) name: PlotName<'a>,
    pub(crate) rows: Vec<Bar>,
    /// What is said below them.
    pub(crate) note: Option<String>,
}

const WIDTH: i32 = 560;
const PITCH: i32 = 24;
const NAMES: i32 = 150;
const VALUES: i32 = 90;

impl Plot for Bars<'_> {
    fn name(&self) -> PlotName<'_> {
        self.name
    }

    fn description(&self) -> String {
        let bars: Vec<String> = self.rows.iter().map(|bar| format!("{} {}", bar.name, bar.text)).collect();
        format!("Bar chart. {}.", bars.join(", "))
    }

    fn size(&self) -> (u32, u32) {
        let lines = self.rows.len() + usize::from(self.note.is_some());
        (WIDTH as u32, (lines as u32).max(1) * PITCH as u32)
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let largest = self.rows.iter().map(|bar| bar.value).fold(0.0, f64::max);
        let room = f64::from(units(WIDTH - NAMES - VALUES));
        let (left, right) = (HPos::Left, HPos::Right);
        let names = text_style(FONT, &TEXT).pos(Pos::new(right, VPos::Center));
        let values = text_style(FONT, &DIM).pos(Pos::new(left, VPos::Center));
        let start = units(NAMES);
        for (bar, row) in self.rows.iter().zip(0..) {
            let middle = units(row * PITCH + PITCH / 2);
            let length = if largest > 0.0 { (bar.value / largest * room).round() as i32 } else { 0 };
            let name = fitted(canvas, &bar.name, &names, units(NAMES - 12) as u32)?;
            canvas.draw_text(&name, &names, (start - units(10), middle))?;
            let corners = [(start, middle - units(8)), (start + length, middle + units(8))];
            canvas.draw(&Rectangle::new(corners, ACCENT.light.filled()))?;
            canvas.draw_text(&bar.text, &values, (start + length + units(8), middle))?;
        }
        let bottom = units(self.rows.len() as i32 * PITCH);
        canvas.draw(&PathElement::new(
            [(start - 1, units(2)), (start - 1, bottom - units(2))],
            LINE.light.stroke_width(2),
        ))?;
        if let Some(note) = &self.note {
            canvas.draw_text(note, &values, (start, bottom + units(PITCH / 2)))?;
        }
        Ok(())
    }
}
