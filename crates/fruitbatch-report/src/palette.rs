//! Colours and marker shapes that people who see colours differently can tell apart.
//!
//! Categories (labels, clusters) take the eight colours of Masataka Okabe and Kei Ito, "Color Universal Design" (2002, revised
//! 2008, <https://jfly.uni-koeln.de/color/>), those with the most contrast to white first. The shape of the marker changes along
//! with the colour, so that up to 48 categories are 8 colours x 6 shapes, no pair twice. Beyond that come the same pairs with more,
//! then with less contrast to what is behind (lightness is what all eyes tell apart): 144 categories in all, then from the
//! start again. So many are
//! told apart by pointing at them, not by their colour.
//!
//! Everything else is drawn in a [`Tone`], which has one colour on a white and one on a dark background.

use plotters::prelude::RGBColor;

/// A colour with a name of its own in the page's style, and a value for each of the two colour schemes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tone {
    /// Of the CSS variable, without its dashes.
    pub(crate) variable: &'static str,
    /// On white, and what plots are drawn with.
    pub(crate) light: RGBColor,
    /// On a dark background.
    pub(crate) dark: RGBColor,
}

impl Tone {
    const fn new(variable: &'static str, light: [u8; 3], dark: [u8; 3]) -> Self {
        Self { variable, light: color(light), dark: color(dark) }
    }
}

/// Text.
pub(crate) const TEXT: Tone = Tone::new("text", [0x1c, 0x20, 0x24], [0xe8, 0xea, 0xed]);
/// Text that steps back: axes, units.
pub(crate) const DIM: Tone = Tone::new("dim", [0x5f, 0x6b, 0x76], [0x9a, 0xa5, 0xb1]);
/// Lines between things.
pub(crate) const LINE: Tone = Tone::new("line", [0xdd, 0xe3, 0xe8], [0x33, 0x3b, 0x44]);
/// What plots stand on.
pub(crate) const CARD: Tone = Tone::new("card", [0xff, 0xff, 0xff], [0x1d, 0x23, 0x29]);
/// Data that has no category.
pub(crate) const ACCENT: Tone = Tone::new("accent", [0x1f, 0x5f, 0xa8], [0x6f, 0xb2, 0xf0]);
/// What was chosen.
pub(crate) const CHOSEN: Tone = Tone::new("chosen", [0xc2, 0x41, 0x0c], [0xfb, 0x92, 0x3c]);

const PLAIN: [Tone; 6] = [TEXT, DIM, LINE, CARD, ACCENT, CHOSEN];

/// Okabe and Ito's. Black is white on dark.
const CATEGORIES: [Tone; 8] = [
    Tone::new("c0", [0x00, 0x72, 0xb2], [0x00, 0x72, 0xb2]), // blue
    Tone::new("c1", [0xe6, 0x9f, 0x00], [0xe6, 0x9f, 0x00]), // orange
    Tone::new("c2", [0x00, 0x9e, 0x73], [0x00, 0x9e, 0x73]), // bluish green
    Tone::new("c3", [0xd5, 0x5e, 0x00], [0xd5, 0x5e, 0x00]), // vermilion
    Tone::new("c4", [0xcc, 0x79, 0xa7], [0xcc, 0x79, 0xa7]), // reddish purple
    Tone::new("c5", [0x56, 0xb4, 0xe9], [0x56, 0xb4, 0xe9]), // sky blue
    Tone::new("c6", [0x00, 0x00, 0x00], [0xff, 0xff, 0xff]), // black
    Tone::new("c7", [0xf0, 0xe4, 0x42], [0xf0, 0xe4, 0x42]), // yellow
];
/// The same with more contrast: darker on white, lighter on dark.
const STRONGER: [Tone; 8] = [
    Tone::new("c0-stronger", [0x00, 0x44, 0x6b], [0x80, 0xb9, 0xd9]),
    Tone::new("c1-stronger", [0x8a, 0x5f, 0x00], [0xf3, 0xcf, 0x80]),
    Tone::new("c2-stronger", [0x00, 0x5f, 0x45], [0x80, 0xcf, 0xb9]),
    Tone::new("c3-stronger", [0x80, 0x38, 0x00], [0xea, 0xaf, 0x80]),
    Tone::new("c4-stronger", [0x7a, 0x49, 0x64], [0xe6, 0xbc, 0xd3]),
    Tone::new("c5-stronger", [0x34, 0x6c, 0x8c], [0xab, 0xda, 0xf4]),
    Tone::new("c6-stronger", [0x40, 0x40, 0x40], [0xc0, 0xc0, 0xc0]),
    Tone::new("c7-stronger", [0x90, 0x89, 0x28], [0xf8, 0xf2, 0xa1]),
];
/// The same with less contrast: lighter on white, darker on dark.
const WEAKER: [Tone; 8] = [
    Tone::new("c0-weaker", [0x59, 0xa3, 0xcd], [0x00, 0x55, 0x85]),
    Tone::new("c1-weaker", [0xef, 0xc1, 0x59], [0xac, 0x77, 0x00]),
    Tone::new("c2-weaker", [0x59, 0xc0, 0xa4], [0x00, 0x76, 0x56]),
    Tone::new("c3-weaker", [0xe4, 0x97, 0x59], [0xa0, 0x46, 0x00]),
    Tone::new("c4-weaker", [0xde, 0xa8, 0xc6], [0x99, 0x5b, 0x7d]),
    Tone::new("c5-weaker", [0x91, 0xce, 0xf1], [0x40, 0x87, 0xaf]),
    Tone::new("c6-weaker", [0x80, 0x80, 0x80], [0x80, 0x80, 0x80]),
    Tone::new("c7-weaker", [0xf5, 0xed, 0x84], [0xb4, 0xab, 0x32]),
];

const fn color([red, green, blue]: [u8; 3]) -> RGBColor {
    RGBColor(red, green, blue)
}

fn tones() -> impl Iterator<Item = Tone> {
    PLAIN.into_iter().chain(CATEGORIES).chain(STRONGER).chain(WEAKER)
}

/// The shape of a category's points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Circle,
    Triangle,
    Square,
    Diamond,
    TriangleDown,
    Cross,
}

const SHAPES: [Shape; 6] =
    [Shape::Circle, Shape::Triangle, Shape::Square, Shape::Diamond, Shape::TriangleDown, Shape::Cross];

/// How the points of a category look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) shape: Shape,
    pub(crate) color: RGBColor,
}

/// The marker of a category, from 0; `None`: what belongs to none.
pub(crate) fn marker(category: Option<usize>) -> Marker {
    let Some(category) = category else {
        return Marker { shape: Shape::Circle, color: DIM.light };
    };
    let hue = category % CATEGORIES.len();
    let round = category / CATEGORIES.len();
    let shape = SHAPES[(hue + round) % SHAPES.len()];
    let shades = [&CATEGORIES, &STRONGER, &WEAKER];
    let shade = shades[round / SHAPES.len() % shades.len()];
    Marker { shape, color: shade[hue].light }
}

/// The colour as CSS: a tone's variable, which follows the colour scheme.
pub(crate) fn css_color((red, green, blue): (u8, u8, u8)) -> String {
    tones().find(|tone| tone.light == RGBColor(red, green, blue)).map_or_else(
        || format!("#{red:02x}{green:02x}{blue:02x}"),
        |tone| format!("var(--{})", tone.variable),
    )
}

/// The style rule that gives every tone its variable.
pub(crate) fn css_variables() -> String {
    let hex = |RGBColor(red, green, blue): RGBColor| format!("#{red:02x}{green:02x}{blue:02x}");
    let variables: Vec<String> = tones()
        .map(|tone| match (hex(tone.light), hex(tone.dark)) {
            (light, dark) if light == dark => format!("--{}:{light}", tone.variable),
            (light, dark) => format!("--{}:light-dark({light},{dark})", tone.variable),
        })
        .collect();
    format!(":root{{color-scheme:light dark;{}}}", variables.join(";"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    type Matrix = [[f64; 3]; 3];

    /// Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009), severity
    /// 1.0; they apply to linear RGB.
    const VISIONS: [(&str, Matrix); 4] = [
        ("common", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protan",
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
        ),
        (
            "deutan",
            [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
        ),
        (
            "tritan",
            [
                [1.255_528, -0.076_749, -0.178_779],
                [-0.078_411, 0.930_809, 0.147_602],
                [0.004_733, 0.691_367, 0.303_900],
            ],
        ),
    ];
    /// sRGB to CIE XYZ (IEC 61966-2-1), and the white of D65.
    const TO_XYZ: Matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]];
    const WHITE: [f64; 3] = [0.9505, 1.0, 1.089];

    fn product(matrix: &Matrix, vector: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(vector).map(|(factor, value)| factor * value).sum())
    }

    fn linear(RGBColor(red, green, blue): RGBColor) -> [f64; 3] {
        [red, green, blue].map(|byte| {
            let value = f64::from(byte) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// CIE L*a*b* of a colour as seen by eyes of that kind.
    fn lab(color: RGBColor, vision: &Matrix) -> [f64; 3] {
        let seen = product(vision, linear(color)).map(|value| value.clamp(0.0, 1.0));
        let xyz = product(&TO_XYZ, seen);
        let [x, y, z] = [0, 1, 2].map(|axis| {
            let ratio = xyz[axis] / WHITE[axis];
            if ratio > 0.008_856 { ratio.cbrt() } else { 7.787 * ratio + 16.0 / 116.0 }
        });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn all_eyes_tell_the_eight_colours_apart() {
        // A difference of 2.3 is just noticeable.
        for (name, vision) in &VISIONS {
            for (at, first) in CATEGORIES.iter().enumerate() {
                for second in &CATEGORIES[at + 1..] {
                    for scheme in [|tone: &Tone| tone.light, |tone: &Tone| tone.dark] {
                        let (one, other) = (lab(scheme(first), vision), lab(scheme(second), vision));
                        let squares: f64 = one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
                        let difference = squares.sqrt();
                        assert!(
                            difference > 10.0,
                            "{name}: {} and {}: {difference}",
                            first.variable,
                            second.variable
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn text_stands_out_from_what_it_stands_on() {
        // WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1.
        let luminance = |color: RGBColor| product(&TO_XYZ, linear(color))[1];
        for tone in [TEXT, DIM, ACCENT, CHOSEN] {
            for scheme in [|tone: Tone| tone.light, |tone: Tone| tone.dark] {
                let (one, other) = (luminance(scheme(tone)), luminance(scheme(CARD)));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= 4.5, "{}: {contrast}", tone.variable);
            }
        }
    }

    #[test]
    fn no_two_of_144_markers_are_alike() {
        let pairs: BTreeSet<String> =
            (0..144).map(|category| format!("{:?}", marker(Some(category)))).collect();
        assert_eq!(pairs.len(), 144);
        assert_eq!(marker(Some(144)), marker(Some(0)));
        let shapes: BTreeSet<String> =
            (0..8).map(|category| format!("{:?}", marker(Some(category)).shape)).collect();
        assert_eq!(shapes.len(), SHAPES.len(), "the first labels already differ in shape");
    }

    #[test]
    fn every_tone_is_found_by_its_light_colour() {
        for tone in tones() {
            let RGBColor(red, green, blue) = tone.light;
            assert_eq!(css_color((red, green, blue)), format!("var(--{})", tone.variable));
        }
        assert_eq!(css_color((1, 2, 3)), "#010203");
    }
}
