//! 3x3 convolutions of stride 1 with a quarter of the multiplications: Winograd's F(4x4, 3x3).
//!
//! Most of the time of a network such as VGG16 goes into 3x3 convolutions, and a processor that computes them directly at its peak
//! leaves nothing to gain but fewer operations. Winograd's algorithm transforms the input tile by tile, multiplies it with filters
//! that were transformed once, and transforms back (Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*,
//! arXiv:1509.09308): 36 products where the direct way takes 144. The products are those of matrices, one thread each, by the crate
//! `gemm`; the transforms are vectors of channels, as long as the processor has them, chosen at run time by the crate `pulp`: AVX-512,
//! AVX2 with FMA, NEON, or none.
//!
//! Numbers in, numbers out: this crate knows no ONNX, no photos and no threads of its own ([`Workers`]).
//!
//! ```
//! use fruitbatch_winograd::{ChannelCounts, Conv3x3, Epilogue, Padding, ThisThread, Workspace};
//!
//! // A filter that takes the pixel left of each, over photos of one channel.
//! let left = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
//! let channels = ChannelCounts { input: 1, output: 1 };
//! let conv = Conv3x3::new(&left, channels, None, Padding::all(1), Epilogue::default())?;
//! let mut output = [0.0; 6];
//! conv.run([1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut output, &ThisThread, &Workspace::default())?;
//! let expected = [0.0, 1.0, 2.0, 0.0, 4.0, 5.0];
//! assert!(output.iter().zip(expected).all(|(found, wanted)| (found - wanted).abs() < 1e-5), "{output:?}");
//! # Ok::<(), fruitbatch_winograd::ConvError>(())
//! ```
//!
//! # Accuracy
//!
//! The transforms take differences of neighbouring numbers and multiply by up to 8, so single precision loses more here than in the
//! direct sum. Tests hold the result against the direct convolution in double precision over random shapes, to
//! [`ERROR_BOUND`] of the largest magnitude that the sum could have had.
//!
//! # Determinism
//!
//! A photo's output is the same bits in any batch, at any place in it, and with any number of workers: every number is one sum in one
//! order, whichever others are computed beside it. Processors with other vectors may differ in the last bits.

#![allow(
    clippy::inline_always,
    reason = "what isn't inlined into a dispatched function isn't compiled for its processor"
)]

mod conv;
mod error;
mod product;
mod tiles;
mod transform;
mod workers;

pub use conv::{ChannelCounts, Conv3x3, Epilogue, Padding};
pub use error::ConvError;
pub use workers::{ThisThread, Workers, Workspace};

/// How far a result may be from the direct convolution in double precision, as a share of the largest sum of magnitudes over the
/// photo: the greatest |weight| x |pixel|, summed over filter and channels. A hundred units of single precision's rounding.
pub const ERROR_BOUND: f64 = 6e-6;
