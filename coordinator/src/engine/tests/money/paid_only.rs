//! Miners that take only jobs that are paid for.

use super::*;

fn takes_paid_jobs_only(rig: &mut Rig, n: u8, only: bool) {
    let change = MinerChange {
        paid_only: Some(only),
        ..Default::default()
    };
    rig.ask(Command::Update {
        key: miner_key(n),
        change: Box::new(change),
    });
}

#[test]
fn it_gets_a_job_once_there_is_money_for_it() {
    let mut rig = Rig::new();
    rig.miner(1, 2);
    takes_paid_jobs_only(&mut rig, 1, true);
    let (unpaid, held) = (rig.submit(1, 1), rig.hold(2));
    assert!(rig.assigned().is_empty());
    rig.lock(lock_of(2, 2, 1, AIT));
    assert_eq!(rig.assigned(), [(1, attempt(held, 1))]);

    // The same after a restart: what it takes and who has paid is stored.
    rig.restart();
    rig.open(1, 2, vec![], vec![]);
    rig.inventory(2, 2);
    let others = |rig: &mut Rig| -> Vec<_> {
        let assigned = rig.assigned().into_iter();
        assigned
            .filter(|(_, attempt)| attempt.job_id != held)
            .collect()
    };
    assert!(others(&mut rig).is_empty());
    rig.lock(lock_of(1, 1, 1, AIT));
    assert_eq!(others(&mut rig), [(2, attempt(unpaid, 1))]);
}

#[test]
fn it_gets_no_job_whose_money_has_returned() {
    let mut rig = Rig::new();
    let job = rig.submit(1, 1);
    rig.lock(lock_of(1, 1, 1, AIT));
    let target = submission(1, 1).spec.job_ref();
    rig.hear(vec![Notice::Returned {
        lock: [1; 32],
        target,
        amount: AIT,
    }]);
    rig.register(1, 1);
    takes_paid_jobs_only(&mut rig, 1, true);
    rig.open(1, 1, vec![], vec![]);
    rig.inventory(1, 1);
    assert!(rig.assigned().is_empty());
    takes_paid_jobs_only(&mut rig, 1, false);
    assert_eq!(rig.assigned(), [(1, attempt(job, 1))]);
}
