//! One photo, from its file's bytes to pixels of the size that the model gets.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use fruitbatch_image::{DecodeError, DecodeLimits, Resizer, RgbImage, decode};

use crate::embed_spec::{EmbedSpec, ImageSize};
use crate::memory::{DecodeGate, Shares};

/// The reason of a photo that is smaller than the model takes.
pub(crate) const TOO_SMALL: &str = "too-small";

/// The reason of a photo at which a decoder panicked: that of [`DecodeError::Corrupt`].
const DECODE_ERROR: &str = "decode-error";

/// Why a photo has no features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoFailure {
    /// One of a closed set: those of [`fruitbatch_image::DecodeError::reason`], and `too-small`.
    pub reason: &'static str,
    /// What exactly, for people.
    pub detail: String,
}

/// [`fruitbatch_image::decode()`], or what a test puts in its place.
type Decode = fn(&[u8], &DecodeLimits) -> Result<RgbImage, DecodeError>;

/// Decodes, orients and resizes photos as a spec says; keeps the resizer's buffers from photo to photo.
pub(crate) struct PhotoPreparer<'spec> {
    spec: &'spec EmbedSpec,
    shares: Shares,
    gate: &'spec DecodeGate,
    resizer: Resizer,
    decode: Decode,
}

impl<'spec> PhotoPreparer<'spec> {
    pub(crate) fn new(spec: &'spec EmbedSpec, shares: Shares, gate: &'spec DecodeGate) -> Self {
        Self { spec, shares, gate, resizer: Resizer::new(), decode }
    }

    /// Prepares one photo. The decoders are others' code and meet hostile files: a panic in one of them is that photo's
    /// failure, and the run goes on.
    pub(crate) fn prepare(&mut self, file: &[u8]) -> Result<RgbImage, PhotoFailure> {
        contain_panic(|| self.decode_and_resize(file)).unwrap_or_else(|message| {
            // Its buffers may be half written.
            self.resizer = Resizer::new();
            let detail = format!("the decoder broke off unexpectedly ({message}); export the photo again");
            Err(PhotoFailure { reason: DECODE_ERROR, detail })
        })
    }

    /// Prepares a photo beside others, or alone if it is large. Its header says which, before anything is decoded.
    fn decode_and_resize(&mut self, file: &[u8]) -> Result<RgbImage, PhotoFailure> {
        let (gate, decode, max_bytes) = (self.gate, self.decode, self.spec.max_bytes);
        let decode = |max_pixels: u64| decode(file, &DecodeLimits { max_pixels, max_bytes });
        let most = self.spec.max_pixels.min(self.shares.decoded_alone);
        let beside_others = most.min(self.shares.decoded_beside_others);
        {
            let _preparing = gate.beside_others();
            match decode(beside_others) {
                Err(DecodeError::TooLarge { .. }) if beside_others < most => {}
                outcome => return self.resize(outcome),
            }
        }
        let _preparing = gate.alone();
        self.resize(decode(most))
    }

    fn resize(&mut self, decoded: Result<RgbImage, DecodeError>) -> Result<RgbImage, PhotoFailure> {
        let photo = decoded.map_err(|error| {
            let is_for_memory =
                matches!(error, DecodeError::TooLarge { limit, .. } if limit == self.shares.decoded_alone);
            let why = if is_for_memory { " (it follows from --memory-limit)" } else { "" };
            PhotoFailure { reason: error.reason(), detail: format!("{error}{why}") }
        })?;
        let photo = self.spec.crop.of(photo);
        match self.spec.image_size {
            ImageSize::Square(size) => Ok(self.resizer.resize(&photo, size, size, self.spec.resize.into())),
            ImageSize::Native => {
                let (own_width, own_height) = (photo.width(), photo.height());
                let (width, height) = scaled_down(own_width, own_height, self.spec.max_side);
                let least = self.spec.min_image_size;
                if width.min(height) < least {
                    let scaled = if (width, height) == (own_width, own_height) {
                        String::new()
                    } else {
                        format!(", scaled down to {width}x{height}")
                    };
                    let detail = format!(
                        "{own_width}x{own_height} pixels{scaled}, and the model takes {least}x{least} at least"
                    );
                    return Err(PhotoFailure { reason: TOO_SMALL, detail });
                }
                if (width, height) == (own_width, own_height) {
                    return Ok(photo);
                }
                Ok(self.resizer.resize(&photo, width, height, self.spec.resize.into()))
            }
        }
    }
}

/// The size of a photo whose longer side has `max_side` pixels at most, in its own proportions.
fn scaled_down(width: u32, height: u32, max_side: Option<u32>) -> (u32, u32) {
    let longer = width.max(height);
    match max_side {
        Some(max_side) if longer > max_side => {
            let scaled = |side: u32| {
                let rounded =
                    (u64::from(side) * u64::from(max_side) + u64::from(longer) / 2) / u64::from(longer);
                u32::try_from(rounded).unwrap_or(max_side).max(1)
            };
            (scaled(width), scaled(height))
        }
        _ => (width, height),
    }
}

thread_local! {
    /// Whether a panic on this thread ends as a photo's failure.
    static CONTAINS_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it becomes its message. What `work` changes must be thrown away then.
fn contain_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET_HOOK: Once = Once::new();
    QUIET_HOOK.call_once(|| {
        // The message is booked with the photo; on the terminal it would read like a crash.
        let usual_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !CONTAINS_PANICS.get() {
                usual_hook(panic);
            }
        }));
    });
    CONTAINS_PANICS.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINS_PANICS.set(false);
    outcome.map_err(|payload| panic_message(payload.as_ref()))
}

/// The first line of a panic's message, as far as it suits a table of failures.
fn panic_message(payload: &(dyn Any + Send)) -> String {
    const MOST_CHARACTERS: usize = 200;
    let message = match payload.downcast_ref::<&str>() {
        Some(message) => message,
        None => payload.downcast_ref::<String>().map_or("no message", String::as_str),
    };
    message.lines().next().unwrap_or_default().chars().take(MOST_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::embed_spec::EmbedOptions;

    fn spec() -> EmbedSpec {
        EmbedSpec::resolve(&Catalogue::compiled_in(), &EmbedOptions::new("vgg16")).unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands in for a decoder")]
    fn red_photo(_: &[u8], _: &DecodeLimits) -> Result<RgbImage, DecodeError> {
        Ok(RgbImage::new(300, 200, [255, 0, 0].repeat(300 * 200)).unwrap())
    }

    #[test]
    fn a_decoder_that_panics_costs_its_photo_alone() {
        let spec = spec();
        let gate = DecodeGate::default();
        let mut preparer =
            PhotoPreparer { decode: red_photo, ..PhotoPreparer::new(&spec, Shares::UNLIMITED, &gate) };
        let red = preparer.prepare(b"good").unwrap();
        preparer.decode = |_, _| panic!("index 7 is out of bounds\nand more");
        for _ in 0..3 {
            let failure = preparer.prepare(b"bad").unwrap_err();
            assert_eq!(failure.reason, DECODE_ERROR);
            assert_eq!(
                failure.detail,
                "the decoder broke off unexpectedly (index 7 is out of bounds); export the photo again"
            );
        }
        preparer.decode = red_photo;
        assert_eq!(preparer.prepare(b"good").unwrap(), red);
    }

    #[test]
    fn the_part_that_is_asked_for_is_what_is_resized() {
        #[expect(clippy::unnecessary_wraps, reason = "it stands in for a decoder")]
        fn coloured(_: &[u8], _: &DecodeLimits) -> Result<RgbImage, DecodeError> {
            let pixels =
                (0..300 * 200_u32).flat_map(|pixel| [pixel as u8, (pixel / 7) as u8, (pixel / 300) as u8]);
            Ok(RgbImage::new(300, 200, pixels.collect()).unwrap())
        }
        let gate = DecodeGate::default();
        let spec = EmbedSpec { crop: "center:0.5".parse().unwrap(), ..spec() };
        let decode: Decode = coloured;
        let mut preparer = PhotoPreparer { decode, ..PhotoPreparer::new(&spec, Shares::UNLIMITED, &gate) };
        let middle = coloured(b"", &DecodeLimits::default()).unwrap().crop(100, 50, 100, 100).unwrap();
        let expected = Resizer::new().resize(&middle, 224, 224, spec.resize.into());
        assert_eq!(preparer.prepare(b"photo").unwrap(), expected);
    }

    #[test]
    fn large_photos_are_decoded_alone_and_those_beyond_the_memory_limit_not_at_all() {
        fn photo_of_100_pixels(_: &[u8], limits: &DecodeLimits) -> Result<RgbImage, DecodeError> {
            if limits.max_pixels < 100 {
                return Err(DecodeError::TooLarge {
                    what: "the pixel count",
                    value: 100,
                    limit: limits.max_pixels,
                });
            }
            Ok(RgbImage::new(10, 10, vec![7; 300]).unwrap())
        }
        let (spec, gate) = (spec(), DecodeGate::default());
        let prepare = |beside_others: u64, alone: u64| {
            let shares =
                Shares { decoded_beside_others: beside_others, decoded_alone: alone, ..Shares::UNLIMITED };
            let decode: Decode = photo_of_100_pixels;
            PhotoPreparer { decode, ..PhotoPreparer::new(&spec, shares, &gate) }.prepare(b"photo")
        };
        let beside_others = prepare(100, 100).unwrap();
        assert_eq!(prepare(50, 100).unwrap(), beside_others);
        let failure = prepare(50, 99).unwrap_err();
        assert_eq!(failure.reason, "too-large");
        assert!(
            failure.detail.contains("99") && failure.detail.contains("--memory-limit"),
            "{}",
            failure.detail
        );
    }

    #[test]
    fn photos_at_native_size_are_scaled_down_in_their_proportions() {
        assert_eq!(scaled_down(100, 100, Some(512)), (100, 100));
        assert_eq!(scaled_down(4000, 3000, Some(512)), (512, 384));
        assert_eq!(scaled_down(3, 10_000, Some(512)), (1, 512));
        assert_eq!(scaled_down(10_000, 10_000, None), (10_000, 10_000));
        assert_eq!(scaled_down(u32::MAX, 1, Some(8192)), (8192, 1));
    }

    #[test]
    fn the_reason_of_a_panic_is_one_that_decoders_give() {
        // A picture that ends before it begins.
        let error = decode(b"\xff\xd8\xff\xd9", &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.reason(), DECODE_ERROR);
    }

    #[test]
    fn messages_of_every_kind_of_panic_are_told_and_other_panics_are_left_alone() {
        assert_eq!(contain_panic(|| 7), Ok(7));
        assert_eq!(contain_panic(|| -> u8 { panic!("{} of {}", 1, 2) }), Err("1 of 2".to_owned()));
        assert_eq!(
            contain_panic(|| -> u8 { std::panic::resume_unwind(Box::new(5_u8)) }),
            Err("no message".to_owned())
        );
        assert!(!CONTAINS_PANICS.get());
    }
}
