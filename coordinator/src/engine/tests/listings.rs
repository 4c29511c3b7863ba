//! Listings: whose they are, what contradicts them, what readers are told.

use aitbc_common::ids::ListingId;

use super::*;
use crate::market::Board;
use crate::market::board::Change;
use crate::market::listing::{PER_PROVIDER, State, Terms, TermsChange};

fn listing_id(n: u8) -> ListingId {
    ListingId::new(START, shard_of(&miner_key(1)), [n; 10])
}

fn listing(n: u8, gpu: &str, rate: u64) -> NewListing {
    NewListing {
        new_id: listing_id(n),
        gpu: gpu.into(),
        terms: Terms {
            vram_gib: 24,
            count: 1,
            rate,
            region: "".into(),
        },
    }
}

impl Rig {
    fn list(&mut self, by: u8, new: NewListing) -> Reply {
        self.ask(Command::CreateListing {
            provider: miner_key(by),
            new: Box::new(new),
        })
    }

    fn offers(&self) -> Board {
        let board = Board::default();
        board.note(self.core.all_offers());
        board
    }
}

#[test]
fn a_gpu_is_listed_once_for_each_model_and_survives_a_restart() {
    let mut rig = Rig::new();
    let created = |reply: &Reply| match reply {
        Reply::Listed {
            id,
            created,
            previous_rate,
        } => (*id, *created, *previous_rate),
        other => panic!("{other:?}"),
    };
    let first = rig.list(1, listing(1, "A", 500));
    assert_eq!(created(&first), (listing_id(1), true, None));
    let commits = rig.commits;
    let again = rig.list(1, listing(2, "A", 500));
    assert_eq!(created(&again), (listing_id(1), false, None));
    assert_eq!(rig.commits, commits, "nothing changed");
    let dearer = rig.list(1, listing(3, "A", 600));
    assert_eq!(created(&dearer), (listing_id(1), false, Some(500)));
    let other = rig.list(1, listing(4, "B", 1));
    assert_eq!(created(&other), (listing_id(4), true, None));
    rig.restart();
    let board = rig.offers();
    let own = board.offers().of(&miner_key(1));
    let rates: Vec<u64> = own.iter().map(|(listing, _)| listing.terms.rate).collect();
    assert_eq!(rates, [600, 1]);
    assert!(own.iter().all(|(_, known)| known.miner.is_none()));
}

#[test]
fn only_its_owner_changes_a_listing() {
    let mut rig = Rig::new();
    rig.list(1, listing(1, "A", 500));
    let change = |by| Command::UpdateListing {
        provider: miner_key(by),
        id: listing_id(1),
        change: TermsChange {
            rate: Some(7),
            ..TermsChange::default()
        },
    };
    let withdraw = |by| Command::WithdrawListing {
        provider: miner_key(by),
        id: listing_id(1),
    };
    assert_eq!(
        refusal(&rig.ask(change(2))),
        Some(ErrorReason::ListingNotFound)
    );
    assert_eq!(
        refusal(&rig.ask(withdraw(2))),
        Some(ErrorReason::ListingNotFound)
    );
    assert!(matches!(
        rig.ask(change(1)),
        Reply::Listed {
            previous_rate: Some(500),
            ..
        }
    ));
    assert_eq!(rig.offers().offers().len(), 1);
    for _ in 0..2 {
        assert!(matches!(rig.ask(withdraw(1)), Reply::Done), "idempotent");
    }
    assert!(rig.offers().offers().is_empty());
    rig.restart();
    assert!(rig.offers().offers().is_empty());
    assert_eq!(
        refusal(&rig.ask(change(1))),
        Some(ErrorReason::ListingNotFound)
    );
}

#[test]
fn what_the_machine_reports_is_not_contradicted() {
    let mut rig = Rig::new();
    let gpus = vec![v1::Gpu {
        model: "A".into(),
        count: 2,
        vram_gib: 24,
        source: v1::GpuSource::Detected.into(),
    }];
    rig.ask(Command::Register {
        key: miner_key(1),
        new_id: miner_id(1),
        change: Box::new(MinerChange {
            gpus: Some(gpus),
            ..Default::default()
        }),
    });
    assert_eq!(
        refusal(&rig.list(1, listing(1, "B", 1))),
        Some(ErrorReason::GpuContradicted)
    );
    assert_eq!(refusal(&rig.list(1, listing(1, "A", 1))), None);
    let three = TermsChange {
        count: Some(3),
        ..TermsChange::default()
    };
    let more = Command::UpdateListing {
        provider: miner_key(1),
        id: listing_id(1),
        change: three,
    };
    assert_eq!(refusal(&rig.ask(more)), Some(ErrorReason::GpuContradicted));
    let own = rig.offers().offers().of(&miner_key(1));
    assert!(own[0].0.detected && own[0].0.terms.count == 1);
}

#[test]
fn an_identity_lists_a_bounded_number() {
    let mut rig = Rig::new();
    for n in 0..PER_PROVIDER as u8 {
        assert_eq!(
            refusal(&rig.list(1, listing(n, &format!("GPU {n}"), 1))),
            None
        );
    }
    let one_more = rig.list(1, listing(99, "one more", 1));
    assert_eq!(refusal(&one_more), Some(ErrorReason::TooManyListings));
    assert_eq!(
        refusal(&rig.list(1, listing(99, "GPU 3", 2))),
        None,
        "known ones may change"
    );
}

#[test]
fn readers_are_told_when_the_miner_comes_and_goes() {
    let mut rig = Rig::new();
    let board = Board::default();
    let step = |rig: &mut Rig, commands: Vec<Command>| {
        let output = rig.core.apply(rig.now, commands, &rig.store).unwrap();
        let told = output.published.len();
        board.note(output.published);
        let known = board.offers().get(listing_id(1)).map(|(_, known)| known);
        (told, known.and_then(|known| Some(known.miner?.state)))
    };
    let list = Command::CreateListing {
        provider: miner_key(1),
        new: Box::new(listing(1, "A", 5)),
    };
    assert_eq!(step(&mut rig, vec![list]), (2, None), "no miner yet");
    let register = |key, id| Command::Register {
        key,
        new_id: id,
        change: Box::default(),
    };
    let (told, state) = step(&mut rig, vec![register(miner_key(1), miner_id(1))]);
    assert_eq!((told, state), (1, Some(State::Away(START))));
    let open = Command::OpenSession {
        session: 1,
        key: miner_key(1),
        miner_id: miner_id(1),
        peer: "here".into(),
        takeover: false,
        running: vec![],
        spooled: vec![],
    };
    assert_eq!(step(&mut rig, vec![open]), (1, Some(State::Free)));
    assert_eq!(
        step(&mut rig, vec![Command::Drain { session: 1 }]),
        (1, Some(State::Paused))
    );
    rig.now += 5;
    let (_, state) = step(&mut rig, vec![Command::CloseSession { session: 1 }]);
    assert!(
        matches!(state, Some(State::Away(since)) if since >= START),
        "{state:?}"
    );
    let (told, _) = step(&mut rig, vec![register(miner_key(2), miner_id(2))]);
    assert_eq!(told, 0, "who lists nothing is of no interest");
    let gone = Command::Deregister {
        key: miner_key(1),
        miner_id: miner_id(1),
    };
    assert_eq!(step(&mut rig, vec![gone]), (1, None));
}

#[test]
fn the_speed_of_the_fastest_model_is_told() {
    let mut rig = Rig::new();
    rig.list(1, listing(1, "A", 5));
    let model = |name: &str, output_speed| v1::MinerModel {
        name: name.into(),
        output_speed,
        ..Default::default()
    };
    let models = vec![
        model("slow", 10),
        model("b fast", 90),
        model("a fast", 90),
        model("new", 0),
    ];
    rig.ask(Command::Register {
        key: miner_key(1),
        new_id: miner_id(1),
        change: Box::new(MinerChange {
            models: Some(models),
            ..Default::default()
        }),
    });
    let told = rig.core.all_offers();
    let fastest = told.iter().find_map(|change| match change {
        Change::Provider(_, Some(provider)) => provider.fastest.clone(),
        _ => None,
    });
    let fastest = fastest.expect("one is measured");
    assert_eq!((&*fastest.model, fastest.speed), ("a fast", 90));
}
