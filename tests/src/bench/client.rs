//! Clients: closed loops that submit a job and wait to be notified of its result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::submitter::Submitter;
use aitbc_proto::v1::{JobEvent, JobSpec, JobStatus, JobType, SubmitJobRequest};
use anyhow::{anyhow, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::latency::Latencies;
use super::miner::{MODEL, OUTPUT_BYTES, Origin};
use super::payer::Payer;

/// Bytes of a job's input document.
pub const INPUT_BYTES: usize = 1_024;

/// No job takes longer, even on a slow machine.
const JOB_PATIENCE: Duration = Duration::from_secs(60);
/// How long the first job may be without a word before it is submitted anew.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
const FIRST_ATTEMPTS: usize = 20;

/// One client with many jobs at once.
pub struct Client {
    submitter: Submitter,
    input: Bytes,
    origin: Origin,
}

impl Client {
    /// Starts on an open connection and waits until its watch stream delivers.
    pub async fn start(connection: &Connection, origin: Origin) -> anyhow::Result<Arc<Self>> {
        let frame = r#"{"prompt":""}"#.len();
        let prompt: String = "question? "
            .chars()
            .cycle()
            .take(INPUT_BYTES - frame)
            .collect();
        let client = Arc::new(Self {
            submitter: Submitter::start(connection, 65_536),
            input: Bytes::from(format!(r#"{{"prompt":"{prompt}"}}"#)),
            origin,
        });
        for _ in 0..FIRST_ATTEMPTS {
            // A job that ends before the watch stream begins is never heard of.
            if let Ok(ended) = tokio::time::timeout(FIRST_PATIENCE, client.job(None)).await {
                return ended.map(|()| client);
            }
        }
        Err(anyhow!("no notification of any of {FIRST_ATTEMPTS} jobs"))
    }

    /// Submits one job, pays for it where somebody does, waits for its result and checks that it is one.
    async fn job(&self, payer: Option<&mut Payer>) -> anyhow::Result<()> {
        let begun = self.submitter.begin(self.request(payer.is_some())).await;
        let (submitted, ended) = begun.map_err(|error| anyhow!(error.message))?;
        if let Some(payer) = payer {
            payer.lock(&submitted).await?;
        }
        check(&ended.await?)
    }

    /// A paid job waits for its funds.
    fn request(&self, hold: bool) -> SubmitJobRequest {
        let mut salt: [u8; 32] = random_bytes();
        salt[..8].copy_from_slice(&self.origin.stamp());
        SubmitJobRequest {
            request_id: hex::encode(&salt[..24]),
            spec: Some(JobSpec {
                r#type: JobType::Inference.into(),
                model: MODEL.to_owned(),
                input: self.input.clone(),
                salt: salt.to_vec().into(),
                ..Default::default()
            }),
            hold,
            ..Default::default()
        }
    }

    /// Runs a loop for each of `payers` until `end`; the times of the jobs that ended between `begin` and `end`, and those
    /// who paid.
    pub async fn loops(
        self: &Arc<Self>,
        payers: Vec<Option<Payer>>,
        begin: Instant,
        end: Instant,
    ) -> anyhow::Result<(Latencies, Vec<Payer>)> {
        let mut loops = JoinSet::new();
        for payer in payers {
            let client = Arc::clone(self);
            loops.spawn(async move { client.one_loop(payer, begin, end).await });
        }
        let (mut all, mut paid) = (Latencies::default(), Vec::new());
        while let Some(one) = loops.join_next().await {
            let (latencies, payer) = one??;
            all.extend(latencies);
            paid.extend(payer);
        }
        Ok((all, paid))
    }

    async fn one_loop(
        &self,
        mut payer: Option<Payer>,
        begin: Instant,
        end: Instant,
    ) -> anyhow::Result<(Latencies, Option<Payer>)> {
        let mut latencies = Latencies::default();
        loop {
            let submitted = Instant::now();
            if submitted >= end {
                return Ok((latencies, payer));
            }
            tokio::time::timeout(JOB_PATIENCE, self.job(payer.as_mut()))
                .await
                .map_err(|_| anyhow!("a job had no result after {JOB_PATIENCE:?}"))??;
            let now = Instant::now();
            if now >= begin && now < end {
                latencies.add(now - submitted);
            }
        }
    }
}

fn check(event: &JobEvent) -> anyhow::Result<()> {
    ensure!(
        event.status() == JobStatus::Completed,
        "{} ended as {:?}: {:?}",
        event.job_id,
        event.status(),
        event.failure
    );
    let result = event.result.as_ref().map_or(0, Bytes::len);
    ensure!(
        result > OUTPUT_BYTES,
        "{} came without its result",
        event.job_id
    );
    let receipt = event.proof.as_ref().map_or(0, |proof| proof.receipt.len());
    ensure!(receipt > 0, "{} came without its receipt", event.job_id);
    Ok(())
}
