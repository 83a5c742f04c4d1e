//! Sine, cosine and arc cosine from exactly rounded operations alone, so that every processor and every C library gives
//! the same bits. Far more exact than a drawing needs, far less than a math library.

use std::f32::consts::{FRAC_PI_2, PI};

/// Sine and cosine of an angle in degrees; absolute error below 1e-6.
pub(crate) fn sin_cos_degrees(degrees: f32) -> (f32, f32) {
    let turns = degrees / 360.0;
    let within = turns - turns.floor(); // 0..1
    (sine_of_turns(within), sine_of_turns(within + 0.25))
}

/// The sine of `turns` full turns, for 0 <= `turns` < 1.25.
fn sine_of_turns(turns: f32) -> f32 {
    // To -1/4..=1/4 of a turn, where Taylor's series up to x^11 is exact to 6e-8.
    let centred = turns - (turns + 0.5).floor(); // -0.5..0.5
    let folded = if centred > 0.25 {
        0.5 - centred
    } else if centred < -0.25 {
        -0.5 - centred
    } else {
        centred
    };
    let x = folded * (2.0 * PI);
    let squared = x * x;
    let mut series = -1.0 / 39_916_800.0;
    for coefficient in [1.0 / 362_880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0] {
        series = series * squared + coefficient;
    }
    series * x
}

/// The arc cosine in radians of `cosine` in -1..=1 (beyond: clamped); absolute error below 2e-4.
///
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 4.4.45, with pi/2 for the first coefficient: twice the error
/// (6.7e-5 there), but no step at the equator.
pub(crate) fn arc_cosine(cosine: f32) -> f32 {
    let x = cosine.abs().min(1.0);
    let angle = (1.0 - x).sqrt() * (((-0.018_729_3 * x + 0.074_261) * x - 0.212_114_4) * x + FRAC_PI_2);
    if cosine < 0.0 { PI - angle } else { angle }
}

/// Hermite's smooth step from 0 at `low` to 1 at `high`.
pub(crate) fn smooth_step(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_and_cosines_agree_with_the_math_library() {
        for tenth_degrees in -7200_i16..=7200 {
            let degrees = f32::from(tenth_degrees) / 10.0;
            let (sine, cosine) = sin_cos_degrees(degrees);
            let exact = f64::from(degrees).to_radians();
            assert!((f64::from(sine) - exact.sin()).abs() < 1e-6, "sin {degrees}");
            assert!((f64::from(cosine) - exact.cos()).abs() < 1e-6, "cos {degrees}");
        }
    }

    #[test]
    fn arc_cosines_agree_with_the_math_library() {
        for thousandths in -1000_i16..=1000 {
            let cosine = f32::from(thousandths) / 1000.0;
            assert!((f64::from(arc_cosine(cosine)) - f64::from(cosine).acos()).abs() < 2e-4, "acos {cosine}");
        }
    }
}
