//! One drawing, twice: as SVG in the page and as a PNG beside it.
//!
//! Plots say where things are in units of half a point (a point is CSS's pixel): plotters counts in whole numbers, and so PNGs are
//! sharp on screens with two pixels a point.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::ReportError;
use crate::palette::{CARD, CHOSEN, DIM, LINE, Marker, Shape, TEXT, Tone, marker};
use crate::svg_backend::SvgBackend;

/// Units a point.
pub(crate) const UNITS: u32 = 2;
/// What plotters takes for the size of a font is the distance of its lowest from its highest point: for DejaVu Sans, so many
/// times what everyone else calls its size.
pub(crate) const TEXT_HEIGHT: f64 = 1.164;
/// Size of common text in plots, in points.
pub(crate) const FONT: f64 = 12.0;

/// Where a plot is drawn.
pub(crate) type Canvas<B> = DrawingArea<B, Shift>;
/// What drawing gives.
pub(crate) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// What a plot is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlotName<'a> {
    /// Its file, without the ending.
    pub(crate) file: &'a str,
    /// What it shows: heading of the page's figure, and of the PNG.
    pub(crate) title: &'a str,
}

/// Something that can be drawn.
pub(crate) trait Plot {
    fn name(&self) -> PlotName<'_>;

    /// What is to be seen in it, for those who don't see it.
    fn description(&self) -> String;

    /// Width and height, in points.
    fn size(&self) -> (u32, u32);

    /// The names of markers, where there are any. The page has a list of its own; the PNG gets them drawn below the plot.
    fn legend(&self) -> Vec<(Option<usize>, &str)> {
        Vec::new()
    }

    /// Draws it on an empty area of [`size`](Self::size).
    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B>;
}

/// A plot as it goes into a page.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    /// `scree.png`.
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) description: String,
    /// Width and height in points.
    pub(crate) size: (u32, u32),
    /// The same in units: the SVG's `viewBox`.
    pub(crate) view: (u32, u32),
    /// What goes between `<svg>` and `</svg>`.
    pub(crate) content: String,
    /// The PNG file.
    pub(crate) png: Vec<u8>,
}

/// Draws a plot as SVG and as PNG.
pub(crate) fn picture(plot: &impl Plot) -> Result<Picture, ReportError> {
    register_fonts();
    let PlotName { file, title } = plot.name();
    let refused = |reason: String| ReportError::Drawing { plot: file.to_owned(), reason };
    let size = plot.size();
    let view = (size.0 * UNITS, size.1 * UNITS);
    let mut content = String::new();
    {
        let canvas = SvgBackend::new(&mut content, view).into_drawing_area();
        plot.draw(&canvas).and_then(|()| canvas.present()).map_err(|error| refused(error.to_string()))?;
    }
    Ok(Picture {
        file: format!("{file}.png"),
        title: title.to_owned(),
        description: plot.description(),
        size,
        view,
        content,
        png: png_file(plot, view).map_err(refused)?,
    })
}

/// The plot between its title and its legend, on white.
fn png_file(plot: &impl Plot, view: (u32, u32)) -> Result<Vec<u8>, String> {
    const MARGIN: u32 = 12 * UNITS;
    const TITLE: u32 = 26 * UNITS;
    let legend = Legend::new(plot.legend(), view.0);
    let size = (view.0 + 2 * MARGIN, view.1 + TITLE + legend.height + 2 * MARGIN);
    let mut pixels = vec![0; 3 * size.0 as usize * size.1 as usize];
    {
        let canvas = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        let draw = || {
            canvas.fill(&CARD.light)?;
            let inside = canvas.margin(MARGIN, MARGIN, MARGIN, MARGIN);
            let title = TextStyle::from(("sans-serif", font_size(14.0), FontStyle::Bold).into_font())
                .color(&TEXT.light);
            let (heading, rest) = inside.split_vertically(TITLE);
            heading.draw_text(&fitted(&inside, plot.name().title, &title, view.0)?, &title, (0, 0))?;
            let (body, below) = rest.split_vertically(view.1);
            plot.draw(&body)?;
            legend.draw(&below)?;
            canvas.present()
        };
        draw().map_err(|error: DrawingAreaErrorKind<_>| error.to_string())?;
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Two pixels a point, 72 points an inch at a scale of 4 : 3: 7,559 pixels a metre.
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: 7_559, yppu: 7_559, unit: png::Unit::Meter }));
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&pixels).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(file)
}

/// Markers and their names in rows.
struct Legend<'a> {
    /// Name and place of each.
    entries: Vec<(Option<usize>, String, (i32, i32))>,
    /// What is said in place of more names than there is room for.
    instead: Option<&'a str>,
    height: u32,
}

impl Legend<'_> {
    const LINE: i32 = (18 * UNITS) as i32;
    /// More names than these are only in the page.
    const MOST: usize = 48;

    fn new(names: Vec<(Option<usize>, &str)>, width: u32) -> Self {
        if names.is_empty() {
            return Self { entries: Vec::new(), instead: None, height: 0 };
        }
        if names.len() > Self::MOST {
            let instead = Some("too many to name here: point at them in report.html");
            return Self { entries: Vec::new(), instead, height: 2 * Self::LINE as u32 };
        }
        let column = (width / 4).max(1) as i32;
        let columns = (width as i32 / column).max(1);
        let entries: Vec<_> = names
            .into_iter()
            .zip(0..)
            .map(|((category, name), at)| {
                let place = (at % columns * column, at / columns * Self::LINE + Self::LINE);
                (category, crate::numbers::clip(name, 20), place)
            })
            .collect();
        let rows = (entries.len() as i32 + columns - 1) / columns;
        Self { entries, instead: None, height: ((rows + 1) * Self::LINE) as u32 }
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let style = text_style(11.0, &TEXT).pos(Pos::new(HPos::Left, VPos::Center));
        if let Some(instead) = self.instead {
            canvas.draw_text(instead, &style, (0, Self::LINE))?;
        }
        for (category, name, (x, y)) in &self.entries {
            draw_marker(canvas, (x + 10, *y), 9, marker(*category))?;
            canvas.draw_text(name, &style, (x + 28, *y))?;
        }
        Ok(())
    }
}

/// Makes the letters known to plotters, once a process: a machine without fonts draws them too.
fn register_fonts() {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        for (style, font) in
            [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())]
        {
            // What doesn't register is missed when it is drawn with, which is an error there.
            let _ = register_font("sans-serif", style, font);
        }
    });
}

/// plotters' size of a font, from points.
fn font_size(points: f64) -> f64 {
    points * f64::from(UNITS) * TEXT_HEIGHT
}

/// Text of that size in points, in that tone.
pub(crate) fn text_style(points: f64, tone: &Tone) -> TextStyle<'_> {
    TextStyle::from(("sans-serif", font_size(points)).into_font()).color(&tone.light)
}

/// Points as units.
pub(crate) const fn units(points: i32) -> i32 {
    points * UNITS as i32
}

/// The text, or as much of it as fits into `width` units, with `…` at its end.
pub(crate) fn fitted<B: DrawingBackend>(
    canvas: &Canvas<B>,
    text: &str,
    style: &TextStyle<'_>,
    width: u32,
) -> Result<String, DrawingAreaErrorKind<B::ErrorType>> {
    let fits = |text: &str| canvas.estimate_text_size(text, style).map(|(needed, _)| needed <= width);
    // No letter is narrower than a tenth of an em: what is longer need not be measured.
    let mut kept: Vec<char> = text.chars().take(width as usize).collect();
    if kept.len() == text.chars().count() && fits(text)? {
        return Ok(text.to_owned());
    }
    while !kept.is_empty() {
        let shorter: String = kept.iter().chain(&['…']).collect();
        if fits(&shorter)? {
            return Ok(shorter);
        }
        kept.pop();
    }
    Ok(String::new())
}

/// Draws a category's marker; circles have this radius in units, other shapes about the same area.
pub(crate) fn draw_marker<B: DrawingBackend>(
    canvas: &Canvas<B>,
    (x, y): (i32, i32),
    radius: i32,
    Marker { shape, color }: Marker,
) -> Drawn<B> {
    let style = color.filled();
    let scaled = |factor: f64| (f64::from(radius) * factor).round() as i32;
    let corners = match shape {
        Shape::Circle => return canvas.draw(&Circle::new((x, y), radius, style)),
        Shape::Square => {
            let half = scaled(0.9);
            vec![(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
        }
        Shape::Diamond => {
            let half = scaled(1.3);
            vec![(x, y - half), (x + half, y), (x, y + half), (x - half, y)]
        }
        Shape::Triangle => {
            let (half, up, down) = (scaled(1.25), scaled(1.25), scaled(0.9));
            vec![(x, y - up), (x + half, y + down), (x - half, y + down)]
        }
        Shape::TriangleDown => {
            let (half, up, down) = (scaled(1.25), scaled(0.9), scaled(1.25));
            vec![(x - half, y - up), (x + half, y - up), (x, y + down)]
        }
        Shape::Cross => {
            let (long, thin) = (scaled(1.2), scaled(0.4).max(1));
            vec![
                (x - thin, y - long),
                (x + thin, y - long),
                (x + thin, y - thin),
                (x + long, y - thin),
                (x + long, y + thin),
                (x + thin, y + thin),
                (x + thin, y + long),
                (x - thin, y + long),
                (x - thin, y + thin),
                (x - long, y + thin),
                (x - long, y - thin),
                (x - thin, y - thin),
            ]
        }
    };
    canvas.draw(&Polygon::new(corners, style))
}

/// Axes of a plot of numbers over numbers: what they are called, their ends, and how far apart their labels may be.
pub(crate) struct Axes<'a> {
    pub(crate) x_title: &'a str,
    pub(crate) y_title: &'a str,
    pub(crate) x: std::ops::Range<f64>,
    pub(crate) y: std::ops::Range<f64>,
    /// What stands at a number of the x axis.
    pub(crate) x_label: fn(f64) -> String,
    /// What stands at a number of the y axis.
    pub(crate) y_label: fn(f64) -> String,
}

/// The inside of a pair of axes.
pub(crate) type Chart<'a, B> = ChartContext<
    'a,
    B,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Draws axes with lines across at the y axis's numbers.
pub(crate) fn draw_axes<'a, B: DrawingBackend>(
    canvas: &'a Canvas<B>,
    axes: &Axes<'_>,
) -> Result<Chart<'a, B>, DrawingAreaErrorKind<B::ErrorType>> {
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(units(8))
        .margin_right(units(14))
        .x_label_area_size(units(40))
        .y_label_area_size(units(62))
        .build_cartesian_2d(axes.x.clone(), axes.y.clone())?;
    let (text, title) = (text_style(FONT - 1.0, &DIM), text_style(FONT, &TEXT));
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(8)
        .y_labels(5)
        .max_light_lines(1)
        .bold_line_style(LINE.light.stroke_width(UNITS))
        .light_line_style(TRANSPARENT)
        .axis_style(DIM.light.stroke_width(UNITS))
        .x_label_style(text.clone())
        .y_label_style(text)
        .axis_desc_style(title)
        .x_desc(axes.x_title)
        .y_desc(axes.y_title)
        .x_label_formatter(&|x| (axes.x_label)(*x))
        .y_label_formatter(&|y| (axes.y_label)(*y))
        .set_all_tick_mark_size(units(4))
        .draw()?;
    Ok(chart)
}

/// Draws a dashed line between two points of a chart, in the colour of what was chosen.
pub(crate) fn draw_dashed<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    from: (f64, f64),
    to: (f64, f64),
) -> Drawn<B> {
    let style = CHOSEN.light.stroke_width(3);
    chart.draw_series(DashedLineSeries::new([from, to], units(4), units(4), style))?;
    Ok(())
}

/// Writes what stands at a point of a chart to its right or left, so many points away from it and below it, in the colour of
/// what was chosen.
pub(crate) fn draw_beside<B: DrawingBackend>(
    chart: &Chart<'_, B>,
    point: (f64, f64),
    text: &str,
    is_right: bool,
    (away, below): (i32, i32),
    upright: VPos,
) -> Drawn<B> {
    let (side, away) = if is_right { (HPos::Left, away) } else { (HPos::Right, -away) };
    let style = text_style(FONT, &CHOSEN).pos(Pos::new(side, upright));
    let text = Text::new(text.to_owned(), (units(away), units(below)), style);
    chart.plotting_area().draw(&(EmptyElement::at(point) + text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_what_fits() {
        register_fonts();
        let mut content = String::new();
        let canvas = SvgBackend::new(&mut content, (400, 100)).into_drawing_area();
        let style = text_style(10.0, &TEXT);
        let (whole, _) = canvas.estimate_text_size("Strawberry", &style).unwrap();
        assert_eq!(fitted(&canvas, "Strawberry", &style, whole).unwrap(), "Strawberry");
        let cut = fitted(&canvas, "Strawberry", &style, whole / 2).unwrap();
        assert!(cut.starts_with("Str") && cut.ends_with('…'), "{cut}");
        assert_eq!(fitted(&canvas, "Strawberry", &style, 1).unwrap(), "");
    }
}
