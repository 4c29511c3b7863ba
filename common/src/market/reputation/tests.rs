use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn miner(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

fn client(number: u8) -> Address {
    Address([number; 20])
}

fn parties(payer: u8) -> Parties {
    Parties {
        payer: client(payer),
        payee: Some(client(200)),
        ..Parties::default()
    }
}

fn paid(payer: u8, fee: u64, day: u32) -> Success {
    Success {
        miner: miner(1),
        parties: parties(payer),
        fee,
        day,
    }
}

fn failed(payer: u8, weight: u64, day: u32) -> Fault {
    Fault {
        miner: miner(1),
        parties: Parties {
            payee: None,
            ..parties(payer)
        },
        weight,
        day,
    }
}

#[test]
fn the_bound_of_known_sums() {
    for (success, fault, ppm) in [
        (0, 0, 25_000),
        (10_000, 0, 790_500),
        (24_000, 0, 900_653),
        (24_000, 10_000, 569_861),
        (100_000, 3_000, 931_314),
    ] {
        assert_eq!(Score { success, fault }.ppm(), ppm, "{success}, {fault}");
    }
    let most = Score {
        success: u64::MAX,
        fault: u64::MAX,
    };
    let worst = Score { success: 0, ..most };
    assert!(most.ppm() <= 1_000_000 && worst.ppm() <= 1_000_000);
}

#[test]
fn the_factors_are_the_roots_that_they_claim_to_be() {
    // T^30 ≤ 2^(960 − r) < (T + 1)^30, by their decimal digits' weight in base 2^32.
    let power = |factor: u64| {
        let mut digits = vec![1_u64];
        for _ in 0..30 {
            let mut carry = 0_u128;
            for digit in &mut digits {
                carry += u128::from(*digit) * u128::from(factor);
                *digit = (carry & 0xffff_ffff) as u64;
                carry >>= 32;
            }
            while carry > 0 {
                digits.push((carry & 0xffff_ffff) as u64);
                carry >>= 32;
            }
        }
        digits
    };
    let power_of_two = |exponent: usize| {
        let mut digits = vec![0; exponent / 32];
        digits.push(1 << (exponent % 32));
        digits
    };
    let at_most = |one: &[u64], other: &[u64]| {
        let order = one.len().cmp(&other.len());
        order
            .then_with(|| one.iter().rev().cmp(other.iter().rev()))
            .is_le()
    };
    for (r, factor) in FADING.into_iter().enumerate() {
        let bound = power_of_two(960 - r);
        assert!(at_most(&power(factor), &bound), "T[{r}] is too large");
        assert!(!at_most(&power(factor + 1), &bound), "T[{r}] is too small");
    }
}

#[test]
fn days_fade_by_half_in_thirty_and_end_at_three_hundred() {
    let left = [0, 1, 2, 30, 60, 298, 299, 300, 301, u32::MAX].map(|days| faded(1_000, days));
    assert_eq!(left, [1_000, 977, 954, 500, 250, 1, 0, 0, 0, 0]);
    let fading: Vec<u64> = (0..302).map(|days| faded(1_000, days)).collect();
    assert!(fading.is_sorted_by(|one, next| one >= next));
}

#[test]
fn a_ring_of_wallets_reaches_nine_tenths_for_1_35_ait_of_fees() {
    let mut book = Reputations::default();
    let mut fees = 0;
    for day in 100..103 {
        for payer in 0..9 {
            book.success(&paid(payer, FULL_FEE, day));
            fees += FULL_FEE;
        }
    }
    assert_eq!(
        (book.score(&miner(1), 102).ppm(), fees),
        (908_770, 1_350_000)
    );

    // Neither eight wallets, nor two days, nor more fees of the same wallets do it.
    for (wallets, days, fee) in [(8, 3, FULL_FEE), (9, 2, FULL_FEE), (8, 3, 100 * FULL_FEE)] {
        let mut book = Reputations::default();
        for day in 0..days {
            for payer in 0..wallets {
                book.success(&paid(payer, fee, day));
            }
        }
        assert!(book.score(&miner(1), days - 1).ppm() < 900_000);
    }
}

#[test]
fn what_a_wallet_pays_to_itself_does_not_count() {
    let [payer, signer, payee, bound] = [1, 2, 3, 4].map(client);
    let apart = Parties {
        payer,
        signer_wallet: Some(signer),
        payee: Some(payee),
        miner_wallet: Some(bound),
    };
    let unbound = Parties {
        signer_wallet: None,
        miner_wallet: None,
        ..apart
    };
    for (parties, one) in [
        (apart, false),
        (unbound, false),
        (
            Parties {
                payee: Some(payer),
                ..apart
            },
            true,
        ),
        (
            Parties {
                payee: Some(signer),
                ..apart
            },
            true,
        ),
        (
            Parties {
                miner_wallet: Some(payer),
                ..apart
            },
            true,
        ),
        (
            Parties {
                miner_wallet: Some(signer),
                ..apart
            },
            true,
        ),
        (
            Parties {
                payee: None,
                miner_wallet: Some(payer),
                ..unbound
            },
            true,
        ),
    ] {
        assert_eq!(parties.are_one(), one, "{parties:?}");
        let mut book = Reputations::default();
        book.success(&Success {
            parties,
            ..paid(1, FULL_FEE, 7)
        });
        let counted = book.score(&miner(1), 7).success;
        assert_eq!(counted, if one { 0 } else { 1_000 });
        // Its fees were paid all the same, and nobody blames himself.
        let fault = Fault {
            parties,
            ..failed(1, FULL_FEE, 7)
        };
        assert_eq!(book.fault(&fault), if one { 0 } else { FULL_FEE });
        assert_eq!(
            book.fault(&failed(1, FULL_FEE, 7)),
            if one { FULL_FEE } else { 0 }
        );
    }
}

#[test]
fn a_bad_word_costs_as_much_as_a_good_one() {
    let mut book = Reputations::default();
    assert_eq!(book.fault(&failed(1, FULL_FEE, 0)), 0, "who paid nothing");
    book.success(&Success {
        miner: miner(2),
        ..paid(1, 70_000, 0)
    });
    assert_eq!(book.fault(&failed(1, 20_000, 0)), 20_000);
    assert_eq!(book.fault(&failed(1, 1_000_000, 0)), FULL_FEE);
    assert_eq!(book.fault(&failed(1, 1, 0)), 0, "each fee backs one");
    assert_eq!(book.score(&miner(1), 0).fault, 1_000);
    // The fees of 30 days: this day and the 29 before.
    book.success(&paid(3, 500, 0));
    assert_eq!(book.fault(&failed(3, 200, 29)), 200);
    assert_eq!(book.fault(&failed(3, 200, 30)), 0);
    book.success(&paid(3, 500, 30));
    assert_eq!(book.fault(&failed(3, 900, 30)), 300, "200 of 500 are used");
}

#[test]
fn entries_that_nothing_gave_out_are_refused() {
    let pair = |days: &[(u32, u16)]| Entry::Pair {
        miner: miner(1),
        client: client(1),
        days: days
            .iter()
            .map(|&(day, success)| DaySums {
                day,
                success,
                fault: 0,
            })
            .collect(),
    };
    let load = |entries: &[Entry]| Reputations::load(entries.to_vec()).map(|_| ());
    assert_eq!(load(&[pair(&[(0, 1_000), (300, 1)])]), Ok(()));
    for (entries, why) in [
        (vec![pair(&[(5, 1)]), pair(&[(6, 1)])], InvalidEntry::Twice),
        (vec![pair(&[])], InvalidEntry::Days),
        (vec![pair(&[(5, 1), (5, 1)])], InvalidEntry::Days),
        (vec![pair(&[(5, 1), (4, 1)])], InvalidEntry::Days),
        (vec![pair(&[(5, 1), (306, 1)])], InvalidEntry::Days),
        (vec![pair(&[(5, 1_001)])], InvalidEntry::Sum),
    ] {
        assert_eq!(load(&entries), Err(why), "{entries:?}");
    }
}

/// What happened, in the order of the log.
#[derive(Debug, Clone)]
enum Event {
    Paid(Success),
    Failed(Fault),
    /// So many days go by.
    Days(u32),
    Restart,
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    let fee = prop_oneof![0..200_u64, 0..120_000_u64, Just(u64::MAX)];
    let sides = (0..3_u8, 0..4_u8, prop::option::of(0..4_u8));
    let of = (sides, fee, any::<bool>()).prop_map(|((of, payer, wallet), fee, fault)| {
        let parties = Parties {
            miner_wallet: wallet.map(client),
            ..parties(payer)
        };
        if fault {
            Event::Failed(Fault {
                miner: miner(of),
                parties,
                weight: fee,
                day: 0,
            })
        } else {
            Event::Paid(Success {
                miner: miner(of),
                parties,
                fee,
                day: 0,
            })
        }
    });
    prop_oneof![
        8 => of,
        2 => (0..5_u32).prop_map(Event::Days),
        1 => prop::sample::select(vec![28, 29, 30, 31, 298, 299, 300, 301]).prop_map(Event::Days),
        1 => Just(Event::Restart),
        1 => Just(Event::Forget),
    ]
}

/// The definition: of all that ever happened.
#[derive(Default)]
struct Plain {
    counted: Vec<(PublicKey, Address, u32, u64, u64)>,
    fees: Vec<(Address, u32, u128)>,
    weights: Vec<(Address, u32, u128)>,
}

impl Plain {
    fn success(&mut self, of: &Success) {
        self.fees.push((of.parties.payer, of.day, of.fee.into()));
        if !of.parties.are_one() {
            let counted = (u128::from(of.fee) * 1_000 / 50_000).min(1_000) as u64;
            self.counted
                .push((of.miner, of.parties.payer, of.day, counted, 0));
        }
    }

    fn fault(&mut self, of: &Fault) -> u64 {
        if of.parties.are_one() {
            return 0;
        }
        let payer = of.parties.payer;
        let recent = |of_payers: &[(Address, u32, u128)]| -> u128 {
            let counts = |(of_payer, day, _): &&(Address, u32, u128)| {
                *of_payer == payer && day + 30 > of.day
            };
            of_payers.iter().filter(counts).map(|(_, _, sum)| sum).sum()
        };
        let left = recent(&self.fees).saturating_sub(recent(&self.weights));
        let weight = left.min(of.weight.min(50_000).into()) as u64;
        self.weights.push((payer, of.day, weight.into()));
        self.counted
            .push((of.miner, payer, of.day, 0, weight * 1_000 / 50_000));
        weight
    }

    fn score(&self, miner: &PublicKey, today: u32) -> Score {
        let mut days = BTreeMap::<(Address, u32), [u64; 2]>::new();
        for (of, client, day, success, fault) in &self.counted {
            if of == miner {
                let sums = days.entry((*client, *day)).or_default();
                *sums = [(sums[0] + success).min(1_000), (sums[1] + fault).min(1_000)];
            }
        }
        let mut clients = BTreeMap::<Address, [u64; 2]>::new();
        for ((client, day), sums) in days {
            let of_client = clients.entry(client).or_default();
            for (all, sum) in of_client.iter_mut().zip(sums) {
                *all = (*all + faded(sum as u16, today - day)).min(3_000);
            }
        }
        let sum = |side: usize| clients.values().map(|sums| sums[side]).sum();
        Score {
            success: sum(0),
            fault: sum(1),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_kept_up_to_date_is_what_the_records_say(events in prop::collection::vec(event(), 0..120)) {
        let (mut book, mut plain, mut today) = (Reputations::default(), Plain::default(), 1_000);
        for event in events {
            match event {
                Event::Paid(success) => {
                    let success = Success { day: today, ..success };
                    book.success(&success);
                    plain.success(&success);
                }
                Event::Failed(fault) => {
                    let fault = Fault { day: today, ..fault };
                    prop_assert_eq!(book.fault(&fault), plain.fault(&fault));
                }
                Event::Days(days) => today += days,
                Event::Restart => {
                    let entries: Vec<Entry> = book.entries().collect();
                    let again = Reputations::load(entries.iter().rev().cloned());
                    book = again.unwrap();
                    prop_assert_eq!(book.entries().collect::<Vec<_>>(), entries);
                }
                Event::Forget => forget(&mut book, today)?,
            }
            for of in (0..3).map(miner) {
                let score = book.score(&of, today);
                prop_assert_eq!(score, plain.score(&of, today));
                let explained = book.explain(&of, today);
                prop_assert_eq!(explained.score, score);
                for terms in explained.clients {
                    let of_day = |side: fn(&Score) -> u64| terms.days.iter().map(|day| side(&day.faded)).sum::<u64>();
                    prop_assert_eq!(of_day(|score| score.success), terms.all.success);
                    prop_assert_eq!(of_day(|score| score.fault), terms.all.fault);
                }
            }
        }
    }
}

/// Brings everything to `today`: only what counts is left, and exactly the named entries are gone.
fn forget(book: &mut Reputations, today: u32) -> Result<(), TestCaseError> {
    let keys = |book: &Reputations| -> (BTreeSet<_>, BTreeSet<_>) {
        let (mut pairs, mut payers) = (BTreeSet::new(), BTreeSet::new());
        for entry in book.entries() {
            match entry {
                Entry::Pair { miner, client, .. } => pairs.insert((miner, client)),
                Entry::Payer { payer, .. } => payers.insert(payer),
            };
        }
        (pairs, payers)
    };
    let (mut pairs, mut payers) = keys(book);
    let miners: Vec<PublicKey> = book.miners(None).copied().collect();
    prop_assert_eq!(
        miners.get(1),
        miners
            .first()
            .and_then(|first| book.miners(Some(*first)).next())
    );
    for of in miners {
        for client in book.advance(&of, today) {
            prop_assert!(pairs.remove(&(of, client)));
        }
    }
    let mut after = None;
    loop {
        let (gone, next) = book.forget_payers(today, after, 2);
        for payer in gone {
            prop_assert!(payers.remove(&payer));
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    prop_assert_eq!(keys(book), (pairs, payers));
    for entry in book.entries() {
        match entry {
            Entry::Pair { days, .. } => {
                prop_assert!(days.last().is_some_and(|sums| today - sums.day <= 300));
                prop_assert!(days.len() <= 301);
            }
            Entry::Payer { days, .. } => {
                prop_assert!(days.last().is_some_and(|of| today - of.day < 30));
                prop_assert!(days.len() <= 30);
            }
        }
    }
    Ok(())
}

/// The table of docs/market.md: findings that bring a miner below 0.5, each by another auditor or on another day.
#[test]
fn few_findings_cost_a_good_name() {
    let after = |success, findings: u64| {
        let fault = findings * 1_000;
        Score { success, fault }.ppm()
    };
    for (success, before, findings) in [(10_000, 790_500, 5), (24_000, 900_653, 15)] {
        assert_eq!(after(success, 0), before);
        assert!(after(success, findings) < 500_000);
        assert!(after(success, findings - 1) >= 500_000);
    }
    assert_eq!((after(0, 0), after(0, 1)), (25_000, 0));
}
