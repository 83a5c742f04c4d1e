//! libjpeg-turbo's decoder (in the packaging of `mozjpeg-sys`) behind one safe function. All unsafe code of the crate is
//! in this file.
//!
//! - Input comes from a slice through a source manager that *suspends* at its end instead of inventing an end of image.
//!   libjpeg then returns early, which is how a file that ends too soon is told from one that is complete, and it makes
//!   the same decision as Pillow, whose source manager suspends likewise.
//! - libjpeg leaves a failed call by calling `error_exit`, which must not return. Here it unwinds to the one
//!   `catch_unwind` around the whole session. The bindings are built with unwinding (`-fexceptions`, `extern "C-unwind"`),
//!   so unwinding through C frames is defined; those frames own nothing, since all memory of libjpeg hangs on the
//!   decompressor, which is destroyed afterwards.
//! - Warnings (corrupt entropy data and the like) are tolerated in silence, as in Pillow.

use std::ffi::{CStr, c_char, c_int, c_long};
use std::mem::{MaybeUninit, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};

use mozjpeg_sys::{
    J_COLOR_SPACE, J_MESSAGE_CODE, JERR_ARITH_NOTIMPL, JERR_BAD_PRECISION, JERR_CCIR601_NOTIMPL,
    JERR_CONVERSION_NOTIMPL, JERR_FRACT_SAMPLE_NOTIMPL, JERR_IMAGE_TOO_BIG, JERR_NOT_COMPILED,
    JERR_SOF_UNSUPPORTED, JERR_WIDTH_OVERFLOW, JPEG_LIB_VERSION, boolean, jpeg_CreateDecompress,
    jpeg_common_struct, jpeg_decompress_struct, jpeg_destroy_decompress, jpeg_error_mgr,
    jpeg_finish_decompress, jpeg_progress_mgr, jpeg_read_header, jpeg_read_scanlines, jpeg_resync_to_restart,
    jpeg_source_mgr, jpeg_start_decompress, jpeg_std_error,
};

use crate::error::DecodeError;
use crate::format::Format;
use crate::limits::DecodeLimits;

/// Scans that a progressive file may have. Encoders write 10, and 18 for CMYK; each one costs a pass over the whole image, so
/// that without a limit a small file could ask for hours of work.
const MAX_SCANS: u64 = 100;

/// As many scans as encoders write are always allowed.
const LEAST_MAX_SCANS: u64 = 24;

/// Beyond those, what all scans may go over: 100 times 40 megapixels, or 24 times the largest photo allowed by default. A
/// scan can be a few bytes of arithmetic coding, and still takes 10 ns a pixel.
const MAX_SCANNED_PIXELS: u64 = 4_000_000_000;

/// The scans that a file of this size may have.
fn max_scans(width: u32, height: u32) -> u64 {
    let pixels = (u64::from(width) * u64::from(height)).max(1);
    (MAX_SCANNED_PIXELS / pixels).clamp(LEAST_MAX_SCANS, MAX_SCANS)
}

const FALSE: boolean = 0;

/// `JPEG_MAX_DIMENSION` in jmorecfg.h.
const MAX_SIDE: u32 = 65_500;

/// Results of `jpeg_read_header`, from jpeglib.h.
const JPEG_SUSPENDED: c_int = 0;
const JPEG_HEADER_TABLES_ONLY: c_int = 2;

/// Interleaved 8-bit samples: one (gray), three (RGB, or as they are) or four (CMYK) a pixel.
pub(crate) struct Samples {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) components: usize,
    pub(crate) interleaved: Vec<u8>,
}

/// Which colour space the three or four components of a file are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColorTransform {
    /// The file's markers tell; YCbCr becomes RGB and YCCK becomes CMYK.
    AsMarked,
    /// YCbCr, whatever the markers say; becomes RGB.
    FromYcbcr,
    /// None: the components come out as they are.
    Identity,
}

/// Decodes one JPEG datastream. `tables` is a datastream with tables alone, to be read before it, as TIFF has them.
pub(crate) fn decompress(
    bytes: &[u8],
    tables: Option<&[u8]>,
    transform: ColorTransform,
    limits: &DecodeLimits,
) -> Result<Samples, DecodeError> {
    let session = Session::new();
    match catch_unwind(AssertUnwindSafe(|| session.run(bytes, tables, transform, limits))) {
        Ok(result) => result,
        Err(payload) => match payload.downcast::<Failure>() {
            Ok(failure) => Err(failure.0),
            Err(panic) => resume_unwind(panic),
        },
    }
}

/// What unwinds out of libjpeg.
struct Failure(DecodeError);

/// All structures that libjpeg is handed pointers to.
struct State {
    decompressor: jpeg_decompress_struct,
    error_manager: jpeg_error_mgr,
    source: jpeg_source_mgr,
    progress: jpeg_progress_mgr,
}

/// Owns a [`State`] at a fixed address. It is reached through raw pointers alone, because libjpeg keeps pointers into it.
struct Session(NonNull<State>);

impl Session {
    fn new() -> Self {
        // SAFETY: all zeros is a valid value of each of these C structures: numbers, raw pointers, optional function
        // pointers, and enumerations that have a zero (`JCS_UNKNOWN`, `JDCT_ISLOW`, `JDITHER_NONE`).
        let state = Box::new(unsafe { MaybeUninit::<State>::zeroed().assume_init() });
        Self(NonNull::from(Box::leak(state)))
    }

    fn run(
        &self,
        bytes: &[u8],
        tables: Option<&[u8]>,
        transform: ColorTransform,
        limits: &DecodeLimits,
    ) -> Result<Samples, DecodeError> {
        let state = self.0.as_ptr();
        // SAFETY: `state` points to a live `State` that only this call and the callbacks below use. The order of calls is
        // the one of libjpeg.txt: error manager, create, source, header, parameters, start, scanlines, finish. References
        // that are made for a call end with it. `source` points into `bytes` or `tables`, which outlive this function.
        // `interleaved` has room for `output_height` rows of `row_bytes`, the size that libjpeg announced for its rows.
        unsafe {
            jpeg_std_error(&mut (*state).error_manager);
            (*state).error_manager.error_exit = Some(fail);
            (*state).error_manager.output_message = Some(say_nothing);
            (*state).decompressor.common.err = &raw mut (*state).error_manager;
            jpeg_CreateDecompress(
                &raw mut (*state).decompressor,
                JPEG_LIB_VERSION,
                size_of::<jpeg_decompress_struct>(),
            );
            (*state).decompressor.common.client_data = state.cast();
            (*state).progress.progress_monitor = Some(limit_scans);
            (*state).decompressor.common.progress = &raw mut (*state).progress;
            (*(*state).decompressor.common.mem).max_memory_to_use =
                c_long::try_from(limits.max_memory()).unwrap_or(c_long::MAX);
            (*state).source = suspending_source();
            (*state).decompressor.src = &raw mut (*state).source;

            if let Some(tables) = tables {
                self.read_from(tables);
                if jpeg_read_header(&mut (*state).decompressor, FALSE) != JPEG_HEADER_TABLES_ONLY {
                    return Err(DecodeError::corrupt(Format::Jpeg, "its shared tables hold no tables alone"));
                }
            }
            self.read_from(bytes);
            let header = loop {
                match jpeg_read_header(&mut (*state).decompressor, FALSE) {
                    JPEG_HEADER_TABLES_ONLY => {}
                    header => break header,
                }
            };
            if header == JPEG_SUSPENDED {
                return Err(DecodeError::truncated(Format::Jpeg, "the file ends within its header"));
            }
            limits.check_pixels((*state).decompressor.image_width, (*state).decompressor.image_height)?;
            self.choose_color_spaces(transform)?;
            if jpeg_start_decompress(&mut (*state).decompressor) == FALSE {
                return Err(DecodeError::truncated(Format::Jpeg, "the file ends before its last scan does"));
            }

            let (width, height) = ((*state).decompressor.output_width, (*state).decompressor.output_height);
            let components = usize::try_from((*state).decompressor.output_components)
                .map_err(|_| DecodeError::corrupt(Format::Jpeg, "a negative number of components"))?;
            let row_bytes = width as usize * components;
            let mut interleaved = vec![0_u8; row_bytes * height as usize];
            while (*state).decompressor.output_scanline < height {
                let row = (*state).decompressor.output_scanline;
                let mut row_start = interleaved.as_mut_ptr().add(row as usize * row_bytes);
                if jpeg_read_scanlines(&mut (*state).decompressor, &raw mut row_start, 1) == 0 {
                    return Err(DecodeError::truncated(
                        Format::Jpeg,
                        format_args!("at row {row} of {height}"),
                    ));
                }
            }
            // All pixels are there: that the end of the image may be missing no longer matters.
            jpeg_finish_decompress(&mut (*state).decompressor);
            Ok(Samples { width, height, components, interleaved })
        }
    }

    /// Points the source manager to the beginning of a datastream.
    ///
    /// # Safety
    ///
    /// `bytes` must stay alive until libjpeg is called for the last time or is pointed elsewhere.
    unsafe fn read_from(&self, bytes: &[u8]) {
        let state = self.0.as_ptr();
        // SAFETY: `state` is live, and libjpeg is not running.
        unsafe {
            (*state).source.next_input_byte = bytes.as_ptr();
            (*state).source.bytes_in_buffer = bytes.len();
        }
    }

    /// Sets what comes out, after the header is read and before decoding starts.
    fn choose_color_spaces(&self, transform: ColorTransform) -> Result<(), DecodeError> {
        let state = self.0.as_ptr();
        // SAFETY: `state` is live, and libjpeg is not running.
        let decompressor = unsafe { &mut (*state).decompressor };
        decompressor.out_color_space = match (transform, decompressor.num_components) {
            (ColorTransform::Identity, 1 | 3 | 4) => {
                decompressor.jpeg_color_space = J_COLOR_SPACE::JCS_UNKNOWN;
                J_COLOR_SPACE::JCS_UNKNOWN
            }
            (ColorTransform::FromYcbcr, 3) => {
                decompressor.jpeg_color_space = J_COLOR_SPACE::JCS_YCbCr;
                J_COLOR_SPACE::JCS_RGB
            }
            (ColorTransform::AsMarked, 1) => J_COLOR_SPACE::JCS_GRAYSCALE,
            (ColorTransform::AsMarked, 3) => J_COLOR_SPACE::JCS_RGB,
            (ColorTransform::AsMarked, 4) => J_COLOR_SPACE::JCS_CMYK,
            (_, components) => {
                return Err(DecodeError::unsupported(format_args!("JPEG with {components} components")));
            }
        };
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the pointer came out of a box in `new` and is given back once. Destroying is allowed in every state,
        // also after a failed call and before a successful creation (there is no memory manager then).
        unsafe {
            jpeg_destroy_decompress(&mut (*self.0.as_ptr()).decompressor);
            drop(Box::from_raw(self.0.as_ptr()));
        }
    }
}

/// A source manager that never has more bytes than it was given.
fn suspending_source() -> jpeg_source_mgr {
    jpeg_source_mgr {
        next_input_byte: ptr::null(),
        bytes_in_buffer: 0,
        init_source: Some(do_nothing),
        fill_input_buffer: Some(suspend),
        skip_input_data: Some(skip),
        resync_to_restart: Some(jpeg_resync_to_restart),
        term_source: Some(do_nothing),
    }
}

unsafe extern "C-unwind" fn do_nothing(_: &mut jpeg_decompress_struct) {}

unsafe extern "C-unwind" fn say_nothing(_: &mut jpeg_common_struct) {}

unsafe extern "C-unwind" fn suspend(_: &mut jpeg_decompress_struct) -> boolean {
    FALSE
}

unsafe extern "C-unwind" fn skip(decompressor: &mut jpeg_decompress_struct, count: c_long) {
    // SAFETY: libjpeg calls this with the source manager it was given.
    let source = unsafe { &mut *decompressor.src };
    let count = usize::try_from(count).unwrap_or(0).min(source.bytes_in_buffer);
    // SAFETY: `count` bytes are left behind `next_input_byte`.
    source.next_input_byte = unsafe { source.next_input_byte.add(count) };
    source.bytes_in_buffer -= count;
}

unsafe extern "C-unwind" fn limit_scans(common: &mut jpeg_common_struct) {
    let state: *const State = common.client_data.cast();
    // SAFETY: `client_data` is the live state of the session that is running.
    let (width, height, scans) = unsafe {
        let decompressor = &raw const (*state).decompressor;
        ((*decompressor).image_width, (*decompressor).image_height, (*decompressor).input_scan_number)
    };
    let max_scans = max_scans(width, height);
    if u64::try_from(scans).is_ok_and(|scans| scans > max_scans) {
        resume_unwind(Box::new(Failure(DecodeError::corrupt(
            Format::Jpeg,
            format_args!("more than {max_scans} scans"),
        ))));
    }
}

unsafe extern "C-unwind" fn fail(common: &mut jpeg_common_struct) {
    // SAFETY: libjpeg calls this with the error manager it was given.
    let code = unsafe { (*common.err).msg_code };
    let message = format_message(common);
    resume_unwind(Box::new(Failure(match code as J_MESSAGE_CODE {
        JERR_ARITH_NOTIMPL
        | JERR_BAD_PRECISION
        | JERR_CCIR601_NOTIMPL
        | JERR_CONVERSION_NOTIMPL
        | JERR_FRACT_SAMPLE_NOTIMPL
        | JERR_NOT_COMPILED
        | JERR_SOF_UNSUPPORTED => DecodeError::unsupported(format_args!("this kind of JPEG ({message})")),
        JERR_IMAGE_TOO_BIG | JERR_WIDTH_OVERFLOW => {
            DecodeError::unsupported(format_args!("JPEG with a side of more than {MAX_SIDE} pixels"))
        }
        _ => DecodeError::corrupt(Format::Jpeg, message),
    })));
}

/// The text of the error that libjpeg just raised.
fn format_message(common: &mut jpeg_common_struct) -> String {
    /// `JMSG_LENGTH_MAX` in jpeglib.h. The bindings declare a shorter buffer than libjpeg writes to.
    const MESSAGE_BYTES: usize = 200;
    type FormatMessage = unsafe extern "C-unwind" fn(*mut jpeg_common_struct, *mut c_char);
    // SAFETY: the error manager is the one that was set up in `run`.
    let Some(format_message) = (unsafe { (*common.err).format_message }) else { return String::new() };
    // SAFETY: the same function with the C signature it has in jpeglib.h: two pointers in, nothing out.
    let format_message: FormatMessage = unsafe { std::mem::transmute(format_message) };
    let mut text = [0; MESSAGE_BYTES + 1];
    // SAFETY: the buffer is as long as libjpeg asks for, and ends with a zero whatever is written.
    unsafe { format_message(common, text.as_mut_ptr()) };
    // SAFETY: see above.
    unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_may_have_fewer_scans_and_never_fewer_than_encoders_write() {
        assert_eq!(max_scans(1, 1), MAX_SCANS);
        assert_eq!(max_scans(0, 0), MAX_SCANS);
        assert_eq!(max_scans(8000, 5000), MAX_SCANS);
        assert_eq!(max_scans(10_000, 10_000), 40);
        assert_eq!(max_scans(13_000, 13_000), LEAST_MAX_SCANS);
        assert_eq!(max_scans(MAX_SIDE, MAX_SIDE), LEAST_MAX_SCANS);
    }
}
