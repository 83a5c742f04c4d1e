//! How much memory features take to make, and keeping it below a limit.
//!
//! A process that makes features takes
//!
//! ```text
//! program + 4 x parameters + transformed + threads x workspace + pixels x (bytes a pixel + slots x 12) + slots x (reading + decoding)
//! ```
//!
//! * *program*: 100 MB, ONNX Runtime's library included.
//! * *parameters*: the model's, in 4 bytes each. They are there up to four times while a model is loaded, and twice afterwards.
//! * *transformed*: once more those of fast convolutions, whose filters are four times as large once they are transformed
//!   ([`fruitbatch_winograd`]): instead of the copies, that is, and one more.
//! * *workspace*: 20 MB a thread, for the tiles of fast convolutions or ONNX Runtime's own blocks.
//! * *pixels*: those of a batch, times the bytes that the most demanding operator reads and writes for each of them, times 2.25: ONNX
//!   Runtime keeps what it once asked for, and asks for powers of two. And once more as the model's input, for each slot.
//! * *reading*: what [the scan](https://docs.rs/fruitbatch-scan) holds: at most four batches of photos as they are stored.
//! * *decoding*: 14 bytes for each pixel of the photo that is being decoded, which is what a progressive JPEG takes (a baseline one: 6).
//!
//! With a [`MemoryLimit`], an eighth of it is for reading; of what is left beside program, weights and workspaces, a half at most is for
//! the batch and the rest for decoding. Batches shrink until they fit; a photo that is too large to be decoded beside others is
//! decoded alone; one that is too large for that, too, is a failure that says so.
//!
//! What isn't in it: a photo's file that is larger than its share of reading, up to four times; files made to cost, of which a decoder
//! takes up to 25 bytes a pixel and 64 MiB; a second model in the same process; and other providers than the processor, whose
//! libraries keep copies of their own.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fruitbatch_onnx::messages::Model;
use fruitbatch_onnx::tensors;

use crate::embed_spec::{EmbedSpec, ImageSize};
use crate::fast_convolutions::FastConvolutions;
use crate::shapes::largest_step;

const PROGRAM: u64 = 100_000_000;
const PARAMETER_COPIES: u64 = 4;
const WORKSPACE: u64 = 20_000_000;
/// Of graphs that can't be followed: those of VGG16, the largest of the common ones.
const USUAL_VALUES_A_PIXEL: u64 = 128;
const BYTES_A_VALUE: u64 = 4;
/// In quarters.
const ARENA_QUARTERS: u64 = 9;
/// The side at which feature maps are looked at: padding at their rims weighs less the larger they are.
const LOOKED_AT: u32 = 224;
const DECODING: u64 = 14;
/// A photo as a model's input: three planes of float32.
const INPUT: u64 = 12;
/// Photos of no more pixels are decoded beside others when there is no limit: those of a good camera.
const USUAL_PHOTO: u64 = 24_000_000;
/// The share of a limit that is for reading.
const READING_SHARE: u64 = 8;
/// Batches of photos that a slot holds at most (see `fruitbatch_scan::ScanOptions`).
const READ_BATCHES: u64 = 4;

/// The memory that a process may take.
///
/// ```
/// use fruitbatch_vision::MemoryLimit;
///
/// let limit = MemoryLimit { bytes: 1_600_000_000, slots: 2, threads: 2 };
/// // An eighth for reading, by two slots with four batches each.
/// assert_eq!(limit.read_batch_bytes(), 25_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// All of it, in bytes.
    pub bytes: u64,
    /// Tasks at a time.
    pub slots: u64,
    /// Threads of a model.
    pub threads: u64,
}

impl MemoryLimit {
    /// What a batch of photos may have, as they are stored.
    pub fn read_batch_bytes(&self) -> u64 {
        (self.bytes / READING_SHARE / READ_BATCHES / self.slots.max(1)).max(1)
    }
}

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelMemory {
    /// Its parameters, with all copies.
    parameters: u64,
    /// For each pixel of a batch, in bytes.
    pixel: u64,
}

/// The bytes of a model's parameters.
pub(crate) fn parameter_bytes(model: &Model) -> u64 {
    let parameters = model.graph.iter().flat_map(|graph| &graph.initializer);
    parameters.filter_map(|tensor| tensors::element_count(tensor).ok()).sum::<u64>() * BYTES_A_VALUE
}

/// What photos of a spec may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Pixels of a batch.
    pub(crate) batch_pixels: u64,
    /// Pixels of a photo that is decoded beside others.
    pub(crate) decoded_beside_others: u64,
    /// Pixels of a photo that is decoded alone.
    pub(crate) decoded_alone: u64,
}

impl Shares {
    pub(crate) const UNLIMITED: Self =
        Self { batch_pixels: u64::MAX, decoded_beside_others: USUAL_PHOTO, decoded_alone: u64::MAX };
}

impl ModelMemory {
    /// That of a model as it is loaded, out of which `taken` were taken. `stored` are its parameters' bytes before that.
    pub(crate) fn of(model: &Model, stored: u64, taken: &FastConvolutions) -> Self {
        let filters = taken
            .iter()
            .map(|convolution| convolution.channels())
            .map(|channels| channels.input * channels.output * 9);
        let transformed = filters.sum::<usize>() as u64 * BYTES_A_VALUE;
        let pixels = u64::from(LOOKED_AT) * u64::from(LOOKED_AT);
        let followed =
            model.graph.as_ref().and_then(|graph| largest_step(graph, taken, LOOKED_AT, LOOKED_AT));
        let values = followed.map_or(USUAL_VALUES_A_PIXEL, |values| values.div_ceil(pixels));
        Self {
            parameters: PARAMETER_COPIES * stored + transformed,
            pixel: values * BYTES_A_VALUE * ARENA_QUARTERS / 4,
        }
    }

    /// How a limit is shared out; if it is too small for one photo in a batch, the least that would do.
    pub(crate) fn share(&self, limit: &MemoryLimit, spec: &EmbedSpec) -> Result<Shares, u64> {
        let reading = limit.bytes / READING_SHARE;
        let fixed = PROGRAM + self.parameters + limit.threads * WORKSPACE;
        let side = match (spec.image_size, spec.max_side) {
            (ImageSize::Square(side), _) | (ImageSize::Native, Some(side)) => u64::from(side),
            (ImageSize::Native, None) => 0,
        };
        // Each slot gathers a batch of its own.
        let pixel = self.pixel + limit.slots * INPUT;
        let one_photo = side * side * pixel;
        let rest = limit.bytes.saturating_sub(reading + fixed);
        if rest / 2 < one_photo {
            return Err((fixed + 2 * one_photo) * READING_SHARE / (READING_SHARE - 1) + 1);
        }
        // A photo that is larger than a batch is one by itself.
        let wanted = spec.batch_limits().0.max(side * side);
        let batch = (wanted * pixel).min(rest / 2);
        let decoded_alone = (rest - batch) / DECODING;
        Ok(Shares {
            batch_pixels: batch / pixel,
            decoded_beside_others: decoded_alone / limit.slots.max(1),
            decoded_alone,
        })
    }
}

/// Lets several photos of usual size be decoded at a time, or one large one.
#[derive(Debug, Default)]
pub(crate) struct DecodeGate(RwLock<()>);

impl DecodeGate {
    pub(crate) fn beside_others(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::embed_spec::EmbedOptions;

    /// As VGG16, directly: 59 MB of parameters, and 2 x 64 values a pixel in its first layers.
    const VGG16: ModelMemory = ModelMemory { parameters: 4 * 58_859_000, pixel: 1152 };

    fn spec() -> EmbedSpec {
        EmbedSpec::resolve(&Catalogue::compiled_in(), &EmbedOptions::new("vgg16")).unwrap()
    }

    fn limit(bytes: u64) -> MemoryLimit {
        MemoryLimit { bytes, slots: 2, threads: 2 }
    }

    #[test]
    fn batches_shrink_with_the_limit_and_the_parts_never_exceed_it() {
        let photo = 224 * 224;
        let roomy = VGG16.share(&limit(4_000_000_000), &spec()).unwrap();
        assert_eq!(roomy.batch_pixels, 8 * photo);
        let mut before = roomy.batch_pixels;
        for bytes in [2_000_000_000, 1_500_000_000, 1_200_000_000, 1_000_000_000, 700_000_000] {
            let shares = VGG16.share(&limit(bytes), &spec()).unwrap();
            assert!(shares.batch_pixels <= before && shares.batch_pixels >= photo, "{bytes}: {shares:?}");
            before = shares.batch_pixels;
            let fixed = PROGRAM + VGG16.parameters + 2 * WORKSPACE;
            let reading = 2 * READ_BATCHES * limit(bytes).read_batch_bytes();
            let decoding = (shares.decoded_alone).max(2 * shares.decoded_beside_others) * DECODING;
            let all = fixed + reading + shares.batch_pixels * (VGG16.pixel + 2 * INPUT) + decoding;
            assert!(all <= bytes, "{bytes}: {all}");
        }
    }

    #[test]
    fn one_photo_larger_than_a_batch_is_counted_as_what_it_is() {
        let native =
            EmbedSpec { image_size: ImageSize::Native, max_side: Some(512), batch_size: 1, ..spec() };
        let shares = VGG16.share(&limit(4_000_000_000), &native).unwrap();
        assert_eq!(shares.batch_pixels, 512 * 512);
    }

    #[test]
    fn a_limit_that_is_too_small_says_what_would_do() {
        let least = VGG16.share(&limit(400_000_000), &spec()).unwrap_err();
        assert!(VGG16.share(&limit(least), &spec()).is_ok(), "{least}");
        assert!(VGG16.share(&limit(least - 10_000_000), &spec()).is_err(), "{least}");
    }
}
