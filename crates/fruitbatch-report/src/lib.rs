//! Plots and the HTML report, from tables.
//!
//! [`render`] takes [`ReportData`], plain numbers and names, and knows nothing of where they come from. It gives one
//! HTML file that opens from disk without any network, and the same plots as PNG files:
//!
//! ```
//! use fruitbatch_report::{Counts, Figures, LabelCount, ReportData, render};
//!
//! let data = ReportData {
//!     title: "orchard".to_owned(),
//!     counts: Counts { listed: 10, rows: 10, failures: 0, clusters: 2 },
//!     figures: Figures { silhouette: Some(0.348), ..Figures::default() },
//!     labels: vec![LabelCount { label: "Apple <3".to_owned(), photos: 10 }],
//!     ..ReportData::default()
//! };
//! let report = render(&data)?;
//! assert!(report.html.contains("data-figure=\"silhouette\" data-value=\"0.348\""));
//! assert!(report.html.contains("Apple &#60;3"));
//! assert!(report.plots["label_counts.png"].starts_with(b"\x89PNG"));
//! # Ok::<(), fruitbatch_report::ReportError>(())
//! ```
//!
//! # The page
//! - It is [`MAX_REPORT_BYTES`] long at most. Thumbnails that would not fit are left out, and the footer says so. Lists that may
//!   be of any length (labels, clusters, failures) are cut where they are said to be cut.
//! - It has a light and a dark colour scheme, prints, and is readable on a phone. Plots have texts for those who don't see them;
//!   maps and heat maps answer to the arrow keys; what they show is there as tables too. For the colours see `palette.rs`.
//! - All text from data is escaped by the template, and its Content-Security-Policy lets nothing run but the page's own
//!   script: a file's name may hold anything.
//! - For programs: figures are in `data-figure` and counts in `data-count` attributes, each with the number as `metrics.json` has it
//!   in `data-value`; plots are named by `data-plot`.
//!
//! # Plots
//! Each is drawn by one function for any plotters backend, once into the page and once as PNG.
//!
//! | file | where there is | shows |
//! |---|---|---|
//! | `label_counts.png` | a label | photos by label |
//! | `scree.png`, `cumulative_variance.png` | [`Components`] | explained variance and the cut |
//! | `map_by_label.png`, `map_by_cluster.png` | [`PhotoMap`] | the photos on a plane |
//! | `contingency.png` | [`Contingency`] | labels by clusters |
//! | `silhouette.png` | [`Silhouettes`] | silhouettes by cluster |
//! | `choice_*.png` | [`ClusterChoice`] | a figure by number of clusters |
//! | `restarts.png` | [`Restarts`] | inertia by restart |
//! | `confusion.png` | [`Classifier`] | labels by given labels |
//! | `failures.png` | a failure | failed photos by reason |
//! | `stages.png` | a stage | time by stage |

mod bars;
mod checks;
mod cluster_choice;
mod data;
mod drawing;
mod error;
mod heat_map;
mod map;
mod numbers;
mod page;
mod palette;
mod render;
mod scree;
mod sections;
mod silhouette;
mod svg_backend;
mod thumbnails;

pub use data::{
    Classifier, ClusterChoice, ClusterSilhouette, Components, ContactSheet, Contingency, Counts, Fact,
    Failure, Failures, Figures, LabelCount, LabelScores, MAX_MAP_POINTS, MapPoint, PhotoMap, ReportData,
    Restarts, SheetPhoto, Silhouettes, StageSeconds, TriedClusters,
};
pub use error::ReportError;
pub use render::{MAX_REPORT_BYTES, Report, render};
pub use thumbnails::{THUMBNAIL_BUDGET_BYTES, thumbnail, thumbnail_side};
