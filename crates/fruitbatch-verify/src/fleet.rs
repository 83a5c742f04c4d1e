//! What a fleet costs: two executors against one process, a job's overhead, and a scheduler with a hundred executors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use fruitbatch_cluster::{ClusterError, Executor, ExecutorOptions, connect};
use fruitbatch_net::Connector;
use fruitbatch_scan::{ImageRow, ImageTable, ScanOptions};
use fruitbatch_storage::StorageOptions;
use futures::future::try_join_all;
use prometheus_client::registry::Registry;

use crate::promise::{Promise, at_most, holds};
use crate::runs::{Fruitbatch, Run, VerifyError};

/// Wall time of two executors with one core each, as a multiple of that of one process with two.
const TWO_EXECUTORS: f64 = 1.05;
/// From submitting a job over one photo to its last row, in seconds.
const JOB_OVERHEAD: f64 = 0.2;
/// Jobs that are timed; the middle one counts.
const TIMED_JOBS: usize = 21;
/// Executors that join one scheduler.
const MANY: usize = 100;
/// How long the scheduler is watched with all of them at work.
const WATCHED_FOR: Duration = Duration::from_secs(20);
/// Cores and memory that it may take meanwhile.
const SCHEDULER_CORES: f64 = 1.0;
const SCHEDULER_MEMORY_MB: f64 = 1000.0;

/// A scheduler or an executor, ended when it is dropped.
struct Role {
    process: Child,
    address: String,
}

impl Role {
    /// Starts it and waits until it says where it listens, in a line that begins with `marker`.
    fn start(program: &Path, arguments: &[&str], marker: &str) -> Result<Self, VerifyError> {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(VerifyError::Prepare)?;
        let mut said = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        let address = said.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.strip_prefix(marker)?.split(',').next()?;
            Some(address.to_owned())
        });
        // Nobody reads the rest; a full pipe must not stop it.
        std::thread::spawn(move || said.for_each(drop));
        match address {
            Some(address) => Ok(Self { process, address }),
            None => Err(VerifyError::Unexpected(format!("`fruitbatch {}` ended", arguments.join(" ")))),
        }
    }

    fn scheduler(program: &Path) -> Result<Self, VerifyError> {
        Self::start(program, &["scheduler", "--bind", "127.0.0.1:0"], "scheduler at df://")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two executors with one core each, against `local`, a run of one process with two.
pub(crate) fn two_executors(
    fruitbatch: &Fruitbatch,
    photos: &Path,
    local: &Run,
) -> Result<Vec<Promise>, VerifyError> {
    let scheduler = Role::scheduler(fruitbatch.program())?;
    let flags = ["executor", "--scheduler", &scheduler.address, "--bind", "127.0.0.1:0", "--slots", "1"];
    let start = || Role::start(fruitbatch.program(), &flags, "executor at ");
    let _executors = [start()?, start()?];
    let url = format!("df://{}", scheduler.address);
    let fleet = fruitbatch.run(photos, &["--scheduler", &url])?;
    Ok(vec![
        holds(
            "224: two executors of one core: results.csv byte for byte",
            fleet.file("results.csv")? == local.file("results.csv")?,
        ),
        at_most(
            "224: two executors of one core: wall time by that of two slots in one process",
            fleet.wall.as_secs_f64() / local.wall.as_secs_f64(),
            TWO_EXECUTORS,
        ),
    ])
}

/// What the scheduler itself costs.
pub(crate) fn scheduling(fruitbatch: &Fruitbatch) -> Result<Vec<Promise>, VerifyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(VerifyError::Prepare)?;
    let scheduler = Role::scheduler(fruitbatch.program())?;
    let unexpected = |error: ClusterError| VerifyError::Unexpected(error.to_string());
    let nowhere = tempfile::tempdir().map_err(VerifyError::Prepare)?;
    let folder = nowhere.path().display().to_string();
    runtime.block_on(measure(&scheduler, &folder)).map_err(unexpected)
}

async fn measure(scheduler: &Role, nowhere: &str) -> Result<Vec<Promise>, ClusterError> {
    let mut executors = vec![executor(scheduler).await?];
    let session = connect(&scheduler.address, &Connector::default(), &[]).await?;
    let mut times = Vec::new();
    for _ in 0..TIMED_JOBS {
        let began = Instant::now();
        run_job(&session, nowhere, 1).await?;
        times.push(began.elapsed());
    }
    times.sort();
    let overhead = times[TIMED_JOBS / 2].as_secs_f64();

    // The real thing but for the model: each joins, gives its sign of life each second, and does what it is given.
    executors.extend(try_join_all((1..MANY).map(|_| executor(scheduler))).await?);
    let cpu_before = metric(&scheduler.address, "process_cpu_seconds_total");
    let began = Instant::now();
    let mut jobs = 0;
    while began.elapsed() < WATCHED_FOR {
        run_job(&session, nowhere, 2 * MANY).await?;
        jobs += 1;
    }
    let watched = began.elapsed().as_secs_f64();
    let cores = (metric(&scheduler.address, "process_cpu_seconds_total") - cpu_before) / watched;
    let memory = metric(&scheduler.address, "process_resident_memory_bytes") / 1e6;
    let joined = metric(&scheduler.address, "fruitbatch_executors{state=\"active\"}");
    for executor in executors {
        executor.shutdown().await;
    }
    Ok(vec![
        at_most("a job over one photo, from submission to its row, in seconds", overhead, JOB_OVERHEAD),
        holds(format!("{MANY} executors belong to one scheduler"), (joined - MANY as f64).abs() < 0.5),
        at_most(
            format!(
                "{MANY} executors, {:.0} tasks a second: the scheduler's cores",
                f64::from(jobs) * 2.0 * MANY as f64 / watched
            ),
            cores,
            SCHEDULER_CORES,
        ),
        at_most(format!("{MANY} executors: the scheduler's memory in MB"), memory, SCHEDULER_MEMORY_MB),
    ])
}

async fn executor(scheduler: &Role) -> Result<Executor, ClusterError> {
    let options = ExecutorOptions {
        bind: ([127, 0, 0, 1], 0).into(),
        slots: NonZeroUsize::MIN,
        ..ExecutorOptions::new(&scheduler.address)
    };
    let executor = Executor::start(options, Vec::new(), Registry::default()).await?;
    executor.joined().await?;
    Ok(executor)
}

/// A job of so many tasks, each over one photo that isn't in `nowhere`, a folder.
async fn run_job(session: &SessionContext, nowhere: &str, tasks: usize) -> Result<(), ClusterError> {
    let photos =
        (0..tasks).map(|task| ImageRow { path: format!("{task}.jpg"), ..ImageRow::default() }).collect();
    let nowhere = nowhere.parse().expect("that is a place");
    let options = ScanOptions { rows_per_partition: 1, ..ScanOptions::default() };
    let table = ImageTable::new(nowhere, StorageOptions::default(), photos, options);
    let rows = session.read_table(Arc::new(table))?.collect().await?;
    let returned: usize = rows.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(returned, tasks, "every row comes back");
    Ok(())
}

/// A figure that the scheduler tells Prometheus; not a number if it doesn't.
fn metric(address: &str, name: &str) -> f64 {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
}
