//! The solid: a body of revolution with a little unevenness, and where a line of sight meets it.
//!
//! Body coordinates: the origin is inside, the stem end is towards +y, lengths are in about half a fruit's width.

use glam::Vec3;

use crate::noise::NoiseField;
use crate::portable_math::arc_cosine;

/// Polar angles between the knots of a profile: 15 degrees.
const KNOT_SPACING: f32 = std::f32::consts::PI / 12.0;

/// A star-shaped solid: one radius for every direction.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    /// Radius at the polar angles 0, 15, ..., 180 degrees from the stem end.
    profile: [f32; 13],
    /// Share by which the radius strays from the profile.
    unevenness: f32,
    strays: NoiseField,
    /// No point of the surface is further from the origin.
    bounding_radius: f32,
}

impl Body {
    pub(crate) fn new(profile: [f32; 13], unevenness: f32, seed: u32) -> Self {
        // Between knots the curve may pass the higher one a little.
        let bounding_radius = profile.into_iter().fold(0.0, f32::max) * (1.0 + unevenness) * 1.03;
        Self { profile, unevenness, strays: NoiseField::new(seed), bounding_radius }
    }

    /// The distance of the surface from the origin in the unit direction `direction`.
    pub(crate) fn radius(&self, direction: Vec3) -> f32 {
        self.profile_radius(direction.y) * self.stray(direction)
    }

    /// The factor by which the radius strays from the profile.
    fn stray(&self, direction: Vec3) -> f32 {
        1.0 + self.unevenness * self.strays.at(direction * 1.7)
    }

    /// Catmull-Rom through the profile's knots, mirrored at the poles so that the surface is smooth there.
    fn profile_radius(&self, cosine: f32) -> f32 {
        let position = arc_cosine(cosine) / KNOT_SPACING;
        let knot = (position as usize).min(11);
        let t = position - knot as f32;
        let before = self.profile[if knot == 0 { 1 } else { knot - 1 }];
        let from = self.profile[knot];
        let to = self.profile[knot + 1];
        let after = self.profile[if knot == 11 { 11 } else { knot + 2 }];
        let quadratic = 2.0 * before - 5.0 * from + 4.0 * to - after;
        let cubic = 3.0 * (from - to) + after - before;
        from + 0.5 * t * ((to - before) + t * (quadratic + t * cubic))
    }

    /// The first point of the surface on the line from `origin` (outside) along the unit vector `direction`.
    pub(crate) fn first_hit(&self, origin: Vec3, direction: Vec3) -> Option<Vec3> {
        // Enter the bounding sphere, then walk: the height above the surface, shortened because the surface may slope towards
        // us, never steps across a fold as deep as a stem cavity.
        const SHORTENING: f32 = 0.8;
        const CLOSE_ENOUGH: f32 = 5e-4;
        const MOST_STEPS: usize = 96;

        let to_middle = -origin.dot(direction);
        let miss_squared = origin.length_squared() - to_middle * to_middle;
        let half_chord_squared = self.bounding_radius * self.bounding_radius - miss_squared;
        if half_chord_squared <= 0.0 {
            return None;
        }
        let half_chord = half_chord_squared.sqrt();
        let mut along = to_middle - half_chord;
        for _ in 0..MOST_STEPS {
            if along > to_middle + half_chord {
                return None;
            }
            let point = origin + direction * along;
            let distance = point.length();
            let heading = point / distance.max(1e-6);
            let profile_radius = self.profile_radius(heading.y);
            // The unevenness costs most of the time and matters only near the surface.
            let mut height = distance - profile_radius * (1.0 + self.unevenness);
            if height < 0.01 {
                height = distance - profile_radius * self.stray(heading);
                if height < CLOSE_ENOUGH {
                    return Some(point);
                }
            }
            along += height * SHORTENING;
        }
        None
    }

    /// The outward unit normal at `point` of the surface raised by `relief` (a height for every unit direction).
    pub(crate) fn normal(&self, point: Vec3, relief: impl Fn(Vec3) -> f32) -> Vec3 {
        const STEP: f32 = 4e-3;
        let height = |at: Vec3| {
            let distance = at.length();
            let direction = at / distance;
            distance - self.radius(direction) - relief(direction)
        };
        // Four samples on a tetrahedron give the gradient with no preferred axis.
        let gradient: Vec3 = [
            Vec3::new(1.0, -1.0, -1.0),
            Vec3::new(-1.0, -1.0, 1.0),
            Vec3::new(-1.0, 1.0, -1.0),
            Vec3::new(1.0, 1.0, 1.0),
        ]
        .into_iter()
        .map(|corner| corner * height(point + corner * STEP))
        .sum();
        gradient.normalize_or(point.normalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_sight_meets_a_ball_where_geometry_says() {
        let ball = Body::new([1.0; 13], 0.0, 0);
        for x in [-0.9_f32, -0.3, 0.0, 0.5, 0.95] {
            let hit = ball.first_hit(Vec3::new(x, 0.1, 2.0), Vec3::NEG_Z).expect("inside the outline");
            let depth = (1.0 - x * x - 0.01).sqrt();
            // The walk stops 5e-4 above the surface, which a grazing line of sight stretches.
            assert!((hit.z - depth).abs() < 5e-3, "at {x}: {} instead of {depth}", hit.z);
            let normal = ball.normal(hit, |_| 0.0);
            assert!(normal.dot(hit.normalize()) > 0.9999, "at {x}: {normal}");
        }
        assert_eq!(ball.first_hit(Vec3::new(1.05, 0.0, 2.0), Vec3::NEG_Z), None);
    }

    #[test]
    fn the_profile_passes_through_its_knots() {
        let profile = [0.6, 0.8, 0.9, 1.0, 1.0, 0.95, 0.9, 0.9, 0.85, 0.8, 0.8, 0.75, 0.7];
        let body = Body::new(profile, 0.0, 0);
        for (knot, radius) in profile.into_iter().enumerate() {
            let cosine = (15.0 * knot as f32).to_radians().cos();
            // The arc cosine's 2e-4 radians, times the steepest slope between two knots (about 1).
            assert!((body.profile_radius(cosine) - radius).abs() < 2e-4, "knot {knot}");
        }
    }
}
