use std::collections::BTreeMap;

use aitbc_proto::v1::{Cancel, ErrorReason, JobStatus, OutputKind, Resend, ResumeAction};
use proptest::prelude::*;

use super::*;

const JOBS: u8 = 4;

/// One thing that happens; numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Step {
    Assign(u8, u16),
    Cancel(u8, u16),
    Ack(u8, u16),
    Resend(u8, u16, u64),
    Repeat(usize),
    Output(usize),
    Finish(usize),
    Lose,
    Crash,
    Wait(u64),
    Send,
}

fn step() -> impl Strategy<Value = Step> {
    let attempt = (0..JOBS, 1..4_u16);
    prop_oneof![
        6 => attempt.clone().prop_map(|(job, attempt)| Step::Assign(job, attempt)),
        1 => attempt.clone().prop_map(|(job, attempt)| Step::Cancel(job, attempt)),
        3 => attempt.clone().prop_map(|(job, attempt)| Step::Ack(job, attempt)),
        1 => (attempt, 0..20_u64).prop_map(|((job, attempt), offset)| Step::Resend(job, attempt, offset)),
        3 => any::<usize>().prop_map(Step::Repeat),
        5 => any::<usize>().prop_map(Step::Output),
        5 => any::<usize>().prop_map(Step::Finish),
        1 => Just(Step::Lose),
        1 => Just(Step::Crash),
        2 => (0..12_000_u64).prop_map(Step::Wait),
        4 => Just(Step::Send),
    ]
}

/// What a truthful coordinator and a disk would know.
#[derive(Default)]
struct World {
    said: Vec<Down>,
    running: BTreeMap<AttemptKey, String>,
    ever_started: Vec<AttemptKey>,
    /// Started before a crash.
    lost: Vec<AttemptKey>,
    spooled: BTreeMap<AttemptKey, SpoolRecord>,
    /// Sent in full and not yet answered.
    delivered: BTreeMap<AttemptKey, ()>,
}

impl World {
    /// Performs what the core wants, and checks it.
    fn perform(&mut self, rig: &mut Rig) {
        while let Some(action) = rig.actions.pop_front() {
            match action {
                Action::Start(start) => {
                    assert!(
                        !self.ever_started.contains(&start.key),
                        "{:?} ran twice",
                        start.key
                    );
                    self.ever_started.push(start.key);
                    self.running.insert(start.key, String::new());
                }
                Action::Stop(key) => {
                    self.running.remove(&key);
                }
                Action::Store(record) => {
                    let key = record.key;
                    self.spooled.insert(key, *record);
                    rig.handle(Event::Stored(key));
                }
                Action::Forget(key) => {
                    assert!(self.spooled.remove(&key).is_some(), "{key:?} was not there");
                }
                Action::Close { .. } | Action::Notice(_) => {}
                Action::End(end) => panic!("{end:?}"),
            }
        }
        assert!(self.running.len() <= 2, "more runs than slots");
    }

    fn say(&mut self, rig: &mut Rig, message: Down) {
        self.said.push(message.clone());
        rig.down(message);
    }

    fn send(&mut self, rig: &mut Rig) {
        for up in rig.sent() {
            if let Up::Complete(complete) = up {
                let key = AttemptKey::parse(&complete.job_id, complete.attempt).unwrap();
                assert!(
                    self.spooled.contains_key(&key),
                    "Complete before the spool has it"
                );
                self.delivered.insert(key, ());
            }
        }
    }

    fn reconnect(&mut self, rig: &mut Rig) {
        let known = self.running.keys().chain(self.spooled.keys());
        let answers = known.map(|key| ResumeAttempt {
            job_id: key.job.to_string(),
            attempt: u32::from(key.attempt),
            action: ResumeAction::Continue as i32,
            output_offset: 0,
            result_offset: 0,
        });
        let answers = answers.collect();
        let hello = rig.connect(answers);
        assert_eq!(hello.running.len(), self.running.len());
        for key in self.spooled.keys() {
            assert!(
                hello
                    .spooled
                    .iter()
                    .any(|spooled| spooled.job_id == key.job.to_string())
            );
        }
    }

    fn generate(&mut self, rig: &mut Rig, which: usize) {
        if let Some((key, text)) = self.running.iter_mut().nth(which % 2) {
            text.push_str("token ");
            rig.output(*key, "token ", 1);
        }
    }

    fn finish(&mut self, rig: &mut Rig, which: usize) {
        let running = self.running.iter().nth(which % 2);
        if let Some((key, text)) = running.map(|(key, text)| (*key, text.clone())) {
            self.running.remove(&key);
            let result = result(&text);
            rig.handle(Event::Finished { key, result });
        }
    }

    fn take(&mut self, rig: &mut Rig, step: Step) {
        match step {
            Step::Assign(job, attempt) => self.say(rig, Down::Assign(assign(key(job, attempt)))),
            Step::Cancel(job, attempt) => {
                let cancel = Cancel {
                    job_id: key(job, attempt).job.to_string(),
                    attempt: u32::from(attempt),
                    status: JobStatus::Cancelled as i32,
                    ..Cancel::default()
                };
                self.say(rig, Down::Cancel(cancel));
            }
            Step::Ack(job, attempt) => {
                if self.delivered.remove(&key(job, attempt)).is_some() {
                    self.say(rig, Down::Ack(ack(key(job, attempt))));
                }
            }
            Step::Resend(job, attempt, offset) => {
                let resend = Resend {
                    job_id: key(job, attempt).job.to_string(),
                    attempt: u32::from(attempt),
                    kind: OutputKind::Output as i32,
                    offset,
                };
                self.say(rig, Down::Resend(resend));
            }
            Step::Repeat(which) => {
                if !self.said.is_empty() {
                    let message = self.said[which % self.said.len()].clone();
                    rig.down(message);
                }
            }
            Step::Output(which) => self.generate(rig, which),
            Step::Finish(which) => self.finish(rig, which),
            Step::Lose => {
                let lost = Event::Disconnected {
                    reason: ErrorReason::Unspecified,
                    message: String::new(),
                    retry_after: None,
                };
                rig.handle(lost);
                self.perform(rig);
                self.reconnect(rig);
            }
            Step::Crash => {
                self.running.clear();
                let now = rig.now;
                *rig = Rig::new(config(), 2, self.spooled.values().cloned().collect());
                rig.now = now;
                // A coordinator never assigns an attempt again that it once gave to this miner.
                self.lost.clone_from(&self.ever_started);
                self.said.clear();
                self.reconnect(rig);
            }
            Step::Wait(ms) => {
                let end = rig.now + Duration::from_millis(ms);
                while rig.now < end {
                    rig.pass(Duration::from_secs(5).min(end - rig.now));
                    if !rig.core.is_open() {
                        self.perform(rig);
                        self.reconnect(rig);
                    }
                }
            }
            Step::Send => self.send(rig),
        }
        self.perform(rig);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is repeated, late or out of order: no attempt runs twice, no result is lost before it was acknowledged or
    /// cancelled, slots are never exceeded, and all that was finished is delivered in the end.
    #[test]
    fn repeated_and_reordered_messages_do_no_harm(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::default();
        let mut rig = Rig::new(config(), 2, Vec::new());
        world.reconnect(&mut rig);
        world.perform(&mut rig);
        for step in steps {
            if let Step::Assign(job, attempt) = &step
                && world.lost.contains(&key(*job, *attempt))
            {
                continue;
            }
            world.take(&mut rig, step);
        }
        world.delivered.clear();
        world.reconnect(&mut rig);
        world.perform(&mut rig);
        world.send(&mut rig);
        for key in world.spooled.keys() {
            prop_assert!(world.delivered.contains_key(key), "{key:?} is not delivered");
        }
    }
}
