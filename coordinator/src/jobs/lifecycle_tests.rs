use proptest::prelude::*;

use super::*;

const RULES: BrokenRules = BrokenRules {
    skip_attempt_check: false,
    no_requeue_on_loss: false,
    fund_again: false,
    pay_first_payee: false,
    rent_again: false,
    serve_strangers: false,
    count_every_beat: false,
    keep_rest: false,
};

fn miner(n: u8) -> MinerId {
    MinerId([n; 16])
}

fn queued() -> Job {
    Job {
        id: JobId([1; 16]),
        phase: Phase::Queued { not_before: 0 },
        attempt: 0,
        last_miner: None,
        retries_spent: 0,
        max_retries: 3,
        deadline: 1_000_000,
        needs_funds: false,
        funded: false,
        enough: false,
    }
}

fn after(mut job: Job, events: &[Event]) -> Job {
    for event in events {
        job = step(&job, *event, 10, RULES).unwrap().0;
    }
    job
}

fn assign(n: u8) -> Event {
    Event::Assign {
        miner: miner(n),
        accept_by: 15,
    }
}

fn fail(attempt: u16, n: u8, reason: FailureReason) -> Event {
    Event::Fail {
        attempt,
        miner: miner(n),
        reason,
    }
}

#[test]
fn the_straight_way_ends_completed() {
    let job = after(
        queued(),
        &[
            assign(1),
            Event::Hold {
                attempt: 1,
                miner: miner(1),
                lease_until: 40,
            },
            Event::Complete {
                attempt: 1,
                miner: miner(1),
            },
        ],
    );
    assert_eq!(job.phase.status(), JobStatus::Completed);
    assert_eq!(step(&job, Event::Cancel, 11, RULES), Err(JobError::Final));
}

#[test]
fn not_accepted_and_returned_spend_nothing() {
    for reason in [
        FailureReason::NotAccepted,
        FailureReason::Returned,
        FailureReason::Busy,
    ] {
        let job = after(queued(), &[assign(1), fail(1, 1, reason)]);
        assert_eq!((job.retries_spent, job.attempt), (0, 1));
        assert_eq!(job.phase, Phase::Queued { not_before: 10 });
    }
}

#[test]
fn a_job_that_comes_back_again_and_again_waits() {
    let mut job = queued();
    let mut waited = false;
    for attempt in 1..=20 {
        job = after(job, &[assign(1), fail(attempt, 1, FailureReason::Busy)]);
        let Phase::Queued { not_before } = job.phase else {
            panic!("it waits")
        };
        assert!(
            attempt > 2 || not_before == 10,
            "the first two cost no time"
        );
        waited |= not_before > 10_000;
    }
    assert!(waited);
    assert_eq!(job.retries_spent, 0);
}

#[test]
fn a_miners_failures_end_the_job_after_its_retries() {
    let mut job = queued();
    for attempt in 1..=4 {
        assert_eq!(job.phase.status(), JobStatus::Queued);
        job = after(job, &[assign(1), fail(attempt, 1, FailureReason::Stalled)]);
    }
    assert_eq!((job.phase, job.retries_spent), (Phase::Failed, 3));
}

#[test]
fn the_jobs_own_fault_is_final_at_once() {
    let job = after(
        queued(),
        &[assign(1), fail(1, 1, FailureReason::ContextExceeded)],
    );
    assert_eq!((job.phase, job.retries_spent), (Phase::Failed, 0));
}

#[test]
fn a_late_receipt_counts_until_a_newer_lease_exists() {
    let lost = after(queued(), &[assign(1), fail(1, 1, FailureReason::Lost)]);
    let late = Event::Complete {
        attempt: 1,
        miner: miner(1),
    };
    assert_eq!(after(lost, &[late]).phase, Phase::Completed);
    let leased_again = after(lost, &[assign(2)]);
    assert_eq!(
        step(&leased_again, late, 10, RULES),
        Err(JobError::StaleAttempt {
            given: 1,
            newest: 2
        })
    );
}

#[test]
fn another_miner_cannot_complete() {
    let leased = after(queued(), &[assign(1)]);
    assert!(
        step(
            &leased,
            Event::Complete {
                attempt: 1,
                miner: miner(2)
            },
            10,
            RULES
        )
        .is_err()
    );
}

#[test]
fn cancel_stops_the_miner() {
    let leased = after(queued(), &[assign(1)]);
    let (_, effects) = step(&leased, Event::Cancel, 10, RULES).unwrap();
    assert!(effects.contains(&Effect::StopMiner(miner(1))));
}

/// Funds that are enough, or none.
fn funds(enough: bool) -> Event {
    Event::Funds {
        funded: enough,
        enough,
    }
}

const SOME: Event = Event::Funds {
    funded: true,
    enough: false,
};

fn pending() -> Job {
    Job {
        phase: Phase::Pending,
        needs_funds: true,
        ..queued()
    }
}

#[test]
fn a_pending_job_is_queued_once_it_is_paid() {
    let refused = step(&pending(), assign(1), 10, RULES);
    assert_eq!(refused, Err(JobError::NotFunded));
    let some = after(pending(), &[SOME]);
    assert_eq!((some.status(), some.funded), (JobStatus::Pending, true));
    assert_eq!(step(&some, assign(1), 10, RULES), Err(JobError::NotFunded));
    let (job, effects) = step(&some, funds(true), 10, RULES).unwrap();
    assert_eq!(effects, [Effect::Enqueue { not_before: 10 }]);
    assert_eq!(job.status(), JobStatus::Funded);
    assert_eq!(after(job, &[assign(1)]).status(), JobStatus::Funded);
    let (_, more) = step(&job, funds(true), 11, RULES).unwrap();
    assert!(more.is_empty(), "it waits already");
}

#[test]
fn a_job_that_loses_its_funds_waits_for_others() {
    for left in [SOME, funds(false)] {
        let lost = after(pending(), &[funds(true), left]);
        assert_eq!(lost.phase, Phase::Pending);
    }
    let running = after(pending(), &[funds(true), assign(1), funds(false)]);
    assert_eq!(running.phase.holder(), Some(miner(1)));
    let came_back = after(running, &[fail(1, 1, FailureReason::Returned)]);
    assert_eq!(came_back.phase, Phase::Pending);
}

#[test]
fn a_pending_job_can_be_cancelled_and_expires() {
    for (event, phase) in [
        (Event::Cancel, Phase::Cancelled),
        (Event::Expire, Phase::Expired),
    ] {
        assert_eq!(after(pending(), &[event]).phase, phase);
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let who = (0u16..5, 1u8..4).prop_map(|(attempt, n)| (attempt, miner(n)));
    let reason = (0i32..15).prop_map(|n| FailureReason::try_from(n).unwrap_or(FailureReason::Lost));
    prop_oneof![
        (1u8..4).prop_map(assign),
        (1u8..4).prop_map(|n| Event::Take {
            miner: miner(n),
            lease_until: 40
        }),
        who.clone().prop_map(|(attempt, miner)| Event::Hold {
            attempt,
            miner,
            lease_until: 40
        }),
        who.clone()
            .prop_map(|(attempt, miner)| Event::Complete { attempt, miner }),
        (who, reason).prop_map(|((attempt, miner), reason)| Event::Fail {
            attempt,
            miner,
            reason
        }),
        any::<bool>().prop_map(funds),
        Just(SOME),
        Just(Event::Cancel),
        Just(Event::Expire),
    ]
}

proptest! {
    #[test]
    fn no_miner_gets_a_job_without_the_funds_that_it_needs(events in proptest::collection::vec(any_event(), 0..60)) {
        let mut job = pending();
        for event in events {
            if let Ok((next, effects)) = step(&job, event, 10, RULES) {
                if effects.contains(&Effect::AttemptBegins) || effects.iter().any(|e| matches!(e, Effect::Enqueue { .. })) {
                    prop_assert!(next.funded && next.enough);
                }
                let waits = matches!(next.phase, Phase::Queued { .. });
                prop_assert!(next.enough || !waits);
                job = next;
            }
        }
    }

    #[test]
    fn attempts_rise_retries_are_bounded_and_the_first_final_phase_wins(events in proptest::collection::vec(any_event(), 0..60)) {
        let mut job = queued();
        for event in events {
            let before = job;
            match step(&before, event, 10, RULES) {
                Err(_) => continue,
                Ok((next, effects)) => {
                    prop_assert!(!before.phase.is_final());
                    prop_assert!(next.attempt == before.attempt || next.attempt == before.attempt + 1);
                    prop_assert!(next.retries_spent <= next.max_retries);
                    prop_assert_eq!(next.phase.is_final(), effects.iter().any(|e| matches!(e, Effect::Finish(_))));
                    job = next;
                }
            }
        }
    }
}
