//! Against the direct convolution in double precision, and against itself in other company.

use std::sync::atomic::{AtomicUsize, Ordering};

use fruitbatch_winograd::{
    ChannelCounts, Conv3x3, ConvError, ERROR_BOUND, Epilogue, Padding, ThisThread, Workers, Workspace,
};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// So many threads, which take the tasks as they come.
struct Threads(usize);

impl Workers for Threads {
    fn count(&self) -> usize {
        self.0
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.0 {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= tasks {
                            return;
                        }
                        task(index);
                    }
                });
            }
        });
    }
}

#[derive(Debug)]
struct Case {
    photos: usize,
    height: usize,
    width: usize,
    channels: ChannelCounts,
    padding: Padding,
    epilogue: Epilogue,
}

impl Case {
    fn random(random: &mut Xoshiro256PlusPlus) -> Self {
        let padding = match random.gen_range(0..3) {
            0 => Padding::all(1),
            1 => Padding::default(),
            _ => Padding {
                top: random.gen_range(0..4),
                left: random.gen_range(0..4),
                bottom: random.gen_range(0..4),
                right: random.gen_range(0..4),
            },
        };
        let epilogue = Epilogue { relu: random.r#gen(), max_pool_2x2: random.r#gen() };
        // Enough for one output pixel, or one square of them.
        let least: usize = if epilogue.max_pool_2x2 { 4 } else { 3 };
        let side = |random: &mut Xoshiro256PlusPlus, padding: usize| {
            random.gen_range(1..20_usize).max(least.saturating_sub(padding)).max(1)
        };
        Self {
            photos: random.gen_range(1..4),
            height: side(random, padding.top + padding.bottom),
            width: side(random, padding.left + padding.right),
            channels: ChannelCounts { input: channels(random), output: channels(random) },
            padding,
            epilogue,
        }
    }

    fn numbers(&self, random: &mut Xoshiro256PlusPlus) -> Numbers {
        let ChannelCounts { input, output } = self.channels;
        let mut some = |count: usize, spread: f32| -> Vec<f32> {
            (0..count).map(|_| random.gen_range(-spread..spread)).collect()
        };
        Numbers {
            weights: some(output * input * 9, 0.2),
            bias: some(output, 1.0),
            photos: some(self.photos * self.height * self.width * input, 50.0),
        }
    }

    fn conv(&self, numbers: &Numbers) -> Conv3x3 {
        Conv3x3::new(&numbers.weights, self.channels, Some(&numbers.bias), self.padding, self.epilogue)
            .expect("the numbers are as many as they should be")
    }

    fn run(&self, numbers: &Numbers, workers: &dyn Workers) -> Vec<f32> {
        let conv = self.conv(numbers);
        let (rows, columns) = conv.output_size(self.height, self.width).expect("it is large enough");
        // What was there before must not matter.
        let mut output = vec![f32::NAN; self.photos * rows * columns * self.channels.output];
        conv.run(
            [self.photos, self.height, self.width],
            &numbers.photos,
            &mut output,
            workers,
            &Workspace::default(),
        )
        .expect("the slices are as long as they should be");
        output
    }

    /// The definition, in double precision: the sums, and for each the largest magnitude that one over the same filter had.
    fn direct(&self, numbers: &Numbers) -> (Vec<f64>, f64) {
        let ChannelCounts { input: channels_in, output: channels_out } = self.channels;
        let rows = self.height + self.padding.top + self.padding.bottom - 2;
        let columns = self.width + self.padding.left + self.padding.right - 2;
        let mut magnitude = 0.0_f64;
        let mut sums = vec![0.0; self.photos * rows * columns * channels_out];
        for photo in 0..self.photos {
            for (row, column, channel) in triples(rows, columns, channels_out) {
                let (mut sum, mut size) = (f64::from(numbers.bias[channel]), 0.0);
                for (i, j, of_input) in triples(3, 3, channels_in) {
                    let y = (row + i).wrapping_sub(self.padding.top);
                    let x = (column + j).wrapping_sub(self.padding.left);
                    if y < self.height && x < self.width {
                        let pixel = ((photo * self.height + y) * self.width + x) * channels_in + of_input;
                        let weight = ((channel * channels_in + of_input) * 3 + i) * 3 + j;
                        let product = f64::from(numbers.photos[pixel]) * f64::from(numbers.weights[weight]);
                        sum += product;
                        size += product.abs();
                    }
                }
                magnitude = magnitude.max(size);
                let sum = if self.epilogue.relu { sum.max(0.0) } else { sum };
                sums[((photo * rows + row) * columns + column) * channels_out + channel] = sum;
            }
        }
        if !self.epilogue.max_pool_2x2 {
            return (sums, magnitude);
        }
        let mut pooled = Vec::new();
        for photo in 0..self.photos {
            for (row, column, channel) in triples(rows / 2, columns / 2, channels_out) {
                let at = |i: usize, j: usize| {
                    sums[((photo * rows + 2 * row + i) * columns + 2 * column + j) * channels_out + channel]
                };
                pooled.push(at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1)));
            }
        }
        (pooled, magnitude)
    }
}

struct Numbers {
    weights: Vec<f32>,
    bias: Vec<f32>,
    photos: Vec<f32>,
}

/// Of no vector's length, of one or of several; now and then more than are summed in one go.
fn channels(random: &mut Xoshiro256PlusPlus) -> usize {
    match random.gen_range(0..12) {
        0 => 1,
        1 => 16 * random.gen_range(1..9),
        2 => random.gen_range(510..600),
        _ => random.gen_range(1..40),
    }
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |x| (0..b).flat_map(move |y| (0..c).map(move |z| (x, y, z))))
}

#[test]
fn the_result_is_that_of_the_direct_convolution() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(20);
    let mut worst = 0.0_f64;
    for _ in 0..150 {
        let case = Case::random(&mut random);
        let numbers = case.numbers(&mut random);
        let (expected, magnitude) = case.direct(&numbers);
        let found = case.run(&numbers, &Threads(random.gen_range(1..4)));
        assert_eq!(found.len(), expected.len(), "{case:?}");
        for (found, expected) in found.iter().zip(&expected) {
            let error = (f64::from(*found) - expected).abs() / magnitude.max(f64::MIN_POSITIVE);
            worst = worst.max(error);
            assert!(error <= ERROR_BOUND, "{found} instead of {expected}: {error:e} in {case:?}");
        }
    }
    println!("the worst error: {worst:e}, the bound: {ERROR_BOUND:e}");
    // A bound that nothing comes near would hold anything.
    assert!(worst > ERROR_BOUND / 50.0, "{worst:e}");
}

#[test]
fn a_photo_gives_the_same_bits_in_any_company() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(21);
    for _ in 0..60 {
        let case = Case { photos: random.gen_range(1..9), ..Case::random(&mut random) };
        let numbers = case.numbers(&mut random);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let together = case.run(&numbers, &ThisThread);
        for workers in [2, 3, 7] {
            assert_eq!(bits(&case.run(&numbers, &Threads(workers))), bits(&together), "{workers}: {case:?}");
        }
        let alone = Case { photos: 1, ..case };
        let pixels = numbers.photos.len() / case.photos;
        let apart: Vec<f32> = numbers
            .photos
            .chunks_exact(pixels)
            .flat_map(|photo| {
                let numbers = Numbers {
                    weights: numbers.weights.clone(),
                    bias: numbers.bias.clone(),
                    photos: photo.to_vec(),
                };
                alone.run(&numbers, &ThisThread)
            })
            .collect();
        assert_eq!(bits(&apart), bits(&together), "{alone:?}");
    }
}

#[test]
fn numbers_that_are_none_go_through() {
    let channels = ChannelCounts { input: 1, output: 1 };
    let centre = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    let epilogue = Epilogue { relu: true, max_pool_2x2: false };
    let conv = Conv3x3::new(&centre, channels, None, Padding::all(1), epilogue).expect("is a filter");
    let mut output = [0.0; 16];
    conv.run([1, 4, 4], &[f32::NAN; 16], &mut output, &ThisThread, &Workspace::default())
        .expect("the slices are long enough");
    assert!(output.iter().all(|value| value.is_nan()), "{output:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let channels = ChannelCounts { input: 2, output: 3 };
    let new = |weights: usize, bias: usize| {
        let (weights, bias) = (vec![0.0; weights], vec![0.0; bias]);
        Conv3x3::new(&weights, channels, Some(&bias), Padding::default(), Epilogue::default())
    };
    let length = |what, found, expected| ConvError::Length { what, found, expected };
    assert_eq!(new(53, 3).expect_err("too few weights"), length("weights", 53, 54));
    assert_eq!(new(54, 2).expect_err("too few biases"), length("bias", 2, 3));
    let none = ChannelCounts { input: 0, output: 3 };
    let nothing = Conv3x3::new(&[], none, None, Padding::default(), Epilogue::default());
    assert_eq!(nothing.expect_err("no channels"), length("weights", 0, 0));

    let conv = new(54, 3).expect("fits");
    assert_eq!(conv.output_size(2, 5), Err(ConvError::TooSmall { height: 2, width: 5 }));
    let run = |input: usize, output: usize| {
        let mut output = vec![0.0; output];
        conv.run([1, 4, 5], &vec![0.0; input], &mut output, &ThisThread, &Workspace::default())
    };
    assert_eq!(run(39, 18), Err(length("input", 39, 40)));
    assert_eq!(run(40, 19), Err(length("output", 19, 18)));
    assert_eq!(run(40, 18), Ok(()));
    // No photos: nothing to do.
    let nothing = conv.run([0, 4, 5], &[], &mut [], &ThisThread, &Workspace::default());
    assert_eq!(nothing, Ok(()));
}
