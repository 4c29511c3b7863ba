//! Polls whose answers get lost.

use super::*;

/// The idempotency key and the lease in seconds of each poll since the last call.
fn polls(setup: &Setup) -> Vec<(String, Option<i64>)> {
    let polls = setup.told(|told| std::mem::take(&mut told.polls));
    let asked = |poll: PollJobRequest| (poll.request_id, poll.lease.map(|lease| lease.seconds));
    polls.into_iter().map(asked).collect()
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let setup = Setup::new().await;
    setup.told(|told| told.lost_answers = 2);
    setup.run(&["poll", "--lease", "30m"]).await.unwrap();
    let [first, second, third] = &polls(&setup)[..] else {
        panic!("not three tries")
    };
    assert_eq!((first.0.len(), first.1), (32, Some(1_800)));
    assert!(first == second && second == third);
    setup.run(&["poll"]).await.unwrap();
    assert_ne!(polls(&setup)[0].0, first.0, "another job");
}

#[tokio::test]
async fn the_next_command_fetches_the_job_whose_answer_never_came() {
    let setup = Setup::new().await;
    setup.told(|told| told.lost_answers = 3);
    let lost = setup.run(&["poll", "--lease", "30m"]).await.unwrap_err();
    assert_eq!(lost.exit.number(), 3);
    let first = polls(&setup).remove(0);
    setup.run(&["poll"]).await.unwrap();
    assert_eq!(polls(&setup), [first]);
}

#[tokio::test]
async fn where_that_job_is_gone_a_new_one_is_taken() {
    let setup = Setup::new().await;
    setup.told(|told| told.lost_answers = 3);
    setup.run(&["poll"]).await.unwrap_err();
    let first = polls(&setup).remove(0);
    setup.told(|told| told.stale_polls = 1);
    setup.run(&["poll"]).await.unwrap();
    let [repeated, new] = &polls(&setup)[..] else {
        panic!("not two polls")
    };
    assert!(*repeated == first && new.0 != first.0);
}
