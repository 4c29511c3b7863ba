use prost_types::Timestamp;

use super::*;

fn at(ms: i64) -> Option<Timestamp> {
    let ms = 1_795_428_000_000 + ms;
    Some(Timestamp {
        seconds: ms / 1_000,
        nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap(),
    })
}

fn completed() -> Job {
    Job {
        job_id: "job_01m83xj880emq8k9w39qsaekf4".into(),
        status: JobStatus::Completed.into(),
        payment_status: PaymentStatus::Unfunded.into(),
        model: "llama3".into(),
        served_model: "llama3:latest".into(),
        model_digest: vec![0x36, 0x5c, 0x0b, 0xd3, 0xc0, 0x00, 0x11].into(),
        miner_id: "miner_01m83xj880es8r65rzyjka792g".into(),
        miner_name: "rig-1".into(),
        attempt: 1,
        max_retries: 3,
        created_at: at(0),
        assigned_at: at(4),
        started_at: at(9),
        first_token_at: at(380),
        finished_at: at(2_149),
        input_tokens: Some(14),
        output_tokens: Some(61),
        work_time: Some(Duration {
            seconds: 2,
            nanos: 140_000_000,
        }),
        ..Default::default()
    }
}

#[test]
fn a_completed_job_reads_as_documented() {
    let expected = "\
job_01m83xj880emq8k9w39qsaekf4  completed, unfunded
  miner   rig-1 (miner_01m8…792g), attempt 1, 0 of 3 retries spent      model  llama3 = llama3:latest sha256:365c0bd3c000
  times   submitted 10:00:00.000Z, assigned +4 ms, started +9 ms, first token +380 ms, finished +2.149 s; 14 tokens in, 61 out, 28.5/s";
    assert_eq!(job_text(&completed()), expected);
}

#[test]
fn work_by_hand_does_not_look_like_a_models() {
    let job = Job {
        engine: "manual".into(),
        model_digest: vec![0; 32].into(),
        input_tokens: Some(0),
        output_tokens: Some(0),
        ..completed()
    };
    let text = job_text(&job);
    assert!(text.contains("llama3:latest, manual (by hand)"), "{text}");
    assert!(!text.contains("sha256") && !text.contains("/s"), "{text}");
    let document = crate::output::job::job_json(&job);
    assert_eq!(document["model_digest"], serde_json::Value::Null);
    assert_eq!(document["manual"], true);
    let served = crate::output::job::job_json(&completed());
    assert_eq!(served["manual"], false);
}

#[test]
fn a_waiting_job_says_how_long() {
    let job = Job {
        status: JobStatus::Queued.into(),
        queue_position: Some(3),
        estimated_start: Some(Duration {
            seconds: 11,
            nanos: 5,
        }),
        finished_at: None,
        miner_id: String::new(),
        ..completed()
    };
    assert_eq!(state(&job), "queued, position 3, about 11 s");
    assert!(job_text(&job).contains("none yet, 0 of 3 retries spent"));
    assert_eq!(
        about(&Duration {
            seconds: 125,
            nanos: 0
        }),
        "3 min"
    );
}

#[test]
fn a_failed_job_says_why_and_each_attempt_too() {
    let failure = Some(Failure {
        reason: FailureReason::Stalled.into(),
        message: "no token for 60 s".into(),
    });
    let attempt = Attempt {
        attempt: 1,
        miner_name: "rig-1".into(),
        outcome: AttemptOutcome::Failed.into(),
        failure: failure.clone(),
        ..Default::default()
    };
    let job = Job {
        status: JobStatus::Failed.into(),
        attempts: vec![attempt],
        failure,
        ..completed()
    };
    let text = job_text(&job);
    assert!(
        text.contains("attempt 1 on rig-1 failed: no token for 60 s"),
        "{text}"
    );
    assert!(text.contains("ended +2.149 s"));
    let error = no_result(&job);
    assert_eq!(error.exit, ExitCode::NoResult);
    assert_eq!(error.message, "the job failed: no token for 60 s");
}

#[test]
fn an_attempt_handed_back_says_no_more_than_that() {
    let attempt = Attempt {
        attempt: 1,
        miner_name: "rig-1".into(),
        outcome: AttemptOutcome::Returned.into(),
        failure: Some(Failure {
            reason: FailureReason::Returned.into(),
            message: String::new(),
        }),
        ..Default::default()
    };
    assert_eq!(
        failed_attempt(&attempt),
        "attempt 1 on rig-1 was handed back"
    );
}

#[test]
fn a_submission_counts_its_miners() {
    let mut response = SubmitJobResponse {
        status: JobStatus::Queued.into(),
        queue_position: Some(1),
        matching_miners: 1,
        known_miners: 3,
        estimated_start: Some(Duration {
            seconds: 2,
            nanos: 0,
        }),
        ..Default::default()
    };
    assert_eq!(
        submitted_state(&response),
        "queued (position 1; 1 of 3 miners matches, starts in about 2 s)"
    );
    response.estimated_start = Some(Duration::default());
    assert!(submitted_state(&response).ends_with("matches, starts at once)"));
    response.estimated_start = None;
    response.matching_miners = 2;
    assert_eq!(
        submitted_state(&response),
        "queued (position 1; 2 of 3 miners match)"
    );
    (response.matching_miners, response.known_miners) = (0, 0);
    assert_eq!(
        submitted_state(&response),
        "queued (position 1; no miner is known yet)"
    );
}

#[test]
fn miners_that_are_away_are_not_said_to_be_unfit() {
    let said = |known, away| none_matches(known, away);
    assert_eq!(said(1, 1), "1 known miner, away");
    assert_eq!(said(1, 0), "the one known miner does not match");
    assert_eq!(said(3, 3), "3 known miners, all away");
    assert!(said(3, 2).ends_with("2 would but are away"));
    assert_eq!(said(3, 0), "none of 3 known miners matches");
}
