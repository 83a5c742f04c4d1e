//! Winograd's F(4x4, 3x3): a 4x4 tile of the output out of a 6x6 tile of the input with 36 multiplications instead of 144.
//!
//! The interpolation points are 0, 1, -1, 2, -2 and infinity, as in Lavin and Gray, *Fast Algorithms for Convolutional Neural
//! Networks* (arXiv:1509.09308), whose names the matrices have: Y = A'[(G g G') * (B' d B)]A. Matrices of 6x6 and 4x4 are arrays
//! in the order of their rows; a value is one number, or a vector of them, one for each of so many channels.

use pulp::Simd;

/// The side of the output's tile.
pub(crate) const OUTPUT_TILE: usize = 4;
/// The side of the input's tile: the output's, and what a 3x3 filter sees beyond it.
pub(crate) const INPUT_TILE: usize = OUTPUT_TILE + 2;
/// Values of a transformed tile: the products that are taken one by one.
pub(crate) const PRODUCTS: usize = INPUT_TILE * INPUT_TILE;

/// G g G' of a 3x3 filter, in double precision: it is done once, and rounded once.
#[inline(always)]
pub(crate) fn transform_filter(filter: &[f32; 9]) -> [f32; PRODUCTS] {
    let g = filter.map(f64::from);
    let mut half = [0.0; INPUT_TILE * 3];
    for column in 0..3 {
        let line = filter_line([g[column], g[3 + column], g[6 + column]]);
        for (row, value) in line.into_iter().enumerate() {
            half[row * 3 + column] = value;
        }
    }
    let mut transformed = [0.0; PRODUCTS];
    for (row, half) in transformed.chunks_exact_mut(INPUT_TILE).zip(half.as_chunks::<3>().0) {
        row.copy_from_slice(&filter_line(*half).map(|value| value as f32));
    }
    transformed
}

/// G times a column.
#[inline(always)]
fn filter_line([first, middle, last]: [f64; 3]) -> [f64; INPUT_TILE] {
    let ends = (first + last) * (-1.0 / 6.0);
    let centre = middle * (1.0 / 6.0);
    let slope = first * (1.0 / 24.0) + last * (1.0 / 6.0);
    let halved = middle * (1.0 / 12.0);
    [first * 0.25, ends - centre, ends + centre, slope + halved, slope - halved, last]
}

/// B' d B.
#[inline(always)]
pub(crate) fn transform_input<S: Simd>(simd: S, tile: &mut [S::f32s; PRODUCTS]) {
    for column in 0..INPUT_TILE {
        let d = [0, 1, 2, 3, 4, 5].map(|row| tile[row * INPUT_TILE + column]);
        for (row, value) in input_line(simd, d).into_iter().enumerate() {
            tile[row * INPUT_TILE + column] = value;
        }
    }
    for row in tile.chunks_exact_mut(INPUT_TILE) {
        let d = [row[0], row[1], row[2], row[3], row[4], row[5]];
        row.copy_from_slice(&input_line(simd, d));
    }
}

/// B' times a column.
#[inline(always)]
fn input_line<S: Simd>(simd: S, d: [S::f32s; INPUT_TILE]) -> [S::f32s; INPUT_TILE] {
    let (two, four, minus_four, minus_five) =
        (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(-4.0), simd.splat_f32s(-5.0));
    let even = simd.mul_add_e_f32s(minus_four, d[2], d[4]);
    let odd = simd.mul_add_e_f32s(minus_four, d[1], d[3]);
    let even_2 = simd.sub_f32s(d[4], d[2]);
    let odd_2 = simd.mul_f32s(two, simd.sub_f32s(d[3], d[1]));
    [
        simd.mul_add_e_f32s(four, d[0], simd.mul_add_e_f32s(minus_five, d[2], d[4])),
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(even_2, odd_2),
        simd.sub_f32s(even_2, odd_2),
        simd.mul_add_e_f32s(four, d[1], simd.mul_add_e_f32s(minus_five, d[3], d[5])),
    ]
}

/// A' m A.
#[inline(always)]
pub(crate) fn transform_output<S: Simd>(
    simd: S,
    products: &[S::f32s; PRODUCTS],
) -> [S::f32s; OUTPUT_TILE * OUTPUT_TILE] {
    let mut half = [simd.splat_f32s(0.0); OUTPUT_TILE * INPUT_TILE];
    for column in 0..INPUT_TILE {
        let m = [0, 1, 2, 3, 4, 5].map(|row| products[row * INPUT_TILE + column]);
        for (row, value) in output_line(simd, m).into_iter().enumerate() {
            half[row * INPUT_TILE + column] = value;
        }
    }
    let mut tile = [simd.splat_f32s(0.0); OUTPUT_TILE * OUTPUT_TILE];
    for (row, m) in tile.chunks_exact_mut(OUTPUT_TILE).zip(half.chunks_exact(INPUT_TILE)) {
        row.copy_from_slice(&output_line(simd, [m[0], m[1], m[2], m[3], m[4], m[5]]));
    }
    tile
}

/// A' times a column.
#[inline(always)]
fn output_line<S: Simd>(simd: S, m: [S::f32s; INPUT_TILE]) -> [S::f32s; OUTPUT_TILE] {
    let (two, four, eight) = (simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (sum, difference) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (sum_2, difference_2) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(simd.add_f32s(m[0], sum), sum_2),
        simd.mul_add_e_f32s(two, difference_2, difference),
        simd.mul_add_e_f32s(four, sum_2, sum),
        simd.add_f32s(simd.mul_add_e_f32s(eight, difference_2, difference), m[5]),
    ]
}
