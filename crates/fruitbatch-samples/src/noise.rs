//! Seeded noise: smooth fields in space for skins, grain for the camera.

use glam::Vec3;

/// A smooth random field in space: seeded values on the integer lattice, blended between its points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoiseField {
    seed: u32,
}

impl NoiseField {
    pub(crate) fn new(seed: u32) -> Self {
        Self { seed }
    }

    /// The field at `position`, in -1..=1; features are about one unit across.
    pub(crate) fn at(self, position: Vec3) -> f32 {
        let lattice = position.to_array().map(floor);
        let within = position - Vec3::from_array(lattice.map(|coordinate| coordinate as f32));
        let blend = within * within * (Vec3::splat(3.0) - within * 2.0);
        let [x, y, z] = lattice;
        let corner = |dx: i32, dy: i32, dz: i32| self.lattice_value(x + dx, y + dy, z + dz);
        let along_x = |dy: i32, dz: i32| mix(corner(0, dy, dz), corner(1, dy, dz), blend.x);
        let along_y = |dz: i32| mix(along_x(0, dz), along_x(1, dz), blend.y);
        mix(along_y(0), along_y(1), blend.z)
    }

    /// Three octaves of [`Self::at`]: broad shapes with finer and finer edges, in about -1..=1.
    pub(crate) fn rough(self, position: Vec3) -> f32 {
        let offset = Vec3::new(17.3, 5.1, 9.7);
        (self.at(position)
            + 0.5 * self.at(position * 2.03 + offset)
            + 0.25 * self.at(position * 4.11 - offset))
            / 1.5
    }

    fn lattice_value(self, x: i32, y: i32, z: i32) -> f32 {
        let hash = scramble(
            (x as u32).wrapping_mul(0x8da6_b343)
                ^ (y as u32).wrapping_mul(0xd816_3841)
                ^ (z as u32).wrapping_mul(0xcb1a_b31f)
                ^ self.seed,
        );
        (hash >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

/// `f32::floor` by conversion, which the oldest x86-64 processors have an instruction for.
fn floor(coordinate: f32) -> i32 {
    let towards_zero = coordinate as i32;
    towards_zero - i32::from(coordinate < towards_zero as f32)
}

fn mix(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

/// Every bit of the result depends on every bit of `value` (the finaliser of `MurmurHash3`).
fn scramble(mut value: u32) -> u32 {
    value ^= value >> 16;
    value = value.wrapping_mul(0x85eb_ca6b);
    value ^= value >> 13;
    value = value.wrapping_mul(0xc2b2_ae35);
    value ^ (value >> 16)
}
