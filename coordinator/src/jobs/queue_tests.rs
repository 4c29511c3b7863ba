use proptest::prelude::*;

use super::super::matching::ModelOffer;
use super::*;

fn requirement(model: &str) -> Arc<Requirement> {
    Arc::new(Requirement::of_model(model))
}

fn supply(model: &str, free_slots: usize) -> Supply {
    let models = BTreeMap::from([(model.to_owned(), ModelOffer::default())]);
    Supply {
        offer: Offer {
            models,
            live: true,
            ..Offer::default()
        },
        free_slots,
        ..Supply::default()
    }
}

fn job(n: u16) -> JobId {
    JobId::new(u64::from(n), 0, [0; 10])
}

fn owner(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

fn push(queue: &mut Queue, model: &str, n: u16, by: u8, priority: i32) {
    let tag = queue.new_tag(&requirement(model), &owner(by));
    queue.push(
        &requirement(model),
        Waiting {
            job: job(n),
            owner: owner(by),
            priority,
            tag,
        },
    );
}

/// Runs every waiting job of model "m" on one miner and tells the order.
fn drain(queue: &mut Queue) -> Vec<JobId> {
    let miner = MinerId([1; 16]);
    let mut order = Vec::new();
    loop {
        queue.set_miner(miner, supply("m", 1));
        let Some((waiting, ..)) = queue.next_match() else {
            return order;
        };
        order.push(waiting.job);
    }
}

#[test]
fn a_crowd_of_one_owner_does_not_starve_another() {
    let mut queue = Queue::default();
    (0..100).for_each(|n| push(&mut queue, "m", n, 1, 0));
    push(&mut queue, "m", 200, 2, 0);
    let order = drain(&mut queue);
    assert_eq!(order.len(), 101);
    assert!(order.iter().position(|j| *j == job(200)).unwrap() <= 1);
}

#[test]
fn a_crowd_in_one_class_sets_nobody_back_in_another() {
    let mut queue = Queue::default();
    (0..40).for_each(|n| push(&mut queue, "m", n, 1, 0));
    queue.set_miner(MinerId([2; 16]), supply("other", 1));
    // The crowd's owner is served elsewhere: at once, although it has so many waiting.
    push(&mut queue, "other", 90, 3, 0);
    push(&mut queue, "other", 91, 3, 0);
    push(&mut queue, "other", 100, 1, 0);
    let (first, ..) = queue.next_match().unwrap();
    queue.set_miner(MinerId([2; 16]), supply("other", 1));
    let (second, ..) = queue.next_match().unwrap();
    assert_eq!([first.job, second.job], [job(90), job(100)]);
    queue.set_miner(MinerId([2; 16]), supply("other", 0));
    push(&mut queue, "m", 200, 2, 0);
    let class = queue.intern(&requirement("m"));
    let position = queue.position(class, owner(2), 0, job(200));
    assert!(position.unwrap() <= 2, "{position:?}");
    assert!(
        drain(&mut queue)
            .iter()
            .position(|j| *j == job(200))
            .unwrap()
            <= 1
    );
}

#[test]
fn an_owner_with_many_classes_has_one_turn_in_each_round() {
    let mut queue = Queue::default();
    let rate = |rate| {
        Arc::new(Requirement {
            max_rate: rate,
            ..(*requirement("m")).clone()
        })
    };
    let mut put = |n: u16, by, requirement: Arc<Requirement>| {
        let tag = queue.new_tag(&requirement, &owner(by));
        let waiting = Waiting {
            job: job(n),
            owner: owner(by),
            priority: 0,
            tag,
        };
        queue.push(&requirement, waiting);
    };
    for n in 0..30 {
        put(n, 1, rate(1_000 + u64::from(n)));
    }
    for n in 30..33 {
        put(n, 2, rate(1));
    }
    let order = drain(&mut queue);
    assert_eq!(order.len(), 33);
    let last = order.iter().position(|j| *j == job(32)).unwrap();
    assert!(last <= 6, "{order:?}");
}

#[test]
fn a_job_that_comes_back_keeps_its_place_and_never_has_a_worse_one_than_a_new_job() {
    let mut queue = Queue::default();
    (0..3).for_each(|n| push(&mut queue, "m", n, 1, 0));
    queue.set_miner(MinerId([1; 16]), supply("m", 1));
    let (mut lost, ..) = queue.next_match().unwrap();
    queue.set_miner(MinerId([1; 16]), supply("m", 0));
    queue.push(&requirement("m"), lost);
    let class = queue.intern(&requirement("m"));
    let place = |queue: &Queue, job| queue.position(class, owner(1), 0, job);
    assert_eq!(place(&queue, lost.job), Some(1));
    // Its class was forgotten meanwhile: its tag is of an older clock.
    let mut queue = Queue::default();
    lost.tag = 1_000_000;
    queue.push(&requirement("m"), lost);
    (10..13).for_each(|n| push(&mut queue, "m", n, 2, 0));
    let class = queue.intern(&requirement("m"));
    assert_eq!(queue.position(class, owner(1), 0, lost.job), Some(1));
}

#[test]
fn order_survives_a_restart() {
    let mut queue = Queue::restoring();
    for (n, by, tag) in [(3, 1, 9_000), (2, 1, 8_000), (4, 2, 8_500)] {
        let waiting = Waiting {
            job: job(n),
            owner: owner(by),
            priority: 0,
            tag,
        };
        queue.push(&requirement("m"), waiting);
    }
    queue.restored();
    // A new owner is next in turn, not before everybody, and not behind them.
    push(&mut queue, "m", 5, 3, 0);
    assert_eq!(drain(&mut queue), [job(2), job(5), job(4), job(3)]);
}

#[test]
fn priority_ranks_an_owners_own_jobs_only() {
    let mut queue = Queue::default();
    push(&mut queue, "m", 1, 1, 0);
    push(&mut queue, "m", 2, 2, 0);
    push(&mut queue, "m", 3, 1, 50);
    assert_eq!(drain(&mut queue), [job(3), job(2), job(1)]);
}

#[test]
fn an_unmatchable_crowd_in_front_is_passed() {
    let mut queue = Queue::default();
    (0..1_000).for_each(|n| push(&mut queue, "missing", n, 1, 0));
    push(&mut queue, "m", 2_000, 1, 0);
    assert_eq!(drain(&mut queue), [job(2_000)]);
    assert_eq!(queue.waiting(), 1_000);
}

#[test]
fn positions_count_from_one() {
    let mut queue = Queue::default();
    (0..3).for_each(|n| push(&mut queue, "m", n, 1, 0));
    let class = queue.intern(&requirement("m"));
    let positions: Vec<_> = (1..=3)
        .map(|n| queue.position(class, owner(1), 0, job(n - 1)))
        .collect();
    assert_eq!(positions, [Some(1), Some(2), Some(3)]);
    assert_eq!(queue.position(class, owner(1), 0, job(9)), None);
}

#[test]
fn idle_classes_are_bounded() {
    let mut queue = Queue::default();
    queue.set_miner(MinerId([1; 16]), supply("m", 1));
    for n in 0..3 * IDLE_CLASSES as u64 {
        queue.intern(&Arc::new(Requirement {
            max_rate: n,
            ..(*requirement("m")).clone()
        }));
    }
    assert_eq!(queue.classes.len(), IDLE_CLASSES);
    assert_eq!(queue.members[&MinerId([1; 16])].ranks.len(), IDLE_CLASSES);
}

#[derive(Debug, Clone)]
enum Step {
    Push {
        model: u8,
        owner: u8,
        priority: i32,
    },
    Cancel(usize),
    Miner {
        id: u8,
        model: u8,
        free: usize,
        price: u64,
        live: bool,
    },
    Gone(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..3, 0u8..4, -2i32..3).prop_map(|(model, owner, priority)| Step::Push { model, owner, priority }),
        1 => (0usize..50).prop_map(Step::Cancel),
        2 => (0u8..4, 0u8..3, 0usize..3, 0u64..3, any::<bool>())
            .prop_map(|(id, model, free, price, live)| Step::Miner { id, model, free, price, live }),
        1 => (0u8..4).prop_map(Step::Gone),
    ]
}

proptest! {
    /// The one property of matching: no job waits while a free miner matches it. And no job is lost or given twice.
    #[test]
    fn no_job_waits_while_a_free_miner_matches(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut queue = Queue::default();
        let mut waiting: BTreeMap<JobId, (Waiting, ClassId, String)> = BTreeMap::new();
        let mut miners: BTreeMap<MinerId, Supply> = BTreeMap::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push { model, owner: by, priority } => {
                    let model = format!("m{model}");
                    let tag = queue.new_tag(&requirement(&model), &owner(by));
                    let entry = Waiting { job: job(n as u16), owner: owner(by), priority, tag };
                    let class = queue.push(&requirement(&model), entry);
                    waiting.insert(entry.job, (entry, class, model));
                }
                Step::Cancel(n) => {
                    if let Some(id) = waiting.keys().nth(n).copied() {
                        let (entry, class, _) = waiting.remove(&id).unwrap();
                        queue.remove(class, entry.owner, entry.priority, id);
                    }
                }
                Step::Miner { id, model, free, price, live } => {
                    let mut new = supply(&format!("m{model}"), free);
                    new.offer.price = price;
                    new.offer.live = live;
                    miners.insert(MinerId([id; 16]), new.clone());
                    queue.set_miner(MinerId([id; 16]), new);
                }
                Step::Gone(id) => {
                    miners.remove(&MinerId([id; 16]));
                    queue.remove_miner(MinerId([id; 16]));
                }
            }
            while let Some((taken, _, miner)) = queue.next_match() {
                let (_, _, model) = waiting.remove(&taken.job).expect("a job is given once");
                let supply = miners.get_mut(&miner).expect("the miner is known");
                prop_assert!(supply.offer.live && supply.free_slots > 0 && supply.offer.models.contains_key(&model));
                supply.free_slots -= 1;
                supply.load += 1;
                queue.set_miner(miner, supply.clone());
            }
            prop_assert_eq!(queue.waiting(), waiting.len());
            for (_, _, model) in waiting.values() {
                let idle = miners.values().any(|s| s.offer.live && s.free_slots > 0 && s.offer.models.contains_key(model));
                prop_assert!(!idle, "a job for {} waits although a miner is free", model);
            }
        }
    }
}

#[test]
fn a_job_that_names_a_miner_asks_that_one_alone_whenever_it_comes() {
    let mut queue = Queue::default();
    let (other, named) = (MinerId([1; 16]), MinerId([2; 16]));
    queue.set_miner(other, supply("m", 1));
    let requirement = Arc::new(Requirement {
        only_miner: Some(named),
        ..Requirement::of_model("m")
    });
    assert_eq!(queue.asked(&requirement).count(), 0);
    assert!(!queue.anyone_could_run(&requirement), "not known yet");
    let tag = queue.new_tag(&requirement, &owner(1));
    let waiting = Waiting {
        job: job(1),
        owner: owner(1),
        priority: 0,
        tag,
    };
    queue.push(&requirement, waiting);
    assert_eq!(queue.next_match(), None);
    queue.set_miner(named, supply("m", 1));
    assert!(queue.anyone_could_run(&requirement));
    let asked = queue.asked(&requirement).map(|(miner, _)| miner);
    assert_eq!(asked.collect::<Vec<_>>(), [named]);
    assert_eq!(
        queue.next_match().map(|(.., miner)| miner),
        Some(named),
        "the other one is free too"
    );
}

#[test]
fn each_miner_that_matches_is_picked_as_often_and_no_other() {
    let mut queue = Queue::default();
    let id = |n| MinerId([n; 16]);
    assert_eq!(queue.pick(&requirement("m"), 5), None);
    (1..=3).for_each(|n| queue.set_miner(id(n), supply("m", usize::from(n) - 1)));
    queue.set_miner(id(4), supply("other", 1));
    let any_model = Offer {
        any_model: true,
        ..supply("other", 1).offer
    };
    queue.set_miner(
        id(5),
        Supply {
            offer: any_model,
            ..Supply::default()
        },
    );
    let picked: Vec<_> = (0..6).map(|n| queue.pick(&requirement("m"), n)).collect();
    let each = [1, 2, 3].map(|n| Some(id(n)));
    assert_eq!(picked, [each, each].concat(), "busy or not");
}
