//! What those who want another price get for their fees.

use super::*;

/// Whether a trade is of those who attack: their wallets have the numbers from 20.
fn attacks(trade: &Trade) -> bool {
    trade.owner.0[0] >= 20
}

/// The scaled weights of the honest and of the others.
fn sides(trades: &[Trade]) -> (Vec<(u64, u64)>, u64) {
    let scaled = plain::scaled(trades);
    let side = |attacking| {
        let both = trades.iter().zip(&scaled);
        let of_side = both.filter(move |(trade, _)| attacks(trade) == attacking);
        of_side.map(|(_, weighted)| *weighted)
    };
    (
        side(false).collect(),
        side(true).map(|(_, weight)| weight).sum(),
    )
}

/// The lowest honest rate up to which there are `quarters` quarters of `of`; none where there is not so much.
fn honest_rate(honest: &[(u64, u64)], quarters: u64, of: u64) -> Option<u64> {
    let mut sorted = honest.to_vec();
    sorted.sort_unstable();
    let mut up_to = 0;
    let reaches = |(_, weight): &&(u64, u64)| {
        up_to += 4 * weight;
        up_to >= quarters * of
    };
    sorted.iter().find(reaches).map(|(rate, _)| *rate)
}

fn suggested(trades: &[Trade], utilisation: u16) -> u64 {
    let settled = all(trades).settled(100, USUAL_DAYS);
    let suggestion = suggest(&settled, None, Some(utilisation));
    assert_eq!(suggestion.basis, Basis::Trades, "{settled:?}");
    suggestion.rate.unwrap()
}

/// 100 trades of 20 owners at the rates 1001 to 1100, 40,000,000 of fees together: the p-th percentile is 1000 + p.
fn honest() -> Vec<Trade> {
    (1..=100)
        .map(|place| trade(100, (place % 20) as u8, 1_000 + place, 400_000))
        .collect()
}

/// The price after so much more weight of each of these wallets at this rate.
fn after(wallets: u8, fee: u64, rate: u64) -> u64 {
    let mut trades = honest();
    trades.extend((20..20 + wallets).map(|owner| trade(100, owner, rate, fee)));
    suggested(&trades, 5_000)
}

#[test]
fn the_price_of_moving_it() {
    let fees: u64 = honest().iter().map(|trade| trade.fee).sum();
    assert_eq!(suggested(&honest(), 5_000), 1_050);
    // Odd prices: a hundredth of the fees, at no price or at the highest.
    for (rate, moved) in [(0, 1_050), (MAX_PRICE_PER_HOUR.0, 1_050), (1_099, 1_051)] {
        assert_eq!(after(1, fees / 100, rate), moved);
    }
    // One wallet that pays a fifth of all fees, half of them, nearly four fifths, and more.
    for (fee, low, high) in [
        (fees / 4, 1_038, 1_063),
        (fees, 1_030, 1_070),
        (fees * 3, 1_010, 1_090),
        (fees * 39 / 10, 1_001, 1_099),
        (fees * 41 / 10, 990, 1_101),
    ] {
        assert_eq!(
            (after(1, fee, 990), after(1, fee, 1_101)),
            (low, high),
            "{fee}"
        );
    }
    // Over ten wallets: a fifth of all fees, nearly half, more than half.
    for (fee, low, high) in [
        (fees / 4, 1_038, 1_063),
        (fees * 9 / 10, 1_005, 1_095),
        (fees * 11 / 10, 990, 1_101),
    ] {
        assert_eq!(
            (after(10, fee / 10, 990), after(10, fee / 10, 1_101)),
            (low, high),
            "{fee}"
        );
    }
}

#[test]
fn a_market_without_others_is_had_for_two_and_a_half_ait_of_fees() {
    let rate = 123_456_789;
    let trades: Vec<Trade> = (20..25)
        .map(|owner| trade(100, owner, rate, LEAST_FEES))
        .collect();
    assert_eq!(trades.iter().map(|trade| trade.fee).sum::<u64>(), 2_500_000);
    assert_eq!(suggested(&trades, 5_000), rate);
    assert!(!all(&trades[..4]).settled(100, USUAL_DAYS).is_sufficient());
}

fn honest_trades() -> impl Strategy<Value = Vec<Trade>> {
    let rate = || prop_oneof![900..1_100_u64, 100..5_000_u64, Just(1_000), Just(2_000)];
    // Enough owners for a price, all below a fifth of the whole.
    let great = prop::collection::vec(rate(), 12);
    let small = prop::collection::vec((0..12_u8, rate(), 1..600_000_u64), 1..60);
    (great, small).prop_map(|(great, small)| {
        let great = (0..)
            .zip(great)
            .map(|(owner, rate)| trade(100, owner, rate, 30_000_000));
        let small = small
            .into_iter()
            .map(|(owner, rate, fee)| trade(100, owner, rate, fee));
        great.chain(small).collect()
    })
}

/// A rate of one's own, or one a little beside an honest one.
#[derive(Debug, Clone)]
enum Rate {
    Own(u64),
    Beside(prop::sample::Index, i64),
}

/// Wallet, rate and fee of each trade.
fn attack() -> impl Strategy<Value = Vec<(u8, Rate, u64)>> {
    let rate = prop_oneof![
        3 => (any::<prop::sample::Index>(), -300..300_i64).prop_map(|(of, by)| Rate::Beside(of, by)),
        1 => prop::sample::select(vec![0, 1, MAX_PRICE_PER_HOUR.0]).prop_map(Rate::Own),
    ];
    let fee = prop_oneof![1..10_000_000_u64, 1..500_000_000_u64];
    prop::collection::vec((20..28_u8, rate, fee), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// With h and a the scaled weights of the honest and of the others: the median of all lies from the (h − a)/2 to the
    /// (h + a)/2 of the honest weight, that of the kept from (h − 3a)/4 to 3(h + a)/4, and the utilisation moves that by a
    /// quarter.
    #[test]
    fn nobody_moves_it_further_than_his_weight(
        honest in honest_trades(), attack in attack(), one_wallet in any::<bool>(), utilisation in 0..=10_000_u16
    ) {
        let mut trades = honest.clone();
        for (wallet, rate, fee) in attack {
            let rate = match rate {
                Rate::Beside(of, by) => of.get(&honest).rate.saturating_add_signed(by),
                Rate::Own(rate) => rate,
            };
            trades.push(trade(100, if one_wallet { 20 } else { wallet }, rate, fee));
        }
        let (weights, a) = sides(&trades);
        let h: u64 = weights.iter().map(|(_, weight)| weight).sum();

        let median = plain::percentile(&plain::scaled(&trades), 50);
        let low = honest_rate(&weights, 2, h.saturating_sub(a)).filter(|_| a < h);
        let high = honest_rate(&weights, 2, h + a);
        prop_assert!(low.is_none_or(|low| low <= median), "{median} is below {low:?}");
        prop_assert!(high.is_none_or(|high| median <= high), "{median} is above {high:?}");

        let kept = all(&trades).settled(100, USUAL_DAYS).kept.unwrap().percentiles.median();
        let low = honest_rate(&weights, 1, h.saturating_sub(3 * a)).filter(|_| 3 * a < h);
        let high = honest_rate(&weights, 3, h + a);
        prop_assert!(low.is_none_or(|low| low <= kept), "{kept} is below {low:?}");
        prop_assert!(high.is_none_or(|high| kept <= high), "{kept} is above {high:?}");
        let suggested = suggested(&trades, utilisation);
        prop_assert!((kept * 3 / 4..=kept * 5 / 4).contains(&suggested));

        // One wallet with a share s of all fees: a/h is at most min(s, 1/5) / (1 − s), where the honest are not scaled.
        let fees = |attacking| trades.iter().filter(|trade| attacks(trade) == attacking).map(|trade| trade.fee).sum::<u64>();
        if one_wallet {
            prop_assert_eq!(h, fees(false));
            prop_assert!(a <= fees(true).min((fees(false) + fees(true)) / 5));
        }
    }
}
