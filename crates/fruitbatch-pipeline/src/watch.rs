//! The speed layer beside the batch layer: INPUT is listed again and again, and photos that have come are folded in.

use std::sync::Arc;
use std::time::Duration;

use fruitbatch_learn::LearnError;
use fruitbatch_storage::Storage;
use fruitbatch_vision::{ModelFiles, ModelSessions};
use tokio_util::sync::CancellationToken;

use crate::config::{RunConfig, RunPlan, Steps};
use crate::driver::RunSummary;
use crate::error::RunError;
use crate::events::{Event, Observer, Stage};
use crate::progress_note::NotingObserver;
use crate::run::extract_and_finish;
use crate::selection::Selection;
use crate::stage_clock::StageClock;

/// Carries a plan out, and again whenever INPUT lists otherwise than the last time that it was: photos that have come are
/// extracted, assigned to the clusters of the model in OUT (see [`Steps::Assign`]), and in the results as soon as the round is
/// done. `told` hears of each round. Between rounds nobody holds OUT, and a round without changes doesn't touch it.
///
/// Ends well once `cancel` is cancelled between rounds. A round that fails is told as a warning and repeated after the
/// `interval`, as long as waiting may mend it: no photos yet, too few to fit on, a network that is away.
///
/// Memory: as [`run()`](crate::run()) in each round.
///
/// # Errors
/// What waiting doesn't mend: those of usage, another driver that has taken OUT over, and whatever befalls the first round;
/// [`RunError::Interrupted`] if it is cancelled within a round.
pub async fn watch(
    plan: &RunPlan,
    interval: Duration,
    sessions: Arc<ModelSessions>,
    files: Arc<dyn ModelFiles>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
    mut told: impl FnMut(&RunSummary),
) -> Result<(), RunError> {
    let observer = &NotingObserver::new(observer);
    let storage = Storage::new(plan.storage_options.clone());
    let mut plan = RunPlan { steps: Steps::Assign, ..plan.clone() };
    // What was done last, and whether any round was.
    let (mut done, mut has_begun) = (None, false);
    loop {
        let round = async {
            let mut clock = StageClock::new(observer);
            clock.enter(Stage::List);
            let selection = Selection::list(&plan, &storage).await?;
            let digest = selection.digest();
            if done.as_ref() == Some(&digest) {
                return Ok((digest, None));
            }
            let files = files.as_ref();
            let finished = extract_and_finish(
                &plan, selection, &storage, &mut clock, &sessions, files, observer, cancel,
            );
            finished.await.map(|summary| (digest, Some(summary)))
        };
        match round.await {
            Ok((digest, summary)) => {
                done = Some(digest);
                has_begun = true;
                plan.config = RunConfig { overwrite: false, ..plan.config };
                plan.retry_failed = false;
                if let Some(summary) = summary {
                    told(&summary);
                }
            }
            Err(error) if may_be_mended(&error, has_begun) => {
                let message = format!("{error}; looking again in {} s", interval.as_secs_f64());
                observer.observe(Event::Warning { message });
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Whether the next round may do better.
fn may_be_mended(error: &RunError, has_begun: bool) -> bool {
    match error {
        RunError::NoPhotos { .. }
        | RunError::Learn(
            LearnError::TooFewRows { .. }
            | LearnError::MoreClustersThanRows { .. }
            | LearnError::TooManyComponents { .. },
        ) => true,
        RunError::Interrupted { .. } | RunError::Superseded { .. } => false,
        other => has_begun && !other.is_usage(),
    }
}
