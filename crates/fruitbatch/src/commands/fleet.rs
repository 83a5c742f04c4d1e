//! `fruitbatch scheduler` and `fruitbatch executor`: the fleet's two roles.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use fruitbatch_cluster::{
    ClusterError, Executor, ExecutorOptions, ExecutorState, Membership, Scheduler, SchedulerOptions,
};
use fruitbatch_net::{ProcessMetrics, TlsFiles};
use fruitbatch_pipeline::{FetchedModelFiles, available_cores};
use fruitbatch_sql::sql_functions;
use fruitbatch_storage::ec2_notice;
use fruitbatch_vision::cache::cache_dir;
use fruitbatch_vision::{CachedModelFiles, Catalogue, ModelSessions, Precision, Provider, onnx_runtime_for};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::cli::{ExecutorArgs, SchedulerArgs};
use crate::exit::{CommandError, Done};
use crate::page;
use crate::signals::Signals;

/// Runs a scheduler until a signal ends it.
pub(crate) fn scheduler(args: &SchedulerArgs) -> Result<Done, CommandError> {
    runtime()?.block_on(async {
        let mut signals = Signals::new().map_err(CommandError::Runtime)?;
        let options = SchedulerOptions {
            bind: args.bind,
            executor_timeout: Duration::from_secs(args.executor_timeout.into()),
            driver_timeout: Duration::from_secs(args.driver_timeout.into()),
            tls: args.tls.files(),
        };
        // It plans with the functions, but runs none: it needs no model.
        let files = Arc::new(CachedModelFiles::new(cache_dir().map_err(CommandError::Cache)?));
        let models = ModelSessions::new(files, Catalogue::load()?, NonZeroUsize::MIN);
        let registry = registry("scheduler");
        let scheduler = Arc::new(Scheduler::start(options, sql_functions(Arc::new(models)), registry).await?);
        let address = scheduler.address();
        warn_if_open("scheduler", address, &args.tls.files());
        eprintln!("scheduler at df://{address}");
        eprintln!("  add executors:  fruitbatch executor --scheduler {address}");
        eprintln!("  run a job:      fruitbatch run INPUT --output OUT --scheduler df://{address}");
        if let Some(page) = args.ui {
            let watched = Arc::clone(&scheduler);
            page::serve(page, move || page::fleet_view(address, watched.fleet()))?;
        }
        signals.next().await;
        eprintln!("scheduler stops: drivers wait for it to come back, or stop resumable");
        Ok(Done::Fine)
    })
}

/// Runs an executor until a signal ends it, or the scheduler refuses it.
pub(crate) fn executor(args: &ExecutorArgs) -> Result<Done, CommandError> {
    // Before any task fails for want of it.
    let provider = args.provider.or_else(|| Provider::best_here(Precision::Fp32));
    let onnx = onnx_runtime_for(provider).map_err(CommandError::OnnxRuntime)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(CommandError::Runtime)?;
        let cache = cache_dir().map_err(CommandError::Cache)?;
        let slots = args.slots.unwrap_or_else(available_cores);
        let threads = args.threads.unwrap_or_else(|| slots.min(available_cores()));
        let files = FetchedModelFiles::new(&cache, args.model_cache_bytes, runtime.handle().clone());
        let mut registry = registry("executor");
        files.register(&mut registry);
        let memory_limit = args.memory_limit.map(|limit| limit.as_u64());
        let models = ModelSessions::new(Arc::new(files), Catalogue::load()?, threads)
            .with_memory_limit(memory_limit, slots);
        models.register(&mut registry);
        let options = ExecutorOptions {
            bind: args.bind,
            advertise_host: args.advertise_host.clone(),
            slots,
            work_dir: args.work_dir.clone(),
            read_batch_bytes: models.read_batch_bytes(),
            timeout: Duration::from_secs(args.executor_timeout.into()),
            tls: args.tls.files(),
            ..ExecutorOptions::new(&args.scheduler)
        };
        let executor = Executor::start(options, sql_functions(Arc::new(models)), registry).await?;
        warn_if_open("executor", executor.address(), &args.tls.files());
        eprintln!(
            "executor at {}, {slots} slots, {threads} threads in the model, ONNX Runtime {}{}",
            executor.address(),
            onnx.version,
            if provider == Provider::Cpu { String::new() } else { format!(" with {provider}") }
        );
        let mut state = executor.state();
        let mut ends = Done::Fine;
        tokio::select! {
            refused = refused(&mut state) => return Err(refused),
            () = signals.next() => {}
            notice = ec2_notice(), if args.ec2_notices => eprintln!("{notice}"),
            () = executor.disk_full() => {
                eprintln!("error: the disk with the work folder is full: make room there, or name another one with --work-dir");
                ends = Done::SomethingMissing;
            }
        }
        let patience = Duration::from_secs(args.drain_timeout.into());
        let ExecutorState { running_tasks, held_jobs, .. } = state.borrow().clone();
        eprintln!(
            "executor leaves: {running_tasks} tasks to end, results of {held_jobs} jobs to hand out, {} s at most; once more \
             to stop at once",
            patience.as_secs()
        );
        tokio::select! {
            () = executor.drain(patience) => eprintln!("executor has left"),
            () = signals.next() => {
                eprintln!("executor stops at once: its work is done again by others");
                std::process::exit(1);
            }
        }
        Ok(ends)
    })
}

/// Returns when the scheduler won't have the executor. Whatever else happens between them is logged.
async fn refused(state: &mut watch::Receiver<ExecutorState>) -> CommandError {
    match state.wait_for(|state| matches!(state.membership, Membership::Refused { .. })).await {
        Ok(state) => match &state.membership {
            Membership::Refused { message } => ClusterError::Refused { message: message.clone() }.into(),
            other => unreachable!("it waits for a refusal, not for {other:?}"),
        },
        // The executor has ended; whoever ended it knows.
        Err(_) => std::future::pending().await,
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CommandError::Runtime)
}

/// The role's metrics, to which its parts add theirs.
fn registry(role: &'static str) -> Registry {
    let mut registry = Registry::default();
    let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("role", role)]);
    registry.register("fruitbatch_build", "What this is", build);
    registry.register_collector(Box::new(ProcessMetrics::default()));
    registry
}

fn warn_if_open(role: &str, address: SocketAddr, tls: &TlsFiles) {
    if address.ip().is_loopback() || tls.client_ca.is_some() {
        return;
    }
    let lacks = if tls.is_empty() {
        "encryption or authentication (--tls-cert, --tls-key, --tls-ca and --tls-client-ca give both)"
    } else {
        "authentication (--tls-client-ca gives it)"
    };
    eprintln!(
        "warning: this {role} listens on {address} without {lacks}: keep the port inside a network you trust"
    );
}
