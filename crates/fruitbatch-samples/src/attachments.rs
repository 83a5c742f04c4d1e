//! What grows on a fruit: stem, leaf, sepals. Small flat facets in body coordinates.

use glam::Vec3;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::portable_math::sin_cos_degrees;
use crate::skin::linear;

/// A flat piece of one colour.
#[derive(Debug, Clone)]
pub(crate) struct Facet {
    /// Three or four corners in body coordinates, in order.
    pub(crate) corners: Vec<Vec3>,
    /// Linear, before light.
    pub(crate) albedo: Vec3,
}

/// A bent, tapering, round stalk.
pub(crate) struct Stalk {
    pub(crate) foot: Vec3,
    pub(crate) tip: Vec3,
    /// How far the middle is pushed aside.
    pub(crate) bend: Vec3,
    pub(crate) radius: f32,
    /// sRGB.
    pub(crate) colour: [u8; 3],
}

impl Stalk {
    /// The stalk as a prism of eight sides, wider at its end as stalks are.
    pub(crate) fn facets(&self) -> Vec<Facet> {
        const PIECES: usize = 6;
        const SIDES: usize = 8;
        let axis = (self.tip - self.foot).normalize();
        let (across, along) = axis.any_orthonormal_pair();
        let ring = |piece: usize| -> Vec<Vec3> {
            let t = piece as f32 / PIECES as f32;
            let middle = self.foot.lerp(self.tip, t) + self.bend * (4.0 * t * (1.0 - t));
            let radius = self.radius * (0.8 + 0.7 * t * t * t);
            (0..SIDES)
                .map(|side| {
                    let (sine, cosine) = sin_cos_degrees(side as f32 * (360.0 / SIDES as f32));
                    middle + (across * cosine + along * sine) * radius
                })
                .collect()
        };
        let mut facets: Vec<Facet> = Vec::new();
        for piece in 0..PIECES {
            let (lower, upper) = (ring(piece), ring(piece + 1));
            for side in 0..SIDES {
                let next = (side + 1) % SIDES;
                facets.push(Facet {
                    corners: vec![lower[side], lower[next], upper[next], upper[side]],
                    albedo: linear(self.colour),
                });
            }
        }
        let cut_end = linear(self.colour).lerp(linear([196, 172, 120]), 0.4);
        facets.push(Facet { corners: ring(PIECES), albedo: cut_end });
        facets
    }
}

/// A pointed leaf or sepal, folded along its middle.
pub(crate) struct Blade {
    pub(crate) foot: Vec3,
    /// Unit vector from the foot towards the tip, before drooping.
    pub(crate) direction: Vec3,
    /// Unit vector out of the blade's upper side.
    pub(crate) upper_side: Vec3,
    pub(crate) length: f32,
    pub(crate) width: f32,
    /// How far the tip bends away from `upper_side`, as a share of the length; negative: it curls up.
    pub(crate) droop: f32,
    /// sRGB.
    pub(crate) colour: [u8; 3],
}

impl Blade {
    pub(crate) fn facets(&self) -> Vec<Facet> {
        const PIECES: usize = 7;
        let across = self.direction.cross(self.upper_side).normalize();
        let spine = |t: f32| {
            self.foot + self.direction * (self.length * t)
                - self.upper_side * (self.droop * self.length * t * t)
        };
        // Widest at a third of the length, pointed at both ends; the edges stand higher than the spine.
        let half_width = |t: f32| 0.5 * self.width * (1.0 - t) * (t + 0.12).sqrt() * 2.1;
        let edge = |t: f32, side: f32| spine(t) + (across * side + self.upper_side * 0.35) * half_width(t);
        let mut facets = Vec::with_capacity(2 * PIECES);
        for piece in 0..PIECES {
            let (near, far) = (piece as f32 / PIECES as f32, (piece + 1) as f32 / PIECES as f32);
            for (side, tone) in [(-1.0, 1.0), (1.0, 0.82)] {
                facets.push(Facet {
                    corners: vec![spine(near), spine(far), edge(far, side), edge(near, side)],
                    albedo: linear(self.colour) * tone,
                });
            }
        }
        facets
    }
}

/// Blades around the axis at height `foot_height`, as a calyx or a crown of sepals.
pub(crate) struct Crown {
    pub(crate) count: usize,
    pub(crate) foot_height: f32,
    /// Distance of the feet from the axis.
    pub(crate) foot_distance: f32,
    /// How steeply the blades rise from the horizontal, in degrees.
    pub(crate) rise_degrees: f32,
    pub(crate) length: f32,
    pub(crate) width: f32,
    pub(crate) droop: f32,
    pub(crate) colour: [u8; 3],
    /// 1 for a crown at the stem end, -1 at the other end.
    pub(crate) end: f32,
}

impl Crown {
    pub(crate) fn facets(&self, random: &mut Xoshiro256PlusPlus) -> Vec<Facet> {
        let spacing = 360.0 / self.count as f32;
        (0..self.count)
            .flat_map(|index| {
                let around = spacing * (index as f32 + random.gen_range(-0.28..0.28));
                let (sine, cosine) = sin_cos_degrees(around);
                let outward = Vec3::new(cosine, 0.0, sine);
                let (rise, level) = sin_cos_degrees(self.rise_degrees + random.gen_range(-9.0..9.0));
                let up = Vec3::Y * self.end;
                let shade: f32 = random.gen_range(0.86..1.1);
                Blade {
                    foot: outward * self.foot_distance + Vec3::Y * self.foot_height,
                    direction: outward * level + up * rise,
                    upper_side: up * level - outward * rise,
                    length: self.length * random.gen_range(0.8..1.2),
                    width: self.width,
                    droop: self.droop * random.gen_range(0.4..1.6),
                    colour: self.colour.map(|channel| (f32::from(channel) * shade).min(255.0) as u8),
                }
                .facets()
            })
            .collect()
    }
}
