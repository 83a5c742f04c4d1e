//! A server that speaks DynamoDB's protocol for the length of a test: moto, which is a Python program.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

/// What the server says once it listens, before its address.
const READY: &str = "Running on ";

/// A running server; dropping it stops it.
pub struct DynamoDbServer {
    process: Child,
    endpoint_url: String,
}

impl DynamoDbServer {
    /// Starts one without any table, on a free port of 127.0.0.1. `python` is a Python with moto's server, as
    /// `FRUITBATCH_PYTHON` names one.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(python: &OsStr) -> Self {
        let mut process = Command::new(python)
            .args(["-m", "moto.server", "--host", "127.0.0.1", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python can be started");
        let mut told = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut all_told = String::new();
        let endpoint_url = loop {
            let start = all_told.len();
            let read = told.read_line(&mut all_told).expect("it tells text");
            assert!(read > 0, "the server ends: {all_told}");
            if let Some((_, address)) = all_told[start..].split_once(READY) {
                break address.trim().to_owned();
            }
        };
        // It goes on to tell of each request, and would stop if nobody listened.
        thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Self { process, endpoint_url }
    }

    /// `http://127.0.0.1:PORT`. Any access key does.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }
}

impl Drop for DynamoDbServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
