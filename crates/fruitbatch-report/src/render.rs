//! From data to the page and its plots.

use std::collections::BTreeMap;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

use crate::ReportError;
use crate::checks::check;
use crate::data::ReportData;
use crate::numbers::{clip, count};
use crate::page::{Page, Section};
use crate::palette::css_variables;
use crate::sections::{Sections, sheet_photos};

/// The page's length, at most.
pub const MAX_REPORT_BYTES: usize = 5_000_000;

/// Characters of a path that are shown; the shorter length is for data whose paths alone would fill the page.
const LONGEST_PATHS: [usize; 2] = [160, 40];
const LONGEST_TITLE: usize = 200;
/// Room for the sentence about thumbnails that are left out.
const BYTES_OF_NOTE: usize = 300;

const STYLE: &str = include_str!("../templates/report.css");
const SCRIPT: &str = include_str!("../templates/report.js");

/// A report, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `report.html`: one file that needs nothing else, [`MAX_REPORT_BYTES`] at most.
    pub html: String,
    /// The same plots as PNG files by name, such as `scree.png`; two pixels a point, on white.
    pub plots: BTreeMap<String, Vec<u8>>,
}

/// Makes the report. The same data gives the same bytes.
///
/// Takes a second or two for 5,000 photos on a map and 131 clusters, most of it for the PNGs, and memory for a few times the page.
///
/// # Errors
/// [`ReportError::NotFinite`], [`ReportError::Inconsistent`] and [`ReportError::TooManyPoints`] for data that can't be shown,
/// [`ReportError::TooLarge`] where even a page without thumbnails would be too long.
pub fn render(data: &ReportData) -> Result<Report, ReportError> {
    check(data)?;
    let places = data.map.as_ref().map(crate::map::places).unwrap_or_default();
    let sections = Sections::new(data, &places)?;
    let (longest_path, length) = length_without_thumbnails(data, &sections)?;
    let (thumbnails, left_out) = chosen_thumbnails(data, MAX_REPORT_BYTES - length);
    let note = (left_out > 0).then(|| {
        format!(
            "To keep it below {} MB, {} of {} thumbnails were left out.",
            MAX_REPORT_BYTES / 1_000_000,
            count(left_out as u64),
            count((left_out + thumbnails.len()) as u64)
        )
    });
    let notes: Vec<String> = note.into_iter().collect();
    let html = page(data, &sections, &sections.with_thumbnails(longest_path, &thumbnails)?, &notes)?;
    Ok(Report { html, plots: sections.plots })
}

/// How long paths may be, and how long the page is with them and with all that is around its thumbnails: what is left is the
/// thumbnails' own. (A thumbnail's element is longer than the placeholder of one that is left out.)
fn length_without_thumbnails(
    data: &ReportData,
    sections: &Sections<'_>,
) -> Result<(usize, usize), ReportError> {
    let empty: BTreeMap<&str, String> =
        data.thumbnails.keys().map(|path| (path.as_str(), String::new())).collect();
    let mut bytes = 0;
    for longest_path in LONGEST_PATHS {
        let parts = sections.with_thumbnails(longest_path, &empty)?;
        bytes = page(data, sections, &parts, &[])?.len() + BYTES_OF_NOTE;
        if bytes <= MAX_REPORT_BYTES {
            return Ok((longest_path, bytes));
        }
    }
    Err(ReportError::TooLarge { bytes, most: MAX_REPORT_BYTES })
}

/// The thumbnails for which there is room, in base64 by path, and the number of those for which there is none. Contact sheets come
/// first; what is on neither sheet nor map isn't in the page at all.
fn chosen_thumbnails(data: &ReportData, room: usize) -> (BTreeMap<&str, String>, usize) {
    // A photo on several strips is there several times.
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut in_order: Vec<&str> = Vec::new();
    for photo in sheet_photos(data) {
        let time = times.entry(&photo.path).or_insert(0);
        *time += 1;
        if *time == 1 {
            in_order.push(&photo.path);
        }
    }
    for point in data.map.iter().flat_map(|map| &map.points) {
        times.entry(&point.path).or_insert_with(|| {
            in_order.push(&point.path);
            1
        });
    }
    let mut chosen = BTreeMap::new();
    let (mut left_out, mut taken) = (0, 0_usize);
    for path in in_order {
        let Some(jpeg) = data.thumbnails.get(path) else { continue };
        let bytes = (jpeg.len().div_ceil(3) * 4).saturating_mul(times[path]);
        if taken.saturating_add(bytes) <= room {
            taken += bytes;
            chosen.insert(path, BASE64.encode(jpeg));
        } else {
            left_out += 1;
        }
    }
    (chosen, left_out)
}

fn page(
    data: &ReportData,
    sections: &Sections<'_>,
    parts: &[Section],
    notes: &[String],
) -> Result<String, ReportError> {
    let style = format!("{}\n{STYLE}", css_variables());
    // Nothing is fetched, and nothing runs but these two texts: whatever a file's name brings along stays text.
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        source_hash(&style),
        source_hash(SCRIPT)
    );
    let page = Page {
        policy: &policy,
        style: &style,
        script: SCRIPT,
        title: &clip(&data.title, LONGEST_TITLE),
        facts: &sections.facts(),
        tiles: &sections.tiles(),
        sections: parts,
        notes,
    };
    page.render().map_err(|error| ReportError::Page { reason: error.to_string() })
}

/// A text as a policy names it.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Sha256::digest(text.as_bytes())))
}
