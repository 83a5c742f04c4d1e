//! What a fruit's surface looks like at a point of it: colours as linear light (0..1), gloss, and fine relief.
//!
//! Everything is a function of the direction from the fruit's middle, so that it turns with the fruit.

use glam::Vec3;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::noise::NoiseField;
use crate::portable_math::{arc_cosine, sin_cos_degrees, smooth_step};

/// A fruit's skin.
#[derive(Debug, Clone)]
pub(crate) enum Skin {
    Apple(AppleSkin),
    Orange(OrangeSkin),
    Strawberry(StrawberrySkin),
}

/// The surface at one point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkinPoint {
    /// Share of the light given back, per channel, linear.
    pub(crate) albedo: Vec3,
    /// Strength of the mirrored light, 0..1.
    pub(crate) gloss: f32,
    /// The speckle or seed nearest to the point.
    pub(crate) nearest_spot: Vec3,
}

impl Skin {
    pub(crate) fn at(&self, direction: Vec3) -> SkinPoint {
        match self {
            Self::Apple(skin) => skin.at(direction),
            Self::Orange(skin) => skin.at(direction),
            Self::Strawberry(skin) => skin.at(direction),
        }
    }

    /// How far the surface is raised in `direction`, near a point whose nearest spot is `nearest_spot`.
    pub(crate) fn relief(&self, direction: Vec3, nearest_spot: Vec3) -> f32 {
        match self {
            Self::Apple(_) => 0.0,
            Self::Orange(skin) => skin.relief(direction),
            Self::Strawberry(_) => StrawberrySkin::relief(direction, nearest_spot),
        }
    }
}

/// What tells one kind of apple from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppleColours {
    /// Where the sun did not reach, as sRGB.
    pub(crate) ground: [u8; 3],
    /// The blush where it is full, as sRGB.
    pub(crate) blush: [u8; 3],
    /// The darkest streaks in the blush, as sRGB.
    pub(crate) streak: [u8; 3],
    /// How much of the apple is blushed: -1 (hardly any) to 1 (nearly all).
    pub(crate) coverage: f32,
    /// Number of pale speckles (lenticels).
    pub(crate) lenticels: usize,
}

/// Ground colour, a blush on the side that saw the sun, streaks along the meridians, pale speckles, russet at the stem.
#[derive(Debug, Clone)]
pub(crate) struct AppleSkin {
    ground: Vec3,
    blush: Vec3,
    streak: Vec3,
    coverage: f32,
    sunny_side: Vec3,
    lenticels: Vec<Vec3>,
    patches: NoiseField,
    streaks: NoiseField,
}

impl AppleSkin {
    pub(crate) fn new(colours: &AppleColours, random: &mut Xoshiro256PlusPlus) -> Self {
        let (sine, cosine) = sin_cos_degrees(random.gen_range(0.0..360.0));
        Self {
            ground: linear(colours.ground),
            blush: linear(colours.blush),
            streak: linear(colours.streak),
            coverage: colours.coverage,
            sunny_side: Vec3::new(cosine, 0.35, sine).normalize(),
            lenticels: (0..colours.lenticels).map(|_| random_direction(random)).collect(),
            patches: NoiseField::new(random.r#gen()),
            streaks: NoiseField::new(random.r#gen()),
        }
    }

    fn at(&self, direction: Vec3) -> SkinPoint {
        const LENTICEL_RADIUS: f32 = 0.022;
        let polar = arc_cosine(direction.y);
        // Streaks follow the meridians: fine around the axis, long along it.
        let streak = self.streaks.rough(meridian(direction) * 6.5 + Vec3::Y * polar * 0.9);
        let patch = self.patches.rough(direction * 1.9);
        let sun = direction.dot(self.sunny_side);
        let blush = smooth_step(-0.45, 0.5, self.coverage + 0.75 * sun + 0.55 * patch + 0.42 * streak);
        let depth = smooth_step(-0.1, 0.9, 0.6 * sun + 0.6 * streak + 0.35 * patch);
        let mut albedo = self.ground.lerp(self.blush.lerp(self.streak, depth), blush);

        let (nearest_spot, distance) = nearest(&self.lenticels, direction);
        let speckle = 1.0 - smooth_step(0.5 * LENTICEL_RADIUS, 1.3 * LENTICEL_RADIUS, distance);
        albedo = albedo.lerp(self.ground * 1.05, 0.55 * speckle);

        // The cavities: russet and green at the stem, brown at the calyx.
        let stem_end = 1.0 - smooth_step(0.12, 0.5 + 0.1 * streak, polar);
        albedo = albedo.lerp(linear([150, 138, 62]), 0.75 * stem_end);
        let calyx_end = smooth_step(2.83, 3.08, polar);
        albedo = albedo.lerp(linear([92, 70, 34]), 0.8 * calyx_end);
        SkinPoint { albedo, gloss: 0.34 * (1.0 - stem_end), nearest_spot }
    }
}

/// Even orange with a fine relief of pores and slow changes of colour.
#[derive(Debug, Clone)]
pub(crate) struct OrangeSkin {
    pores: NoiseField,
    patches: NoiseField,
}

impl OrangeSkin {
    pub(crate) fn new(random: &mut Xoshiro256PlusPlus) -> Self {
        Self { pores: NoiseField::new(random.r#gen()), patches: NoiseField::new(random.r#gen()) }
    }

    fn at(&self, direction: Vec3) -> SkinPoint {
        let polar = arc_cosine(direction.y);
        let ripeness = 0.5 + 0.5 * self.patches.rough(direction * 1.6);
        let pore = smooth_step(0.15, 0.75, self.pore_depth(direction));
        let mut albedo = linear([246, 152, 26]).lerp(linear([240, 124, 12]), ripeness);
        albedo *= 1.0 - 0.16 * pore;
        albedo = albedo.lerp(linear([196, 150, 48]), 0.6 * (1.0 - smooth_step(0.08, 0.3, polar)));
        albedo = albedo.lerp(linear([120, 66, 14]), 0.9 * smooth_step(3.03, 3.11, polar));
        SkinPoint { albedo, gloss: 0.3, nearest_spot: direction }
    }

    fn pore_depth(&self, direction: Vec3) -> f32 {
        self.pores.at(direction * 19.0)
    }

    fn relief(&self, direction: Vec3) -> f32 {
        -0.008 * smooth_step(-0.1, 0.8, self.pore_depth(direction))
    }
}

/// Red, paler at the shoulder, with yellow seeds (achenes) in small hollows.
#[derive(Debug, Clone)]
pub(crate) struct StrawberrySkin {
    achenes: Vec<Vec3>,
    patches: NoiseField,
}

impl StrawberrySkin {
    const HOLLOW_RADIUS: f32 = 0.1;

    pub(crate) fn new(random: &mut Xoshiro256PlusPlus) -> Self {
        Self { achenes: spiral_of_directions(190, random), patches: NoiseField::new(random.r#gen()) }
    }

    fn at(&self, direction: Vec3) -> SkinPoint {
        let polar = arc_cosine(direction.y);
        let patch = self.patches.rough(direction * 2.4);
        let ripe = smooth_step(0.2, 0.85, polar + 0.3 * patch);
        let red = linear([206, 26, 30]).lerp(linear([150, 8, 22]), 0.5 + 0.5 * patch);
        let mut albedo = linear([240, 206, 150]).lerp(red, ripe);
        let (nearest_spot, distance) = nearest(&self.achenes, direction);
        let hollow = 1.0 - smooth_step(0.03, Self::HOLLOW_RADIUS, distance);
        albedo *= 1.0 - 0.4 * hollow;
        let achene = 1.0 - smooth_step(0.022, 0.036, distance);
        let seed_colour = linear([236, 190, 84]).lerp(linear([150, 96, 30]), 0.5 + 0.5 * patch);
        albedo = albedo.lerp(seed_colour, achene);
        SkinPoint { albedo, gloss: 0.42 * (1.0 - achene), nearest_spot }
    }

    fn relief(direction: Vec3, achene: Vec3) -> f32 {
        -0.035 * (1.0 - smooth_step(0.02, Self::HOLLOW_RADIUS, direction.distance(achene)))
    }
}

/// The unit vector around the axis that says on which meridian `direction` lies (short only next to the poles).
fn meridian(direction: Vec3) -> Vec3 {
    let around = Vec3::new(direction.x, 0.0, direction.z);
    around / (around.length_squared() + 1e-3).sqrt()
}

/// The spot nearest to `direction` and its distance (a chord of the unit ball).
fn nearest(spots: &[Vec3], direction: Vec3) -> (Vec3, f32) {
    let (mut nearest, mut largest_cosine) = (-direction, -1.0_f32);
    for &spot in spots {
        let cosine = spot.dot(direction);
        if cosine > largest_cosine {
            (nearest, largest_cosine) = (spot, cosine);
        }
    }
    (nearest, nearest.distance(direction))
}

/// Uniform on the unit ball, by rejection from the cube.
fn random_direction(random: &mut Xoshiro256PlusPlus) -> Vec3 {
    loop {
        let point =
            Vec3::new(random.gen_range(-1.0..1.0), random.gen_range(-1.0..1.0), random.gen_range(-1.0..1.0));
        if (0.01..=1.0).contains(&point.length_squared()) {
            return point.normalize();
        }
    }
}

/// Directions in the rows of a spiral, each shifted a little: as seeds grow. The golden angle keeps neighbours apart.
fn spiral_of_directions(count: usize, random: &mut Xoshiro256PlusPlus) -> Vec<Vec3> {
    const GOLDEN_ANGLE_DEGREES: f32 = 137.507_77;
    (0..count)
        .map(|index| {
            let height = 1.0 - (2.0 * index as f32 + 1.0) / count as f32;
            let around = (1.0 - height * height).sqrt();
            let (sine, cosine) = sin_cos_degrees(index as f32 * GOLDEN_ANGLE_DEGREES);
            let shift = random_direction(random) * 0.022;
            (Vec3::new(cosine * around, height, sine * around) + shift).normalize()
        })
        .collect()
}

/// sRGB to linear light, with the transfer curve taken as a square: its inverse is a square root, which is exactly rounded everywhere.
pub(crate) fn linear(srgb: [u8; 3]) -> Vec3 {
    let encoded = Vec3::from_array(srgb.map(|channel| f32::from(channel) / 255.0));
    encoded * encoded
}
