//! The jobs of a run and the work on them: what is asked, and the text that each attempt generates.

use std::time::Duration;

use aitbc_common::hash::sha256;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::ids::{JobId, MinerId, shard_of};
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{AUDIT_ALLOWED, JobSpec, NO_MAX_RATE, Requirements};
use aitbc_coordinator::engine::command::Submission;
use aitbc_miner::runner::{FinishReason, RunResult};
use aitbc_proto::v1;
use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;

use super::agents;
use super::context::{START_MS, one_in};
use super::genesis::{self, CHAIN};

/// Two models; every miner has the first.
pub const MODELS: [&str; 2] = ["llama3:latest", "mistral:latest"];
/// What the miners' model servers are called.
pub const ENGINE: &str = "simulated/1";

/// The coordinator's service key.
pub fn service() -> Identity {
    Identity::from_seed(&[1; 32])
}

/// The key of client `n`.
pub fn client(n: usize) -> Identity {
    Identity::from_seed(&sha256(format!("client {n}").as_bytes()))
}

/// The key of miner `n`.
pub fn miner(n: usize) -> Identity {
    Identity::from_seed(&sha256(format!("miner {n}").as_bytes()))
}

/// The id of miner `n`.
pub fn miner_id(n: usize) -> MinerId {
    let random = [u8::try_from(n).unwrap_or(u8::MAX); 10];
    MinerId::new(START_MS, shard_of(&miner(n).public()), random)
}

/// What miner `n` asks, in micro-AIT per hour: the smallest lock pays for 10 s of each.
pub fn price(n: usize) -> u64 {
    [340_000, 0, 90_000][n % 3]
}

/// Where miner `n` is paid.
pub fn payout(n: usize) -> [u8; 20] {
    if n == 0 {
        return genesis::staker().address().0;
    }
    [u8::try_from(n + 1).unwrap_or(u8::MAX); 20]
}

/// A model as miners offer it.
pub fn model(name: &str) -> v1::MinerModel {
    v1::MinerModel {
        name: name.into(),
        digest: sha256(name.as_bytes()).to_vec().into(),
        context_tokens: 8_192,
        ..Default::default()
    }
}

/// How the input of a job begins that may be audited.
const AUDITED: &str = "{\"prompt\":\"audited";

/// Whether this miner works wrong on this input, once somebody looks.
pub fn is_wrong(input: &[u8], miner: &PublicKey) -> bool {
    input.starts_with(AUDITED.as_bytes()) && sha256(&[&miner.0, input].concat())[0] < 110
}

/// The text that this miner generates in an attempt. Where it may be audited, all that work right make the same; else each
/// attempt makes another, so that none passes for another.
pub fn text(input: &[u8], job: JobId, attempt: u16, miner: &PublicKey) -> String {
    let (seed, begin) = if is_wrong(input, miner) {
        (sha256(&[input, &miner.0].concat()), format!("{miner}:"))
    } else if input.starts_with(AUDITED.as_bytes()) {
        (sha256(input), "the same:".to_owned())
    } else {
        let seed = sha256(&[&job.0[..], &attempt.to_be_bytes()].concat());
        (seed, format!("{job}/{attempt}:"))
    };
    let length = match seed[0] {
        0..3 => 70_000 + usize::from(seed[1]) * 500,
        3..40 => 2_000 + usize::from(seed[1]) * 20,
        _ => usize::from(seed[1]) * 2,
    };
    let mut text = begin;
    let mut n = u64::from_be_bytes(*seed.first_chunk().expect("a hash has 32 bytes"));
    while text.len() < length {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!(" {:x}", n >> 40));
    }
    text
}

/// What a model server reports at the end of a run.
pub fn run_result(content: String) -> RunResult {
    let tokens_out = u32::try_from(content.len() / 4).unwrap_or(u32::MAX);
    RunResult {
        content,
        thinking: String::new(),
        tool_calls: Vec::new(),
        embeddings: None,
        finish_reason: FinishReason::Stop,
        tokens_in: 9,
        tokens_out,
        prompt_eval_duration: Duration::from_millis(20),
        eval_duration: Duration::from_millis(u64::from(tokens_out)),
        load_duration: Duration::ZERO,
    }
}

fn prompt(flags: u16, n: usize) -> String {
    if flags == AUDIT_ALLOWED {
        format!("{AUDITED} job {n}\"}}")
    } else {
        format!("{{\"prompt\":\"job {n}\"}}")
    }
}

/// Job `n` of client `by`; its id is made anew by every call.
pub fn submission(rng: &mut StdRng, n: usize, by: usize) -> Submission {
    let owner = client(by).public();
    let model = if one_in(rng, 3) { MODELS[1] } else { MODELS[0] };
    let is_agent = one_in(rng, 5);
    let flags = u16::from(!is_agent && one_in(rng, 2)) * AUDIT_ALLOWED;
    let input = if is_agent {
        agents::input(model, n)
    } else {
        Bytes::from(prompt(flags, n))
    };
    let requirements = Requirements::default();
    // Most have all day, so that a job that is forgotten shows.
    let deadline_ms = if one_in(rng, 12) {
        rng.random_range(60_000..400_000)
    } else {
        86_400_000
    };
    let spec = JobSpec {
        job_type: if is_agent {
            JobType::Agent
        } else {
            JobType::Inference
        },
        flags,
        chain_id: *CHAIN,
        owner,
        salt: rng.random(),
        model_name_hash: sha256(model.as_bytes()),
        model_digest: [0; 32],
        input_len: input.len() as u64,
        input_hash: sha256(&input),
        requirements_hash: requirements.hash(),
        max_rate: NO_MAX_RATE,
        deadline_ms,
    };
    Submission {
        job_id: JobId::default(),
        owner,
        request_id: format!("request {n}"),
        body_hash: sha256(&spec.encode()),
        spec,
        model: model.into(),
        requirements,
        input,
        priority: rng.random_range(-1..=1),
        max_retries: rng.random_range(2..=6),
        require_miner: false,
        retry_of: None,
        hold: false,
        least_funding: 0,
        not_paid_at: Vec::new(),
        agent: is_agent.then(agents::agent),
    }
}

/// A new id for a job of this owner.
pub fn new_job_id(rng: &mut StdRng, now: u64, submission: &Submission) -> JobId {
    JobId::new(now, shard_of(&submission.owner), rng.random())
}
