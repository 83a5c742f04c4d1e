//! Running an extractor on blank photos: how wide it is, how small a photo may be, and whether its dimensions
//! are free.

use fruitbatch_onnx::messages::{Graph, Model};
use fruitbatch_onnx::write_model;

use super::error::ImportError;
use crate::catalogue::FeatureMapExtent;
use crate::fast_convolutions::FastConvolutions;
use crate::inference::{InferenceError, InferenceOptions, InferenceSession};
use crate::shapes::{PhotoFit, follow_photo};

/// The largest photo side tried, in pixels.
const LARGEST_SIDE: u32 = 1024;

/// What blank photos tell of an extractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) channels: u32,
    pub(super) min_image_size: u32,
    pub(super) extent: FeatureMapExtent,
}

/// Probes a canonical model; `cut` is its output's former name, for messages.
pub(super) fn probe(canonical: &Model, cut: &str) -> Result<Probed, ImportError> {
    let options = InferenceOptions::on_cpu(1);
    let session = InferenceSession::load(&write_model(canonical), FastConvolutions::default(), options)?;
    let mut prober = Prober { session, graph: canonical.graph.as_ref(), cut };
    let (smallest, first_side) = prober.smallest_working()?;
    let (channels, _, _) = prober.map_shape(1, smallest, smallest)?;
    // Between two steps of the map's height lie `stride` rows.
    let one_more = prober.first_height_with(smallest, first_side + 1)?;
    let two_more = prober.first_height_with(one_more, first_side + 2)?;
    let stride = two_more - one_more;
    let extent = FeatureMapExtent {
        stride,
        offset: i64::from(stride) * i64::from(first_side + 1) - i64::from(one_more),
    };
    // ONNX Runtime rounds a pooling window that doesn't fit towards one output pixel, where ONNX and Keras
    // have none.
    let first_full = u32::try_from(i64::from(stride) - extent.offset).unwrap_or(1);
    let min_image_size = smallest.max(first_full);
    prober.check_free(channels, min_image_size, extent)?;
    Ok(Probed { channels, min_image_size, extent })
}

struct Prober<'model> {
    session: InferenceSession,
    graph: Option<&'model Graph>,
    cut: &'model str,
}

impl Prober<'_> {
    /// `(channels, rows, columns)` of the feature map of `photos` blank photos.
    fn map_shape(&mut self, photos: usize, height: u32, width: u32) -> Result<(u32, u32, u32), ImportError> {
        let shape = [photos, 3, height as usize, width as usize];
        let blank = vec![0.0; shape.iter().product()];
        let (map_shape, _) = self.session.run(&blank, shape)?;
        let sizes: Vec<u32> = map_shape.iter().filter_map(|&size| u32::try_from(size).ok()).collect();
        match *sizes.as_slice() {
            [batch, channels, rows, columns] if batch as usize == photos => Ok((channels, rows, columns)),
            [_, _, _, _] => {
                Err(ImportError::BoundSize { photos, height, width, outcome: format!("shape {map_shape:?}") })
            }
            _ => Err(ImportError::NotAFeatureMap { tensor: self.cut.to_owned(), shape: map_shape }),
        }
    }

    /// The smallest square photo with a feature map, and the map's side.
    fn smallest_working(&mut self) -> Result<(u32, u32), ImportError> {
        let mut too_small = 0;
        let mut works = 1;
        let mut last_error = String::new();
        let mut side = loop {
            match self.working_side(works, &mut last_error)? {
                Some(side) => break side,
                None if works >= LARGEST_SIDE => {
                    return Err(ImportError::NoWorkingSize { largest: LARGEST_SIDE, reason: last_error });
                }
                None => (too_small, works) = (works, works * 2),
            }
        };
        while works - too_small > 1 {
            let middle = too_small.midpoint(works);
            match self.working_side(middle, &mut last_error)? {
                Some(middle_side) => (works, side) = (middle, middle_side),
                None => too_small = middle,
            }
        }
        Ok((works, side))
    }

    /// The map's height for a square photo; nothing where it is too small for the network.
    fn working_side(&mut self, size: u32, last_error: &mut String) -> Result<Option<u32>, ImportError> {
        if self.graph.is_some_and(|graph| follow_photo(graph, size, size) == PhotoFit::TooSmall) {
            "a window is larger than the feature map it slides over".clone_into(last_error);
            return Ok(None);
        }
        match self.map_shape(1, size, size) {
            Ok((channels, rows, columns)) if channels > 0 && rows > 0 && columns > 0 => Ok(Some(rows)),
            Ok(_) => {
                "the feature map is empty".clone_into(last_error);
                Ok(None)
            }
            Err(ImportError::Inference(InferenceError::Run { reason, .. })) => {
                *last_error = reason;
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// The smallest photo height whose map has at least `rows` rows, the width being that of `from`.
    fn first_height_with(&mut self, from: u32, rows: u32) -> Result<u32, ImportError> {
        let mut too_low = from;
        let mut enough = from + 1;
        while self.map_rows(enough, from)? < rows {
            if enough >= LARGEST_SIDE {
                let outcome = format!("a feature map of fewer than {rows} rows, as smaller ones do");
                return Err(ImportError::BoundSize { photos: 1, height: enough, width: from, outcome });
            }
            too_low = enough;
            enough = (enough + (enough - from)).min(LARGEST_SIDE);
        }
        while enough - too_low > 1 {
            let middle = too_low.midpoint(enough);
            if self.map_rows(middle, from)? < rows { too_low = middle } else { enough = middle }
        }
        Ok(enough)
    }

    /// The map's height for one photo, where a smaller one is known to work.
    fn map_rows(&mut self, height: u32, width: u32) -> Result<u32, ImportError> {
        match self.map_shape(1, height, width) {
            Ok((_, rows, _)) => Ok(rows),
            Err(ImportError::Inference(InferenceError::Run { reason, .. })) => {
                Err(ImportError::BoundSize { photos: 1, height, width, outcome: reason })
            }
            Err(other) => Err(other),
        }
    }

    /// Two photos that aren't square must give what the extent foretells.
    fn check_free(
        &mut self,
        channels: u32,
        min_image_size: u32,
        extent: FeatureMapExtent,
    ) -> Result<(), ImportError> {
        let unit = min_image_size.max(extent.stride).next_multiple_of(extent.stride);
        let (photos, height, width) = (2, 2 * unit, 3 * unit + extent.stride / 2);
        let expected = (channels, extent.side(height), extent.side(width));
        let bound = |outcome: String| ImportError::BoundSize { photos, height, width, outcome };
        match self.map_shape(photos, height, width) {
            Ok(found) if found == expected => Ok(()),
            Ok((found_channels, rows, columns)) => Err(bound(format!(
                "{found_channels}x{rows}x{columns} instead of {}x{}x{}",
                expected.0, expected.1, expected.2
            ))),
            Err(ImportError::Inference(InferenceError::Run { reason, .. })) => Err(bound(reason)),
            Err(other) => Err(other),
        }
    }
}
