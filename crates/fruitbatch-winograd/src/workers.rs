//! Who does the work, and where it is laid down meanwhile.

use std::sync::{Mutex, PoisonError};

/// Threads that work together. A session of ONNX Runtime has its own, and they are to be used instead of more of them.
pub trait Workers {
    /// How many there are.
    fn count(&self) -> usize;

    /// Calls `task` for each number below `tasks`, from any of the threads, and returns when all calls have. To call it again with
    /// a number does nothing.
    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisThread;

impl Workers for ThisThread {
    fn count(&self) -> usize {
        1
    }

    fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// Memory for what is between the steps, kept from one convolution to the next: a buffer for each worker, as long as the largest
/// convolution so far needed.
#[derive(Debug, Default)]
pub struct Workspace(Mutex<Vec<Vec<f32>>>);

impl Workspace {
    pub(crate) fn with_buffer<T>(&self, work: impl FnOnce(&mut Vec<f32>) -> T) -> T {
        let buffers = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = buffers().pop();
        let mut buffer = free.unwrap_or_default();
        let done = work(&mut buffer);
        buffers().push(buffer);
        done
    }
}
