use aitbc_common::ids::MinerId;
use proptest::prelude::*;

use super::super::listing::{Fastest, Terms};
use super::*;

fn listing(id: u8, provider: u8, gpu: &str, rate: u64) -> Arc<Listing> {
    Arc::new(Listing {
        id: ListingId([id; 16]),
        provider: PublicKey([provider; 32]),
        gpu: gpu.into(),
        terms: Terms {
            vram_gib: 24,
            count: 1,
            rate,
            region: "eu-west".into(),
        },
        detected: false,
        created_ms: 0,
        updated_ms: 0,
    })
}

fn miner(state: State, speed: u32) -> Option<Arc<Provider>> {
    let fastest = (speed > 0).then(|| Fastest {
        model: "llama3:latest".into(),
        speed,
    });
    Some(Arc::new(Provider {
        miner_id: MinerId([1; 16]),
        name: "rig".into(),
        payee: [1; 20],
        state,
        fastest,
    }))
}

fn ids(page: &Page) -> Vec<u8> {
    page.offers
        .iter()
        .map(|(listing, _)| listing.id.0[0])
        .collect()
}

#[test]
fn each_order_is_what_its_name_says() {
    let mut offers = Offers::default();
    // (id = provider, rate, speed, reputation)
    for (id, rate, speed, ppm) in [
        (1, 300, 100_000, 700_000),
        (2, 100, 10_000, 900_000),
        (3, 200, 0, 25_000),
    ] {
        offers.insert(listing(id, id, "A", rate));
        offers.know(PublicKey([id; 32]), |known| {
            known.miner = miner(State::Free, speed);
            known.reputation.ppm = ppm;
        });
    }
    let order = |sort| ids(&offers.page(&Filter::default(), sort, None, 10));
    assert_eq!(order(Sort::Price), [2, 3, 1]);
    assert_eq!(
        order(Sort::EffectivePrice),
        [1, 2, 3],
        "not measured = last"
    );
    assert_eq!(order(Sort::Reputation), [2, 1, 3]);
    assert_eq!(order(Sort::Speed), [1, 2, 3]);
}

#[test]
fn each_filter_removes_what_it_should() {
    let mut offers = Offers::default();
    offers.insert(listing(1, 1, "A", 100));
    offers.insert(listing(2, 2, "B", 200));
    offers.know(PublicKey([2; 32]), |known| {
        known.miner = miner(State::Free, 0);
        known.reputation.ppm = 500_000;
    });
    let found = |filter: Filter| ids(&offers.page(&filter, Sort::Price, None, 10));
    let any = Filter::default;
    assert_eq!(found(any()), [1, 2]);
    let gpu = |gpu: &str| Filter {
        gpu: Some(gpu.into()),
        ..any()
    };
    assert_eq!(found(gpu("B")), [2]);
    assert_eq!(found(gpu("C")), [0u8; 0]);
    let max_rate = |rate| Filter {
        max_rate: Some(rate),
        ..any()
    };
    assert_eq!(found(max_rate(199)), [1]);
    assert_eq!(found(max_rate(200)), [1, 2]);
    let min_vram_gib = |min_vram_gib| Filter {
        min_vram_gib,
        ..any()
    };
    assert_eq!(found(min_vram_gib(24)), [1, 2]);
    assert_eq!(found(min_vram_gib(25)), [0u8; 0]);
    let region = |region: &str| Filter {
        region: region.into(),
        ..any()
    };
    assert_eq!(found(region("eu-west")), [1, 2]);
    assert_eq!(found(region("us")), [0u8; 0]);
    let reputed = Filter {
        min_reputation_ppm: 25_001,
        ..any()
    };
    assert_eq!(found(reputed), [2]);
    let available = Filter {
        available: true,
        ..any()
    };
    assert_eq!(found(available), [2], "1 has no miner");
}

#[test]
fn only_a_miner_in_session_that_nobody_rents_is_free() {
    let provider = PublicKey([1; 32]);
    let mut offers = Offers::default();
    offers.insert(listing(1, 1, "A", 100));
    let available = Filter {
        available: true,
        ..Filter::default()
    };
    for (state, rented_until, free) in [
        (State::Free, None, true),
        (State::Free, Some(9), false),
        (State::Paused, None, false),
        (State::Away(5), None, false),
    ] {
        offers.know(provider, |known| {
            known.miner = miner(state, 0);
            known.rented_until = rented_until;
        });
        let page = offers.page(&available, Sort::Price, None, 10);
        assert_eq!(!page.offers.is_empty(), free, "{state:?}");
    }
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let mut offers = Offers::default();
    offers.insert(listing(1, 1, "A", 100));
    offers.know(PublicKey([1; 32]), |known| known.reputation.ppm = 500_000);
    offers.remove(ListingId([1; 16]));
    offers.know(PublicKey([1; 32]), |known| *known = Known::default());
    assert!(offers.is_empty() && offers.providers.is_empty() && offers.by_gpu.is_empty());
    assert!(offers.all.0.iter().all(BTreeMap::is_empty));
}

#[test]
fn a_query_looks_at_a_bounded_number_of_offers_and_goes_on() {
    let mut offers = Offers::default();
    for n in 0..LOOKED_AT as u64 + 10 {
        let mut one = (*listing(0, 1, "A", n)).clone();
        one.id.0[..8].copy_from_slice(&n.to_be_bytes());
        one.terms.vram_gib = if n > LOOKED_AT as u64 { 48 } else { 24 };
        offers.insert(Arc::new(one));
    }
    let filter = Filter {
        min_vram_gib: 48,
        ..Filter::default()
    };
    let first = offers.page(&filter, Sort::Price, None, 5);
    assert!(first.offers.is_empty() && first.next.is_some());
    let second = offers.page(&filter, Sort::Price, first.next, 5);
    assert_eq!(second.offers.len(), 5);
    let third = offers.page(&filter, Sort::Price, second.next, 5);
    assert_eq!((third.offers.len(), third.next), (4, None));
}

proptest! {
    /// Whatever happened before, the pages together are what sorting and filtering all listings gives.
    #[test]
    fn pages_agree_with_sorting_everything(
        steps in prop::collection::vec((0u8..12, 0u8..4, 0u8..3, 0u64..6, 0u8..4, 0u32..4), 1..60),
        limit in 1usize..4,
        most in prop::option::of(0u64..6),
        of_one_gpu in any::<bool>(),
    ) {
        let mut offers = Offers::default();
        let mut plain: BTreeMap<u8, Arc<Listing>> = BTreeMap::new();
        let mut known: BTreeMap<u8, Known> = BTreeMap::new();
        for (id, provider, gpu, rate, action, speed) in steps {
            match action {
                0 => {
                    offers.remove(ListingId([id; 16]));
                    plain.remove(&id);
                }
                1 => {
                    let change = |known: &mut Known| {
                        known.miner = miner(State::Free, speed);
                        known.reputation.ppm = u32::from(gpu) * 100;
                    };
                    change(known.entry(provider).or_default());
                    offers.know(PublicKey([provider; 32]), change);
                }
                _ => {
                    let new = listing(id, provider, ["A", "B", "C"][usize::from(gpu)], rate);
                    offers.insert(Arc::clone(&new));
                    plain.insert(id, new);
                }
            }
        }
        let filter = Filter { gpu: of_one_gpu.then(|| "A".into()), max_rate: most, ..Filter::default() };
        for sort in SORTS {
            let mut expected: Vec<_> = plain.values()
                .filter(|l| (!of_one_gpu || &*l.gpu == "A") && most.is_none_or(|most| l.terms.rate <= most))
                .map(|l| {
                    let known = known.get(&l.provider.0[0]).cloned().unwrap_or_default();
                    (keys(l, &known)[sort as usize], l.id, known)
                })
                .collect();
            expected.sort_by_key(|(key, id, _)| (*key, *id));
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = offers.page(&filter, sort, after, limit);
                prop_assert!(page.offers.len() <= limit);
                found.extend(page.offers.iter().map(|(l, known)| (keys(l, known)[sort as usize], l.id, known.clone())));
                after = page.next;
                if after.is_none() { break; }
            }
            prop_assert_eq!(&found, &expected);
        }
    }
}
