//! The results that lie on an executor until they are fetched.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// The work folder: a folder for each job, and in it one for each stage.
#[derive(Debug, Clone)]
pub(crate) struct JobData {
    pub(crate) work_dir: PathBuf,
}

impl JobData {
    /// The jobs with a folder.
    pub(crate) async fn jobs(&self) -> io::Result<BTreeSet<String>> {
        let mut jobs = BTreeSet::new();
        let mut folders = tokio::fs::read_dir(&self.work_dir).await?;
        while let Some(folder) = folders.next_entry().await? {
            // DataFusion's own temporary folders begin with its name.
            if let Ok(name) = folder.file_name().into_string()
                && is_job_id(&name)
            {
                jobs.insert(name);
            }
        }
        Ok(jobs)
    }

    /// Removes a job's results, or those of some stages.
    pub(crate) async fn remove(&self, job_id: &str, stages: &[u32]) -> io::Result<()> {
        if !is_job_id(job_id) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is no job's name"));
        }
        let job = self.work_dir.join(job_id);
        if stages.is_empty() {
            return remove_folder(job).await;
        }
        for stage in stages {
            remove_folder(job.join(stage.to_string())).await?;
        }
        Ok(())
    }
}

/// As the scheduler's book names jobs: nothing that could lead out of the folder.
fn is_job_id(name: &str) -> bool {
    uuid::Uuid::try_parse(name).is_ok()
}

async fn remove_folder(folder: PathBuf) -> io::Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "5cb4f4d6-6f3e-4d2e-9c7b-111111111111";

    #[tokio::test]
    async fn only_jobs_are_listed_and_only_they_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        let data = JobData { work_dir: folder.path().join("work") };
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::create_dir_all(data.work_dir.join("datafusion-x")).unwrap();
        for stage in ["1", "2"] {
            std::fs::create_dir_all(data.work_dir.join(JOB).join(stage)).unwrap();
        }
        assert_eq!(data.jobs().await.unwrap().into_iter().collect::<Vec<_>>(), [JOB]);
        data.remove(JOB, &[1]).await.unwrap();
        assert!(!data.work_dir.join(JOB).join("1").exists() && data.work_dir.join(JOB).join("2").exists());
        data.remove(JOB, &[]).await.unwrap();
        data.remove(JOB, &[]).await.unwrap();
        assert!(data.jobs().await.unwrap().is_empty());
        for name in ["../outside", "", ".", "datafusion-x"] {
            assert!(data.remove(name, &[]).await.is_err(), "{name}");
        }
        assert!(outside.exists());
    }
}
