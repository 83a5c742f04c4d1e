//! The page's parts as templates. Whatever comes from data is escaped by them; what is marked `safe` there was rendered by another
//! template, by [`SvgBackend`](crate::svg_backend::SvgBackend), is base64, or is the page's own.

use askama::Template;

use crate::drawing::Picture;
use crate::heat_map::Cells;

/// The whole page.
#[derive(Template)]
#[template(path = "report.html")]
pub(crate) struct Page<'a> {
    /// The Content-Security-Policy.
    pub(crate) policy: &'a str,
    pub(crate) style: &'a str,
    pub(crate) script: &'a str,
    pub(crate) title: &'a str,
    pub(crate) facts: &'a [ShownFact],
    pub(crate) tiles: &'a [Tile],
    pub(crate) sections: &'a [Section],
    /// What is said in the footer.
    pub(crate) notes: &'a [String],
}

/// Something to know, cut to a length that a page can take.
pub(crate) struct ShownFact {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A number that is seen first.
pub(crate) struct Tile {
    pub(crate) name: &'static str,
    /// Its name in `metrics.json`.
    pub(crate) key: &'static str,
    pub(crate) value: String,
    /// The value as JSON has it.
    pub(crate) exact: String,
    pub(crate) bad: bool,
}

/// A part of the page with a heading.
pub(crate) struct Section {
    pub(crate) id: &'static str,
    /// Its name in the list of sections.
    pub(crate) short: &'static str,
    pub(crate) title: &'static str,
    /// What is below the heading.
    pub(crate) html: String,
}

/// A plot in the page.
#[derive(Template)]
#[template(path = "picture.html")]
pub(crate) struct Svg<'a> {
    picture: &'a Picture,
}

impl Picture {
    fn svg(&self) -> Svg<'_> {
        Svg { picture: self }
    }
}

/// A table; the first cell of each row is its heading.
#[derive(Template, Default)]
#[template(path = "table.html")]
pub(crate) struct Table {
    /// Empty, or by what the script finds it.
    pub(crate) id: &'static str,
    /// Empty, or the class of its style.
    pub(crate) style: &'static str,
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Whether it scrolls by itself.
    fn tall(&self) -> bool {
        self.rows.len() > 20
    }
}

/// The heading of a table's column.
pub(crate) struct Column {
    pub(crate) name: String,
    /// Whether its cells stand to the right.
    pub(crate) numeric: bool,
}

impl Column {
    pub(crate) fn text(name: &str) -> Self {
        Self { name: name.to_owned(), numeric: false }
    }

    pub(crate) fn number(name: &str) -> Self {
        Self { name: name.to_owned(), numeric: true }
    }
}

/// Plots and tables.
#[derive(Template, Default)]
#[template(path = "plots.html")]
pub(crate) struct Plots<'a> {
    pub(crate) lead: String,
    pub(crate) notes: Vec<String>,
    pub(crate) pictures: Vec<&'a Picture>,
    pub(crate) tables: Vec<Table>,
    /// Tables that open when they are asked to.
    pub(crate) folded: Vec<Table>,
}

/// The table of figures.
#[derive(Template)]
#[template(path = "figures.html")]
pub(crate) struct FiguresTable {
    pub(crate) figures: Vec<ShownFigure>,
}

/// A figure with its explanation.
pub(crate) struct ShownFigure {
    /// Its name in `metrics.json`.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// The value as JSON has it.
    pub(crate) exact: String,
    pub(crate) says: &'static str,
    pub(crate) range: &'static str,
}

/// The maps side by side.
#[derive(Template)]
#[template(path = "map.html")]
pub(crate) struct Maps<'a> {
    pub(crate) method: &'a str,
    pub(crate) panes: Vec<MapPane<'a>>,
    /// JSON for the script.
    pub(crate) photos: String,
}

/// A map with the names of its markers.
pub(crate) struct MapPane<'a> {
    /// `label` or `cluster`: what the script calls the photos' groups.
    pub(crate) by: &'static str,
    pub(crate) picture: &'a Picture,
    pub(crate) legend: Vec<LegendEntry>,
}

/// A marker and its name.
pub(crate) struct LegendEntry {
    /// SVG of 28 x 28 units.
    pub(crate) marker: String,
    pub(crate) name: String,
}

/// A heat map and the table of its counts.
#[derive(Template)]
#[template(path = "heat_map.html")]
pub(crate) struct HeatMapPart<'a> {
    pub(crate) lead: String,
    pub(crate) note: Option<String>,
    pub(crate) picture: &'a Picture,
    /// In units.
    pub(crate) cells: Cells,
    pub(crate) row: &'static str,
    pub(crate) column: &'static str,
    pub(crate) table: Table,
}

/// The contact sheets.
#[derive(Template)]
#[template(path = "sheets.html")]
pub(crate) struct Sheets {
    pub(crate) note: Option<String>,
    pub(crate) clusters: Vec<Sheet>,
    /// Sheets that are seen at once; the rest opens when it is asked to.
    pub(crate) open: usize,
    /// Whether any photo is framed.
    pub(crate) has_odd: bool,
    pub(crate) small: bool,
}

/// A contact sheet.
pub(crate) struct Sheet {
    pub(crate) cluster: i32,
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) strips: Vec<Strip>,
}

/// Photos in a row.
pub(crate) struct Strip {
    pub(crate) title: &'static str,
    pub(crate) photos: Vec<SheetThumbnail>,
}

/// A photo of a contact sheet.
pub(crate) struct SheetThumbnail {
    pub(crate) path: String,
    /// Path, label and distance.
    pub(crate) title: String,
    /// Whether its label isn't the most frequent one of its cluster.
    pub(crate) odd: bool,
    /// Base64.
    pub(crate) jpeg: Option<String>,
}

/// Where the results come from.
#[derive(Template)]
#[template(path = "lineage.html")]
pub(crate) struct LineageList<'a> {
    pub(crate) facts: &'a [ShownFact],
}
