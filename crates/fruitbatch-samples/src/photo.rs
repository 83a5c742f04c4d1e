//! The studio: turns a specimen, lights it, looks at it along -z and develops the photo.
//!
//! Camera coordinates: x to the right, y up, z towards the camera; no perspective, as through a long lens.

use std::ops::Range;

use glam::{Mat3, Vec2, Vec3};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tiny_skia::{FillRule, Mask, Paint, PathBuilder, Pixmap, PremultipliedColorU8, Transform};

use crate::attachments::Facet;
use crate::fruit::{Fruit, Specimen};
use crate::portable_math::sin_cos_degrees;

/// Samples across and down within a pixel.
const SAMPLES: u32 = 2;

/// The fruit in front of the camera.
pub(crate) struct Subject {
    specimen: Specimen,
    seed: u64,
}

/// What differs from photo to photo beside the turn.
struct Conditions {
    /// From the fruit towards the lamp.
    lamp: Vec3,
    /// Its strength and colour, linear.
    lamp_light: Vec3,
    /// What comes from everywhere.
    ambient: f32,
    /// Lengths of the body times this are shares of the photo's width.
    scale: f32,
    /// Where the fruit's middle stands, as a share of the photo's width from the photo's middle.
    shift: Vec2,
    /// Amplitude of the camera's noise in 8-bit steps.
    grain: f32,
}

/// What the lines of sight met: for every sample of the photo.
struct Exposure {
    picture: Pixmap,
    /// z of the body in camera coordinates; -infinity beside it.
    depth: Vec<f32>,
}

impl Subject {
    pub(crate) fn new(fruit: Fruit, seed: u64) -> Self {
        let seed = seed ^ 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(fruit as u64 + 1);
        let specimen = fruit.grow(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        Self { specimen, seed }
    }

    /// The photo at a turn of `degrees`: RGB, 8 bits, `size` x `size`, row after row.
    pub(crate) fn photograph(&self, degrees: usize, size: u32) -> Vec<u8> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.seed.rotate_left(32) ^ (degrees as u64 + 1));
        let conditions = Conditions::new(self.specimen.scale, &mut random);
        let to_camera = turn(degrees as f32, self.specimen.lean_degrees);
        let view =
            View { size: size * SAMPLES, conditions: &conditions, middle: self.specimen.middle, to_camera };
        let mut exposure = view.expose_body(&self.specimen);
        view.paint_attachments(&self.specimen.attachments, &mut exposure);
        develop(&exposure.picture, size, conditions.grain, &mut random)
    }
}

impl Conditions {
    fn new(scale: f32, random: &mut Xoshiro256PlusPlus) -> Self {
        let lamp = Vec3::new(
            -0.45 + random.gen_range(-0.15..0.15),
            0.62 + random.gen_range(-0.15..0.15),
            0.75 + random.gen_range(-0.1..0.1),
        );
        let strength = random.gen_range(0.84..1.12);
        let warmth = random.gen_range(-0.04..0.04);
        Self {
            lamp: lamp.normalize(),
            lamp_light: Vec3::new(1.02 + warmth, 0.98, 0.92 - warmth) * strength,
            ambient: random.gen_range(0.26..0.34),
            scale: scale * random.gen_range(0.93..1.0),
            shift: Vec2::new(random.gen_range(-0.02..0.02), random.gen_range(-0.02..0.02)),
            grain: 2.5,
        }
    }
}

/// From body to camera coordinates: the axis leans by `lean` degrees, then everything turns about the vertical.
fn turn(degrees: f32, lean: f32) -> Mat3 {
    let (sine, cosine) = sin_cos_degrees(degrees);
    let about_vertical =
        Mat3::from_cols(Vec3::new(cosine, 0.0, -sine), Vec3::Y, Vec3::new(sine, 0.0, cosine));
    let (sine, cosine) = sin_cos_degrees(lean);
    let leaning = Mat3::from_cols(Vec3::new(cosine, sine, 0.0), Vec3::new(-sine, cosine, 0.0), Vec3::Z);
    about_vertical * leaning
}

struct View<'a> {
    /// Samples across and down the photo.
    size: u32,
    conditions: &'a Conditions,
    /// See [`Specimen::middle`].
    middle: f32,
    to_camera: Mat3,
}

impl View<'_> {
    /// Where a point of the body stands on the photo in samples, and its z.
    fn project(&self, point: Vec3) -> (Vec2, f32) {
        let seen = self.to_camera * (point - Vec3::Y * self.middle);
        let size = self.size as f32;
        let x = (0.5 + self.conditions.shift.x + seen.x * self.conditions.scale) * size;
        let y = (0.5 - self.conditions.shift.y - seen.y * self.conditions.scale) * size;
        (Vec2::new(x, y), seen.z)
    }

    fn expose_body(&self, specimen: &Specimen) -> Exposure {
        let mut picture = Pixmap::new(self.size, self.size).expect("sizes are at most 1024 x 2 samples");
        picture.fill(tiny_skia::Color::WHITE);
        let mut depth = vec![f32::NEG_INFINITY; (self.size * self.size) as usize];
        let to_body = self.to_camera.transpose();
        let line_of_sight = to_body * Vec3::NEG_Z;
        for (index, (sample, depth)) in picture.pixels_mut().iter_mut().zip(&mut depth).enumerate() {
            let (row, column) = (index as u32 / self.size, index as u32 % self.size);
            let x = (column as f32 + 0.5) / self.size as f32 - 0.5 - self.conditions.shift.x;
            let y = 0.5 - (row as f32 + 0.5) / self.size as f32 - self.conditions.shift.y;
            let start = Vec3::new(x / self.conditions.scale, y / self.conditions.scale, 2.0);
            let origin = to_body * start + Vec3::Y * self.middle;
            if let Some(point) = specimen.body.first_hit(origin, line_of_sight) {
                *depth = (self.to_camera * (point - Vec3::Y * self.middle)).z;
                *sample = encode(self.lit_skin(specimen, point));
            }
        }
        Exposure { picture, depth }
    }

    /// The light from a point of the skin towards the camera, linear.
    fn lit_skin(&self, specimen: &Specimen, point: Vec3) -> Vec3 {
        let skin = specimen.skin.at(point.normalize());
        let normal = self.to_camera
            * specimen.body.normal(point, |direction| specimen.skin.relief(direction, skin.nearest_spot));
        let diffuse = self.diffuse_light(normal);
        // Cavities see little of the room: the surface there is nearer to the middle than a ball's would be.
        let openness = (0.25 + 1.1 * point.length()).min(1.0);
        // Towards the outline a skin is seen at a grazing angle and looks darker.
        let facing = 0.62 + 0.38 * normal.z.clamp(0.0, 1.0);
        skin.albedo * diffuse * facing * openness + self.mirrored_light(normal) * skin.gloss
    }

    fn diffuse_light(&self, normal: Vec3) -> Vec3 {
        // The lamp is large: its light reaches a little around the edge.
        const WRAP: f32 = 0.3;
        let lamp = ((normal.dot(self.conditions.lamp) + WRAP) / (1.0 + WRAP)).max(0.0);
        let sky = self.conditions.ambient * (0.75 + 0.25 * normal.y);
        self.conditions.lamp_light * lamp * 0.95 + Vec3::splat(sky)
    }

    fn mirrored_light(&self, normal: Vec3) -> Vec3 {
        let halfway = (self.conditions.lamp + Vec3::Z).normalize();
        let mut lobe = normal.dot(halfway).max(0.0);
        for _ in 0..5 {
            lobe *= lobe; // In the end to the 32nd power.
        }
        self.conditions.lamp_light * lobe
    }

    /// Paints the facets from back to front, each only where it stands before the body.
    fn paint_attachments(&self, facets: &[Facet], exposure: &mut Exposure) {
        // Facets start on the surface or a little inside; without a tolerance their feet would be cut ragged.
        const TOLERANCE: f32 = 0.012;
        let mut seen: Vec<(f32, &Facet, Vec<Vec2>)> = facets
            .iter()
            .map(|facet| {
                let (places, depths): (Vec<Vec2>, Vec<f32>) =
                    facet.corners.iter().map(|&corner| self.project(corner)).unzip();
                (depths.iter().sum::<f32>() / depths.len() as f32, facet, places)
            })
            .collect();
        seen.sort_by(|left, right| left.0.total_cmp(&right.0));

        let mut in_front = Mask::new(self.size, self.size).expect("sizes are at most 1024 x 2 samples");
        for (facet_depth, facet, places) in seen {
            let hidden_below = facet_depth + TOLERANCE;
            for row in self.rows_of(&places) {
                let row = row * self.size as usize..(row + 1) * self.size as usize;
                for (mask, &body_depth) in
                    in_front.data_mut()[row.clone()].iter_mut().zip(&exposure.depth[row])
                {
                    *mask = if hidden_below > body_depth { 255 } else { 0 };
                }
            }
            let mut outline = PathBuilder::new();
            for (index, place) in places.iter().enumerate() {
                if index == 0 {
                    outline.move_to(place.x, place.y);
                } else {
                    outline.line_to(place.x, place.y);
                }
            }
            outline.close();
            // An outline without area (a facet seen edge-on) paints nothing.
            let Some(outline) = outline.finish() else { continue };
            let mut paint = Paint::default();
            let colour = encode(facet.albedo * self.diffuse_light(self.facet_normal(facet)));
            paint.set_color_rgba8(colour.red(), colour.green(), colour.blue(), 255);
            exposure.picture.fill_path(
                &outline,
                &paint,
                FillRule::Winding,
                Transform::identity(),
                Some(&in_front),
            );
        }
    }

    /// The rows of samples that an outline through `places` touches.
    fn rows_of(&self, places: &[Vec2]) -> Range<usize> {
        let first = places.iter().map(|place| place.y).fold(f32::INFINITY, f32::min) - 1.0;
        let last = places.iter().map(|place| place.y).fold(f32::NEG_INFINITY, f32::max) + 2.0;
        let within = |y: f32| y.clamp(0.0, self.size as f32) as usize;
        within(first)..within(last)
    }

    /// Of the side that is towards the camera.
    fn facet_normal(&self, facet: &Facet) -> Vec3 {
        let [first, second, third] = [facet.corners[0], facet.corners[1], facet.corners[2]];
        let normal = self.to_camera * (second - first).cross(third - first).normalize_or(Vec3::Y);
        if normal.z < 0.0 { -normal } else { normal }
    }
}

/// Linear light to an opaque 8-bit sample (the inverse of [`crate::skin::linear`]).
fn encode(light: Vec3) -> PremultipliedColorU8 {
    let [red, green, blue] =
        light.to_array().map(|channel| (channel.clamp(0.0, 1.0).sqrt() * 255.0 + 0.5) as u8);
    PremultipliedColorU8::from_rgba(red, green, blue, 255).expect("an opaque colour is always premultiplied")
}

/// Averages the samples of each pixel and adds the camera's noise, except to the white background.
fn develop(picture: &Pixmap, size: u32, grain: f32, random: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let samples = picture.pixels();
    let mut photo = Vec::with_capacity((size * size * 3) as usize);
    for row in 0..size {
        for column in 0..size {
            let mut sums = [0_u32; 3];
            for y in row * SAMPLES..(row + 1) * SAMPLES {
                for x in column * SAMPLES..(column + 1) * SAMPLES {
                    let sample = samples[(y * size * SAMPLES + x) as usize];
                    for (sum, channel) in sums.iter_mut().zip([sample.red(), sample.green(), sample.blue()]) {
                        *sum += u32::from(channel);
                    }
                }
            }
            // The same grain on all channels and a little of its own on each; drawn for white too, so that
            // one pixel's noise doesn't depend on the outline before it.
            let common: f32 = random.gen_range(-1.0..1.0);
            for sum in sums {
                let own: f32 = random.gen_range(-1.0..1.0);
                let mean = sum as f32 / (SAMPLES * SAMPLES) as f32;
                let noise = if mean > 254.5 { 0.0 } else { grain * (0.7 * common + 0.5 * own) };
                photo.push((mean + noise).clamp(0.0, 255.0).round() as u8);
            }
        }
    }
    photo
}

/// Encodes an RGB photo as baseline JPEG without chroma subsampling.
pub(crate) fn encode_jpeg(pixels: &[u8], size: u32, quality: u8) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, quality).encode(
        pixels,
        size,
        size,
        image::ExtendedColorType::Rgb8,
    )?;
    Ok(jpeg)
}
