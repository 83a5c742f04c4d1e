//! [`ModelSessions`]: the models of a process, loaded once and shared by all its slots.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use fruitbatch_onnx::write_model;
use prometheus_client::registry::Registry;

use crate::catalogue::Catalogue;
use crate::counters::{CounterSnapshot, Counters};
use crate::digest::ModelDigest;
use crate::embed_spec::{Convolution, EmbedSpec, ImageSize, Precision};
use crate::fast_convolutions::{FastConvolutions, take_convolutions};
use crate::inference::{InferenceError, InferenceOptions, InferenceSession};
use crate::kernel_path::kernel_path;
use crate::memory::{DecodeGate, MemoryLimit, ModelMemory, Shares, parameter_bytes};
use crate::mini_batches::{MiniBatch, MiniBatchCollector};
use crate::model_files::{ModelFileError, ModelFiles, read_checked};
use crate::pooling::{Pooling, PoolingError, pooled_model};
use crate::prepared_photo::{PhotoFailure, PhotoPreparer};
use crate::provider::Provider;
use crate::quantize::saturates_here;

/// Why photos can't be embedded at all: the job's fault, never a photo's.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The model's file can't be had.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// The file isn't a canonical model.
    #[error("the model {digest}: {source}")]
    Pooling {
        /// The model.
        digest: ModelDigest,
        /// What is wrong.
        source: PoolingError,
    },
    /// Its integers would overflow here.
    #[error(
        "the model {digest} has weights of 8 bits, and this processor has no instructions that multiply them exactly (VNNI): \
         quantise it with `--weight-bits 7`"
    )]
    Saturates {
        /// The model.
        digest: ModelDigest,
    },
    /// Not even one photo fits.
    #[error(
        "the model {digest} takes {least} bytes of memory at least with so many threads, and --memory-limit is {limit}: raise it, or take \
         fewer slots or smaller photos (--image-size, --max-side)"
    )]
    MemoryLimit {
        /// The model.
        digest: ModelDigest,
        /// What would do.
        least: u64,
        /// What there is.
        limit: u64,
    },
    /// ONNX Runtime can't load or run it.
    #[error("the model {digest}: {source}")]
    Inference {
        /// The model.
        digest: ModelDigest,
        /// What is wrong.
        source: InferenceError,
    },
}

/// What became of a photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhotoOutcome {
    /// There were no bytes to look at.
    Absent,
    /// It has features.
    Embedded,
    /// It can't be used.
    Failed(PhotoFailure),
}

/// The features of some photos.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedPhotos {
    /// One for each photo.
    pub outcomes: Vec<PhotoOutcome>,
    /// `[photos, width]`, row-major; zeros where a photo has no features.
    pub features: Vec<f32>,
}

/// A derived model: a canonical one, the end it is given, and how it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SessionKey {
    digest: ModelDigest,
    pooling: Pooling,
    convolution: Convolution,
    provider: Provider,
    precision: Precision,
    native_size: bool,
}

impl SessionKey {
    fn of(spec: &EmbedSpec) -> Self {
        Self {
            digest: spec.digest,
            pooling: spec.pooling,
            convolution: spec.convolution,
            provider: spec.provider,
            precision: spec.precision,
            native_size: spec.image_size == ImageSize::Native,
        }
    }
}

#[derive(Default)]
struct SharedSession {
    /// Loaded on first use; the lock is held while a batch runs, so that the threads of one session aren't shared
    /// out among many, and other slots decode meanwhile.
    session: Mutex<Option<InferenceSession>>,
    loaded: OnceLock<Loaded>,
}

/// What is known of a session once it is loaded.
#[derive(Debug)]
struct Loaded {
    memory: ModelMemory,
    kernel_path: Arc<str>,
}

/// The models of a process, each loaded once, on first use, and shared by all slots.
pub struct ModelSessions {
    files: Arc<dyn ModelFiles>,
    catalogue: Catalogue,
    threads: NonZeroUsize,
    memory_limit: Option<MemoryLimit>,
    sessions: Mutex<HashMap<SessionKey, Arc<SharedSession>>>,
    decode_gate: DecodeGate,
    counters: Counters,
}

impl ModelSessions {
    /// Sessions over the canonical models of `files`. `catalogue` says what a bare name in a query means;
    /// `threads` is how many cores one run is spread over (the features are the same bits for any number).
    pub fn new(files: Arc<dyn ModelFiles>, catalogue: Catalogue, threads: NonZeroUsize) -> Self {
        Self {
            files,
            catalogue,
            threads,
            memory_limit: None,
            sessions: Mutex::default(),
            decode_gate: DecodeGate::default(),
            counters: Counters::default(),
        }
    }

    /// The same, in no more memory than so much: batches shrink until they fit (see [`MemoryLimit`] for the formula). The features
    /// are the same bits.
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: Option<u64>, slots: NonZeroUsize) -> Self {
        let (slots, threads) = (slots.get() as u64, self.threads.get() as u64);
        self.memory_limit = bytes.map(|bytes| MemoryLimit { bytes, slots, threads });
        self
    }

    /// The most bytes of photos that may be read into a batch, if there is a limit.
    pub fn read_batch_bytes(&self) -> Option<u64> {
        self.memory_limit.as_ref().map(MemoryLimit::read_batch_bytes)
    }

    /// What bare names mean.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Where a query says that a model can be had.
    pub(crate) fn take_note(&self, spec: &EmbedSpec, place: &str) {
        self.files.take_note(&spec.digest, place);
    }

    /// Has all sessions' photos, failures and times told to Prometheus, as `fruitbatch_photos_total` by outcome,
    /// `fruitbatch_failures_total` by reason, `fruitbatch_decode_seconds` and `fruitbatch_inference_seconds`.
    pub fn register(&self, registry: &mut Registry) {
        self.counters.register(registry);
    }

    /// What has been done so far.
    pub fn snapshot(&self) -> CounterSnapshot {
        self.counters.snapshot()
    }

    /// Loads a spec's model now, so that a model that is missing, damaged or refused is known before the
    /// first photo.
    ///
    /// # Errors
    /// See [`EmbedError`].
    pub fn load(&self, spec: &EmbedSpec) -> Result<(), EmbedError> {
        self.with_session(spec, |_| Ok(()))?;
        self.shares(spec).map(drop)
    }

    /// What a spec's session is told by, which is loaded if it isn't yet.
    fn loaded<T>(&self, spec: &EmbedSpec, of: impl FnOnce(&Loaded) -> T) -> Result<T, EmbedError> {
        let shared = self.shared_session(spec);
        if shared.loaded.get().is_none() {
            self.with_session(spec, |_| Ok(()))?;
        }
        Ok(of(shared.loaded.get().expect("it is told when the session is loaded")))
    }

    /// What photos of a spec may take.
    fn shares(&self, spec: &EmbedSpec) -> Result<Shares, EmbedError> {
        let Some(limit) = &self.memory_limit else { return Ok(Shares::UNLIMITED) };
        let share = self.loaded(spec, |loaded| loaded.memory.share(limit, spec))?;
        share.map_err(|least| EmbedError::MemoryLimit { digest: spec.digest, least, limit: limit.bytes })
    }

    /// The kernels that features of a spec are made by in this process: instruction set (of a GPU its model), ONNX Runtime's
    /// version, provider, and way of convolving, such as `x86_64-avx512 onnxruntime-1.31.1 cpu winograd`. Features made by the same
    /// ones are the same bits. What the model comes down to is known once it is loaded, which this does if need be.
    ///
    /// # Errors
    /// The model can't be loaded.
    pub fn kernel_path(&self, spec: &EmbedSpec) -> Result<Arc<str>, EmbedError> {
        self.loaded(spec, |loaded| Arc::clone(&loaded.kernel_path))
    }

    fn shared_session(&self, spec: &EmbedSpec) -> Arc<SharedSession> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.entry(SessionKey::of(spec)).or_default())
    }

    /// The features of photos, given as their files' bytes. A photo's features are the same bits in any
    /// company.
    ///
    /// # Errors
    /// The model is missing, damaged, or fails: nothing is said of any photo then.
    pub fn embed_photos<'photo>(
        &self,
        spec: &EmbedSpec,
        photos: impl IntoIterator<Item = Option<&'photo [u8]>>,
    ) -> Result<EmbeddedPhotos, EmbedError> {
        let shares = self.shares(spec)?;
        let mut preparer = PhotoPreparer::new(spec, shares, &self.decode_gate);
        let mut collector = MiniBatchCollector::new(spec, shares.batch_pixels);
        let mut embedded = EmbeddedPhotos { outcomes: Vec::new(), features: Vec::new() };
        let width = spec.width as usize;
        for (row, file) in photos.into_iter().enumerate() {
            embedded.features.resize((row + 1) * width, 0.0);
            let Some(file) = file else {
                embedded.outcomes.push(PhotoOutcome::Absent);
                continue;
            };
            let started = Instant::now();
            let prepared = preparer.prepare(file).map(|photo| collector.add(row, &photo));
            self.counters.add_decode_time(started.elapsed());
            match prepared {
                Ok(full_batches) => {
                    embedded.outcomes.push(PhotoOutcome::Embedded);
                    self.infer(spec, full_batches, &mut embedded.features)?;
                }
                Err(failure) => {
                    self.counters.add_failure(failure.reason);
                    embedded.outcomes.push(PhotoOutcome::Failed(failure));
                }
            }
        }
        self.infer(spec, collector.take_all(), &mut embedded.features)?;
        Ok(embedded)
    }

    fn infer(
        &self,
        spec: &EmbedSpec,
        batches: Vec<MiniBatch>,
        features: &mut [f32],
    ) -> Result<(), EmbedError> {
        let width = spec.width as usize;
        for batch in batches {
            let shape = batch.shape();
            let inference_error = |source| EmbedError::Inference { digest: spec.digest, source };
            let (output_shape, output) = self.with_session(spec, |session| {
                let started = Instant::now();
                let output = session.run(&batch.values, shape).map_err(inference_error);
                self.counters.add_inference_time(started.elapsed());
                output
            })?;
            if output_shape != [shape[0] as i64, width as i64] || output.len() != shape[0] * width {
                let expected = format!("[{}, {width}]", shape[0]);
                return Err(inference_error(InferenceError::OutputShape {
                    input: shape,
                    output: output_shape,
                    expected,
                }));
            }
            for (row, vector) in batch.rows.iter().zip(output.chunks_exact(width)) {
                features[row * width..][..width].copy_from_slice(vector);
            }
            self.counters.add_embedded(batch.rows.len());
        }
        Ok(())
    }

    fn with_session<T>(
        &self,
        spec: &EmbedSpec,
        work: impl FnOnce(&mut InferenceSession) -> Result<T, EmbedError>,
    ) -> Result<T, EmbedError> {
        let shared = self.shared_session(spec);
        let mut slot = shared.session.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let (session, loaded) = self.load_session(&SessionKey::of(spec))?;
            shared.loaded.get_or_init(|| loaded);
            *slot = Some(session);
        }
        match slot.as_mut() {
            Some(session) => work(session),
            None => unreachable!("the session was put there above"),
        }
    }

    fn load_session(&self, key: &SessionKey) -> Result<(InferenceSession, Loaded), EmbedError> {
        let digest = key.digest;
        let canonical = read_checked(self.files.as_ref(), &digest)?;
        let mut model =
            pooled_model(canonical, key.pooling).map_err(|source| EmbedError::Pooling { digest, source })?;
        if saturates_here(&model) {
            return Err(EmbedError::Saturates { digest });
        }
        let stored = parameter_bytes(&model);
        let convolutions = match (key.convolution, key.provider) {
            (Convolution::Auto, Provider::Cpu) => take_convolutions(&mut model),
            _ => FastConvolutions::default(),
        };
        let loaded = Loaded {
            memory: ModelMemory::of(&model, stored, &convolutions),
            kernel_path: kernel_path(key.provider, key.precision, !convolutions.is_empty()).into(),
        };
        // The canonical bytes go here, and the written ones when ONNX Runtime has its own copy.
        let written = write_model(&model);
        drop(model);
        let options = InferenceOptions {
            threads: self.threads.get(),
            varying_shapes: key.native_size,
            provider: key.provider,
            precision: key.precision,
        };
        let session = InferenceSession::load(&written, convolutions, options)
            .map_err(|source| EmbedError::Inference { digest, source })?;
        Ok((session, loaded))
    }
}

impl fmt::Debug for ModelSessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ModelSessions")
            .field("files", &self.files)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
