//! SVG for the inside of a page: what plotters' own backend writes has colours that can't follow the page's, a font of its own, and
//! an element of a hundred bytes for each point.
//!
//! Here colours become the page's variables ([`css_color`]), text takes the page's font, and shapes of one style that
//! are drawn one after the other become one `<path>`: ten bytes a point.

use std::convert::Infallible;
use std::fmt::Write as _;

use askama::filters::{Html, escape};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    FontTransform,
};

use crate::drawing::TEXT_HEIGHT;
use crate::palette::css_color;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// Appends the content of an `<svg>` element, whose `viewBox` is `0 0 width height`, to a string.
pub(crate) struct SvgBackend<'a> {
    content: &'a mut String,
    size: (u32, u32),
    path: Option<Path>,
}

/// Shapes of one style.
struct Path {
    attributes: String,
    data: String,
}

impl<'a> SvgBackend<'a> {
    pub(crate) fn new(content: &'a mut String, size: (u32, u32)) -> Self {
        Self { content, size, path: None }
    }

    /// Ends the path that is being drawn.
    fn end_path(&mut self) {
        if let Some(Path { attributes, data }) = self.path.take() {
            // A string takes all that is written.
            let _ = write!(self.content, "<path {attributes} d=\"{data}\"/>");
        }
    }

    /// Where shapes of that style go.
    fn path(&mut self, attributes: String) -> &mut String {
        if self.path.as_ref().is_some_and(|path| path.attributes != attributes) {
            self.end_path();
        }
        &mut self.path.get_or_insert_with(|| Path { attributes, data: String::new() }).data
    }

    fn fill(&mut self, color: BackendColor) -> &mut String {
        let attributes = format!("fill=\"{}\"{}", css_color(color.rgb), opacity("fill-opacity", color));
        self.path(attributes)
    }

    fn stroke(&mut self, color: BackendColor, width: u32) -> &mut String {
        let attributes = format!(
            "fill=\"none\" stroke=\"{}\"{} stroke-width=\"{width}\"",
            css_color(color.rgb),
            opacity("stroke-opacity", color)
        );
        self.path(attributes)
    }
}

fn opacity(attribute: &str, color: BackendColor) -> String {
    if color.alpha >= 1.0 { String::new() } else { format!(" {attribute}=\"{:.2}\"", color.alpha) }
}

fn points(data: &mut String, path: impl IntoIterator<Item = BackendCoord>) {
    for (at, (x, y)) in path.into_iter().enumerate() {
        let _ = write!(data, "{}{x} {y}", if at == 0 { 'M' } else { 'L' });
    }
}

impl DrawingBackend for SvgBackend<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        self.end_path();
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        if color.alpha > 0.0 {
            let _ = write!(self.fill(color), "M{x} {y}h1v1h-1z");
        }
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            let data = if fill { self.fill(color) } else { self.stroke(color, style.stroke_width()) };
            let _ = write!(data, "M{left} {top}H{right}V{bottom}H{left}z");
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        if style.color().alpha > 0.0 {
            points(self.stroke(style.color(), style.stroke_width()), path);
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let color = style.color();
        if color.alpha > 0.0 {
            if fill {
                // A line without length whose round ends make the circle.
                let attributes = format!(
                    "fill=\"none\" stroke=\"{}\"{} stroke-width=\"{}\" stroke-linecap=\"round\"",
                    css_color(color.rgb),
                    opacity("stroke-opacity", color),
                    2 * radius
                );
                let _ = write!(self.path(attributes), "M{x} {y}h0");
            } else {
                let left = i64::from(x) - i64::from(radius);
                let data = self.stroke(color, style.stroke_width());
                let _ = write!(
                    data,
                    "M{left} {y}a{radius} {radius} 0 1 0 {0} 0a{radius} {radius} 0 1 0 -{0} 0z",
                    2 * radius
                );
            }
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn {
        if style.color().alpha > 0.0 {
            let data = self.fill(style.color());
            points(data, corners);
            data.push('z');
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let color = style.color();
        if color.alpha <= 0.0 {
            return Ok(());
        }
        self.end_path();
        // Without a word of its own, the text starts at x, on the base line.
        let anchor = match style.anchor().h_pos {
            HPos::Left => "",
            HPos::Center => " text-anchor=\"middle\"",
            HPos::Right => " text-anchor=\"end\"",
        };
        // Shares of a font's size by which Latin letters reach above the base line, halfway and fully.
        let down = match style.anchor().v_pos {
            VPos::Top => " dy=\".76em\"",
            VPos::Center => " dy=\".35em\"",
            VPos::Bottom => " dy=\"-.2em\"",
        };
        let weight = if matches!(style.style(), FontStyle::Bold) { " font-weight=\"600\"" } else { "" };
        let turn = match style.transform() {
            FontTransform::None => String::new(),
            FontTransform::Rotate90 => format!(" transform=\"rotate(90 {x} {y})\""),
            FontTransform::Rotate180 => format!(" transform=\"rotate(180 {x} {y})\""),
            FontTransform::Rotate270 => format!(" transform=\"rotate(-90 {x} {y})\""),
        };
        let size = style.size() / TEXT_HEIGHT;
        let _ = write!(
            self.content,
            "<text x=\"{x}\" y=\"{y}\"{down}{anchor}{weight}{turn} font-size=\"{size:.0}\" fill=\"{}\"{}>{}</text>",
            css_color(color.rgb),
            opacity("fill-opacity", color),
            match escape(text, Html) {
                Ok(escaped) => escaped.to_string(),
                Err(never) => match never {},
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use plotters::prelude::*;

    use super::*;
    use crate::palette::{ACCENT, TEXT};

    fn drawn(draw: impl FnOnce(&crate::drawing::Canvas<SvgBackend<'_>>)) -> String {
        let mut content = String::new();
        let canvas = SvgBackend::new(&mut content, (100, 100)).into_drawing_area();
        draw(&canvas);
        canvas.present().unwrap();
        drop(canvas);
        content
    }

    #[test]
    fn shapes_of_one_style_share_a_path() {
        let content = drawn(|canvas| {
            for (x, color) in [(1, ACCENT.light), (5, ACCENT.light), (9, TEXT.light)] {
                canvas.draw(&Rectangle::new([(x, 2), (x + 3, 4)], color.filled())).unwrap();
            }
        });
        assert_eq!(
            content,
            "<path fill=\"var(--accent)\" d=\"M1 2H4V4H1zM5 2H8V4H5z\"/><path fill=\"var(--text)\" d=\"M9 2H12V4H9z\"/>"
        );
    }

    #[test]
    fn text_is_escaped() {
        let content = drawn(|canvas| {
            let style = crate::drawing::text_style(10.0, &TEXT);
            canvas.draw_text("</text><script>&\"'", &style, (3, 4)).unwrap();
        });
        assert!(!content.contains("<script>"), "{content}");
        assert!(content.ends_with("&#60;/text&#62;&#60;script&#62;&#38;&#34;&#39;</text>"), "{content}");
    }
}
