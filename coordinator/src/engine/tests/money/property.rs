//! Whatever happens: every lock is answered once, and what is paid is what was assigned.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Submit(u8),
    Lock(u8, u64),
    Accept,
    Complete,
    Budget,
    Checkpoint,
    Fail,
    Cancel(u8),
    Receipt(u8),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..6).prop_map(Step::Submit),
        4 => (1u8..7, 500u64..50_000).prop_map(|(job, amount)| Step::Lock(job, amount)),
        4 => Just(Step::Accept),
        3 => Just(Step::Complete),
        1 => Just(Step::Budget),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Fail),
        2 => (1u8..6).prop_map(Step::Cancel),
        2 => (1u8..6).prop_map(Step::Receipt),
        3 => (1u64..40_000).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// A network on which funding is required or not, and one miner that does what the steps say.
struct Story {
    rig: Rig,
    required: bool,
    session: u64,
    locks: u8,
    ran: BTreeMap<u8, AttemptId>,
}

impl Story {
    fn new(required: bool) -> Self {
        let mut rig = Rig::with(|config| config.funding_required = required);
        rig.miner(1, 2);
        rig.price(1, 360_000);
        Self {
            rig,
            required,
            session: 1,
            locks: 0,
            ran: BTreeMap::new(),
        }
    }

    fn running(&mut self) -> Option<AttemptId> {
        for n in 1..6 {
            let view = self.rig.ask(Command::GetJob {
                owner: owner(1),
                job: JobSelector::Id(job_id(n, 1)),
            });
            if let Reply::Job(view) = view
                && let Some(live) = view.row.live_attempt()
            {
                return Some(attempt(job_id(n, 1), live.attempt as u16));
            }
        }
        None
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Submit(n) => {
                self.rig.ask(Command::Submit(Box::new(submission(n, 1))));
            }
            Step::Lock(job, amount) if self.locks < 200 => {
                self.locks += 1;
                self.rig.lock(lock_of(self.locks, job, 1, amount));
            }
            Step::Cancel(n) => self.rig.cancel(job_id(n, 1)),
            Step::Wait(ms) => self.rig.wait(ms),
            Step::Restart => {
                self.rig.restart();
                self.session += 1;
                self.rig.open(1, self.session, vec![], vec![]);
                self.rig.inventory(self.session, 2);
            }
            Step::Receipt(n) => {
                if let Some(attempt) = self.ran.get(&n) {
                    let stopped = |receipt: &mut Receipt| receipt.outcome = Outcome::Cancelled;
                    self.rig.ask(receipt(*attempt, 1, stopped));
                }
            }
            Step::Lock(..) => {}
            step => self.run(step),
        }
        for (_, attempt) in self.rig.assigned() {
            self.ran.insert(attempt.job_id.0[15], attempt);
            let row = self.rig.view(attempt.job_id, 1).row;
            assert!(
                !self.required || row.open_locks().next().is_some(),
                "it runs unfunded"
            );
        }
    }

    fn run(&mut self, step: Step) {
        let Some(attempt) = self.running() else {
            return;
        };
        let session = self.session;
        let command = match step {
            Step::Accept => Command::Accept { session, attempt },
            Step::Complete => completion(attempt, 1),
            Step::Budget => receipt(attempt, 1, |receipt| receipt.outcome = Outcome::Budget),
            Step::Checkpoint => checkpoint(attempt, 3_000),
            _ => Command::Fail {
                miner_key: miner_key(1),
                attempt,
                failure: failure(FailureReason::Stalled),
            },
        };
        self.rig.ask(command);
    }

    /// How often each lock is named by an order.
    fn answers(&self) -> BTreeMap<u8, usize> {
        let mut answers = BTreeMap::new();
        for order in self.rig.orders() {
            let locks = match order {
                Order::Void { lock, .. } => vec![lock],
                Order::Settle { locks, .. } => locks,
                _ => vec![],
            };
            locks
                .into_iter()
                .for_each(|lock| *answers.entry(lock[0]).or_default() += 1);
        }
        answers
    }
}

impl Story {
    /// Each job is paid once, for an attempt that it had, to the payee, at the rate and by the miner of its assignment, and
    /// by its receipt or a checkpoint of it.
    fn check_payments(&mut self) {
        let mut paid = BTreeSet::new();
        for order in self.rig.orders() {
            let Order::Settle { job, work, .. } = order else {
                continue;
            };
            assert!(paid.insert(work.job_ref), "{job} is paid twice");
            let row = self.rig.view(job, 1).row;
            let attempts = row.attempts.iter();
            let of = attempts.filter(|attempt| attempt.attempt == u32::from(work.attempt));
            let assigned: Vec<_> = of
                .map(|attempt| Assignment::decode(&attempt.assignment).unwrap())
                .collect();
            assert_eq!(assigned.len(), 1, "{job} had no such attempt");
            let (job_ref, miner, payee, rate) = {
                let first = &assigned[0];
                (first.job_ref, first.miner_key, first.payee, first.rate)
            };
            let stated = (work.job_ref, work.miner, work.payee, work.rate);
            assert_eq!(stated, (job_ref, miner, payee, rate), "{job}");
            assert_ne!(work.evidence_id, [0; 32], "{job}");
        }
    }
}

proptest! {
    #![proptest_config(crate::cases::cases(96, 30))]

    #[test]
    fn every_lock_is_answered_once_and_pays_what_was_assigned(
        required: bool,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut story = Story::new(required);
        for step in steps {
            story.take(step);
            prop_assert!(story.answers().values().all(|times| *times == 1));
        }
        // Everything ends within its deadline and the time for a receipt.
        story.rig.wait(3_700_000);
        let answers = story.answers();
        prop_assert_eq!(answers.len(), usize::from(story.locks));
        prop_assert!(answers.values().all(|times| *times == 1));
        prop_assert_eq!(story.rig.core.live_jobs(), 0);
        story.check_payments();
    }
}
