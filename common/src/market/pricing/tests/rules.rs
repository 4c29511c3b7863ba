use super::*;

/// Five owners who traded at these rates, an AIT of fees each.
fn five(rates: [u64; 5]) -> Vec<Trade> {
    (1..)
        .zip(rates)
        .map(|(owner, rate)| trade(100, owner, rate, 1_000_000))
        .collect()
}

fn median(trades: &[Trade]) -> Option<u64> {
    let settled = all(trades).settled(100, USUAL_DAYS);
    settled.kept.map(|kept| kept.percentiles.median())
}

#[test]
fn a_utilisation_moves_the_price_by_a_quarter_at_most() {
    for (utilisation, adjustment) in [
        (Some(0), -2_500),
        (Some(1), -2_500),
        (Some(2), -2_499),
        (Some(4_997), -2),
        (Some(4_999), -1),
        (Some(5_000), 0),
        (Some(5_001), 0),
        (Some(5_002), 1),
        (Some(10_000), 2_500),
        (Some(u16::MAX), 2_500),
        (None, 0),
    ] {
        assert_eq!(adjustment_bps(utilisation), adjustment, "{utilisation:?}");
        let settled = all(&five([99, 99, 99, 99, 99])).settled(100, USUAL_DAYS);
        let suggestion = suggest(&settled, None, utilisation);
        let expected = 99 * i64::from(10_000 + i32::from(adjustment)) / 10_000;
        assert_eq!(suggestion.rate, u64::try_from(expected).ok());
        assert_eq!(
            (suggestion.basis, suggestion.adjustment_bps),
            (Basis::Trades, adjustment)
        );
    }
    assert_eq!(utilisation_bps(1, 0), None);
    assert_eq!(utilisation_bps(0, 1), Some(0));
    assert_eq!(utilisation_bps(1, 3), Some(3_333));
    assert_eq!(
        utilisation_bps(u64::MAX, 1),
        Some(10_000),
        "slots beside each other"
    );
}

#[test]
fn too_few_owners_leave_it_to_the_offers() {
    let mut trades = five([100, 110, 120, 130, 140]);
    let mut offers = Offers::default();
    offers.add(7);
    let of_offers = offers.statistics();
    let suggest = |trades: &[Trade], today| {
        let settled = all(trades).settled(today, USUAL_DAYS);
        suggest(&settled, of_offers.as_ref(), Some(10_000))
    };
    assert_eq!(suggest(&trades, 129).rate, Some(150));
    let from_offers = Suggestion {
        rate: Some(7),
        basis: Basis::Offers,
        adjustment_bps: 0,
    };
    assert_eq!(suggest(&trades, 130), from_offers, "30 days are over");
    trades[0].fee = LEAST_FEES;
    assert_eq!(suggest(&trades, 100).basis, Basis::Trades);
    trades[0].fee = LEAST_FEES - 1;
    assert_eq!(suggest(&trades, 100), from_offers);
    let nothing = super::suggest(&Settled::default(), None, None);
    assert_eq!((nothing.rate, nothing.basis), (None, Basis::Nothing));
}

#[test]
fn half_of_the_weight_is_the_median_and_ties_are_the_lower_rate() {
    assert_eq!(median(&five([5, 1, 4, 2, 3])), Some(3));
    let mut six = five([100, 101, 102, 103, 104]);
    six.push(trade(100, 6, 105, 1_000_000));
    assert_eq!(median(&six), Some(102));
    six.push(trade(100, 7, 105, 1));
    assert_eq!(median(&six), Some(103));
}

#[test]
fn a_great_owner_counts_a_fifth_of_all_fees() {
    let mut trades = five([100, 101, 102, 103, 104]);
    trades.push(trade(100, 9, 110, 2_000_000));
    trades.push(trade(100, 9, 110, 3_000_001));
    // 10,000,001 in all: the last owner's 5,000,001 count 2,000,000 of then 7,000,000.
    let settled = all(&trades).settled(100, USUAL_DAYS);
    assert_eq!((settled.weight, settled.scaled_owners), (10_000_001, 1));
    let kept = settled.kept.unwrap();
    assert_eq!((kept.weight, kept.percentiles.median()), (7_000_000, 103));
    // A few micro-AIT have no fifth.
    assert_eq!(all(&[trade(100, 1, 5, 4)]).settled(100, 1).kept, None);
    assert_eq!(median(&[trade(100, 1, 5, 5)]), Some(5));
}

#[test]
fn without_deviation_a_tenth_around_the_median_is_kept() {
    let mut trades = five([1_000; 5]);
    for (owner, rate) in [(6, 899), (7, 900), (8, 1_100), (9, 1_101)] {
        trades.push(trade(100, owner, rate, 1));
    }
    let kept = all(&trades).settled(100, USUAL_DAYS).kept.unwrap();
    assert_eq!(
        (kept.min, kept.max, kept.trades, kept.deviation),
        (900, 1_100, 7, 0)
    );
}

#[test]
fn what_is_no_trade_is_left_out() {
    let mut trades = Trades::default();
    let most = MAX_PRICE_PER_HOUR.0;
    for (of, counts) in [
        (trade(1, 1, 5, 0), false),
        (trade(1, 1, most + 1, 5), false),
        (trade(1, 1, most, 5), true),
        (trade(1, 1, 0, (1 << 63) - 6), true),
        (trade(1, 1, 5, 1), false),
        (trade(30, 1, 5, u64::MAX), false),
        (trade(30, 1, 5, 1), false),
        (trade(31, 1, 5, (1 << 63) - 1), true),
    ] {
        assert_eq!(trades.add(&of), counts, "{of:?}");
    }
    assert_eq!(trades.settled(31, 30).trades, 1);
    trades.forget(60);
    assert_eq!(trades.settled(60, 30).trades, 1);
    trades.forget(61);
    assert_eq!(trades.settled(60, 30), Settled::default());
    assert!(trades.add(&trade(61, 1, 5, (1 << 63) - 1)));
}

fn trades() -> impl Strategy<Value = Vec<(u32, Trade)>> {
    let rate = prop_oneof![
        4 => 90..120_u64,
        2 => 0..2_000_u64,
        1 => 0..=1_000_000_000_001_u64,
        1 => prop::sample::select(vec![0, 1, 100, 1_000_000_000_000]),
    ];
    let fee = prop_oneof![
        1 => 0..4_u64,
        4 => 1..1_000_000_u64,
        1 => 1..(1_u64 << 55),
    ];
    let days = prop_oneof![20 => Just(0), 10 => Just(1), 1 => prop::sample::select(vec![6_u32, 7, 29, 30, 31])];
    let one =
        (days, 0..9_u8, 0..20_u8, rate, fee).prop_map(|(days, owner, provider, rate, fee)| {
            let provider = PublicKey([provider; 32]);
            (
                days,
                Trade {
                    provider,
                    ..trade(0, owner, rate, fee)
                },
            )
        });
    prop::collection::vec(one, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_kept_up_to_date_is_what_the_trades_say(trades in trades(), window in 1..=30_u32, later in 0..35_u32) {
        let (mut kept, mut plain, mut today) = (Trades::default(), Vec::new(), 1_000);
        for (place, (days, of)) in trades.into_iter().enumerate() {
            today += days;
            let of = Trade { day: today, ..of };
            let _counts = kept.add(&of);
            plain.push(of);
            if place % 8 == 7 {
                prop_assert_eq!(kept.settled(today, 7), plain::settled(&plain, today, 7));
            }
        }
        today += later;
        if later % 2 == 0 {
            kept.forget(today);
        }
        prop_assert_eq!(kept.settled(today, window), plain::settled(&plain, today, window));
        let median = |day| {
            let of_day: Vec<Trade> = plain.iter().filter(|trade| trade.day == day).copied().collect();
            plain::settled(&of_day, day, 1).kept.map(|kept| kept.percentiles.median())
        };
        let medians: Vec<Option<u64>> = (today - 29..=today).map(median).collect();
        prop_assert_eq!(kept.daily_medians(today), medians);
    }

    #[test]
    fn offers_that_are_live_are_counted(
        changes in prop::collection::vec((prop_oneof![0..40_u64, Just(u64::MAX)], any::<bool>()), 0..80)
    ) {
        let (mut offers, mut live) = (Offers::default(), Vec::<u64>::new());
        for (rate, add) in changes {
            if add {
                offers.add(rate);
                live.push(rate);
            } else {
                offers.remove(rate);
                if let Some(place) = live.iter().position(|of| *of == rate) {
                    let _rate = live.swap_remove(place);
                }
            }
            let weighted: Vec<(u64, u64)> = live.iter().map(|rate| (*rate, 1)).collect();
            let plain = (!live.is_empty()).then(|| OfferStatistics {
                count: live.len() as u64,
                min: *live.iter().min().unwrap(),
                max: *live.iter().max().unwrap(),
                mean: (live.iter().map(|rate| u128::from(*rate)).sum::<u128>() / live.len() as u128) as u64,
                percentiles: Percentiles([10, 25, 50, 75, 90].map(|of| plain::percentile(&weighted, of))),
            });
            prop_assert_eq!(offers.statistics(), plain);
        }
    }
}
