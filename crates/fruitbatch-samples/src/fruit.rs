//! The four fruits: which body, which skin, what grows on it.

use glam::Vec3;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::attachments::{Blade, Crown, Facet, Stalk};
use crate::body::Body;
use crate::skin::{AppleColours, AppleSkin, OrangeSkin, Skin, StrawberrySkin};

/// The labels of the set, named as in Fruits-360.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fruit {
    /// A round apple, red over yellow.
    AppleBraeburn,
    /// Its taller, pinker relative.
    ApplePinkLady,
    /// An orange.
    Orange,
    /// A strawberry.
    Strawberry,
}

/// One individual, standing upright.
#[derive(Debug, Clone)]
pub(crate) struct Specimen {
    pub(crate) body: Body,
    pub(crate) skin: Skin,
    pub(crate) attachments: Vec<Facet>,
    /// The point of the axis that stands in the middle of the photo.
    pub(crate) middle: f32,
    /// How far the axis leans from the vertical about which the fruit is turned, in degrees: leaning, it shows its stem end,
    /// its sides and its other end in one turn.
    pub(crate) lean_degrees: f32,
    /// Lengths of the body times this are shares of the photo's width.
    pub(crate) scale: f32,
}

impl Fruit {
    /// All labels, in the order in which they are drawn and listed (by name).
    pub const ALL: [Self; 4] = [Self::AppleBraeburn, Self::ApplePinkLady, Self::Orange, Self::Strawberry];

    /// The folder's name: `Apple Braeburn`.
    pub fn label(self) -> &'static str {
        match self {
            Self::AppleBraeburn => "Apple Braeburn",
            Self::ApplePinkLady => "Apple Pink Lady",
            Self::Orange => "Orange",
            Self::Strawberry => "Strawberry",
        }
    }

    pub(crate) fn grow(self, random: &mut Xoshiro256PlusPlus) -> Specimen {
        match self {
            Self::AppleBraeburn => apple(
                [0.62, 0.87, 1.00, 1.04, 1.03, 1.01, 0.99, 0.96, 0.93, 0.90, 0.88, 0.83, 0.70],
                true,
                &AppleColours {
                    ground: [228, 182, 84],
                    blush: [190, 36, 40],
                    streak: [132, 12, 26],
                    coverage: 0.62,
                    lenticels: 130,
                },
                random,
            ),
            Self::ApplePinkLady => apple(
                [0.67, 0.93, 1.05, 1.05, 1.01, 0.97, 0.94, 0.92, 0.92, 0.92, 0.93, 0.90, 0.75],
                false,
                &AppleColours {
                    ground: [214, 206, 112],
                    blush: [222, 84, 84],
                    streak: [186, 32, 66],
                    coverage: 0.05,
                    lenticels: 80,
                },
                random,
            ),
            Self::Orange => orange(random),
            Self::Strawberry => strawberry(random),
        }
    }
}

fn apple(
    profile: [f32; 13],
    leafy: bool,
    colours: &AppleColours,
    random: &mut Xoshiro256PlusPlus,
) -> Specimen {
    let skin = Skin::Apple(AppleSkin::new(colours, random));
    let aside = random.gen_range(0.1..0.24);
    let tip = Vec3::new(aside, profile[0] + 0.52, 0.3 * aside);
    let stalk = Stalk {
        foot: Vec3::new(0.0, profile[0] - 0.06, 0.0),
        tip,
        bend: Vec3::new(-0.35 * aside, 0.0, 0.2 * aside),
        radius: 0.034,
        colour: [112, 82, 44],
    };
    let leaf = leafy.then(|| Blade {
        foot: Vec3::new(0.35 * aside, profile[0] + 0.22, 0.1 * aside),
        direction: Vec3::new(-0.55, 0.42, -0.72).normalize(),
        upper_side: Vec3::new(-0.25, 0.9, 0.35).normalize(),
        length: 0.62,
        width: 0.3,
        droop: 0.35,
        colour: [92, 132, 48],
    });
    let calyx = Crown {
        count: 5,
        foot_height: -profile[12] - 0.005,
        foot_distance: 0.02,
        rise_degrees: 38.0,
        length: 0.15,
        width: 0.08,
        droop: -0.2,
        colour: [92, 78, 48],
        end: -1.0,
    };
    let mut attachments = stalk.facets();
    attachments.extend(leaf.iter().flat_map(Blade::facets));
    attachments.extend(calyx.facets(random));
    Specimen {
        body: Body::new(profile, 0.05, random.r#gen()),
        skin,
        attachments,
        middle: 0.06,
        lean_degrees: 28.0,
        scale: 0.45,
    }
}

fn orange(random: &mut Xoshiro256PlusPlus) -> Specimen {
    let profile = [0.93, 0.965, 0.99, 1.0, 1.005, 1.01, 1.01, 1.01, 1.005, 1.0, 0.99, 0.975, 0.955];
    let button = Crown {
        count: 6,
        foot_height: profile[0] + 0.005,
        foot_distance: 0.0,
        rise_degrees: 12.0,
        length: 0.13,
        width: 0.1,
        droop: 0.1,
        colour: [112, 124, 66],
        end: 1.0,
    };
    let scar = Stalk {
        foot: Vec3::Y * (profile[0] - 0.02),
        tip: Vec3::Y * (profile[0] + 0.035),
        bend: Vec3::ZERO,
        radius: 0.03,
        colour: [150, 134, 96],
    };
    let mut attachments = button.facets(random);
    attachments.extend(scar.facets());
    Specimen {
        body: Body::new(profile, 0.025, random.r#gen()),
        skin: Skin::Orange(OrangeSkin::new(random)),
        attachments,
        middle: 0.0,
        lean_degrees: 58.0,
        scale: 0.465,
    }
}

fn strawberry(random: &mut Xoshiro256PlusPlus) -> Specimen {
    let profile = [0.50, 0.58, 0.70, 0.78, 0.80, 0.77, 0.73, 0.70, 0.70, 0.75, 0.86, 1.03, 1.11];
    let mut attachments = Crown {
        count: 9,
        foot_height: profile[0] + 0.03,
        foot_distance: 0.05,
        rise_degrees: 34.0,
        length: 0.66,
        width: 0.27,
        droop: 0.42,
        colour: [88, 136, 50],
        end: 1.0,
    }
    .facets(random);
    let stalk = Stalk {
        foot: Vec3::Y * (profile[0] - 0.05),
        tip: Vec3::new(0.08, profile[0] + 0.34, 0.05),
        bend: Vec3::new(0.06, 0.0, -0.03),
        radius: 0.028,
        colour: [118, 150, 66],
    };
    attachments.extend(stalk.facets());
    Specimen {
        body: Body::new(profile, 0.1, random.r#gen()),
        skin: Skin::Strawberry(StrawberrySkin::new(random)),
        attachments,
        middle: -0.12,
        lean_degrees: 24.0,
        scale: 0.48,
    }
}
