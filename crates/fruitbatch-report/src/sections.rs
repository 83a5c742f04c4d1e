//! The page's sections: which words, numbers, plots and tables stand where.

use std::collections::BTreeMap;

use askama::Template;
use plotters::prelude::IntoDrawingArea;

use crate::ReportError;
use crate::bars::{Bar, Bars};
use crate::cluster_choice::{RestartsPlot, TriedFigure};
use crate::data::{
    Classifier, ClusterChoice, Components, Contingency, Counts, Failures, Figures, LabelCount, ReportData,
    Restarts, SheetPhoto, Silhouettes, StageSeconds,
};
use crate::drawing::{Picture, Plot, PlotName, UNITS, draw_marker, picture};
use crate::heat_map::{Cells, HeatMap};
use crate::map::Map;
use crate::numbers::{clip, cluster_name, count, count_of, duration, exact, figure, percent};
use crate::page::{
    Column, FiguresTable, HeatMapPart, LegendEntry, LineageList, MapPane, Maps, Plots, Section, Sheet,
    SheetThumbnail, Sheets, ShownFact, ShownFigure, Strip, Table, Tile,
};
use crate::palette::marker;
use crate::scree::{CumulativeVariance, Scree};
use crate::silhouette::{MOST_CLUSTERS, SilhouettePlot};
use crate::svg_backend::SvgBackend;

/// Bars of labels and of reasons that are drawn.
const MOST_BARS: usize = 30;
/// Rows of a table.
const MOST_ROWS: usize = 1_000;
/// Failures that are named one by one.
const MOST_FAILURES: usize = 100;
/// Contact sheets that are shown, and those that are seen without opening the rest.
const MOST_SHEETS: usize = 200;
const OPEN_SHEETS: usize = 12;
/// Photos in a strip of a contact sheet.
const MOST_IN_STRIP: usize = 12;
/// Thumbnails from which on they are shown smaller.
const MANY_THUMBNAILS: usize = 500;
/// Letters of a name (of a label, a reason, a stage) and of a text.
const LONGEST_NAME: usize = 80;
const LONGEST_TEXT: usize = 1_000;

/// Text that a page can take, whatever was given.
fn shown_facts(facts: &[crate::data::Fact]) -> Vec<ShownFact> {
    facts
        .iter()
        .map(|fact| ShownFact {
            name: clip(&fact.name, LONGEST_NAME),
            value: clip(&fact.value, LONGEST_TEXT),
        })
        .collect()
}

fn html(template: &impl Template) -> Result<String, ReportError> {
    template.render().map_err(|error| ReportError::Page { reason: error.to_string() })
}

/// The page but for its thumbnails.
pub(crate) struct Sections<'a> {
    data: &'a ReportData,
    /// In the order of the page.
    parts: Vec<Section>,
    maps: Option<DrawnMaps<'a>>,
    /// The PNG files by name.
    pub(crate) plots: BTreeMap<String, Vec<u8>>,
}

/// Maps that are drawn, while their section still waits for thumbnails.
struct DrawnMaps<'a> {
    by_label: Map<'a>,
    by_cluster: Map<'a>,
    pictures: [Picture; 2],
}

/// The ids of the sections that hold thumbnails.
const MAP: &str = "map";
const SHEETS: &str = "sheets";

impl<'a> Sections<'a> {
    /// Draws everything. `places` are those of the map's photos.
    pub(crate) fn new(data: &'a ReportData, places: &'a [(i32, i32)]) -> Result<Self, ReportError> {
        let mut this = Self { data, parts: Vec::new(), maps: None, plots: BTreeMap::new() };
        this.figures(data.figures)?;
        this.labels(&data.labels)?;
        if let Some(components) = &data.components {
            this.components(components)?;
        }
        if let Some(map) = data.map.as_ref().filter(|map| !map.points.is_empty()) {
            let by_label = Map::by_label(map, &data.labels, places);
            let by_cluster = Map::by_cluster(map, places);
            let pictures = [this.draw(&by_label)?, this.draw(&by_cluster)?];
            this.maps = Some(DrawnMaps { by_label, by_cluster, pictures });
            this.push(MAP, "Map", "The photos on a map", String::new());
        }
        if let Some(contingency) = &data.contingency {
            this.contingency(contingency)?;
        }
        if !data.contact_sheets.is_empty() {
            this.push(SHEETS, "Photos", "The clusters' photos", String::new());
        }
        if let Some(silhouettes) = data.silhouettes.as_ref().filter(|all| !all.clusters.is_empty()) {
            this.silhouettes(silhouettes)?;
        }
        if let Some(choice) = &data.cluster_choice {
            this.cluster_choice(choice)?;
        }
        if let Some(restarts) = data.restarts.as_ref().filter(|all| !all.inertias.is_empty()) {
            this.restarts(restarts)?;
        }
        if let Some(classifier) = data.classifier.as_ref().filter(|all| !all.labels.is_empty()) {
            this.classifier(classifier)?;
        }
        this.failures(data.counts, &data.failures)?;
        this.stages(&data.stages)?;
        if !data.lineage.is_empty() {
            let list = LineageList { facts: &shown_facts(&data.lineage) };
            this.push_part("lineage", "Lineage", "Lineage", &list)?;
        }
        Ok(this)
    }

    /// The sections, with so many characters of a path and these thumbnails (base64 by path).
    pub(crate) fn with_thumbnails(
        &self,
        longest_path: usize,
        thumbnails: &BTreeMap<&str, String>,
    ) -> Result<Vec<Section>, ReportError> {
        self.parts
            .iter()
            .map(|section| {
                let html = match section.id {
                    MAP => self.map_section(longest_path, thumbnails)?,
                    SHEETS => self.sheets_section(longest_path, thumbnails)?,
                    _ => section.html.clone(),
                };
                Ok(Section { html, ..*section })
            })
            .collect()
    }

    pub(crate) fn facts(&self) -> Vec<ShownFact> {
        shown_facts(&self.data.facts)
    }

    pub(crate) fn tiles(&self) -> Vec<Tile> {
        let Counts { listed, rows, failures, clusters } = self.data.counts;
        let counted = |name, key, number: u64, bad| Tile {
            name,
            key,
            value: count(number),
            exact: number.to_string(),
            bad,
        };
        let mut tiles = vec![
            counted("photos", "listed", listed, false),
            counted("with features", "rows", rows, false),
            counted("failed", "failures", failures, failures > 0),
            counted("labels", "labels", self.data.labels.len() as u64, false),
            counted("clusters", "n_clusters", clusters, false),
        ];
        if let Some(components) = &self.data.components {
            let kept = components.n_components as u64;
            tiles.push(counted("components", "n_components", kept, false));
        }
        tiles
    }

    fn push(&mut self, id: &'static str, short: &'static str, title: &'static str, html: String) {
        self.parts.push(Section { id, short, title, html });
    }

    fn push_part(
        &mut self,
        id: &'static str,
        short: &'static str,
        title: &'static str,
        part: &impl Template,
    ) -> Result<(), ReportError> {
        self.push(id, short, title, html(part)?);
        Ok(())
    }

    /// Draws a plot and keeps its file.
    fn draw(&mut self, plot: &impl Plot) -> Result<Picture, ReportError> {
        let mut drawn = picture(plot)?;
        self.plots.insert(drawn.file.clone(), std::mem::take(&mut drawn.png));
        Ok(drawn)
    }

    fn figures(&mut self, figures: Figures) -> Result<(), ReportError> {
        let explained = [
            (
                "ari",
                "Adjusted Rand index",
                figures.ari,
                "Whether pairs of photos are together in the clusters when they are together in the labels, chance taken off.",
                "1: the same groups; 0: chance",
            ),
            (
                "nmi",
                "Normalised mutual information",
                figures.nmi,
                "How much of the label is known once the cluster is, and the other way round.",
                "0 to 1, higher is better",
            ),
            (
                "homogeneity",
                "Homogeneity",
                figures.homogeneity,
                "Whether each cluster holds photos of one label only.",
                "0 to 1, higher is better",
            ),
            (
                "completeness",
                "Completeness",
                figures.completeness,
                "Whether all photos of a label lie in one cluster.",
                "0 to 1, higher is better",
            ),
            (
                "purity",
                "Purity",
                figures.purity,
                "Share of the photos that bear the most frequent label of their cluster; more clusters alone raise it.",
                "up to 1, higher is better",
            ),
            (
                "silhouette",
                "Silhouette",
                figures.silhouette,
                "How much nearer photos lie to their own cluster than to the next one, on average.",
                "\u{2212}1 to 1, higher is better",
            ),
            (
                "calinski_harabasz",
                "Calinski-Harabasz index",
                figures.calinski_harabasz,
                "How far the clusters lie apart, compared with how wide they are.",
                "from 0, higher is better",
            ),
            (
                "davies_bouldin",
                "Davies-Bouldin index",
                figures.davies_bouldin,
                "How much each cluster overlaps with the one most like it, on average.",
                "from 0, lower is better",
            ),
            (
                "inertia",
                "Inertia",
                figures.inertia,
                "Squared distances of the photos from the centre of their cluster, summed; more clusters alone lower it.",
                "from 0, lower is tighter",
            ),
        ];
        let shown: Vec<ShownFigure> = explained
            .into_iter()
            .filter_map(|(key, name, value, says, range)| {
                let value = value?;
                Some(ShownFigure { key, name, value: figure(value), exact: exact(value), says, range })
            })
            .collect();
        if !shown.is_empty() {
            let table = FiguresTable { figures: shown };
            self.push_part("figures", "Figures", "How good the clusters are", &table)?;
        }
        Ok(())
    }

    fn labels(&mut self, labels: &[LabelCount]) -> Result<(), ReportError> {
        if labels.is_empty() {
            return Ok(());
        }
        let name = |label: &LabelCount| clip(&label.label, LONGEST_NAME);
        let bars = labels.iter().take(MOST_BARS).map(|label| Bar {
            name: name(label),
            value: label.photos as f64,
            text: count(label.photos),
        });
        let rest = &labels[labels.len().min(MOST_BARS)..];
        let rest_photos = rest.iter().fold(0_u64, |sum, label| sum.saturating_add(label.photos));
        let note = (!rest.is_empty()).then(|| {
            format!(
                "and {} with {}",
                count_of(rest.len() as u64, "more label", "more labels"),
                count_of(rest_photos, "photo", "photos")
            )
        });
        let plot = Bars {
            name: PlotName { file: "label_counts", title: "Number of photos by label" },
            rows: bars.collect(),
            note,
        };
        let picture = self.draw(&plot)?;
        let all = labels.iter().fold(0_u64, |sum, label| sum.saturating_add(label.photos));
        let columns = vec![Column::text("label"), Column::number("photos"), Column::number("share")];
        let table = first_rows("Number of photos by label", columns, labels.iter(), |label| {
            vec![name(label), count(label.photos), percent(label.photos as f64 / all.max(1) as f64)]
        });
        let lead = match (labels.iter().map(|label| label.photos).min(), labels.len()) {
            (Some(least), 2..) if least == labels[0].photos => {
                format!("{} labels with {} each.", labels.len(), count_of(least, "photo", "photos"))
            }
            (Some(least), 2..) => format!(
                "{} labels, between {} and {} photos each.",
                labels.len(),
                count(least),
                count(labels[0].photos)
            ),
            _ => "One label only: figures against labels say nothing here.".to_owned(),
        };
        let part = Plots { lead, pictures: vec![&picture], folded: vec![table], ..Plots::default() };
        self.push_part("labels", "Labels", "Labels", &part)
    }

    fn components(&mut self, components: &Components) -> Result<(), ReportError> {
        let pictures = [self.draw(&Scree(components))?, self.draw(&CumulativeVariance(components))?];
        let mut sum = 0.0;
        let columns = vec![
            Column::text("component"),
            Column::number("of the variance"),
            Column::number("together"),
            Column::text("kept"),
        ];
        let ratios = components.explained_variance_ratio.iter().enumerate();
        let table = first_rows("Explained variance by component", columns, ratios, |(component, &ratio)| {
            sum += ratio;
            let kept = if component < components.n_components { "yes" } else { "no" };
            vec![(component + 1).to_string(), percent(ratio), percent(sum), kept.to_owned()]
        });
        let lead = format!(
            "Principal components are the directions along which the photos' features differ most. {} of {} are kept; \
             together they explain {} of the variance.",
            components.n_components,
            count(components.explained_variance_ratio.len() as u64),
            percent(components.kept())
        );
        let part =
            Plots { lead, pictures: pictures.iter().collect(), folded: vec![table], ..Plots::default() };
        self.push_part("components", "Components", "Principal components", &part)
    }

    fn map_section(
        &self,
        longest_path: usize,
        thumbnails: &BTreeMap<&str, String>,
    ) -> Result<String, ReportError> {
        let (Some(map), Some(drawn)) = (&self.data.map, &self.maps) else { return Ok(String::new()) };
        let on_sheets: std::collections::BTreeSet<&str> =
            sheet_photos(self.data).map(|photo| photo.path.as_str()).collect();
        let own = map.points.iter().enumerate().filter(|(_, point)| !on_sheets.contains(point.path.as_str()));
        let own = own.filter_map(|(at, point)| Some((at, thumbnails.get(point.path.as_str())?.clone())));
        let photos =
            crate::map::page_data(map, &drawn.by_label, &drawn.by_cluster, longest_path, own.collect());
        let [label, cluster] = &drawn.pictures;
        let panes = vec![
            MapPane { by: "label", picture: label, legend: legend(&drawn.by_label)? },
            MapPane { by: "cluster", picture: cluster, legend: legend(&drawn.by_cluster)? },
        ];
        html(&Maps { method: &clip(&map.method, LONGEST_TEXT), panes, photos })
    }

    fn contingency(&mut self, contingency: &Contingency) -> Result<(), ReportError> {
        if contingency.labels.is_empty() || contingency.clusters.is_empty() {
            return Ok(());
        }
        let names = contingency.labels.iter();
        let heat_map = HeatMap {
            name: PlotName { file: "contingency", title: "Number of photos by label and cluster" },
            row_title: "label",
            column_title: "cluster",
            row_names: names
                .map(|&label| clip(&self.data.labels[label as usize].label, LONGEST_NAME))
                .collect(),
            column_names: contingency.clusters.iter().map(|&cluster| cluster_name(cluster)).collect(),
            counts: contingency.counts.clone(),
        };
        let lead = "How many photos of each label fell into each cluster. The colour is the share of the label's photos; \
                    clusters stand in the order of the label that most of their photos bear, so that agreement lies on a \
                    diagonal. Point at a cell, or focus the plot and walk with the arrow keys.";
        let html = self.heat_map(heat_map.with_diagonal(), lead, "contingency-counts")?;
        self.push("contingency", "Heat map", "Labels by cluster", html);
        Ok(())
    }

    fn heat_map(
        &mut self,
        mut heat_map: HeatMap,
        lead: &str,
        id: &'static str,
    ) -> Result<String, ReportError> {
        let note = heat_map.cut();
        let picture = self.draw(&heat_map)?;
        let columns = std::iter::once(Column::text(heat_map.row_title))
            .chain(heat_map.column_names.iter().map(|name| Column::text(name)));
        let rows = heat_map.row_names.iter().zip(&heat_map.counts);
        let rows = rows.map(|(name, counts)| {
            std::iter::once(name.clone()).chain(counts.iter().map(u64::to_string)).collect()
        });
        let table = Table {
            id,
            style: "counts",
            caption: heat_map.name.title.to_owned(),
            columns: columns.collect(),
            rows: rows.collect(),
        };
        let Cells { left, top, side } = heat_map.cells();
        let in_units = |points: i32| points * UNITS as i32;
        html(&HeatMapPart {
            lead: lead.to_owned(),
            note,
            picture: &picture,
            cells: Cells { left: in_units(left), top: in_units(top), side: in_units(side) },
            row: heat_map.row_title,
            column: heat_map.column_title,
            table,
        })
    }

    /// The most frequent label of each cluster and its share.
    fn main_labels(&self) -> BTreeMap<i32, (u32, f64)> {
        let Some(contingency) = &self.data.contingency else { return BTreeMap::new() };
        let columns = contingency.clusters.iter().enumerate();
        columns
            .filter_map(|(column, &cluster)| {
                let counts = || contingency.counts.iter().map(|row| row[column]);
                let total = counts().fold(0_u64, u64::saturating_add);
                let most = counts().max().filter(|&most| most > 0)?;
                let row = counts().position(|count| count == most)?;
                Some((cluster, (contingency.labels[row], most as f64 / total as f64)))
            })
            .collect()
    }

    fn sheets_section(
        &self,
        longest_path: usize,
        thumbnails: &BTreeMap<&str, String>,
    ) -> Result<String, ReportError> {
        let labels = &self.data.labels;
        let main_labels = self.main_labels();
        let mut has_odd = false;
        let shown = self.data.contact_sheets.iter().take(MOST_SHEETS);
        let sheets = shown.map(|sheet| {
            let main = main_labels.get(&sheet.cluster);
            let mut about = count_of(sheet.photos, "photo", "photos");
            if let Some(&(label, share)) = main {
                let name = clip(&labels[label as usize].label, LONGEST_NAME);
                about = format!("{about}, {} of them {name}", percent(share));
            }
            let strips = strips(sheet);
            let strips =
                strips.into_iter().filter(|(_, photos)| !photos.is_empty()).map(|(title, photos)| Strip {
                    title,
                    photos: photos
                        .iter()
                        .map(|photo| {
                            let odd = photo.label.is_some()
                                && main.is_some_and(|&(label, _)| photo.label != Some(label));
                            has_odd |= odd;
                            let path = clip(&photo.path, longest_path);
                            let label = photo.label.map_or_else(String::new, |label| {
                                format!(", {}", clip(&labels[label as usize].label, LONGEST_NAME))
                            });
                            SheetThumbnail {
                                title: format!("{path}{label}, distance {}", figure(photo.distance)),
                                path,
                                odd,
                                jpeg: thumbnails.get(photo.path.as_str()).cloned(),
                            }
                        })
                        .collect(),
                });
            let name = match sheet.cluster {
                ..0 => "Noise".to_owned(),
                cluster => format!("Cluster {}", cluster_name(cluster)),
            };
            Sheet { cluster: sheet.cluster, name, about, strips: strips.collect() }
        });
        let sheets: Vec<Sheet> = sheets.collect();
        let left_out = self.data.contact_sheets.len() - sheets.len();
        html(&Sheets {
            note: (left_out > 0).then(|| {
                format!("Shown are the first {} of {} clusters.", sheets.len(), sheets.len() + left_out)
            }),
            open: OPEN_SHEETS,
            has_odd,
            small: sheet_photos(self.data).count() > MANY_THUMBNAILS,
            clusters: sheets,
        })
    }

    fn silhouettes(&mut self, silhouettes: &Silhouettes) -> Result<(), ReportError> {
        let picture = self.draw(&SilhouettePlot(silhouettes))?;
        let columns = vec![
            Column::text("cluster"),
            Column::number("mean"),
            Column::number("photos"),
            Column::number("below 0"),
        ];
        let clusters = silhouettes.clusters.iter();
        let table = first_rows("Silhouettes by cluster", columns, clusters, |cluster| {
            let below_zero = cluster.values.iter().filter(|&&value| value < 0.0).count();
            let sampled = cluster.values.len();
            let shown =
                |number: usize| if sampled == 0 { "\u{2013}".to_owned() } else { count(number as u64) };
            vec![cluster_name(cluster.cluster), figure(cluster.mean), shown(sampled), shown(below_zero)]
        });
        let blades = if silhouettes.clusters.iter().any(|cluster| !cluster.values.is_empty()) {
            "Each blade is a cluster, its photos from the best to the worst: broad blades lie well apart from the others, and what \
             reaches left of 0 lies nearer to another cluster."
        } else {
            "Each bar is the mean of a cluster."
        };
        let lead = format!("{blades} Taken over {}.", count_of(silhouettes.rows, "photo", "photos"));
        let left_out = silhouettes.clusters.len() > MOST_CLUSTERS;
        let note = left_out.then(|| {
            format!("Drawn are the first {MOST_CLUSTERS} of {} clusters.", silhouettes.clusters.len())
        });
        let part = Plots {
            lead,
            notes: note.into_iter().collect(),
            pictures: vec![&picture],
            folded: vec![table],
            ..Plots::default()
        };
        self.push_part("silhouettes", "Silhouettes", "Silhouettes", &part)
    }

    fn cluster_choice(&mut self, choice: &ClusterChoice) -> Result<(), ReportError> {
        let pictures: Result<Vec<Picture>, ReportError> =
            TriedFigure::all(choice).iter().map(|figure| self.draw(figure)).collect();
        let pictures = pictures?;
        let shown = |value: Option<f64>| value.map_or_else(|| "\u{2013}".to_owned(), figure);
        let columns = vec![
            Column::text("clusters"),
            Column::number("silhouette"),
            Column::number("inertia"),
            Column::number("Calinski-Harabasz"),
            Column::number("Davies-Bouldin"),
        ];
        let table = first_rows("Figures by number of clusters", columns, choice.tried.iter(), |tried| {
            vec![
                tried.n_clusters.to_string(),
                shown(tried.silhouette),
                shown(tried.inertia),
                shown(tried.calinski_harabasz),
                shown(tried.davies_bouldin),
            ]
        });
        let part = Plots {
            lead: format!("{} clusters were chosen. {}", choice.n_clusters, clip(&choice.why, LONGEST_TEXT)),
            pictures: pictures.iter().collect(),
            folded: vec![table],
            ..Plots::default()
        };
        self.push_part("choice", "Choice of k", "The number of clusters", &part)
    }

    fn restarts(&mut self, restarts: &Restarts) -> Result<(), ReportError> {
        let picture = self.draw(&RestartsPlot(restarts))?;
        let stability = restarts.stability.map_or_else(String::new, |stability| {
            format!(
                " Any two of them agree on the clusters with an adjusted Rand index of {} on average (1: always the same).",
                figure(stability)
            )
        });
        let lead = format!(
            "The clustering began {} from other centres, and the result of lowest inertia was kept. The worst lies {} above it.{stability}",
            count_of(restarts.inertias.len() as u64, "time", "times"),
            percent(restarts.spread())
        );
        let columns = vec![Column::text("restart"), Column::number("inertia")];
        let inertias = restarts.inertias.iter().enumerate();
        let table = first_rows("Inertia of each restart", columns, inertias, |(restart, &inertia)| {
            vec![(restart + 1).to_string(), figure(inertia)]
        });
        let part = Plots { lead, pictures: vec![&picture], folded: vec![table], ..Plots::default() };
        self.push_part("restarts", "Restarts", "Restarts", &part)
    }

    fn classifier(&mut self, classifier: &Classifier) -> Result<(), ReportError> {
        let shown =
            |value: Option<f64>| value.map_or_else(|| "\u{2013}".to_owned(), |value| format!("{value:.3}"));
        let name = |label: &str| clip(label, LONGEST_NAME);
        let columns = vec![
            Column::text("label"),
            Column::number("precision"),
            Column::number("recall"),
            Column::number("F1"),
            Column::number("photos"),
        ];
        let labels = classifier.labels.iter();
        let table = first_rows("How well each label is known", columns, labels, |label| {
            vec![
                name(&label.label),
                shown(label.precision),
                shown(label.recall),
                shown(label.f1),
                count(label.support),
            ]
        });
        let names: Vec<String> = classifier.labels.iter().map(|label| name(&label.label)).collect();
        let heat_map = HeatMap {
            name: PlotName { file: "confusion", title: "Confusion of labels" },
            row_title: "label",
            column_title: "given label",
            row_names: names.clone(),
            column_names: names,
            counts: classifier.confusion.clone(),
        };
        let lead = "Each photo's own label by the label that it was given: what is off the diagonal is mistaken. The colour is the \
                    share of the label's photos.";
        let confusion = self.heat_map(heat_map, lead, "confusion-counts")?;
        let lead = format!(
            "{} Accuracy: {} of the photos got their own label.",
            clip(&classifier.method, LONGEST_TEXT),
            percent(classifier.accuracy)
        );
        let part = Plots { lead, tables: vec![table], ..Plots::default() };
        let html = format!("{}{confusion}", html(&part)?);
        self.push("classifier", "Classifier", "Classifier", html);
        Ok(())
    }

    fn failures(&mut self, counts: Counts, failures: &Failures) -> Result<(), ReportError> {
        if counts.failures == 0 {
            let lead = format!("All {} could be used.", count_of(counts.listed, "photo", "photos"));
            let part = Plots { lead, ..Plots::default() };
            return self.push_part("failures", "Failures", "Failures", &part);
        }
        let mut reasons: Vec<(&String, u64)> =
            failures.by_reason.iter().map(|(reason, &photos)| (reason, photos)).collect();
        reasons.sort_by_key(|&(reason, photos)| (std::cmp::Reverse(photos), reason));
        let bars = reasons.iter().take(MOST_BARS).map(|(reason, photos)| Bar {
            name: clip(reason, LONGEST_NAME),
            value: *photos as f64,
            text: count(*photos),
        });
        let plot = Bars {
            name: PlotName { file: "failures", title: "Failed photos by reason" },
            rows: bars.collect(),
            note: None,
        };
        let picture = self.draw(&plot)?;
        let shown: Vec<Vec<String>> = failures
            .first
            .iter()
            .take(MOST_FAILURES)
            .map(|failure| {
                vec![
                    clip(&failure.path, 2 * LONGEST_NAME),
                    clip(&failure.stage, LONGEST_NAME),
                    clip(&failure.reason, LONGEST_NAME),
                    clip(&failure.detail, 3 * LONGEST_NAME),
                ]
            })
            .collect();
        let table = Table {
            caption: format!("{} of {} failed photos", count(shown.len() as u64), count(counts.failures)),
            columns: ["photo", "stage", "reason", "detail"].map(Column::text).into(),
            rows: shown,
            ..Table::default()
        };
        let part = Plots {
            lead: format!(
                "{} of {} could not be used. All of them are in failures.csv.",
                count(counts.failures),
                count_of(counts.listed, "photo", "photos")
            ),
            pictures: vec![&picture],
            tables: if table.rows.is_empty() { Vec::new() } else { vec![table] },
            ..Plots::default()
        };
        self.push_part("failures", "Failures", "Failures", &part)
    }

    fn stages(&mut self, stages: &[StageSeconds]) -> Result<(), ReportError> {
        if stages.is_empty() {
            return Ok(());
        }
        let name = |stage: &StageSeconds| clip(&stage.stage, LONGEST_NAME);
        let bars = stages.iter().take(MOST_BARS).map(|stage| Bar {
            name: name(stage),
            value: stage.seconds.max(0.0),
            text: duration(stage.seconds.max(0.0)),
        });
        let plot = Bars {
            name: PlotName { file: "stages", title: "Time of each stage" },
            rows: bars.collect(),
            note: None,
        };
        let picture = self.draw(&plot)?;
        let columns = vec![Column::text("stage"), Column::number("seconds")];
        let table = first_rows("Seconds by stage", columns, stages.iter(), |stage| {
            vec![name(stage), exact(stage.seconds)]
        });
        let all: f64 = stages.iter().map(|stage| stage.seconds.max(0.0)).sum();
        let lead = format!("{} in all.", duration(all));
        let part = Plots { lead, pictures: vec![&picture], folded: vec![table], ..Plots::default() };
        self.push_part("stages", "Time", "Where the time went", &part)
    }
}

/// The three strips of a sheet with their names, in the order of the page.
pub(crate) fn strips(sheet: &crate::data::ContactSheet) -> [(&'static str, &[SheetPhoto]); 3] {
    [
        ("nearest the centre", sheet.nearest.as_slice()),
        ("borderline", sheet.borderline.as_slice()),
        ("farthest", sheet.farthest.as_slice()),
    ]
    .map(|(title, photos)| (title, &photos[..photos.len().min(MOST_IN_STRIP)]))
}

/// All photos on the sheets that are shown, in the order in which thumbnails are dealt out: first those nearest to each
/// cluster's centre, then the borderline ones, then the farthest.
pub(crate) fn sheet_photos(data: &ReportData) -> impl Iterator<Item = &SheetPhoto> {
    let sheets = &data.contact_sheets[..data.contact_sheets.len().min(MOST_SHEETS)];
    (0..3).flat_map(move |strip| {
        (0..MOST_IN_STRIP)
            .flat_map(move |place| sheets.iter().filter_map(move |sheet| strips(sheet)[strip].1.get(place)))
    })
}

/// A table with a row for each item; of many only the first ones, which its title says then.
fn first_rows<T>(
    title: &str,
    columns: Vec<Column>,
    items: impl ExactSizeIterator<Item = T>,
    row: impl FnMut(T) -> Vec<String>,
) -> Table {
    let caption = if items.len() > MOST_ROWS {
        format!("{title}: the first {} of {}", count(MOST_ROWS as u64), count(items.len() as u64))
    } else {
        title.to_owned()
    };
    Table { caption, columns, rows: items.take(MOST_ROWS).map(row).collect(), ..Table::default() }
}

/// The markers of a map's groups with their names.
fn legend(map: &Map<'_>) -> Result<Vec<LegendEntry>, ReportError> {
    const SIDE: u32 = 28;
    map.names
        .iter()
        .map(|(category, name)| {
            let mut content = String::new();
            {
                let canvas = SvgBackend::new(&mut content, (SIDE, SIDE)).into_drawing_area();
                let middle = SIDE as i32 / 2;
                draw_marker(&canvas, (middle, middle), middle - 5, marker(*category))
                    .and_then(|()| canvas.present())
                    .map_err(|error| ReportError::Drawing {
                        plot: map.name.file.to_owned(),
                        reason: error.to_string(),
                    })?;
            }
            Ok(LegendEntry { marker: content, name: clip(name, LONGEST_NAME) })
        })
        .collect()
}
