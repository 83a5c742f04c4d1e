//! Gathering photos of one size into the batches that a model runs.

use fruitbatch_image::RgbImage;

use crate::embed_spec::EmbedSpec;

/// All batches that are waiting to be filled hold no more pixels than this (12 bytes each), or than one batch if memory is limited:
/// photos at native size come in many sizes, and each size waits for its own batch.
const MOST_WAITING_PIXELS: usize = 8 << 20;

/// Photos of one size, as the model's input.
#[derive(Debug)]
pub(crate) struct MiniBatch {
    /// Which rows they are.
    pub(crate) rows: Vec<usize>,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// `[photos, 3, height, width]`, row-major.
    pub(crate) values: Vec<f32>,
}

impl MiniBatch {
    /// The shape of `values`.
    pub(crate) fn shape(&self) -> [usize; 4] {
        [self.rows.len(), 3, self.size.1 as usize, self.size.0 as usize]
    }

    fn pixels(&self) -> usize {
        self.values.len() / 3
    }
}

/// Collects photos until a batch is full.
pub(crate) struct MiniBatchCollector<'spec> {
    spec: &'spec EmbedSpec,
    /// In a batch, unless it holds one photo only: a model's memory grows with a batch's pixels.
    most_pixels: u64,
    most_photos: usize,
    /// Pixels of all batches that wait to be filled.
    most_waiting: usize,
    /// One for each size, in the order of their first photos.
    waiting: Vec<MiniBatch>,
}

impl<'spec> MiniBatchCollector<'spec> {
    /// Batches of no more than `most_pixels`, and of no more than the spec has.
    pub(crate) fn new(spec: &'spec EmbedSpec, most_pixels: u64) -> Self {
        let (pixels, most_photos) = spec.batch_limits();
        let most_waiting = usize::try_from(most_pixels).unwrap_or(usize::MAX).min(MOST_WAITING_PIXELS);
        Self { spec, most_pixels: most_pixels.min(pixels), most_photos, most_waiting, waiting: Vec::new() }
    }

    /// Adds a photo; gives back what is to be run now.
    pub(crate) fn add(&mut self, row: usize, photo: &RgbImage) -> Vec<MiniBatch> {
        let size = (photo.width(), photo.height());
        let photos_when_full = self.photos_when_full(photo.pixels().len() / 3);
        let index = self.waiting.iter().position(|batch| batch.size == size).unwrap_or_else(|| {
            self.waiting.push(MiniBatch { rows: Vec::new(), size, values: Vec::new() });
            self.waiting.len() - 1
        });
        let batch = &mut self.waiting[index];
        let filled = batch.values.len();
        batch.values.resize(filled + photo.pixels().len(), 0.0);
        self.spec.preprocessing.write_planes(photo.pixels(), &mut batch.values[filled..]);
        batch.rows.push(row);
        if batch.rows.len() >= photos_when_full {
            vec![self.waiting.remove(index)]
        } else if self.waiting.iter().map(MiniBatch::pixels).sum::<usize>() > self.most_waiting {
            self.take_all()
        } else {
            Vec::new()
        }
    }

    /// What is left, full or not.
    pub(crate) fn take_all(&mut self) -> Vec<MiniBatch> {
        std::mem::take(&mut self.waiting)
    }

    fn photos_when_full(&self, photo_pixels: usize) -> usize {
        let by_pixels = usize::try_from(self.most_pixels).unwrap_or(usize::MAX) / photo_pixels.max(1);
        self.most_photos.min(by_pixels).max(1)
    }
}
