//! What the market says of a price.

use aitbc_proto::v1::{GetPricingRequest, GetPricingResponse};

use super::channel::Connection;
use crate::money::MicroAit;

/// The median price of a GPU model per hour: of what was paid where that is enough, else of what is asked. `None` where
/// there is nothing to rest it on, and where it cannot be had: it only stands beside a price.
pub async fn median(connection: &Connection, gpu_model: &str) -> Option<MicroAit> {
    let request = GetPricingRequest {
        gpu_model: gpu_model.to_owned(),
        window_days: 0,
    };
    let answer = connection.marketplace().get_pricing(request).await;
    median_of(&answer.ok()?.into_inner())
}

/// The median that a suggested price rests on.
#[must_use]
pub fn median_of(pricing: &GetPricingResponse) -> Option<MicroAit> {
    let range = if pricing.sufficient {
        pricing.trades.as_ref()?.range
    } else {
        pricing.offers.as_ref()?.range
    };
    Some(MicroAit(range?.median_micro_ait))
}

#[cfg(test)]
mod tests {
    use aitbc_proto::v1::{OfferStatistics, PriceRange, TradeStatistics};

    use super::*;

    #[test]
    fn the_median_is_of_trades_where_they_are_enough() {
        let range = |median_micro_ait| {
            Some(PriceRange {
                median_micro_ait,
                ..PriceRange::default()
            })
        };
        let mut pricing = GetPricingResponse {
            offers: Some(OfferStatistics {
                offers: 1,
                range: range(5),
            }),
            trades: Some(TradeStatistics {
                range: range(7),
                ..TradeStatistics::default()
            }),
            ..GetPricingResponse::default()
        };
        assert_eq!(median_of(&pricing), Some(MicroAit(5)));
        pricing.sufficient = true;
        assert_eq!(median_of(&pricing), Some(MicroAit(7)));
        assert_eq!(median_of(&GetPricingResponse::default()), None);
    }
}
