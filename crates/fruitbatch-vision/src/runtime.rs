//! Finding and loading ONNX Runtime, once a process.
//!
//! The shared library is looked for, in this order, at `$ORT_DYLIB_PATH`, beside the program's own file, in
//! `../lib` from there, and in the cache folder at `onnxruntime/<version>/`.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::cache::cache_dir;

/// The version of ONNX Runtime that set-up installs and tests run against; from 1.17 on, others load too.
pub const ONNX_RUNTIME_VERSION: &str = "1.31.1";

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
        "ONNX Runtime isn't there (looked at {searched}); run `make setup`, or take \
         onnxruntime/capi/libonnxruntime.so.{ONNX_RUNTIME_VERSION} out of the wheel that \
         `python3 -m pip download --no-deps onnxruntime=={ONNX_RUNTIME_VERSION}` gets and name it in \
         `ORT_DYLIB_PATH`"
    )]
    NotFound {
        /// Where it was looked for, with commas.
        searched: String,
    },
    /// It is there but can't be loaded.
    #[error("{library} can't be loaded as ONNX Runtime: {reason}; run `make setup` to install it anew")]
    Load {
        /// The file.
        library: String,
        /// Why.
        reason: String,
    },
}

static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

/// Loads ONNX Runtime, or hands out the one already loaded.
///
/// # Errors
/// It isn't found or can't be loaded; the next call tries again.
pub fn onnx_runtime() -> Result<OnnxRuntime, RuntimeError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = loaded.as_ref() {
        return Ok(runtime.clone());
    }
    let library = find_onnx_runtime()?;
    let load_error = |reason: String| RuntimeError::Load { library: library.display().to_string(), reason };
    let environment = ort::init_from(&library)
        .map_err(|error| load_error(error.to_string()))?
        .with_telemetry(false)
        .build()
        .map_err(|error| load_error(error.to_string()))?;
    // The runtime's own log goes to stderr line by line; what matters of it comes back as errors.
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    let runtime = OnnxRuntime { version: version_of(&library), library, environment };
    *loaded = Some(runtime.clone());
    Ok(runtime)
}

/// Where ONNX Runtime's shared library lies, without loading it.
///
/// # Errors
/// Nowhere; the message says where it was looked for and how to get it.
pub fn find_onnx_runtime() -> Result<PathBuf, RuntimeError> {
    if let Some(named) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(RuntimeError::NotFound { searched: format!("{} as `ORT_DYLIB_PATH` says", named.display()) })
        };
    }
    let program_folder =
        std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_path_buf));
    let candidates = candidate_libraries(program_folder.as_deref(), cache_dir().ok().as_deref());
    candidates.iter().find(|candidate| candidate.is_file()).cloned().ok_or_else(|| RuntimeError::NotFound {
        searched: candidates
            .iter()
            .map(|candidate| candidate.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
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

fn candidate_libraries(program_folder: Option<&Path>, cache: Option<&Path>) -> Vec<PathBuf> {
    let versioned_name = format!("libonnxruntime.so.{ONNX_RUNTIME_VERSION}");
    let beside_program = program_folder.into_iter().flat_map(|folder| {
        [folder.to_path_buf(), folder.join("../lib")]
            .into_iter()
            .flat_map(|folder| [folder.join(&versioned_name), folder.join("libonnxruntime.so")])
    });
    let in_cache =
        cache.map(|cache| cache.join("onnxruntime").join(ONNX_RUNTIME_VERSION).join(&versioned_name));
    beside_program.chain(in_cache).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_beside_the_program_comes_before_the_cache() {
        let candidates = candidate_libraries(Some(Path::new("/opt/bin")), Some(Path::new("/cache")));
        assert_eq!(candidates.first().unwrap(), Path::new("/opt/bin/libonnxruntime.so.1.31.1"));
        assert!(candidates.contains(&PathBuf::from("/opt/bin/../lib/libonnxruntime.so")));
        assert_eq!(
            candidates.last().unwrap(),
            Path::new("/cache/onnxruntime/1.31.1/libonnxruntime.so.1.31.1")
        );
    }
}
