//! Which jobs somebody still wants something of, and whether that somebody is still there.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ballista_scheduler::scheduler_server::JobIdGenerator;

/// After so many executors were lost while they worked on a job, it is taken to be the job's doing.
pub(crate) const MOST_EXECUTORS_LOST: u32 = 8;

/// The scheduler's open jobs: from the moment they get their name until their results are fetched, or nobody wants them
/// any more. What isn't in it is over.
#[derive(Debug, Default)]
pub(crate) struct JobBook(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    jobs: HashMap<String, OpenJob>,
    /// When each driver was last heard of.
    sessions: HashMap<String, Instant>,
}

#[derive(Debug)]
struct OpenJob {
    /// The driver's session; not known in the first moment.
    session: Option<String>,
    opened: Instant,
    executors_lost: u32,
}

/// A driver that is gone, and what it left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SilentDriver {
    pub(crate) session: Option<String>,
    pub(crate) jobs: Vec<String>,
}

impl JobBook {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A driver has submitted the job.
    pub(crate) fn submitted(&self, job: &str, session: &str) {
        let mut books = self.books();
        if let Some(job) = books.jobs.get_mut(job) {
            job.session = Some(session.to_owned());
        }
        books.sessions.insert(session.to_owned(), Instant::now());
    }

    /// The session's driver is alive.
    pub(crate) fn heard_of(&self, session: &str) {
        self.books().sessions.insert(session.to_owned(), Instant::now());
    }

    /// The job is over.
    pub(crate) fn close(&self, job: &str) {
        self.books().jobs.remove(job);
    }

    pub(crate) fn open_jobs(&self) -> usize {
        self.books().jobs.len()
    }

    /// Drivers that were heard of, and not yet given up.
    pub(crate) fn drivers(&self) -> usize {
        self.books().sessions.len()
    }

    /// Of these jobs, those that are over.
    pub(crate) fn closed_of(&self, jobs: &[String]) -> Vec<String> {
        let books = self.books();
        jobs.iter().filter(|job| !books.jobs.contains_key(*job)).cloned().collect()
    }

    /// An executor was lost that worked on these jobs. Returns those for which it was one too many.
    pub(crate) fn lost_executor(&self, jobs: &[String]) -> Vec<String> {
        let mut books = self.books();
        let mut too_many = BTreeSet::new();
        for name in jobs {
            if let Some(job) = books.jobs.get_mut(name) {
                job.executors_lost += 1;
                if job.executors_lost >= MOST_EXECUTORS_LOST {
                    too_many.insert(name.clone());
                }
            }
        }
        too_many.into_iter().collect()
    }

    /// Forgets the drivers not heard of for `patience`, and says what they left.
    pub(crate) fn take_silent(&self, patience: Duration) -> Vec<SilentDriver> {
        let mut books = self.books();
        let silent: Vec<String> = books
            .sessions
            .iter()
            .filter(|(_, heard)| heard.elapsed() > patience)
            .map(|(session, _)| session.clone())
            .collect();
        let mut drivers = Vec::new();
        for session in silent {
            books.sessions.remove(&session);
            let jobs = books.take_jobs(|job| job.session.as_ref() == Some(&session));
            drivers.push(SilentDriver { session: Some(session), jobs });
        }
        // Named, but never submitted.
        let nobodys = books.take_jobs(|job| job.session.is_none() && job.opened.elapsed() > patience);
        if !nobodys.is_empty() {
            drivers.push(SilentDriver { session: None, jobs: nobodys });
        }
        drivers
    }
}

impl Books {
    fn take_jobs(&mut self, which: impl Fn(&OpenJob) -> bool) -> Vec<String> {
        let jobs: Vec<String> =
            self.jobs.iter().filter(|(_, job)| which(job)).map(|(name, _)| name.clone()).collect();
        for job in &jobs {
            self.jobs.remove(job);
        }
        jobs
    }
}

/// A job is in the book before any executor can hear of it.
#[async_trait::async_trait]
impl JobIdGenerator for JobBook {
    async fn next_id(&self) -> String {
        let id = ballista_core::ids::new_instance_id();
        let job = OpenJob { session: None, opened: Instant::now(), executors_lost: 0 };
        self.books().jobs.insert(id.clone(), job);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PATIENCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn a_job_is_open_from_its_name_to_its_end() {
        let book = JobBook::default();
        let job = book.next_id().await;
        assert_eq!(book.closed_of(&[job.clone(), "old".to_owned()]), ["old"]);
        book.submitted(&job, "driver");
        assert_eq!((book.open_jobs(), book.drivers()), (1, 1));
        book.close(&job);
        assert_eq!(book.closed_of(std::slice::from_ref(&job)), [job]);
    }

    #[tokio::test]
    async fn a_silent_drivers_jobs_are_handed_over_once() {
        let book = JobBook::default();
        let (one, two, nobodys) = (book.next_id().await, book.next_id().await, book.next_id().await);
        book.submitted(&one, "driver");
        book.submitted(&two, "other");
        assert_eq!(book.take_silent(Duration::from_hours(1)), []);
        let mut silent = book.take_silent(NO_PATIENCE);
        silent.sort_by(|a, b| a.session.cmp(&b.session));
        let left = |session: Option<&str>, job: &String| SilentDriver {
            session: session.map(str::to_owned),
            jobs: vec![job.clone()],
        };
        assert_eq!(silent, [left(None, &nobodys), left(Some("driver"), &one), left(Some("other"), &two)]);
        assert_eq!(book.take_silent(NO_PATIENCE), []);
        assert_eq!(book.open_jobs(), 0);
    }

    #[tokio::test]
    async fn a_job_that_kills_executors_is_named_in_the_end() {
        let book = JobBook::default();
        let jobs = [book.next_id().await];
        for _ in 1..MOST_EXECUTORS_LOST {
            assert!(book.lost_executor(&jobs).is_empty());
        }
        assert_eq!(book.lost_executor(&jobs), jobs);
        assert!(book.lost_executor(&["unknown".to_owned()]).is_empty());
    }
}
