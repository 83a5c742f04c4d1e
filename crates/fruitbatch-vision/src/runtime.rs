//! Finding and loading ONNX Runtime, once a process.
//!
//! There are several builds of it ([`RuntimeBuild`]), and a process loads one. The shared library is looked for, in this order, at
//! `$ORT_DYLIB_PATH`, beside the program's own file, in `../lib` from there, and in the cache folder at `onnxruntime/<version>/`;
//! that of another build in the folder `onnxruntime-<build>` of `../lib` and of the cache folder.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::cache::cache_dir;
use crate::provider::Provider;

/// The version of ONNX Runtime that set-up installs and tests run against; from 1.17 on, others load too.
pub const ONNX_RUNTIME_VERSION: &str = "1.31.1";

/// A build of ONNX Runtime: which providers it has besides the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeBuild {
    /// No other (on macOS, Core ML). What `make setup` installs.
    Standard,
    /// OpenVINO. What `make openvino` installs.
    OpenVino,
    /// CUDA and TensorRT. What `make gpu` installs.
    Cuda,
}

impl RuntimeBuild {
    /// The version that set-up installs.
    pub fn version(self) -> &'static str {
        match self {
            Self::Standard | Self::Cuda => ONNX_RUNTIME_VERSION,
            Self::OpenVino => "1.24.1",
        }
    }

    /// The folder that its files lie in, below the cache folder or `lib`.
    fn folder(self) -> &'static str {
        match self {
            Self::Standard => "onnxruntime",
            Self::OpenVino => "onnxruntime-openvino",
            Self::Cuda => "onnxruntime-cuda",
        }
    }

    /// Whether it lies where it is looked for, `ORT_DYLIB_PATH` aside.
    pub fn is_installed(self) -> bool {
        candidate_libraries_here(self).iter().any(|candidate| candidate.is_file())
    }

    /// What it is called in messages.
    fn title(self) -> &'static str {
        match self {
            Self::Standard => "ONNX Runtime",
            Self::OpenVino => "ONNX Runtime with OpenVINO",
            Self::Cuda => "ONNX Runtime with CUDA",
        }
    }

    /// The Python package that it can be had from.
    fn package(self) -> &'static str {
        match self {
            Self::Standard => "onnxruntime",
            Self::OpenVino => "onnxruntime-openvino",
            Self::Cuda => "onnxruntime-gpu",
        }
    }

    /// What installs it.
    pub fn set_up(self) -> &'static str {
        match self {
            Self::Standard => "make setup",
            Self::OpenVino => "make openvino",
            Self::Cuda => "make gpu",
        }
    }
}

/// ONNX Runtime, loaded.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    /// The shared library's file.
    pub library: PathBuf,
    /// The library's version, such as `1.31.1`.
    pub version: String,
    pub(crate) environment: Environment,
}

/// Why ONNX Runtime can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It is nowhere where it is looked for.
    #[error(
        "{} isn't there (looked at {searched}); run `{}`, or take onnxruntime/capi/ out of the wheel that \
         `python3 -m pip download --no-deps {}=={}` gets and name its libonnxruntime.so.{} in `ORT_DYLIB_PATH`",
        build.title(), build.set_up(), build.package(), build.version(), build.version()
    )]
    NotFound {
        /// Which build.
        build: RuntimeBuild,
        /// Where it was looked for, with commas.
        searched: String,
    },
    /// It is there but can't be loaded.
    #[error("{library} can't be loaded as ONNX Runtime: {reason}; run `{}` to install it anew", build.set_up())]
    Load {
        /// The file.
        library: String,
        /// Why.
        reason: String,
        /// Which build it should be.
        build: RuntimeBuild,
    },
    /// The one that is loaded, for good, is of another build.
    #[error(
        "the ONNX Runtime of this process, {library}, has no {provider}: an executor is started with `--provider {provider}` for that, \
         and `ORT_DYLIB_PATH`, if it is set, has to name a library that has it"
    )]
    NoSuchProvider {
        /// The file.
        library: String,
        /// What it lacks.
        provider: Provider,
    },
}

static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

/// Hands out the ONNX Runtime that is loaded; if none is, loads the standard build.
///
/// # Errors
/// As [`onnx_runtime_for`].
pub fn onnx_runtime() -> Result<OnnxRuntime, RuntimeError> {
    onnx_runtime_for(Provider::Cpu)
}

/// Loads the build of ONNX Runtime that has a provider, or hands out the one already loaded if it has it.
///
/// # Errors
/// It isn't found or can't be loaded (the next call tries again), or the one that is loaded doesn't have the provider.
pub fn onnx_runtime_for(provider: Provider) -> Result<OnnxRuntime, RuntimeError> {
    let runtime = loaded_or_load(provider.build())?;
    if provider.is_in_loaded_library() {
        return Ok(runtime);
    }
    Err(RuntimeError::NoSuchProvider { library: runtime.library.display().to_string(), provider })
}

fn loaded_or_load(build: RuntimeBuild) -> Result<OnnxRuntime, RuntimeError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = loaded.as_ref() {
        return Ok(runtime.clone());
    }
    let library = find_onnx_runtime_for(build)?;
    let load_error =
        |reason: String| RuntimeError::Load { library: library.display().to_string(), reason, build };
    let environment = ort::init_from(&library)
        .map_err(|error| load_error(error.to_string()))?
        .with_telemetry(false)
        .build()
        .map_err(|error| load_error(error.to_string()))?;
    if build == RuntimeBuild::Cuda
        && let Some(folder) = library.parent()
    {
        // Behind the library itself, which makes the text of an error here. The CUDA libraries that lie with it, which it doesn't look for there. Without them those of the system are taken, or the
        // provider says which it misses.
        let _ = ort::ep::cuda::preload_dylibs(Some(folder), Some(folder));
    }
    // The runtime's own log goes to stderr line by line; what matters of it comes back as errors.
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    let runtime = OnnxRuntime { version: version_of(&library), library, environment };
    *loaded = Some(runtime.clone());
    Ok(runtime)
}

/// The version of the library that is loaded, if one is.
pub(crate) fn loaded_version() -> Option<String> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|runtime| runtime.version.clone())
}

/// Where the standard build's shared library lies, without loading it.
///
/// # Errors
/// Nowhere; the message says where it was looked for and how to get it.
pub fn find_onnx_runtime() -> Result<PathBuf, RuntimeError> {
    find_onnx_runtime_for(RuntimeBuild::Standard)
}

/// Where a build's shared library lies, without loading it. What `ORT_DYLIB_PATH` names counts as any build.
///
/// # Errors
/// As [`find_onnx_runtime`].
pub fn find_onnx_runtime_for(build: RuntimeBuild) -> Result<PathBuf, RuntimeError> {
    let not_found = |searched: String| RuntimeError::NotFound { build, searched };
    if let Some(named) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(not_found(format!("{} as `ORT_DYLIB_PATH` says", named.display())))
        };
    }
    let candidates = candidate_libraries_here(build);
    candidates.iter().find(|candidate| candidate.is_file()).cloned().ok_or_else(|| {
        not_found(candidates.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "))
    })
}

/// The version a loaded library gives itself; empty if it gives none.
///
/// `ort` checks it but keeps it to itself, so the library's one entry point is asked again.
fn version_of(library: &Path) -> String {
    // SAFETY: the library is loaded already, so that opening it runs no code of its own, and `ort` has called
    // the very same function with this signature. What it returns is static data of the library, which stays
    // loaded for good.
    unsafe {
        let Ok(handle) = libloading::Library::new(library) else { return String::new() };
        let Ok(api_base) =
            handle.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase")
        else {
            return String::new();
        };
        match api_base().as_ref() {
            Some(base) => CStr::from_ptr((base.GetVersionString)()).to_string_lossy().into_owned(),
            None => String::new(),
        }
    }
}

fn candidate_libraries_here(build: RuntimeBuild) -> Vec<PathBuf> {
    let program_folder =
        std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_path_buf));
    candidate_libraries(build, program_folder.as_deref(), cache_dir().ok().as_deref())
}

fn candidate_libraries(
    build: RuntimeBuild,
    program_folder: Option<&Path>,
    cache: Option<&Path>,
) -> Vec<PathBuf> {
    let versioned_name = format!("libonnxruntime.so.{}", build.version());
    let in_folder = |folder: PathBuf| [folder.join(&versioned_name), folder.join("libonnxruntime.so")];
    let beside_program = program_folder.into_iter().flat_map(|folder| match build {
        RuntimeBuild::Standard => vec![folder.to_path_buf(), folder.join("../lib")],
        // Its other libraries lie with it.
        _ => vec![folder.join("../lib").join(build.folder())],
    });
    let in_cache = cache.map(|cache| cache.join(build.folder()).join(build.version()).join(&versioned_name));
    beside_program.flat_map(in_folder).chain(in_cache).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_beside_the_program_comes_before_the_cache() {
        let places = (Some(Path::new("/opt/bin")), Some(Path::new("/cache")));
        let candidates = candidate_libraries(RuntimeBuild::Standard, places.0, places.1);
        assert_eq!(candidates.first().unwrap(), Path::new("/opt/bin/libonnxruntime.so.1.31.1"));
        assert!(candidates.contains(&PathBuf::from("/opt/bin/../lib/libonnxruntime.so")));
        assert_eq!(
            candidates.last().unwrap(),
            Path::new("/cache/onnxruntime/1.31.1/libonnxruntime.so.1.31.1")
        );
        let openvino = candidate_libraries(RuntimeBuild::OpenVino, places.0, places.1);
        assert_eq!(
            openvino.last().unwrap(),
            Path::new("/cache/onnxruntime-openvino/1.24.1/libonnxruntime.so.1.24.1")
        );
        assert!(!openvino.iter().any(|file| candidates.contains(file)));
    }
}
